"""Evidence as the floors below really keep it: a sealed report, its patient, its manifest."""

from dataclasses import replace

import pytest

from health_record.adapters.memory import MemoryRecord
from health_record.adapters.structure import require_valid
from health_record.commands import list_deliveries, schedule
from health_record.delivery import DeliveryState
from health_record.document import bundle
from health_record.port import Form
from health_record.sources import collect
from health_record.tasks import REQUESTER, Deliveries
from kernel.digest import sha256_of
from kernel.facts import CaseSigned
from kernel.ids import InstanceUID, PatientRef, SeriesUID, StudyUID, derived_uid
from reporting import store as reports
from storage import archive, patients
from storage.archive import Manifest, NewInstance
from storage.engine import Database, Transaction
from storage.journal import Place
from storage.objects import MemoryObjects
from tests.health_record.samples import NAMING, NOON, PDF
from tests.reporting.samples import a_content, a_finalised_report, a_sealed_report, a_written_draft

STUDY = StudyUID("1.2.826.0.1.3680043.8.498.7")
PDF_KEY = "documents/report-1/1/report.pdf"


def an_archived_study(tx: Transaction, patient: PatientRef) -> Manifest:
    instance = NewInstance(
        instance_uid=InstanceUID(f"{STUDY}.1.1"),
        series_uid=SeriesUID(f"{STUDY}.1"),
        study_uid=STUDY,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="DX",
        patient_ref=patient,
        accession="ACC-1",
        study_description="Chest PA",
        study_date="20261122",
        study_time="101112.5",
        series_number="1",
        series_description="PA",
        instance_number="1",
        body_part="CHEST",
        station_ae_title="VAN1",
        rows=100,
        columns=100,
        frames=None,
        received_at=NOON,
        source="VAN1",
    )
    archive.admit(tx, instance, Place("n1-1", 0, 1000, sha256_of(b"film")))
    manifest = archive.freeze_manifest(tx, STUDY)
    assert manifest is not None
    return manifest


def a_sealed_case(tx: Transaction) -> CaseSigned:
    """Store a patient, their study and the signed report of it."""
    patient = patients.register(
        tx, issuer="VAN", patient_id="P-7", name="Серікова^Айгүл", sex="F", birth_date=None
    )
    manifest = an_archived_study(tx, patient)
    finalised = a_finalised_report()
    content = a_content(
        report_id=finalised.id,
        study_uid=STUDY,
        manifest_digest=manifest.digest,
        patient=replace(a_content().patient, ref=patient),
    )
    draft = a_written_draft()
    reports.add(tx, draft)
    reports.save(tx, draft, finalised, content)
    reports.save(tx, finalised, a_sealed_report())
    reports.add_seal(
        tx,
        content,
        reports.Seal(
            pdf_key=PDF_KEY,
            pdf_sha256=sha256_of(PDF),
            sr_key="documents/report-1/1/report.dcm",
            sr_sha256=sha256_of(b"sr"),
            sr_series_uid=derived_uid("sr-series", 1),
            sr_instance_uid=derived_uid("sr", 1),
            signer_subject="CN=demo, not qualified",
            demo_signature=True,
            signed_at=NOON,
        ),
    )
    return CaseSigned(
        subject=content.case_id,
        at=NOON,
        actor="reader:r-1",
        case_id=content.case_id,
        request_id=content.request_id,
        report_id=content.report_id,
        report_version=content.version,
        document_digest=sha256_of(PDF),
    )


@pytest.mark.parametrize("form", list(Form))
def test_a_stored_report_becomes_a_valid_document(database: Database, form: Form):
    with database.transaction() as tx:
        (delivery,) = schedule(tx, a_sealed_case(tx), ["record"])
    with database.reading() as tx:
        evidence = collect(tx, delivery)

    require_valid(bundle(evidence, PDF, form, NAMING))


def test_a_stored_report_is_filed_and_its_site_told(database: Database):
    objects, record = MemoryObjects(), MemoryRecord(production=False)
    objects.put(PDF_KEY, PDF, sha256_of(PDF))
    deliveries = Deliveries(database, objects, {"record": record}, collect=collect)
    with database.transaction() as tx:
        planned = schedule(tx, a_sealed_case(tx), ["record", REQUESTER])
    for delivery in planned:
        deliveries.attempt(delivery.id)

    with database.reading() as tx:
        assert {one.state for one in list_deliveries(tx)} == {DeliveryState.FILED}
    assert len(record.documents) == 1
