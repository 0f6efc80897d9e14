"""Whom a workitem is about, as that is known now: corrections applied on the way out.

What is kept is what was told when the workitem was created; a correction that is taken back leaves
it as it was.

References
----------
DICOM PS3.4 table CC.2.5-3 (patient attributes); IHE PIR (patient reconciliation).
"""

from collections.abc import Iterable
from dataclasses import replace

from dicom_node import store as rows
from dicom_node.data_sets import Attribute, Attributes, attribute
from dicom_node.dictionary import tag_of
from dicom_node.workitems.subscriber import Asker
from dicom_node.workitems.workitem import Workitem
from kernel.ids import UNIDENTIFIED
from storage import archive_find, patients
from storage.engine import Transaction
from storage.patients import Patient, Standing

_DESCRIBED = {"name": "PatientName", "sex": "PatientSex", "birth_date": "PatientBirthDate"}
_QUALIFIERS = "IssuerOfPatientIDQualifiersSequence"


def named(given: Attributes, asker: Asker) -> str | None:
    """Return the reference of the patient whom a workitem names; None if it names none.

    Whose id it is, if that is not told, is assumed as of the instances of who asks.
    """
    patient_id = given.value("PatientID").strip()
    if not patient_id:
        return None
    told = given.value("IssuerOfPatientID").strip() or asker.issuer
    issuer = told or patients.unstated_issuer(asker.organisation_id or "")
    return patients.reference(issuer, patient_id)


def shown(tx: Transaction, items: Iterable[Workitem]) -> list[Workitem]:
    """Return workitems as they are told: about whoever stands for their patients."""
    listed = list(items)
    refs = {each.patient_ref for each in listed if each.patient_ref is not None}
    found = patients.standing(tx, refs) if refs else {}
    return [_about(tx, each, found.get(each.patient_ref or "")) for each in listed]


def said_of(patient: Patient) -> list[Attribute]:
    """Return what a workitem says of its patient."""
    is_known = patient.issuer != UNIDENTIFIED
    stated = is_known and not patient.is_unstated
    birth_date = patient.birth_date
    return [
        attribute("PatientName", patient.name),
        attribute("PatientID", patient.patient_id if is_known else ""),
        attribute("IssuerOfPatientID", patient.issuer if stated else ""),
        attribute("PatientBirthDate", f"{birth_date:%Y%m%d}" if birth_date else ""),
        attribute("PatientSex", patient.sex),
    ]


def _is_theirs(tx: Transaction, item: Workitem, standing: Standing) -> bool:
    """Say whether who created a workitem may be told what was corrected of its patient.

    An id of somebody else's that was guessed opens nothing: then they see a study of the patient,
    or asked for one.
    """
    if not (standing.is_merged or standing.described):
        return False
    owner, issuer = item.organisation_id, item.attributes.value("IssuerOfPatientID").strip()
    if owner is None or not issuer or rows.gives_out(tx, owner, issuer):
        return True
    ref = standing.patient.ref
    return bool(archive_find.studies_of_patients(tx, [ref], rows.sight_of(owner))[ref])


def _about(tx: Transaction, item: Workitem, standing: Standing | None) -> Workitem:
    if standing is None or not (item.case_id is not None or _is_theirs(tx, item, standing)):
        return item
    held, right = dict(item.attributes.by_tag), said_of(standing.patient)
    if standing.is_merged or item.case_id is not None:  # of a reading the registry has the word
        held.pop(tag_of(_QUALIFIERS), None)
    else:
        wrong = {_DESCRIBED[name] for name in standing.described}
        right = [each for each in right if each.keyword in wrong]
    return replace(item, attributes=Attributes(held | {each.tag: each for each in right}))
