"""A data directory that already holds so many studies, each an open case in one queue."""

from datetime import timedelta
from pathlib import Path

import worklist.store
from app.bootstrap import Parts
from app.demo.network import BY, ISSUER, seed
from app.settings import load
from kernel.digest import sha256_of
from kernel.ids import InstanceUID, OrganisationId, PatientRef, SeriesUID, StudyUID, derived_uid
from storage import archive, patients
from storage.archive import NewInstance
from storage.engine import Transaction
from storage.journal import Place
from worklist import case as moves
from worklist import commands
from worklist.act import Act
from worklist.clock import Clocks
from worklist.request import Form, NewRequest, receive

PROFILE, SITE, MODALITY = "neuro", "east", "MR"
CONSULTANTS = ("r-dimov", "r-hrytsak")
TERM = timedelta(days=5)
_A_TRANSACTION = 500
_LENGTH = 500_000  # bytes an instance is said to have


def populate(data: Path, studies: int) -> None:
    """Fill a data directory, once; the consultants of the queue are off duty, so nothing moves."""
    if data.exists():
        return
    parts = Parts(load(data))
    parts.prepare(migrate=True)
    seed(parts, say=lambda _: None)
    with parts.database.transaction() as tx:
        for consultant in CONSULTANTS:
            commands.set_presence(tx, consultant, present=False, act=Act(tx.at, BY))
    for first in range(0, studies, _A_TRANSACTION):
        with parts.database.transaction() as tx:
            for number in range(first, min(first + _A_TRANSACTION, studies)):
                _add(tx, number)
    parts.database.dispose()


def _add(tx: Transaction, number: int) -> None:
    """Enter one packed study with its request and its waiting case.

    The rows are those that the engine writes; what it would tell its own reactions is left out,
    so that no work waits when the measurement begins.
    """
    ref = patients.register(
        tx,
        issuer=ISSUER,
        patient_id=f"BENCH-{number:06d}",
        name=f"Bench^{number}",
        sex="F",
        birth_date=None,
    )
    study_uid = StudyUID(derived_uid("bench-study", number))
    place = Place("packed1-bench.seg", number * _LENGTH, _LENGTH, sha256_of(study_uid.encode()))
    archive.admit(tx, _instance(tx, number, study_uid, ref), place)
    manifest = archive.freeze_manifest(tx, study_uid)
    assert manifest is not None
    act = Act(tx.at, BY)
    new = NewRequest(
        organisation_id=OrganisationId(SITE),
        patient_ref=ref,
        accession=f"BENCH{number:06d}",
        modality=MODALITY,
        profile=PROFILE,
        form=Form.PLANNED,
    )
    request, _ = receive(new, act=act)
    worklist.store.insert_request(tx, request)
    case, _ = moves.open_case(
        request,
        study_uid=study_uid,
        manifest_version=manifest.version,
        patient_ref=ref,
        profile=PROFILE,
        modality=MODALITY,
        clocks=Clocks(legal_start=tx.at, patient_start=tx.at),
        due=tx.at + TERM,
        arrival_number=worklist.store.next_arrival(tx, request.id),
        act=act,
    )
    queued, _ = moves.enqueue(case, act=act)
    worklist.store.insert_case(tx, queued)


def _instance(tx: Transaction, number: int, study_uid: StudyUID, ref: PatientRef) -> NewInstance:
    return NewInstance(
        instance_uid=InstanceUID(derived_uid("bench-instance", number)),
        series_uid=SeriesUID(derived_uid("bench-series", number)),
        study_uid=study_uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality=MODALITY,
        patient_ref=ref,
        accession=f"BENCH{number:06d}",
        study_description="MR HEAD",
        study_date="20260102",
        study_time="101500",
        series_number="1",
        series_description="AX",
        instance_number="1",
        body_part="HEAD",
        station_ae_title="VAN1",
        rows=512,
        columns=512,
        frames=1,
        received_at=tx.at,
        source="VAN1",
    )
