"""A corrected study as programs and people see it, through every way out."""

import email
import json
from collections.abc import Iterator
from io import BytesIO

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from kernel.people import Actor, Role
from storage import audit, corrections, patients
from tests.app.stocked import ROOT, Stocked, instance_path, stocked_clinic
from tests.dicom_node.samples import CT

BY = Actor("user:clerk", Role.ADMINISTRATOR)
STUDY, SLICE = f"{ROOT}.1", instance_path(1, 1, 1)
PARTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
ALONE = "application/dicom; transfer-syntax=*"


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    with stocked_clinic(tmp_path_factory.mktemp("corrected") / "data") as held:
        with held.clinic.parts.database.transaction() as tx:
            right = patients.register(
                tx,
                issuer="HOSPITAL",
                patient_id="P-77",
                name="Rakhimova^Aliya",
                sex="F",
                birth_date=None,
            )
            corrections.move_study(tx, STUDY, right, reason="wrong line", actor=BY)
        yield held


def files_of(answer: httpx.Response) -> list[Dataset]:
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content)
    parts = message.get_payload() if message.is_multipart() else [message]
    return [dcmread(BytesIO(part.get_payload(decode=True))) for part in parts]


@pytest.mark.parametrize(("path", "count"), [(f"studies/{STUDY}", 3), (SLICE, 1)])
def test_retrieved_instances_say_whose_they_are(stocked: Stocked, path: str, count: int) -> None:
    found = files_of(stocked.get(path, PARTS))
    assert len(found) == count
    for data_set in found:
        assert data_set.PatientID == "P-77"
        was = data_set.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
        assert was.PatientID == "P1"
        original = dcmread(BytesIO(stocked.files[data_set.SOPInstanceUID]))
        assert data_set.PixelData == original.PixelData


def test_one_alone_and_in_another_syntax_too(stocked: Stocked) -> None:
    alone = stocked.get(SLICE, ALONE)
    assert int(alone.headers["content-length"]) == len(alone.content)
    assert dcmread(BytesIO(alone.content)).PatientID == "P-77"
    implicit = stocked.get(SLICE, "application/dicom; transfer-syntax=1.2.840.10008.1.2")
    found = dcmread(BytesIO(implicit.content))
    assert (found.PatientID, found.file_meta.TransferSyntaxUID) == ("P-77", "1.2.840.10008.1.2")


def test_metadata_and_search_agree(stocked: Stocked) -> None:
    models = json.loads(stocked.get(f"studies/{STUDY}/metadata", "application/dicom+json").content)
    assert {model["00100020"]["Value"][0] for model in models} == {"P-77"}
    assert all("04000561" in model for model in models)
    assert (
        b"P-77"
        in stocked.get(f"{SLICE}/metadata", "multipart/related; type=application/dicom+xml").content
    )
    found = json.loads(stocked.get("studies?PatientID=P-77").content)
    assert [each["0020000D"]["Value"] for each in found] == [[STUDY]]
    assert stocked.get("studies?PatientID=P1").content in (b"[]", b"")


def test_other_studies_leave_verbatim(stocked: Stocked) -> None:
    path = instance_path(2, 1, 1)
    answer = stocked.get(path, ALONE)
    assert answer.content == stocked.clinic.engine.archive.read(f"{ROOT}.2.1.1")
    assert dcmread(BytesIO(answer.content)).SOPClassUID == CT


def test_the_desk_reconciles_and_takes_back(stocked: Stocked) -> None:
    with stocked.clinic.parts.database.transaction() as tx:
        for issuer in (patients.unstated_issuer("van"), "CITY"):
            patients.register(
                tx, issuer=issuer, patient_id="P-9", name="Some^One", sex="M", birth_date=None
            )
        ((one, two),) = patients.lookalikes(tx)
    desk = stocked.clinic.browser("head")
    assert "Some One" in desk.get("/desk").text
    with stocked.clinic.parts.database.reading() as tx:
        shown = [entry for entry in audit.latest(tx) if entry.action == "patients.compared"]
    assert shown[0].detail == {"patients": [one.ref, two.ref]}
    said = {"one": one.ref, "two": two.ref, "reason": "same card", "decision": "same"}
    assert desk.post("/desk/reconcile", **said).status_code in {200, 303}
    with stocked.clinic.parts.database.reading() as tx:
        assert patients.lookalikes(tx) == []
        made = corrections.listed(tx)[0]
    page = desk.get("/desk").text
    assert "same card" in page
    back = desk.post("/desk/withdraw", number=str(made.number), reason="not the same")
    assert back.status_code in {200, 303}
    with stocked.clinic.parts.database.reading() as tx:
        assert [(a.ref, b.ref) for a, b in patients.lookalikes(tx)] == [(one.ref, two.ref)]


def test_the_desk_corrects_a_study(stocked: Stocked) -> None:
    desk = stocked.clinic.browser("head")
    said = {"study_uid": f"{ROOT}.2", "accession": "NEW-1", "reason": "typed wrong"}
    assert desk.post("/desk/correct", **said).status_code in {200, 303}
    found = json.loads(stocked.get("studies?AccessionNumber=NEW-1").content)
    assert [each["0020000D"]["Value"] for each in found] == [[f"{ROOT}.2"]]
    refused = desk.post("/desk/correct", study_uid=f"{ROOT}.2", patient_id="nobody", reason="x")
    assert refused.status_code == 409
    with stocked.clinic.parts.database.transaction() as tx:
        corrections.withdraw(tx, corrections.listed(tx)[0].number, reason="test", actor=BY)
