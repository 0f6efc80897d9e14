"""The people and devices of a flow: a modality that sends, a consultant that reads over HTTP."""

import gc
import re
import socket
import warnings
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import httpx

import worklist
from app.bootstrap import DEMO_PASSPHRASE, Parts
from app.demo.network import BY, ISSUER, SENDER
from app.orders import Order, add
from dicom_node.errors import AssociationRefused, PeerUnreachable
from dicom_node.films import FilmOrder, to_dx
from dicom_node.peers import Peer
from dicom_node.send import Outgoing, SendSettings, send
from kernel.ids import derived_uid, fresh
from tests.flows.deployment import Deployment
from worklist.case import Case, CaseState

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


@dataclass
class Study:
    """One study of the test: what its site asks for and what its device sends."""

    accession: str = field(default_factory=lambda: f"T{fresh()[:12]}")
    patient_id: str = field(default_factory=lambda: f"P{fresh()[:12]}")
    patient_name: str = "Test^Person"
    acknowledged: bool = False
    number: int = 1

    @property
    def study_uid(self) -> str:
        """The Study Instance UID."""
        return derived_uid("test-study", self.accession)

    @property
    def instance_uid(self) -> str:
        """The UID of its one film."""
        return derived_uid("film", self.study_uid, self.number)

    def part10(self) -> bytes:
        """The film as the device sends it."""
        order = FilmOrder(
            study_uid=self.study_uid,
            patient_id=self.patient_id,
            issuer=ISSUER,
            patient_name=self.patient_name,
            sex="M",
            birth_date=date(1960, 3, 2),
            accession=self.accession,
            body_part="CHEST",
            view_position="PA",
            study_description="Chest PA",
            institution="Test site",
            made_at=datetime(2026, 11, 21, 10, tzinfo=UTC),
        )
        return to_dx(_PICTURE, order, number=self.number)

    def ask(self, parts: Parts) -> None:
        """Enter the request of the site."""
        order = Order(
            accession=self.accession,
            patient_id=self.patient_id,
            issuer=ISSUER,
            name=self.patient_name,
            modality="DX",
            station_ae_title=SENDER,
            organisation="van1",
        )
        with parts.database.transaction() as tx:
            add(tx, order, by=BY)

    def send(self, port: int) -> None:
        """Send until the node has said yes once; never again after that."""
        if self.acknowledged or not _listens(port):
            return
        node = Peer(
            ae_title="TELERAD", host="127.0.0.1", port=port, organisation_id="van1", issuer=ISSUER
        )
        try:
            outgoing = [Outgoing(self.instance_uid, self.part10())]
            (told,) = send(outgoing, node, SendSettings(ae_title=SENDER))
        except (PeerUnreachable, AssociationRefused):
            _collect_socket()
            return
        self.acknowledged = told.status == 0

    def case(self, parts: Parts) -> Case | None:
        """Return the case of the study, None if there is none yet."""
        with parts.database.reading() as tx:
            found = worklist.store.cases_of_study(tx, self.study_uid, lock=False)
        assert len(found) <= 1, "one request and one study are one case"
        return found[0] if found else None


class Consultant:
    """Reads and signs over HTTP, as a person with a browser would."""

    def __init__(self, deployment: Deployment, login: str) -> None:
        self._client = httpx.Client(base_url=deployment.web, follow_redirects=True, timeout=30)
        self._post("/sign-in", "/sign-in", login=login, password=DEMO_PASSPHRASE)

    def close(self) -> None:
        """Close the browser."""
        self._client.close()

    def read_and_sign(self, case: Case) -> None:
        """Do the next thing that the case needs from its consultant."""
        if case.state is CaseState.OFFERED:
            self._post("/queue", f"/cases/{case.id}/accept")
        page = self._client.get(f"/cases/{case.id}/read")
        if page.status_code != httpx.codes.OK:
            return
        if 'id="sign"' not in page.text:
            self._submit(
                page.text,
                f"/cases/{case.id}/report",
                {
                    "section-59776-5": "The lungs are clear.",
                    "section-19005-8": "No acute finding.",
                    "then": "finalise",
                },
            )
            page = self._client.get(f"/cases/{case.id}/read")
        self._submit(page.text, f"/cases/{case.id}/sign", {"passphrase": DEMO_PASSPHRASE})

    def _post(self, page: str, action: str, **fields: str) -> httpx.Response:
        return self._submit(self._client.get(page).text, action, fields)

    def _submit(self, html: str, action: str, fields: dict[str, str]) -> httpx.Response:
        hidden = dict(_HIDDEN.findall(html))
        return self._client.post(action, data={**hidden, **fields})


def _listens(port: int) -> bool:
    """Say whether anybody listens; pynetdicom leaves its socket open where nobody does."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _collect_socket() -> None:
    """Let go of the socket that pynetdicom leaves open where the node died in that moment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _picture() -> bytes:
    from importlib.resources import files

    return files("app.demo").joinpath("film/chest_pa.jpg").read_bytes()


_PICTURE = _picture()
