"""A real listener on a free port, with its own database and journal."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dicom_node import commands, store
from dicom_node.certificates import Binding
from dicom_node.doors import TlsDoor
from dicom_node.intake import Intake
from dicom_node.listener import Listener, ListenerSettings
from dicom_node.peers import Peer
from dicom_node.receive import ReceiveLimits
from dicom_node.recovery import admit_record
from dicom_node.revocation import Revocations
from dicom_node.send import SendSettings
from dicom_node.services import Offers, ServiceSettings
from dicom_node.tls import ServerContexts, TlsFiles
from dicom_node.uids import IMPLICIT_LITTLE, STUDY_ROOT_FIND
from dicom_node.views import View
from kernel.people import ENGINE
from storage import archive
from storage.archive import Archive, Quarantined
from storage.engine import Database
from storage.journal import Journal
from storage.objects import LocalObjects, ObjectStore
from storage.recovery import recover
from tests.services.migrated import migrate
from tests.wire.pki import Pair, make
from tests.wire.reactors import stand_still
from tests.wire.speaker import CALLED, CALLING, Speaker

# Two devices of one site, one of another, and the workstation of a centre that reads for all.
PEERS = {CALLING: "o-1", "VAN2": "o-1", "OTHER_SITE": "o-2", "READING": "o-centre"}
PATIENCE = timedelta(seconds=1.5)  # a loaded machine keeps good peers silent for a while, too
MAX_MATCHES = 500
LIMITS = ReceiveLimits(silence=PATIENCE, idle=timedelta(seconds=20), buffer_bytes=1 << 20)


@dataclass
class Node:
    """One node as its tests see it."""

    listener: Listener
    port: int
    database: Database
    journal: Journal
    archive: Archive
    mixed: bool = False
    """Its speakers propose a query beside storage, which the other path serves."""

    keys: tuple[Pair, Pair] | None = None
    """Of the node and of all its peers, where they speak TLS."""

    def speak(self, calling: str = CALLING, called: str = CALLED) -> Speaker:
        beside = [(STUDY_ROOT_FIND, IMPLICIT_LITTLE)] if self.mixed else []
        tls = self.keys[1].client(self.keys[0]) if self.keys else None
        return Speaker(self.port, calling=calling, called=called, beside=beside, tls=tls)

    def caller(self, title: str = CALLING) -> SendSettings:
        """Return how our own sender calls it."""
        secure = self.keys[1].calls(self.keys[0]) if self.keys else None
        return SendSettings(ae_title=title, secure=secure)

    def dcmtk(self) -> list[str]:
        """Return the options with which DCMTK's programs call it."""
        return self.keys[1].dcmtk(self.keys[0]) if self.keys else []

    def quarantined(self) -> list[Quarantined]:
        with self.database.reading() as tx:
            return archive.quarantined(tx)

    def answers(self) -> bool:
        """Say whether the node still serves a C-ECHO."""
        with self.speak() as speaker:
            speaker.associate()
            return speaker.echo() == 0


def recovered(folder: Path) -> int:
    """Do what a node does before it serves again; return how many records had no row."""
    database = Database(f"sqlite:///{folder / 'telerad.db'}")
    migrate(database)
    journal = Journal(folder / "journal", node="test")
    found = recover(database, journal, admit_record)
    journal.close()
    database.dispose()
    return found


def start(
    folder: Path,
    *,
    kind: str = "storage",
    max_matches: int = MAX_MATCHES,
    objects: ObjectStore | None = None,
) -> Node:
    keys = (make(folder, "node"), make(folder, "peers")) if kind == "tls" else None
    database = Database(f"sqlite:///{folder / 'telerad.db'}")
    migrate(database)
    with database.transaction() as tx:
        for title, organisation in PEERS.items():
            peer = Peer(
                ae_title=title,
                host="127.0.0.1",
                port=104,
                organisation_id=organisation,
                issuer="site-1" if organisation == "o-1" else f"issuer-{organisation}",
            )
            commands.add_peer(tx, peer, actor=ENGINE)
            if keys:
                commands.bind_certificate(tx, title, keys[1].read, actor=ENGINE)
    journal = Journal(folder / "journal", node="test", segment_bytes=4 << 20)

    def find_peer(title: str) -> Peer | None:
        with database.reading() as tx:
            return commands.find_caller(tx, title)

    settings = ListenerSettings(
        ae_title=CALLED,
        port=0,
        tls_port=0,
        max_associations=6,
        max_associations_per_peer=4,
        artim=PATIENCE,
        limits=LIMITS,
    )
    told = ServiceSettings(
        ae_title=CALLED,
        views={"o-centre": View.ALL},
        zone_of=lambda _: ZoneInfo("Europe/Kyiv"),
        max_matches=max_matches,
    )
    archive = Archive(database, journal, objects or LocalObjects(folder / "objects"))
    listener = Listener(
        settings,
        Intake(database, journal),
        find_peer,
        offers=Offers(archive, told),
        tls_door=tls_door(database, keys[0]) if keys else None,
    )
    port = listener.start()
    return Node(
        listener, listener.tls_port or port, database, journal, archive, kind == "mixed", keys
    )


def tls_door(
    database: Database, node: Pair, authority: Path | None = None, lists: Path | None = None
) -> TlsDoor:
    def fingerprints() -> list[str]:
        with database.reading() as tx:
            return store.bound_fingerprints(tx)

    def bindings() -> list[Binding]:
        with database.reading() as tx:
            return commands.list_bindings(tx)

    files = TlsFiles(certificate=node.certificate_file, key=node.key_file, client_ca=authority)
    contexts = ServerContexts(files, fingerprints=fingerprints, bindings=bindings)
    revocations = Revocations(authority, lists) if authority and lists else None
    return TlsDoor(
        database, contexts, silence=LIMITS.silence, idle=LIMITS.idle, revocations=revocations
    )


@pytest.fixture(scope="session", autouse=True)
def _reactors() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        stand_still(patch)
        yield


@pytest.fixture(scope="module", params=["storage", "mixed", "tls"])
def node(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Node]:
    node = start(tmp_path_factory.mktemp("node"), kind=request.param)
    yield node
    node.listener.stop(timedelta(seconds=5))
    assert node.listener.associations() == 0
    node.journal.close()
    node.database.dispose()


@pytest.fixture(params=["storage", "mixed", "tls"])
def own_node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node that a test may stop or fill."""
    node = start(tmp_path, kind=request.param)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with the studies of `holdings`."""
    from tests.wire.holdings import stock

    node = start(tmp_path_factory.mktemp("stocked"))
    stock(node)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()
