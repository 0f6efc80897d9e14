"""Commands that say who patients are: the same person, two persons, of another name."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.corrections import make_correction, reason_option
from app.cli.entries import BY, _table
from app.cli.options import data_option, json_option, parts_of
from kernel.errors import Refused

if TYPE_CHECKING:
    from storage.correction import Correction
    from storage.engine import Transaction
    from storage.patients import Patient


class PatientUnclear(Refused):
    """Several patients have this id."""

    code = "cli.patient_unclear"


@click.group()
def patient() -> None:
    """Patients: merge, keep apart, correct.

    A patient is named ID^^^ISSUER, as in HL7, by the id alone where no other has it, or by the
    engine's own reference.
    """


@patient.command("find")
@click.argument("patient_id")
@data_option
@json_option
def _patient_find(patient_id: str, data: Path, as_json: bool) -> None:
    """List the patients with an id."""
    from storage import patients

    parts = parts_of(data)
    with parts.database.reading() as tx:
        found = [_row(tx, each) for each in patients.find(tx, *_id_and_issuer(patient_id))]
    _table(found, as_json=as_json)


@patient.command("alike")
@data_option
@json_option
def _patient_alike(data: Path, as_json: bool) -> None:
    """List patients who may be one: a person decides.

    One of the two came without a stated issuer, and its id is the other's.
    """
    from storage import patients

    parts = parts_of(data)
    with parts.database.reading() as tx:
        rows = [
            {
                "patient_id": one.patient_id,
                "from": one.issuer,
                "name": one.name,
                "like": two.issuer,
                "like_name": two.name,
                "ref": one.ref,
                "like_ref": two.ref,
            }
            for one, two in patients.lookalikes(tx)
        ]
    _table(rows, as_json=as_json)


@patient.command("merge")
@click.argument("other")
@click.argument("stays")
@reason_option
@data_option
@json_option
def _patient_merge(other: str, stays: str, reason: str, data: Path, as_json: bool) -> None:
    """Say that OTHER is the same person as STAYS.

    All is shown under the identity of STAYS.
    """
    from storage import corrections

    def make(tx: "Transaction") -> "Correction":
        return corrections.merge(tx, ref_of(tx, other), ref_of(tx, stays), reason=reason, actor=BY)

    make_correction(data, make, as_json=as_json)


@patient.command("apart")
@click.argument("one")
@click.argument("two")
@reason_option
@data_option
@json_option
def _patient_apart(one: str, two: str, reason: str, data: Path, as_json: bool) -> None:
    """Say that two patients with the same id are two persons."""
    from storage import corrections

    def make(tx: "Transaction") -> "Correction":
        return corrections.keep_apart(tx, ref_of(tx, one), ref_of(tx, two), reason=reason, actor=BY)

    make_correction(data, make, as_json=as_json)


@patient.command("correct")
@click.argument("who")
@click.option("--name", help="The right name, as in DICOM: Family^Given^Middle.")
@click.option("--sex", help="The right sex: F, M or O.")
@click.option("--birth-date", help="The right date, YYYY-MM-DD; '' for none.")
@reason_option
@data_option
@json_option
def _patient_correct(
    who: str,
    name: str | None,
    sex: str | None,
    birth_date: str | None,
    reason: str,
    data: Path,
    as_json: bool,
) -> None:
    """Say what name, sex or birth date of a patient are."""
    from storage import corrections

    told = {"name": name, "sex": sex, "birth_date": birth_date}
    values = {field: value for field, value in told.items() if value is not None}

    def make(tx: "Transaction") -> "Correction":
        return corrections.correct_patient(tx, ref_of(tx, who), values, reason=reason, actor=BY)

    make_correction(data, make, as_json=as_json)


def _row(tx: "Transaction", found: "Patient") -> dict[str, str]:
    from storage import patients

    stands = patients.stands_for(tx, found.ref)
    return {
        "patient_id": found.patient_id,
        "issuer": found.issuer,
        "name": found.name,
        "sex": found.sex,
        "birth_date": found.birth_date.isoformat() if found.birth_date else "",
        "ref": found.ref,
        "merged_into": "" if stands == found.ref else stands,
    }


def _id_and_issuer(told: str) -> tuple[str, str]:
    """Read ID^^^ISSUER, as in a CX field of HL7 v2."""
    patient_id, _, rest = told.partition("^")
    return patient_id, rest.lstrip("^")


def ref_of(tx: "Transaction", told: str) -> str:
    """Return the reference of a patient that a person named.

    Raises
    ------
    PatientUnknown, PatientUnclear
        Nobody, or several, are named so.
    """
    from storage import patients
    from storage.patients import PatientUnknown

    found = patients.find(tx, *_id_and_issuer(told))
    if len(found) > 1:
        issuers = ", ".join(each.issuer for each in found)
        raise PatientUnclear(f"several patients have this id: say ID^^^ISSUER, of {issuers}")
    if found:
        return found[0].ref
    try:
        return patients.registered(tx, told).ref
    except PatientUnknown:
        raise PatientUnknown("no patient has this id or reference") from None
