"""A whole engine on one machine, driven by hand: the relay turns when the test says so.

Real packages, a real database, real keys of a throw-away authority; nobody waits for the clock.
"""

import io
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

import httpx
from argon2 import PasswordHasher
from PIL import Image

from app.authority import ensure_authority, issue
from app.bootstrap import Parts
from app.engine import Engine
from app.http.application import create_app
from app.identity import commands as identity
from app.identity import store as people
from app.identity.person import Person
from app.orders import Order, add
from app.relay import Relay, run, tell
from app.settings import AiSettings, DicomSettings, Settings, StorageSettings
from dicom_node.films import FilmOrder, to_dx
from kernel.ids import OrganisationId, ReaderId, derived_uid, fresh
from kernel.people import Actor, Role
from storage import patients
from storage.outbox import Telling
from storage.work import DueWork
from tests.app.web_server import WebServer
from tests.services.migrated import migrate
from worklist import commands as worklist
from worklist import queries
from worklist.act import Act
from worklist.case import Case
from worklist.organisation import Organisation, OrganisationKind
from worklist.profile import Profile, Takes
from worklist.readers import Competence, Reader

PASSWORD = "correct horse battery"
PASSPHRASE = "staple"
ISSUER = "TEST-REGION"
NAME = "Marked^Patient"
BY = Actor("system:test", Role.ADMINISTRATOR)
THORAX = "thoracic"
_HIDDEN = re.compile(r'name="form_token" value="([^"]+)"')


class MovingClock:
    """A clock that the test pushes on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@cache
def _hash() -> str:
    # As cheap as it gets: what is tested is the way in, and every test goes it.
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


@cache
def _picture() -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").resize((96, 128)).save(out, "JPEG")
    return out.getvalue()


class AtOnce:
    """Does in the relay's own turn whatever the relay hands over."""

    def __init__(self, parts: Parts) -> None:
        self._database = parts.database
        self._reactions = parts.reactions()

    def tell(self, telling: Telling) -> None:
        """See `app.relay.Dispatch`."""
        tell(self._database, self._reactions, telling)

    def start(self, work: DueWork, id: str) -> bool:
        """See `app.relay.Dispatch`."""
        run(work, id)
        return True

    def close(self) -> None:
        """See `app.relay.Dispatch`."""


@dataclass
class Clinic:
    """Two sites, one clinic, two consultants of one profile, and everybody who may sign in."""

    directory: Path
    database_url: str = ""
    rejected_for_quality: Literal["hide", "show"] = "hide"
    clock: MovingClock = field(default_factory=MovingClock)

    def __post_init__(self) -> None:
        settings = Settings(
            data=self.directory,
            dicom=DicomSettings(quiet_s=1.0, rejected_for_quality=self.rejected_for_quality),
            ai=AiSettings(enabled=False),
            storage=StorageSettings(segment_mb=1, database_url=self.database_url),
        )
        self.parts = Parts(settings, clock=self.clock)
        migrate(self.parts.database)
        self._people()
        self.engine: Engine = self.parts.engine()
        self.server = WebServer(create_app(self.engine))
        self._clients: list[httpx.Client] = []
        self.relay = Relay(
            self.parts.database,
            self.parts.reactions(),
            self.parts.due_work(),
            AtOnce(self.parts),
        )

    def browser(self, login: str | None = None) -> "Browser":
        """Return a browser, signed in if a login is given."""
        browser = Browser(self._client())
        if login is not None:
            browser.sign_in(login)
        return browser

    def program(self, scopes: str, organisation: str | None = None) -> httpx.Client:
        """Return a client that shows a bearer token with these scopes, perhaps of a site."""
        with self.parts.database.transaction() as tx:
            token = identity.add_token(tx, "test", scopes.split(), organisation_id=organisation)
        return self._client(headers={"Authorization": f"Bearer {token}"})

    def film(self, accession: str = "A-1", patient_id: str = "P-1") -> bytes:
        """Return a small film as a Part 10 file."""
        return to_dx(
            _picture(),
            FilmOrder(
                study_uid=derived_uid("study", accession),
                patient_id=patient_id,
                issuer=ISSUER,
                patient_name=NAME,
                sex="F",
                birth_date=date(1970, 1, 31),
                accession=accession,
                body_part="CHEST",
                view_position="PA",
                study_description="Chest PA",
                institution="East",
                made_at=datetime(2026, 11, 21, tzinfo=UTC),
            ),
        )

    def send(self, accession: str = "A-1", patient_id: str = "P-1") -> None:
        """Store a film over STOW-RS."""
        answer = self.program("dicomweb:write").post(
            "/dicomweb/studies", **multipart(self.film(accession, patient_id))
        )
        assert answer.status_code == 200, answer.text

    def ask(self, accession: str = "A-1", patient_id: str = "P-1", site: str = "east") -> None:
        """Enter the request of a site."""
        order = Order(
            accession=accession,
            patient_id=patient_id,
            issuer=ISSUER,
            name=NAME,
            sex="F",
            birth_date=date(1970, 1, 31),
            modality="DX",
            organisation=site,
        )
        with self.parts.database.transaction() as tx:
            add(tx, order, by=BY)

    def settle(self) -> None:
        """Let time pass and the relay turn until nothing moves."""
        self.clock.now += timedelta(seconds=5)
        while self.relay.turn():
            self.clock.now += timedelta(milliseconds=100)

    def offered(self, accession: str = "A-1", patient_id: str = "P-1") -> Case:
        """Bring a study from its arrival to the offer."""
        self.ask(accession, patient_id)
        self.send(accession, patient_id)
        self.settle()
        return self.case(accession)

    def case(self, accession: str = "A-1") -> Case:
        """Return the case of an accession number."""
        with self.parts.database.reading() as tx:
            return next(c for c in queries.list_cases(tx) if c.accession == accession)

    def _client(self, headers: dict[str, str] | None = None) -> httpx.Client:
        client = httpx.Client(base_url=self.server.url, headers=headers, timeout=60)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Let go of everything."""
        for client in self._clients:
            client.close()
        self.server.close()
        self.parts.journal.close()
        self.parts.database.dispose()

    def _people(self) -> None:
        at = self.clock()
        authority = ensure_authority(self.parts.keys, at=at)
        for reader_id, name in (("r-one", "Reader One"), ("r-two", "Reader Two")):
            issue(
                authority,
                reader_id=reader_id,
                name=name,
                organisation="Alpha",
                passphrase=PASSPHRASE,
                valid_from=at - timedelta(days=1),
                valid_until=at + timedelta(days=365),
            )
        with self.parts.database.transaction() as tx:
            act = Act(tx.at, BY)
            for id, kind in (
                ("east", OrganisationKind.REQUESTING),
                ("west", OrganisationKind.REQUESTING),
                ("alpha", OrganisationKind.CONSULTING),
            ):
                organisation = Organisation(OrganisationId(id), id.title(), kind)
                worklist.add_organisation(tx, organisation, act=act)
            profile = Profile(THORAX, "Thoracic radiology", (Takes("DX", default=True),))
            worklist.add_profile(tx, profile, settings=self.parts.worklist, act=act)
            for reader_id, name in (("r-one", "Reader One"), ("r-two", "Reader Two")):
                reader = Reader(
                    id=ReaderId(reader_id),
                    name=name,
                    organisation_id=OrganisationId("alpha"),
                    competences=(Competence(THORAX),),
                )
                worklist.add_reader(tx, reader, act=act)
            worklist.set_presence(tx, "r-one", present=True, act=act)
            ref = patients.register(
                tx,
                issuer=ISSUER,
                patient_id="P-1",
                name=NAME,
                sex="F",
                birth_date=date(1970, 1, 31),
            )
            accounts = (
                ("one", {Role.CONSULTANT}, "alpha", "r-one", None),
                ("two", {Role.CONSULTANT}, "alpha", "r-two", None),
                ("east", {Role.ATTENDING}, "east", None, None),
                ("west", {Role.TECHNOLOGIST}, "west", None, None),
                ("head", {Role.ADMINISTRATOR}, "alpha", None, None),
                ("eastadmin", {Role.ADMINISTRATOR}, "east", None, None),
                ("westadmin", {Role.ADMINISTRATOR}, "west", None, None),
                ("patient", {Role.PATIENT}, None, None, ref),
                ("pharmacist", {Role.PHARMACIST}, None, None, None),
            )
            for login, roles, organisation_id, reader_id, patient_ref in accounts:
                person = Person(
                    id=fresh(),
                    login=login,
                    name=f"Name of {login}",
                    roles=frozenset(roles),
                    organisation_id=organisation_id,
                    reader_id=reader_id,
                    patient_ref=patient_ref,
                )
                people.add_user(tx, person, _hash())


@dataclass
class Browser:
    """What a person does: opens pages and sends the forms that stand on them."""

    client: httpx.Client
    token: str = ""

    def sign_in(self, login: str, password: str = PASSWORD):
        """Fill in the form of the sign-in page."""
        self.get("/sign-in")
        return self.post("/sign-in", login=login, password=password)

    def get(self, path: str, **headers: str):
        """Open a page; remember the token of its forms."""
        page = self.client.get(path, headers={"Accept": "text/html", **headers})
        found = (
            _HIDDEN.search(page.text)
            if "text/html" in page.headers.get("content-type", "")
            else None
        )
        self.token = found.group(1) if found else self.token
        return page

    def post(self, path: str, **fields: str):
        """Send a form of the page that was opened last."""
        answer = self.client.post(
            path, data={"form_token": self.token, **fields}, headers={"Accept": "text/html"}
        )
        if answer.status_code == 303:
            self.get(answer.headers["location"])
        return answer

    def put(self, path: str, **fields: str):
        """Send a form as htmx does."""
        return self.client.put(
            path,
            data={"form_token": self.token, **fields},
            headers={"Accept": "text/html", "HX-Request": "true"},
        )

    def write(self, case: Case, findings: str, impression: str, then: str = "save"):
        """Fill in the report of the reading page."""
        page = self.get(f"/cases/{case.id}/read")
        revision = re.search(r'name="revision" value="(\d+)"', page.text)
        assert revision is not None, page.text
        return self.post(
            f"/cases/{case.id}/report",
            revision=revision.group(1),
            then=then,
            **{"section-59776-5": findings, "section-19005-8": impression},
        )


def multipart(*files: bytes, boundary: str = "bounds") -> dict[str, object]:
    """Return the arguments of a STOW-RS request."""
    body = b"".join(
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + data + b"\r\n"
        for data in files
    )
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    return {
        "content": body + f"--{boundary}--\r\n".encode(),
        "headers": {"Content-Type": kind, "Accept": "application/dicom+json"},
    }
