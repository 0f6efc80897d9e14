"""How instances are shown: whose they are and under which number, where that is not as received.

A study is shown as one patient's.  Its instances may have been received for several, who were
merged since or before: each is shown as whoever stands for the patient that it names itself, so
that taking a merge back gives each of them the identity with which it came.

References
----------
docs/adr, corrections lie on top.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, exists, func, or_, select

from storage.correction import Kind, demographics, merges
from storage.corrections import of_subjects
from storage.engine import Transaction
from storage.hidden import INSTANCE_SHOWN
from storage.patients import Patient, get, may_be_one
from storage.prepared import UIDS, Prepared, among
from storage.tables.archive import INSTANCE_PATIENTS, INSTANCES, STUDIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an instance says of itself on the way out, where that is not what was received.

    Parameters
    ----------
    patient
        Whose it is, if it names another; None if it names the right one.
    demographics
        What is right of that patient, by name, where the sender was wrong.
    accession
        The right number; None if the sender's is right.
    another_person
        It was made of another person than the sender said: nothing that describes the patient
        holds.
    """

    study_uid: str
    patient: Patient | None
    demographics: Mapping[str, str]
    accession: str | None
    another_person: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class StudyShown:
    """How the instances of a study are shown, of which at least one is not as it was received.

    Parameters
    ----------
    most
        Those that name the patient whom the first of the study named; None: as received.
    others
        Each that names another, by its UID.
    """

    most: Shown | None
    others: Mapping[str, Shown | None]

    def of(self, instance_uid: str) -> Shown | None:
        """Return how an instance is shown; None if it is as it was received."""
        return self.others.get(instance_uid, self.most)


def study_shown(tx: Transaction, study_uid: str) -> StudyShown | None:
    """Return how a study is shown; None, as for almost all, if it is as it was received."""
    row = tx.execute(_CORRECTED, {"uid": study_uid}).mappings().first()
    if row is None:
        return None
    of_study = _OfStudy(tx, row)
    most = of_study.shown_for(of_study.received)
    named = tx.execute(_NAMED, {"uid": study_uid}).all()
    by_ref = {ref: of_study.shown_for(ref) for ref in sorted({each.patient_ref for each in named})}
    others = {each.instance_uid: by_ref[each.patient_ref] for each in named}
    if most is None and not any(others.values()):
        return None
    return StudyShown(most, others)


def anothers(tx: Transaction, study_uids: Iterable[str]) -> dict[str, Patient]:
    """Return whose the instances of some studies are that are another person's than their study.

    Almost always there is none, which is one look into an index.
    """
    found: dict[str, Patient] = {}
    for (study_uid,) in tx.rows(_NAMING_OTHERS, (sorted(set(study_uids)),)):
        row = tx.execute(_CORRECTED, {"uid": study_uid}).mappings().one()
        of_study = _OfStudy(tx, row)
        named = tx.execute(_NAMED, {"uid": study_uid}).all()
        refs = sorted({each.patient_ref for each in named})
        whose = {ref: get(tx, ref) for ref in refs if of_study.is_anothers(ref)}
        found |= {
            each.instance_uid: whose[each.patient_ref]
            for each in named
            if each.patient_ref in whose
        }
    return found


def of_others(tx: Transaction, study_uid: str) -> int:
    """Return how many instances of a study are another person's than the study.

    They came while the two were one by a merge that was taken back since.
    """
    named = tx.execute(_COUNTED, {"uid": study_uid}).all()
    row = tx.execute(_CORRECTED, {"uid": study_uid}).mappings().first() if named else None
    if row is None:
        return 0
    of_study = _OfStudy(tx, row)
    return sum(each.number for each in named if of_study.is_anothers(each.patient_ref))


_COUNTED = (
    select(INSTANCE_PATIENTS.c.patient_ref, func.count().label("number"))
    .join(INSTANCES, INSTANCES.c.instance_uid == INSTANCE_PATIENTS.c.instance_uid)
    .where(INSTANCE_PATIENTS.c.study_uid == bindparam("uid"), INSTANCE_SHOWN)
    .group_by(INSTANCE_PATIENTS.c.patient_ref)
)
_NAMED = select(INSTANCE_PATIENTS.c.instance_uid, INSTANCE_PATIENTS.c.patient_ref).where(
    INSTANCE_PATIENTS.c.study_uid == bindparam("uid")
)
_NAMING_OTHERS = Prepared.on_both(
    lambda dialect: (
        select(INSTANCE_PATIENTS.c.study_uid)
        .where(among(INSTANCE_PATIENTS.c.study_uid, dialect))
        .distinct()
    ),
    (UIDS,),
)
_NAMES_OTHERS = exists(
    select(1).where(INSTANCE_PATIENTS.c.study_uid == STUDIES.c.study_uid).correlate(STUDIES)
)
_CORRECTED = select(STUDIES).where(
    STUDIES.c.study_uid == bindparam("uid"),
    or_(STUDIES.c.corrected_at.is_not(None), _NAMES_OTHERS),
)


class _OfStudy:
    """What is right of the instances of a study, by the patient whom they name."""

    def __init__(self, tx: Transaction, row: Mapping[Any, Any]) -> None:
        self._tx = tx
        self._row = row
        self.received: str = row["received_patient_ref"] or row["patient_ref"]
        self._whole = get(tx, row["patient_ref"])
        said = of_subjects(tx, [row["study_uid"]])
        moves = [each for each in said if each.kind is Kind.STUDY_PATIENT]
        self._moved = any(each.in_force for each in moves)
        self._moved_at = [each.withdrawn_at or each.made_at for each in moves]

    def shown_for(self, named: str) -> Shown | None:
        """Return how those are shown that name a patient; None if as they were received."""
        patient, is_right = self._whose(named)
        right = demographics(patient.ref, of_subjects(self._tx, [patient.ref])) if is_right else {}
        accession = self._accession()
        if is_right and not right and accession is None:
            return None
        return Shown(
            study_uid=self._row["study_uid"],
            patient=None if is_right else patient,
            demographics=right,
            accession=accession,
            another_person=self._moved and not is_right,
            at=self._at(named, patient),
        )

    def _whose(self, named: str) -> tuple[Patient, bool]:
        """Return whose the instances are that name a patient, and whether they say so.

        They are the study's patient's, but for those that name somebody else: who came into the
        study by a merge that was taken back since.
        """
        whole = self._whole
        if self.is_anothers(named):
            own = get(self._tx, named)
            return own, own.ref == named
        if self._moved or get(self._tx, named).ref == whole.ref:
            return whole, named == whole.ref
        return whole, whole.ref == self.received  # it leaves open who the patient is

    def is_anothers(self, named: str) -> bool:
        """Say whether instances that name a patient are another person's than the study."""
        own = get(self._tx, named).ref
        if self._moved or own == self._whole.ref:
            return False
        if own != named:
            return True
        whose = {self.received, self._whole.ref}
        return not any(may_be_one(self._tx, each, named) for each in sorted(whose))

    def _accession(self) -> str | None:
        now, received = self._row["accession"], self._row["received_accession"]
        return now if received is not None and received != now else None

    def _at(self, named: str, patient: Patient) -> datetime:
        """Return when the last was said, or taken back, that bears on what is shown."""
        said = of_subjects(self._tx, [*_merged_on(self._tx, named), patient.ref])
        moments = [each.withdrawn_at or each.made_at for each in said if each.kind in _REWRITES]
        moments += self._moved_at  # of a study that was moved back nothing else may be left
        derived: datetime | None = self._row["corrected_at"]
        return max(moments if derived is None else [derived, *moments])


_REWRITES = (Kind.MERGE, Kind.DEMOGRAPHICS)


def _merged_on(tx: Transaction, ref: str) -> list[str]:
    """Return a patient and, one after the other, those into whom it is merged."""
    refs, merged = [ref], merges(of_subjects(tx, [ref]))
    while refs[-1] in merged:
        refs.append(merged[refs[-1]])
        merged = merges(of_subjects(tx, refs[-1:]))
    return refs
