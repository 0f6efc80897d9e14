"""A corrected study as programs and people see it, through every way out."""

import email
import json
from collections.abc import Iterator
from io import BytesIO

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.part10 import split
from kernel.people import Actor, Role
from storage import audit, corrections, patients
from tests.app.clinic import multipart
from tests.app.stocked import ROOT, Stocked, instance_path, stocked_clinic
from tests.dicom_node.samples import CT, a_slice, as_file

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


def as_received(stocked: Stocked, uid: str) -> bytes:
    """Return what the archive holds, which has the data set that was sent in it, untouched."""
    kept = stocked.clinic.engine.archive.read(uid)
    sent = stocked.files[uid]
    assert kept[split(kept).data_set_offset :] == sent[split(sent).data_set_offset :]
    return kept


def files_of(answer: httpx.Response) -> list[Dataset]:
    return [dcmread(BytesIO(file)) for file in parts_of(answer)]


def parts_of(answer: httpx.Response) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content)
    parts = message.get_payload() if message.is_multipart() else [message]
    return [part.get_payload(decode=True) for part in parts]


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


@pytest.mark.parametrize(
    ("path", "count"),
    [(f"studies/{STUDY}", 3), (f"studies/{STUDY}/series/{STUDY}.1", 3), (SLICE, 1)],
)
def test_who_corrects_can_have_what_came(stocked: Stocked, path: str, count: int) -> None:
    desk = stocked.clinic.browser("head")
    answer = desk.get(f"/dicomweb/{path}?original=true", Accept=PARTS)

    assert int(answer.headers["content-length"]) == len(answer.content)
    found = parts_of(answer)
    assert len(found) == count
    for file in found:
        assert file == as_received(stocked, dcmread(BytesIO(file)).SOPInstanceUID)
    with stocked.clinic.parts.database.reading() as tx:
        seen = audit.latest(tx, limit=1)[0]
    assert (seen.action, seen.subject) == ("study.original_retrieved", f"study:{STUDY}")
    assert seen.actor.startswith("user:")
    assert seen.detail["instances"] == count


def test_one_alone_comes_as_it_came_and_in_no_other_syntax(stocked: Stocked) -> None:
    desk = stocked.clinic.browser("head")
    path = f"/dicomweb/{SLICE}?original=true"

    assert desk.get(path, Accept=ALONE).content == as_received(stocked, f"{STUDY}.1.1")
    part = desk.get(path, Accept=ALONE, Range="bytes=128-131")
    assert (part.status_code, part.content) == (206, b"DICM")
    asked = "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80"
    assert desk.get(path, Accept=asked).status_code == 406
    assert desk.get("/dicomweb/studies/1.2.3?original=true", Accept=PARTS).status_code == 404
    assert desk.get(f"/dicomweb/{SLICE}?original=perhaps", Accept=PARTS).status_code == 422


@pytest.mark.parametrize("login", ["one", "east", "eastadmin", None])
def test_others_are_refused_what_came_by_its_rule(stocked: Stocked, login: str | None) -> None:
    path, headers = f"/dicomweb/{SLICE}?original=true", {"Accept": ALONE}
    client = stocked.clinic.browser(login).client if login else stocked.program
    answer = client.get(path, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["code"] == "dicomweb.original_refused"
    assert "administrators" in answer.json()["detail"]
    with stocked.clinic.parts.database.reading() as tx:
        seen = audit.latest(tx, limit=1)[0]
    assert (seen.action, seen.subject) == ("access.refused", f"study:{STUDY}")


def test_what_a_correction_took_out_is_no_bulk_data_any_more(stocked: Stocked) -> None:
    secret, data_set = b"of another person" * 100, a_slice(1, study=4, side=32)
    item = Dataset()
    item.PatientID = "OLD-7"
    item.private_block(0x0009, "ACME", create=True).add_new(0x01, "UN", secret)
    data_set.OtherPatientIDsSequence = [item]
    database, slice_ = stocked.clinic.parts.database, instance_path(4, 1, 1)
    sent = stocked.program.post("/dicomweb/studies", **multipart(as_file(data_set)))
    assert sent.status_code == 200
    own = f"{slice_}/bulkdata/00101002/1/00091001"
    assert stocked.get(own).content == secret

    with database.transaction() as tx:
        (right,) = [each.ref for each in patients.find(tx, "P-77")]
        made = corrections.move_study(tx, f"{ROOT}.4", right, reason="wrong line", actor=BY)

    assert stocked.get(own).status_code == 404
    (model,) = stocked.get(f"{slice_}/metadata", "application/dicom+json").json()
    assert "00101002" not in model
    was = model["04000561"]["Value"][0]["04000550"]["Value"][0]["00101002"]["Value"][0]
    address = was["00091001"]["BulkDataURI"]
    assert stocked.program.get(address).content == secret  # as in the instance that leaves
    assert address.partition("/bulkdata/")[2] == "04000561/1/04000550/1/00101002/1/00091001"
    pixels = stocked.get(f"{slice_}/bulkdata/7FE00010")
    assert pixels.content == data_set.PixelData
    with database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="test", actor=BY)
    again = stocked.get(f"{slice_}/bulkdata/7FE00010")
    assert again.headers["etag"] != pixels.headers["etag"]
    assert stocked.get(own).content == secret


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
