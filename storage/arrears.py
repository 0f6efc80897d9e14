"""What an earlier version did not write down: whom an instance names, and what was kept aside.

The migration enters what may lack it (`storage.migrations`), so that a new archive has nothing of
the kind.  Who reads the headers again says here what they tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, update

from storage import claims
from storage.arrivals import Admission, Conflict
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.journal import Place
from storage.signs import due_by
from storage.tables.archive import ARRIVALS, INSTANCE_PATIENTS, STUDIES
from storage.tables.arrears import ARREARS
from storage.tables.patients import PATIENTS

_STUDY, _ARRIVAL = "study", "arrival"
SIGNS = (due_by(ARREARS.c.due_at),)


@dataclass(frozen=True, slots=True)
class Arrear:
    """A study whose instances are read again, or an arrival in quarantine.

    `after` is the last instance of the study that was read.
    """

    id: str
    after: str
    attempts: int

    @property
    def study_uid(self) -> str:
        """The study; empty if it is an arrival."""
        kind, _, key = self.id.partition(":")
        return key if kind == _STUDY else ""


@dataclass(frozen=True, slots=True)
class KeptAside:
    """An arrival in quarantine of which an earlier version did not note what admits it."""

    place: Place
    object_key: str | None
    source: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent the first instance of a study."""

    ae_title: str
    organisation_id: str
    received_ref: str


def due(tx: Transaction) -> list[str]:
    """Return what is read next: one at a time, for nobody waits for it."""
    return claims.due(tx, ARREARS.c.id, limit=1)


def claim(tx: Transaction, id: str, *, until: datetime) -> Arrear | None:
    """Take one for a time; None if another has it, or it is done."""
    row = claims.claim(tx, ARREARS.c.id, id, until=until)
    return None if row is None else Arrear(row["id"], row["after"], row["attempts"])


def go_on(tx: Transaction, arrear: Arrear, *, after: str, due_at: datetime, failed: bool) -> None:
    """Note how far one is read, and when to go on."""
    values = {"after": after, "due_at": due_at} | ({} if failed else {"attempts": 0})
    tx.execute(update(ARREARS).where(ARREARS.c.id == arrear.id).values(values))


def end(tx: Transaction, arrear: Arrear) -> None:
    """Strike one off."""
    tx.execute(delete(ARREARS).where(ARREARS.c.id == arrear.id))


def left(tx: Transaction) -> tuple[int, int]:
    """Return how many studies, and arrivals in quarantine, are still to be read."""
    return _number(tx, _STUDY), _number(tx, _ARRIVAL)


def _number(tx: Transaction, kind: str) -> int:
    query = select(func.count()).select_from(ARREARS)
    return int(tx.execute(query.where(ARREARS.c.id.startswith(f"{kind}:"))).scalar_one())


def sender(tx: Transaction, study_uid: str) -> Sender | None:
    """Return who sent a study; None if there is none."""
    received = func.coalesce(STUDIES.c.received_patient_ref, STUDIES.c.patient_ref).label(
        "received"
    )
    row = tx.execute(
        select(STUDIES.c.station_ae_title, STUDIES.c.sender_organisation, received).where(
            STUDIES.c.study_uid == study_uid
        )
    ).first()
    if row is None:
        return None
    return Sender(row.station_ae_title, row.sender_organisation, row.received)


def sources(tx: Transaction, instance_uid: str) -> list[str]:
    """Return who sent an instance; no index serves it, so it is asked where need be alone."""
    query = select(ARRIVALS.c.source).where(
        ARRIVALS.c.instance_uid == instance_uid, ARRIVALS.c.outcome == Admission.STORED.value
    )
    return sorted(set(tx.execute(query).scalars()))


def with_id(tx: Transaction, patient_id: str) -> dict[str, str]:
    """Return the issuers of those who are registered with a patient id, by reference."""
    query = select(PATIENTS.c.ref, PATIENTS.c.issuer).where(PATIENTS.c.patient_id == patient_id)
    return {row.ref: row.issuer for row in tx.execute(query)}


def name(tx: Transaction, study_uid: str, named: Sequence[tuple[str, str]]) -> None:
    """Note whom instances name that name another than the first of their study, by UID."""
    if named:
        rows = [
            {"instance_uid": uid, "study_uid": study_uid, "patient_ref": ref} for uid, ref in named
        ]
        tx.execute(insert_into(tx, INSTANCE_PATIENTS).on_conflict_do_nothing(), rows)


def kept_aside(tx: Transaction, arrear: Arrear) -> KeptAside | None:
    """Return the arrival if it still waits in quarantine without what admits it."""
    segment, _, offset = arrear.id.removeprefix(f"{_ARRIVAL}:").rpartition(":")
    row = tx.execute(
        select(ARRIVALS).where(
            ARRIVALS.c.segment == segment,
            ARRIVALS.c.offset == int(offset),
            ARRIVALS.c.outcome == Admission.QUARANTINED.value,
            ARRIVALS.c.code == Conflict.OTHER_PATIENT.value,
            ARRIVALS.c.study_uid.is_(None),
        )
    ).first()
    if row is None:
        return None
    place = Place(row.segment, row.offset, row.length, row.digest)
    return KeptAside(place, row.object_key, row.source, row.received_at)
