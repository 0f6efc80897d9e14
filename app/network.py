"""A network as a file: organisations, profiles, consultants and peers, written by whoever runs it.

Loading is idempotent: what is new is entered, what differs is brought up to date, nothing is
removed.  A consultant who is not in the file any more is taken off duty by an explicit act.
"""

import tomllib
from datetime import UTC, date, datetime, time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import worklist.store
from app import orthancs
from dicom_node import certificates
from dicom_node import commands as dicom_node
from dicom_node.orthancs import Orthanc
from dicom_node.peers import Peer
from kernel.errors import Refused
from kernel.ids import OrganisationId, ReaderId
from kernel.people import Actor
from storage.engine import Transaction
from storage.patients import unstated_issuer
from worklist import commands
from worklist.act import Act
from worklist.organisation import Organisation, OrganisationKind
from worklist.profile import Profile, Takes
from worklist.readers import Competence, Reader
from worklist.settings import WorklistSettings


class NetworkUnreadable(Refused):
    """The file does not describe a network, and where it fails."""

    code = "network.unreadable"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OrganisationEntry(_Entry):
    """``[[organisation]]``: `kind` is requesting or consulting, `zone` an IANA time zone."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    name: str = Field(min_length=1, max_length=200)
    kind: OrganisationKind
    zone: str = "UTC"


class TakesEntry(_Entry):
    """What a profile reads: a modality, of one body part or any, or by default."""

    modality: str = Field(min_length=1, max_length=16)
    body_part: str | None = Field(default=None, max_length=16)
    default: bool = False


class ProfileEntry(_Entry):
    """``[[profile]]``: a medical specialty (KZ §23)."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    name: str = Field(min_length=1, max_length=200)
    takes: tuple[TakesEntry, ...] = ()


class CompetenceEntry(_Entry):
    """A place on the list of a profile; the certificate is valid on its last day too."""

    profile: str
    valid_from: date | None = None
    valid_until: date | None = None


class ConsultantEntry(_Entry):
    """``[[consultant]]``: a certified specialist (KZ §2(3))."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    name: str = Field(min_length=1, max_length=200)
    organisation: str
    competences: tuple[CompetenceEntry, ...] = ()
    max_open: int = Field(default=3, ge=1, le=1000)
    present: bool = False


class PeerEntry(_Entry):
    """``[[peer]]``: an application entity that may call.

    `certificates` are those it shows over TLS, each the name of a file beside this one or its PEM
    text; with one it must use TLS unless `tls_required` is false.  `tls` says how we call it.
    `notify` says that it is told which studies are here (instance availability); `priors` that it
    is asked for a patient's earlier studies when a case opens.
    `reader` is the consultant whose workstation it is; where a file says nothing, that stays.
    """

    ae_title: str
    host: str
    port: int
    organisation: str
    issuer: str | None = None
    character_set: str = ""
    reader: str | None = None
    notify: bool = False
    priors: bool = False
    certificates: tuple[str, ...] = ()
    tls: bool = False
    tls_required: bool | None = None


class OrthancEntry(_Entry):
    """``[[orthanc]]``: one that is followed; its password is entered by ``telerad orthanc add``."""

    name: str
    url: str
    organisation: str
    username: str = ""
    issuer: str | None = None
    character_set: str = ""
    ca_file: str = ""


class Network(_Entry):
    """Everything that a file describes."""

    organisation: tuple[OrganisationEntry, ...] = ()
    profile: tuple[ProfileEntry, ...] = ()
    consultant: tuple[ConsultantEntry, ...] = ()
    peer: tuple[PeerEntry, ...] = ()
    orthanc: tuple[OrthancEntry, ...] = ()


def read(file: Path) -> Network:
    """Read a network from a TOML file.

    Raises
    ------
    NetworkUnreadable
        It cannot be read, is no TOML, or says something that a network does not have.
    """
    try:
        return _with_files(parse(file.read_text("utf-8")), file.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkUnreadable(f"the file cannot be read: {error}") from error


def parse(text: str) -> Network:
    """Read a network from the text of a TOML file; see `read`."""
    try:
        return Network.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise NetworkUnreadable(f"the network is no valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NetworkUnreadable(f"the network is wrong at {where}: {first['msg']}") from error


def enter(tx: Transaction, network: Network, *, settings: WorklistSettings, by: Actor) -> None:
    """Enter a network, or bring it up to date, all of it or nothing.

    What is there and not in the network stays; a peer that was removed and is in it is back.
    """
    act = Act(at=tx.at, by=by)
    for organisation in network.organisation:
        commands.add_organisation(tx, _organisation(organisation), act=act)
    for profile in network.profile:
        commands.add_profile(tx, _profile(profile), settings=settings, act=act)
    known = {reader.id for reader in worklist.store.list_readers(tx)}
    for consultant in network.consultant:
        commands.add_reader(tx, _reader(consultant), act=act)
        if consultant.present and consultant.id not in known:
            commands.set_presence(tx, consultant.id, present=True, act=act)
    for peer in network.peer:
        before = dicom_node.find_sender(tx, peer.ae_title)
        dicom_node.add_peer(tx, _peer(peer, before), actor=by)
        for text in peer.certificates:
            certificate = certificates.read(text.encode())
            dicom_node.bind_certificate(tx, peer.ae_title, certificate, actor=by)
    for orthanc in network.orthanc:
        orthancs.add(tx, _orthanc(orthanc), by=by)


def left_out(tx: Transaction, network: Network) -> list[str]:
    """Return the titles of registered peers that a network does not name."""
    named = {peer.ae_title for peer in network.peer}
    return [each.ae_title for each in dicom_node.list_peers(tx) if each.ae_title not in named]


def _with_files(network: Network, folder: Path) -> Network:
    """Return the network with the text of each certificate in the place of its file's name."""
    peers = tuple(
        peer.model_copy(
            update={
                "certificates": tuple(
                    text if "-----BEGIN" in text else _pem(folder / text)
                    for text in peer.certificates
                )
            }
        )
        for peer in network.peer
    )
    return network.model_copy(update={"peer": peers})


def _pem(file: Path) -> str:
    return certificates.read(file.read_bytes()).pem


def _organisation(entry: OrganisationEntry) -> Organisation:
    return Organisation(OrganisationId(entry.id), entry.name, entry.kind, entry.zone)


def _profile(entry: ProfileEntry) -> Profile:
    takes = tuple(Takes(one.modality, one.body_part, one.default) for one in entry.takes)
    return Profile(entry.id, entry.name, takes)


def _reader(entry: ConsultantEntry) -> Reader:
    return Reader(
        id=ReaderId(entry.id),
        name=entry.name,
        organisation_id=OrganisationId(entry.organisation),
        competences=tuple(_competence(one) for one in entry.competences),
        max_open=entry.max_open,
    )


def _competence(entry: CompetenceEntry) -> Competence:
    return Competence(
        entry.profile, _at(entry.valid_from, time()), _at(entry.valid_until, time.max)
    )


def _at(day: date | None, moment: time) -> datetime | None:
    return None if day is None else datetime.combine(day, moment, UTC)


def _peer(entry: PeerEntry, before: Peer | None) -> Peer:
    kept = before.reader_id if before else ""
    return Peer(
        ae_title=entry.ae_title,
        host=entry.host,
        port=entry.port,
        organisation_id=entry.organisation,
        issuer=entry.issuer or unstated_issuer(entry.organisation),
        character_set=entry.character_set,
        reader_id=kept if entry.reader is None else entry.reader,
        notify=entry.notify,
        priors=entry.priors,
        tls=entry.tls,
        tls_required=bool(entry.certificates) if entry.tls_required is None else entry.tls_required,
    )


def _orthanc(entry: OrthancEntry) -> Orthanc:
    return Orthanc(
        name=entry.name,
        url=entry.url,
        organisation_id=entry.organisation,
        username=entry.username,
        issuer=entry.issuer or unstated_issuer(entry.organisation),
        character_set=entry.character_set,
        ca_file=entry.ca_file,
    )
