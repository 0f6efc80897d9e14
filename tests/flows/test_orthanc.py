"""A site with an Orthanc: its study is read, and the report comes back to it.

Orthanc, node, web, model and signature are real; either side is killed while it goes on.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from app import orthancs
from app.bootstrap import Parts
from app.demo.network import BY, ISSUER, seed
from app.returns import PREFIX
from dicom_node import orthanc_store
from dicom_node.orthancs import Orthanc, Progress
from health_record import commands as health_record
from health_record.delivery import Delivery, DeliveryState
from kernel.clock import monotonic_s
from kernel.digest import sha256_of
from kernel.ids import fresh
from reporting import SealedDocument, sealed_for_case
from storage import archive, audit, corrections, outbox, patients
from tests.flows.actors import Study
from tests.flows.deployment import KillPoint, one_machine
from tests.flows.world import PATIENCE_S, World
from tests.services.missing import required
from tests.services.orthanc import RestartableOrthanc, restartable
from worklist import store as worklist_store
from worklist.case import CaseState

pytestmark = pytest.mark.service
USER, PASSWORD = "telerad", "marked-password"
ENVIRONMENT = {
    "TELERAD_ORTHANC__POLL_S": "0.1",
    "TELERAD_ORTHANC__CONNECT_S": "1",
    "TELERAD_ORTHANC__SILENCE_S": "2",
    "TELERAD_RECORD__FIRST_WAIT_S": "0.2",
}


@pytest.fixture(scope="module")
def site() -> Iterator[RestartableOrthanc]:
    with required(), restartable(users={USER: PASSWORD}) as orthanc:
        yield orthanc


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, site: RestartableOrthanc) -> Iterator[World]:
    deployment = one_machine(tmp_path_factory.mktemp("orthanc"), ENVIRONMENT)
    with deployment.parts() as parts:
        parts.prepare(migrate=True)
        seed(parts, say=lambda _line: None)
        register(parts, site.server.url)
        deployment.start()
        yield World(deployment, parts)
        deployment.stop()


def register(parts: Parts, url: str) -> None:
    told = Orthanc(name="van", url=url, organisation_id="van1", issuer=ISSUER, username=USER)
    with parts.database.transaction() as tx:
        orthancs.add(tx, told, by=BY)
        orthancs.keep_password(parts.keys, "van", PASSWORD)


def until(happened: Callable[[], bool], told: Callable[[], object]) -> None:
    deadline = monotonic_s() + PATIENCE_S
    while not happened():
        if monotonic_s() > deadline:
            raise AssertionError(f"it did not happen: {told()}")
        time.sleep(0.1)


def arrives(study: Study, site: RestartableOrthanc) -> None:
    """Have the study come to the site's Orthanc, and from nowhere else."""
    site.server.upload(study.part10())
    study.acknowledged = True


def returned(world: World, study: Study) -> Delivery:
    case = study.case(world.parts)
    assert case is not None
    with world.parts.database.reading() as tx:
        found = health_record.list_deliveries(tx, case_id=case.id)
    (delivery,) = [each for each in found if each.destination == f"{PREFIX}van"]
    return delivery


def sealed_of(world: World, study: Study) -> SealedDocument:
    case = study.case(world.parts)
    assert case is not None
    with world.parts.database.reading() as tx:
        (document,) = sealed_for_case(tx, case.id)
    return document


def check_the_report_is_there_once(world: World, study: Study, site: RestartableOrthanc) -> None:
    until(
        lambda: returned(world, study).state is DeliveryState.FILED,
        lambda: returned(world, study),
    )
    delivery, sealed = returned(world, study), sealed_of(world, study)
    words = (delivery.receipt or "").split()
    assert words[0] == "orthanc:van"
    sr_id, pdf_id = words[2], words[4]
    server = site.server
    pdf = server.fetch(f"/instances/{pdf_id}/pdf")
    assert pdf.rstrip(b"\0") == world.parts.objects.get(sealed.pdf_key).rstrip(b"\0")
    assert sha256_of(server.fetch(f"/instances/{sr_id}/file")) == sealed.sr_sha256
    for id in (sr_id, pdf_id):
        parent = server.ask("GET", f"/instances/{id}/study")
        assert parent["MainDicomTags"]["StudyInstanceUID"] == study.study_uid
        assert parent["PatientMainDicomTags"]["PatientID"] == study.patient_id
        assert len(parent["Series"]) == 3
    with world.parts.database.reading() as tx:
        assert archive.manifest(tx, study.study_uid).version == 1
        facts = [fact.kind for fact in outbox.facts_of(tx, study.study_uid)]
        assert list(audit.verify(tx)) == []
    assert facts == ["StudyCompleted"]


def test_a_study_of_an_orthanc_is_read_and_its_report_comes_back(
    world: World, site: RestartableOrthanc
) -> None:
    study = Study()
    study.ask(world.parts)
    arrives(study, site)
    world.carry(study)
    check_the_report_is_there_once(world, study, site)
    stored = world.parts.archive.read(study.instance_uid)
    assert stored.endswith(study.part10()[-10_000:])


@pytest.mark.parametrize(
    ("module", "qualname"),
    [
        ("dicom_node.following", "_Walk._pulled"),
        ("app.returns", "OrthancReturn._brought"),
        ("app.returns", "OrthancReturn._uploaded"),
    ],
)
def test_killed_on_the_way_there_and_back_everything_is_there_once(
    world: World, site: RestartableOrthanc, module: str, qualname: str
) -> None:
    study = Study()
    study.ask(world.parts)
    process = world.deployment.doing("work")
    process.stop()
    arrives(study, site)
    for when in ("call", "return"):
        process.start(KillPoint(module, qualname, when))
        while not process.killed():
            case = study.case(world.parts)
            if case is not None and case.state in {CaseState.OFFERED, CaseState.READING}:
                world._read(case)
            time.sleep(0.05)
        process.kill()
    world.carry(study)
    check_the_report_is_there_once(world, study, site)


def test_an_orthanc_that_is_away_gets_the_report_when_it_is_back(
    world: World, site: RestartableOrthanc
) -> None:
    study = Study()
    study.ask(world.parts)
    arrives(study, site)
    world.carry(study, until=CaseState.OFFERED)
    site.kill9()
    world.carry(study)
    until(lambda: returned(world, study).attempts > 1, lambda: returned(world, study))
    refusal = returned(world, study).refusal
    assert refusal is not None
    assert refusal.code == "dicom_node.orthanc_unreachable"
    site.start()
    check_the_report_is_there_once(world, study, site)


def test_what_an_orthanc_refuses_is_parked_with_its_reason_and_replayed(
    world: World, site: RestartableOrthanc
) -> None:
    study = Study()
    study.ask(world.parts)
    arrives(study, site)
    world.carry(study, until=CaseState.OFFERED)
    site.kill9()
    world.carry(study)
    sealed = sealed_of(world, study)
    process = world.deployment.doing("work")
    process.stop()
    site.start()
    # Somebody put another object under the UID of the report there.
    other = dcmread_of(study)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = sealed.sr_instance_uid
    id = site.server.upload(bytes_of(other))
    process.start()
    until(
        lambda: returned(world, study).state is DeliveryState.PARKED,
        lambda: returned(world, study),
    )
    refusal = returned(world, study).refusal
    assert refusal is not None
    assert "another object" in refusal.sentence
    site.server.fetch(f"/instances/{id}", method="DELETE")
    with world.parts.database.transaction() as tx:
        health_record.replay(tx, returned(world, study).id, actor=BY)
    check_the_report_is_there_once(world, study, site)


def ref_of(world: World, patient_id: str) -> str:
    with world.parts.database.reading() as tx:
        (found,) = patients.find(tx, patient_id)
    return found.ref


def another(world: World) -> str:
    """Register a patient whom no study names."""
    with world.parts.database.transaction() as tx:
        return patients.register(
            tx, issuer=ISSUER, patient_id=fresh(), name="Other^One", sex="F", birth_date=None
        )


def signed_while_away(world: World, site: RestartableOrthanc) -> Study:
    """Have the report of a study signed while the Orthanc that it came from is away."""
    study = Study()
    study.ask(world.parts)
    arrives(study, site)
    world.carry(study, until=CaseState.OFFERED)
    site.kill9()
    world.carry(study)
    return study


def objects_of(world: World, study: Study, site: RestartableOrthanc) -> list[tuple[str, str, str]]:
    """Return modality, patient and Orthanc's study of the two objects of the report."""
    words = (returned(world, study).receipt or "").split()
    told = []
    for id in (words[2], words[4]):
        file = dcmread(BytesIO(site.server.fetch(f"/instances/{id}/file")))
        parent = site.server.ask("GET", f"/instances/{id}/study")["ID"]
        told.append((file.Modality, file.PatientID, parent))
    return told


def test_what_was_signed_of_a_study_that_is_anothers_goes_nowhere_before_a_person_says_so(
    world: World, site: RestartableOrthanc
) -> None:
    study = signed_while_away(world, site)
    other = another(world)
    with world.parts.database.transaction() as tx:
        made = corrections.move_study(tx, study.study_uid, other, reason="wrong line", actor=BY)
    until(lambda: misfiled(world, study), lambda: study.case(world.parts))
    site.start()
    until(
        lambda: returned(world, study).state is DeliveryState.PARKED,
        lambda: returned(world, study),
    )
    refusal = returned(world, study).refusal
    assert refusal is not None
    assert refusal.code == "health_record.study_misfiled"
    there = site.server.ask("GET", f"/studies/{orthanc_study(study, site)}")
    assert len(there["Series"]) == 1

    with world.parts.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="it was right", actor=BY)
    until(lambda: not misfiled(world, study), lambda: study.case(world.parts))
    with world.parts.database.transaction() as tx:
        health_record.replay(tx, returned(world, study).id, actor=BY)
    until(
        lambda: returned(world, study).state is DeliveryState.FILED,
        lambda: returned(world, study),
    )


def test_both_objects_name_the_patient_whom_the_signed_report_names(
    world: World, site: RestartableOrthanc
) -> None:
    study = Study()
    study.ask(world.parts)
    arrives(study, site)
    world.carry(study, until=CaseState.OFFERED)
    world.carry_until_killed(study, "work", KillPoint("app.returns", "as_dicom", "call"))
    goes, stays = ref_of(world, study.patient_id), another(world)
    with world.parts.database.transaction() as tx:
        corrections.merge(tx, goes, stays, reason="one person", actor=BY)
    world.carry(study)
    until(
        lambda: returned(world, study).state is DeliveryState.FILED,
        lambda: returned(world, study),
    )

    orthancs_study = orthanc_study(study, site)
    assert objects_of(world, study, site) == [
        ("SR", study.patient_id, orthancs_study),
        ("DOC", study.patient_id, orthancs_study),
    ]


def test_a_report_of_a_study_that_was_corrected_goes_back_under_the_right_patient(
    world: World, site: RestartableOrthanc
) -> None:
    asked = Study()
    study = replace(asked, patient_id=f"W{asked.patient_id}")
    asked.ask(world.parts)
    arrives(study, site)
    until(lambda: on_desk(world, study), lambda: study.case(world.parts))
    right = ref_of(world, asked.patient_id)
    with world.parts.database.transaction() as tx:
        corrections.move_study(tx, study.study_uid, right, reason="wrong line", actor=BY)
    world.carry(study)
    until(
        lambda: returned(world, study).state is DeliveryState.FILED,
        lambda: returned(world, study),
    )

    (sr, pdf) = objects_of(world, study, site)
    assert (sr[:2], pdf[:2]) == (("SR", asked.patient_id), ("DOC", asked.patient_id))
    assert sr[2] == pdf[2] != orthanc_study(study, site)

    # It goes on to know the study under the other patient, and to be followed.
    site.server.upload(replace(study, number=2).part10())
    until(lambda: manifest_of(world, study).version == 2, lambda: manifest_of(world, study))
    assert manifest_of(world, study).patient_ref == right
    with world.parts.database.transaction() as tx:
        orthancs.start_over(tx, "van", by=BY)
    until(lambda: all_seen(world), lambda: listed(world))
    assert len(manifest_of(world, study).entries) == 2
    assert manifest_of(world, study).patient_ref == right
    with world.parts.database.reading() as tx:
        kept = [each for each in archive.quarantined(tx) if each.study_uid == study.study_uid]
    assert kept == []


def misfiled(world: World, study: Study) -> bool:
    case = study.case(world.parts)
    return case is not None and case.misfiled_by is not None


def on_desk(world: World, study: Study) -> bool:
    with world.parts.database.reading() as tx:
        return worklist_store.on_desk(tx, study.study_uid) is not None


def manifest_of(world: World, study: Study) -> archive.Manifest:
    with world.parts.database.reading() as tx:
        return archive.manifest(tx, study.study_uid)


def listed(world: World) -> list[tuple[Orthanc, Progress]]:
    with world.parts.database.reading() as tx:
        return orthanc_store.listed(tx)


def all_seen(world: World) -> bool:
    ((_, far),) = listed(world)
    return bool(far.last_change) and not far.backlog and not far.failures


def orthanc_study(study: Study, site: RestartableOrthanc) -> str:
    """Return Orthanc's id of the study as the device named its patient."""
    (found,) = site.server.ask("POST", "/tools/lookup", study.instance_uid.encode())
    return str(site.server.ask("GET", f"/instances/{found['ID']}/study")["ID"])


def test_the_password_is_in_no_log(world: World) -> None:
    folder = Path(world.deployment.data)
    assert PASSWORD not in (folder / "up.log").read_text()
    assert PASSWORD.encode() not in (folder / "telerad.db").read_bytes()


def dcmread_of(study: Study):  # type: ignore[no-untyped-def]
    return dcmread(BytesIO(study.part10()))


def bytes_of(data_set) -> bytes:  # type: ignore[no-untyped-def]
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()
