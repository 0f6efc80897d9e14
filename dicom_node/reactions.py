"""What the DICOM node does when it is told of requests, and of studies that came to rest."""

from dicom_node import store
from dicom_node.orders import RECEIVED, ScheduledStep
from dicom_node.performing import refresh
from kernel.facts import Fact, RequestChanged, RequestReceived, StudyAmended, StudyCompleted
from storage.engine import Transaction
from storage.work import Reactions

CONSUMER = "dicom_node.orders"
METADATA_CONSUMER = "dicom_node.metadata"


def reactions() -> Reactions:
    """Return the reactions of this package by consumer and fact."""
    return {
        CONSUMER: {RequestReceived: _schedule, RequestChanged: _change},
        METADATA_CONSUMER: {StudyCompleted: _plan_metadata, StudyAmended: _plan_metadata},
    }


def _schedule(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, RequestReceived)
    step = ScheduledStep(
        request_id=fact.request_id,
        organisation_id=fact.organisation_id,
        patient_ref=fact.patient_ref,
        accession=fact.accession,
        study_uid=fact.study_uid,
        modality=fact.modality,
        station_ae_title=fact.station_ae_title,
        procedure=fact.procedure,
        scheduled_at=fact.scheduled_at,
        profile=fact.profile,
        form=fact.form,
        state=RECEIVED,
    )
    store.save_step(tx, step, at=fact.at)
    refresh(tx, step.request_id)  # the modality may have been quicker than this fact


def _change(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, RequestChanged)
    store.change_step(
        tx, fact.request_id, state=fact.state, scheduled_at=fact.scheduled_at, at=fact.at
    )


def _plan_metadata(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, StudyCompleted | StudyAmended)
    store.plan_metadata(tx, fact.study_uid, fact.manifest_version)
