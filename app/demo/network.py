"""The demo network: two rural hospitals, a mobile complex, two consulting organisations.

Every person is invented.  Seeding again changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files

from app import network
from app.authority import Authority, ensure_authority, issue
from app.bootstrap import DEMO_PASSPHRASE, SEAL, Parts
from app.identity import commands as identity
from app.identity import store as accounts
from app.network import Network
from kernel.people import Actor, Role
from storage import patients
from storage.engine import Transaction

BY = Actor(ref="system:demo", role=Role.ADMINISTRATOR)
KEY_TERM = timedelta(days=365)
ISSUER = "DEMO-REGION"
SENDER = "VAN1"
PATIENT_ID = "DEMO-0001"
PATIENT_NAME = "Demo^Aliya"
PATIENT_BIRTH_DATE = date(1978, 5, 14)


@dataclass(frozen=True, slots=True)
class Login:
    """A demo account, as it is shown to whoever tries the engine."""

    login: str
    name: str
    role: Role
    what: str
    organisation: str | None = None
    reader: str | None = None


def seed(parts: Parts, *, accounts_too: bool = True, say: Callable[[str], None] = print) -> None:
    """Make the network of the demo in the data directory; what is there already stays."""
    described = describe()
    _keys(parts, ensure_authority(parts.keys, at=parts.clock()), described)
    with parts.database.transaction() as tx:
        network.enter(tx, described, settings=parts.worklist, by=BY)
    if accounts_too:
        _accounts(parts, described, say)


def describe() -> Network:
    """Return the network of the demo as its file says."""
    return network.parse(files("app.demo").joinpath("network.toml").read_text("utf-8"))


def logins(described: Network) -> list[Login]:
    """Return the accounts of the demo; all have the passphrase of the demo as their password."""
    titles = {profile.id: profile.name for profile in described.profile}
    readers = [
        Login(
            one.id.removeprefix("r-"),
            one.name,
            Role.CONSULTANT,
            ", ".join(["consultant", *(titles[c.profile] for c in one.competences)]),
            one.organisation,
            one.id,
        )
        for one in described.consultant
    ]
    staff = [
        Login(f"{site.id}-doctor", "Attending doctor", Role.ATTENDING, site.name, site.id)
        for site in described.organisation
        if site.kind == "requesting"
    ]
    heads = [
        Login(f"{one.id}-admin", "Administrator", Role.ADMINISTRATOR, one.name, one.id)
        for one in described.organisation
    ]
    others = [
        Login("patient", "Demo Patient", Role.PATIENT, "patient"),
        Login("pharmacist", "Demo Pharmacist", Role.PHARMACIST, "pharmacist"),
    ]
    return [*readers, *staff, *heads, *others]


def _keys(parts: Parts, authority: Authority, described: Network) -> None:
    names = {one.id: one.name for one in described.organisation}
    owners = [(one.id, one.name, names[one.organisation]) for one in described.consultant]
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


def _accounts(parts: Parts, described: Network, say: Callable[[str], None]) -> None:
    with parts.database.reading() as tx:
        missing = [one for one in logins(described) if accounts.by_login(tx, one.login) is None]
    if missing:
        say(f"Making {len(missing)} demo accounts …")
    for one in missing:
        with parts.database.transaction() as tx:
            identity.add_user(
                tx,
                login=one.login,
                password=DEMO_PASSPHRASE,
                name=one.name,
                roles=[one.role],
                organisation_id=one.organisation,
                reader_id=one.reader,
                patient_ref=_patient(tx) if one.role is Role.PATIENT else None,
                by=BY,
            )


def _patient(tx: Transaction) -> str:
    return patients.register(
        tx,
        issuer=ISSUER,
        patient_id=PATIENT_ID,
        name=PATIENT_NAME,
        sex="F",
        birth_date=PATIENT_BIRTH_DATE,
    )
