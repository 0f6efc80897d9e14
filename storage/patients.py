"""The registry of patients: the one place that holds names, asked downward by every package."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from kernel.errors import NotFound
from kernel.ids import PatientRef, derived
from storage import patient_names
from storage.engine import Transaction
from storage.tables.patients import PATIENTS

_UNSTATED = "unstated:"
_INSERT = {
    name: dialect.insert(PATIENTS).on_conflict_do_nothing().returning(PATIENTS.c.ref)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}


@dataclass(frozen=True, slots=True)
class Patient:
    """One person as one issuer of identifiers knows them."""

    ref: PatientRef
    issuer: str
    patient_id: str
    name: str
    sex: str
    birth_date: date | None


class PatientUnknown(NotFound):
    """No patient has this reference."""

    code = "storage.patient_unknown"


def register(
    tx: Transaction,
    *,
    issuer: str,
    patient_id: str,
    name: str,
    sex: str,
    birth_date: date | None,
) -> PatientRef:
    """Return the reference of (issuer, id); the first registration settles the demographics.

    Later senders that spell the name otherwise change nothing: corrections are an explicit act.
    """
    ref = PatientRef(derived("patient", issuer, patient_id))
    made = tx.execute(
        _INSERT[tx.dialect],
        {
            "ref": ref,
            "issuer": issuer,
            "patient_id": patient_id,
            "name": name,
            "sex": sex,
            "birth_date": birth_date,
            "registered_at": tx.at,
        },
    )
    if made.first() is not None:
        patient_names.enter(tx, {ref: name})
    return ref


def unstated_issuer(organisation_id: str) -> str:
    """Return what stands for the issuer where neither sender nor order states one.

    Scoped by organisation, so that two hospitals that count from 1 never share a patient.
    """
    return f"{_UNSTATED}{organisation_id}"[:64]


def same_person(tx: Transaction, ref: str) -> frozenset[PatientRef]:
    """Return the references that may stand for the same person as `ref`, itself among them.

    Where one side does not state its issuer, the patient id alone is compared; it proves nothing
    by itself and serves only beside further evidence, such as the accession number.
    """
    row = tx.execute(select(PATIENTS).where(PATIENTS.c.ref == ref)).mappings().first()
    if row is None:
        return frozenset({PatientRef(ref)})
    others = tx.execute(
        select(PATIENTS.c.ref, PATIENTS.c.issuer).where(
            PATIENTS.c.patient_id == row["patient_id"], PATIENTS.c.patient_id != ""
        )
    )
    mine = row["issuer"].startswith(_UNSTATED)
    return frozenset(
        {PatientRef(ref)}
        | {PatientRef(o.ref) for o in others if mine or o.issuer.startswith(_UNSTATED)}
    )


def get(tx: Transaction, ref: str) -> Patient:
    """Return the patient of a reference.

    Raises
    ------
    PatientUnknown
        No patient has this reference.
    """
    row = tx.execute(select(PATIENTS).where(PATIENTS.c.ref == ref)).mappings().first()
    if row is None:
        raise PatientUnknown("no patient has this reference", ref=ref)
    return Patient(
        PatientRef(row["ref"]),
        row["issuer"],
        row["patient_id"],
        row["name"],
        row["sex"],
        row["birth_date"],
    )
