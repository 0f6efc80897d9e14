"""A sealed report with its patient and study, as the floors below would hand it over."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from health_record.delivery import Delivery
from health_record.document import bundle, exact_bytes
from health_record.evidence import Evidence
from health_record.identifiers import Naming
from health_record.port import Form, OutgoingDocument
from kernel.codes import Coded
from kernel.digest import sha256_of
from kernel.facts import CaseSigned
from kernel.ids import PatientRef, StudyUID, derived, derived_uid
from reporting import SealedDocument, Section
from storage.archive import Manifest, ManifestEntry
from storage.engine import Transaction
from storage.objects import MemoryObjects
from storage.patients import Patient

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PDF = b"%PDF-1.7\n% the signed report\n%%EOF\n"
NAMING = Naming()
FINDINGS = Section(Coded("59776-5", "LN", "Findings"), "No focal consolidation.\nNo effusion.")
IMPRESSION = Section(Coded("19005-8", "LN", "Impression"), "No acute finding < 24 h & stable.")


class Hands:
    """A clock whose hands the test moves."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def forward(self, by: timedelta) -> None:
        """Let time pass."""
        self.at += by


def an_entry(series: int = 1, instance: int = 1) -> ManifestEntry:
    """Return one instance of the manifest."""
    return ManifestEntry(
        instance_uid=f"1.2.826.0.1.3680043.8.498.{series}.{instance}",
        series_uid=f"1.2.826.0.1.3680043.8.498.{series}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="DX",
        digest=sha256_of(f"{series}/{instance}".encode()),
        length=1000,
    )


def an_evidence(number: int = 1, *, pdf: bytes = PDF, **changes: Any) -> Evidence:
    """Return the evidence of report `number`; `changes` are fields of the sealed document."""
    study = StudyUID(f"1.2.826.0.1.3680043.8.498.100.{number}")
    patient = Patient(
        PatientRef(derived("patient", "VAN", str(number))),
        "VAN",
        f"P-{number}",
        "Серікова^Айгүл^Маратқызы",
        "F",
        date(1980, 2, 29),
    )
    entries = (an_entry(1, 1), an_entry(1, 2), an_entry(2, 1))
    manifest = Manifest(
        study_uid=study,
        version=1,
        digest=sha256_of(study.encode()),
        frozen_at=NOON,
        last_received_at=NOON,
        patient_ref=patient.ref,
        accession=f"A{number}",
        study_description="Chest PA",
        study_date="20261122",
        study_time="101500",
        station_ae_title="VAN1",
        modalities=("DX",),
        body_parts=("CHEST",),
        entries=entries,
    )
    sealed = SealedDocument(
        report_id=derived("report", number),
        version=1,
        kind="original",
        case_id=derived("case", number),
        request_id=derived("request", number),
        accession=f"A{number}",
        patient_ref=patient.ref,
        study_uid=study,
        manifest_version=1,
        manifest_digest=manifest.digest,
        profile="thoracic",
        modality="DX",
        language="en",
        site_id="site-1",
        author="reader-1",
        author_name="Dr Dana Ospanova",
        organisation_id="org-1",
        organisation_name="National Radiology Centre",
        title="X-Ray Report",
        title_code=Coded("43468-8", "LN", "X-Ray Report"),
        sections=(FINDINGS, IMPRESSION),
        content_digest=sha256_of(b"content"),
        finalised_at=NOON,
        signed_at=NOON + timedelta(minutes=1),
        pdf_key=f"documents/{derived('report', number)}/1/report.pdf",
        pdf_sha256=sha256_of(pdf),
        sr_key=f"documents/{derived('report', number)}/1/report.dcm",
        sr_sha256=sha256_of(b"sr"),
        sr_instance_uid=derived_uid("sr", number),
        sr_series_uid=derived_uid("sr-series", number),
        signer_subject="CN=Dana Ospanova, O=Demo, not qualified",
        demo_signature=True,
    )
    return Evidence(sealed=replace(sealed, **changes), patient=patient, manifest=manifest)


def an_outgoing(form: Form, number: int = 1, *, pdf: bytes = PDF) -> OutgoingDocument:
    """Return the document of report `number` as an adapter of this form is given it."""
    evidence = an_evidence(number, pdf=pdf)
    sealed = evidence.sealed
    body = exact_bytes(bundle(evidence, pdf, form, NAMING))
    return OutgoingDocument(
        delivery_id=derived("delivery", number),
        destination="record",
        case_id=sealed.case_id,
        report_id=sealed.report_id,
        report_version=sealed.version,
        form=form,
        body=body,
        body_sha256=sha256_of(body),
        pdf=pdf,
        pdf_sha256=sealed.pdf_sha256,
        report=NAMING.report_version(sealed.report_id, sealed.version),
    )


def a_signed_case(number: int = 1) -> CaseSigned:
    """Return the fact that report `number` was signed."""
    sealed = an_evidence(number).sealed
    return CaseSigned(
        id=derived("fact", number),
        subject=sealed.case_id,
        at=NOON,
        actor="reader:reader-1",
        case_id=sealed.case_id,
        request_id=sealed.request_id,
        report_id=sealed.report_id,
        report_version=sealed.version,
        document_digest=sealed.pdf_sha256,
    )


def stored(objects: MemoryObjects, *evidences: Evidence, pdf: bytes = PDF) -> None:
    """Put the signed PDF of each report where its sealed document says."""
    for evidence in evidences:
        objects.put(evidence.sealed.pdf_key, pdf, evidence.sealed.pdf_sha256)


def collecting(*evidences: Evidence) -> Callable[[Transaction, Delivery], Evidence]:
    """Return what hands over the evidence of these reports."""
    by_report = {evidence.sealed.report_id: evidence for evidence in evidences}
    return lambda _tx, delivery: by_report[delivery.report_id]
