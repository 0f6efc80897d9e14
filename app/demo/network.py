"""The demo network: two rural hospitals, a mobile complex, two consulting organisations.

Every person is invented.  Seeding again changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import worklist.store
from app.authority import Authority, ensure_authority, issue
from app.bootstrap import DEMO_PASSPHRASE, SEAL, Parts
from app.identity import commands as identity
from app.identity import store as accounts
from dicom_node import commands as dicom_node
from dicom_node.peers import Peer
from kernel.ids import OrganisationId, ReaderId
from kernel.people import Actor, Role
from storage import patients
from storage.engine import Transaction
from worklist import commands
from worklist.act import Act
from worklist.organisation import Organisation, OrganisationKind
from worklist.profile import Profile, Takes
from worklist.readers import Competence, Reader

BY = Actor(ref="system:demo", role=Role.ADMINISTRATOR)
KEY_TERM = timedelta(days=365)
ISSUER = "DEMO-REGION"
SENDER = "VAN1"

SITES = {
    "east": "District Hospital East",
    "west": "District Hospital West",
    "van1": "Mobile Diagnostic Complex 1",
}
CLINICS = {"alpha": "Alpha Radiology Centre", "beta": "Beta University Clinic"}

PROFILES = (
    Profile(
        "thoracic",
        "Thoracic radiology",
        (
            Takes("CR", default=True),
            Takes("DX", default=True),
            Takes("CT", default=True),
            Takes("CR", "CHEST"),
            Takes("DX", "CHEST"),
            Takes("CT", "CHEST"),
        ),
    ),
    Profile(
        "neuro",
        "Neuroradiology",
        (
            Takes("MR", default=True),
            Takes("MR", "HEAD"),
            Takes("MR", "BRAIN"),
            Takes("CT", "HEAD"),
            Takes("CT", "BRAIN"),
        ),
    ),
    Profile(
        "msk",
        "Musculoskeletal radiology",
        tuple(
            Takes(modality, part)
            for modality in ("CR", "DX", "CT", "MR")
            for part in ("HAND", "KNEE", "SHOULDER", "SPINE", "CSPINE", "LSPINE", "EXTREMITY")
        ),
    ),
)

READERS = (
    ("r-ahmet", "Aigerim Ahmetova", "alpha", ("thoracic",)),
    ("r-bilyk", "Oksana Bilyk", "beta", ("thoracic", "msk")),
    ("r-dimov", "Petar Dimov", "alpha", ("neuro",)),
    ("r-hrytsak", "Andriy Hrytsak", "beta", ("neuro",)),
    ("r-ivanova", "Elena Ivanova", "alpha", ("msk",)),
    ("r-nurlan", "Daniyar Nurlanov", "beta", ("msk", "thoracic")),
)


@dataclass(frozen=True, slots=True)
class Login:
    """A demo account, as it is shown to whoever tries the engine."""

    login: str
    name: str
    what: str


def seed(
    parts: Parts, *, accounts_too: bool = True, say: Callable[[str], None] = lambda _line: None
) -> None:
    """Make the network of the demo in the data directory; what is there already stays."""
    at = parts.clock()
    authority = ensure_authority(parts.keys, at=at)
    _keys(parts, authority)
    with parts.database.transaction() as tx:
        _organisations(tx, parts)
    if accounts_too:
        _accounts(parts, say)


def logins() -> list[Login]:
    """Return the accounts of the demo; all have the passphrase of the demo as their password."""
    titles = {profile.id: profile.name for profile in PROFILES}
    readers = [
        Login(id.removeprefix("r-"), name, f"consultant, {', '.join(titles[p] for p in profiles)}")
        for id, name, _clinic, profiles in READERS
    ]
    staff = [
        Login(f"{site}-doctor", f"Attending doctor, {name}", "sends and asks")
        for site, name in SITES.items()
    ]
    heads = [
        Login(f"{org}-admin", f"Administrator, {name}", "administrator")
        for org, name in (SITES | CLINICS).items()
    ]
    return [
        *readers,
        *staff,
        *heads,
        Login("patient", "Demo Patient", "patient"),
        Login("pharmacist", "Demo Pharmacist", "pharmacist"),
    ]


def _keys(parts: Parts, authority: Authority) -> None:
    owners = [(id, name, CLINICS[clinic]) for id, name, clinic, _ in READERS]
    for owner, name, organisation in [*owners, (SEAL, "Organisation seal", "Demo region")]:
        if parts.key_file(owner).exists():
            continue
        issue(
            authority,
            reader_id=owner,
            name=name,
            organisation=organisation,
            passphrase=DEMO_PASSPHRASE,
            valid_from=parts.clock() - timedelta(days=1),
            valid_until=parts.clock() + KEY_TERM,
        )


def _organisations(tx: Transaction, parts: Parts) -> None:
    act = Act(at=tx.at, by=BY)
    for kind, group in (
        (OrganisationKind.REQUESTING, SITES),
        (OrganisationKind.CONSULTING, CLINICS),
    ):
        for id, name in group.items():
            organisation = Organisation(OrganisationId(id), name, kind, "Asia/Almaty")
            commands.add_organisation(tx, organisation, act=act)
    for profile in PROFILES:
        commands.add_profile(tx, profile, settings=parts.worklist, act=act)
    known = {reader.id for reader in worklist.store.list_readers(tx)}
    for id, name, clinic, profiles in READERS:
        if id in known:
            continue
        competences = tuple(Competence(profile) for profile in profiles)
        commands.add_reader(
            tx,
            Reader(
                id=ReaderId(id),
                name=name,
                organisation_id=OrganisationId(clinic),
                competences=competences,
                max_open=20,
            ),
            act=act,
        )
        commands.set_presence(tx, id, present=True, act=act)
    if SENDER not in {peer.ae_title for peer in dicom_node.list_peers(tx)}:
        dicom_node.add_peer(
            tx,
            Peer(
                ae_title=SENDER,
                host="127.0.0.1",
                port=104,
                organisation_id="van1",
                issuer=ISSUER,
            ),
            actor=BY,
        )


def _accounts(parts: Parts, say: Callable[[str], None]) -> None:
    with parts.database.reading() as tx:
        missing = [one for one in logins() if accounts.by_login(tx, one.login) is None]
    if missing:
        say(f"Making {len(missing)} demo accounts …")
    for one in missing:
        with parts.database.transaction() as tx:
            identity.add_user(
                tx,
                login=one.login,
                password=DEMO_PASSPHRASE,
                name=one.name,
                roles=[_role(one)],
                organisation_id=_organisation(one),
                reader_id=_reader(one),
                patient_ref=_patient(tx) if one.login == "patient" else None,
                by=BY,
            )


def _role(one: Login) -> Role:
    if one.what.startswith("consultant"):
        return Role.CONSULTANT
    if one.login.endswith("-doctor"):
        return Role.ATTENDING
    return Role.ADMINISTRATOR if one.login.endswith("-admin") else Role(one.what)


def _organisation(one: Login) -> str | None:
    for id, _name, clinic, _profiles in READERS:
        if one.login == id.removeprefix("r-"):
            return clinic
    prefix = one.login.rsplit("-", 1)[0]
    return prefix if prefix in SITES | CLINICS else None


def _reader(one: Login) -> str | None:
    return next((id for id, *_ in READERS if id == f"r-{one.login}"), None)


def _patient(tx: Transaction) -> str:
    return patients.register(
        tx,
        issuer=ISSUER,
        patient_id=PATIENT_ID,
        name=PATIENT_NAME,
        sex="F",
        birth_date=PATIENT_BIRTH_DATE,
    )


PATIENT_ID = "DEMO-0001"
PATIENT_NAME = "Demo^Aliya"
PATIENT_BIRTH_DATE = date(1978, 5, 14)
