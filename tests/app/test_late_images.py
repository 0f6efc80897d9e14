"""Images that come after a case was taken or signed: its reader is told, the report stands."""

from io import BytesIO

import pydicom

from storage import audit, corrections, patients
from tests.app.clinic import BY, PASSPHRASE, Clinic, multipart
from tests.app.test_writing import taken


def one_more(clinic: Clinic, number: int) -> None:
    """Store a further image of the study of the case, and let it settle."""
    data_set = pydicom.dcmread(BytesIO(clinic.film()))
    data_set.SOPInstanceUID = f"{data_set.SOPInstanceUID}.{number}"[-64:].lstrip(".0")
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    answer = clinic.program("dicomweb:write").post("/dicomweb/studies", **multipart(out.getvalue()))
    assert answer.status_code == 200, answer.text
    clinic.settle()


def test_who_reads_a_case_is_told_of_images_that_came_late_and_takes_them_in(clinic: Clinic):
    reader, case = taken(clinic)
    before = case.manifest_version
    one_more(clinic, 1)

    assert "further images" in reader.get("/queue").text
    page = reader.get(f"/cases/{case.id}/read").text
    assert "Further images came after you began." in page
    assert clinic.case().manifest_version == before

    assert reader.post(f"/cases/{case.id}/late-images").status_code == 303
    assert clinic.case().manifest_version == before + 1
    assert "Further images came" not in reader.get(f"/cases/{case.id}/read").text


def test_who_signed_is_told_and_the_signed_report_stands(clinic: Clinic):
    reader, case = taken(clinic)
    reader.write(case, "Clear lungs.", "Normal.", then="finalise")
    assert reader.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE).is_redirect
    clinic.settle()
    signed = clinic.case()
    one_more(clinic, 2)

    after = clinic.case()
    assert (after.state, after.manifest_version) == (signed.state, signed.manifest_version)
    assert after.late_version == signed.manifest_version + 1
    assert "further images" in reader.get("/queue").text
    assert "Further images came after the report was signed" in reader.get(f"/cases/{case.id}").text
    assert "Further images" not in clinic.browser("east").get(f"/cases/{case.id}").text


def test_images_that_a_merge_makes_right_come_late_too(clinic: Clinic):
    reader, case = taken(clinic)
    data_set = pydicom.dcmread(BytesIO(clinic.film()))
    data_set.PatientID, data_set.SOPInstanceUID = "P-OTHER", f"{data_set.StudyInstanceUID}.7"
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    sent = clinic.program("dicomweb:write").post("/dicomweb/studies", **multipart(out.getvalue()))
    assert sent.status_code == 409
    clinic.parts.packer.move_quarantine()
    clinic.settle()
    desk = clinic.browser("head")
    assert "for another patient" in desk.get("/desk").text

    with clinic.parts.database.transaction() as tx:
        (goes,), (stays,) = patients.find(tx, "P-OTHER"), patients.find(tx, "P-1")
        corrections.merge(tx, goes.ref, stays.ref, reason="one person", actor=BY)
    clinic.settle()
    clinic.settle()  # it waits, as any late image does, for those that may follow it

    assert "for another patient" not in desk.get("/desk").text
    assert clinic.case().late_version == case.manifest_version + 1
    assert "further images" in reader.get("/queue").text
    with clinic.parts.database.reading() as tx:
        noted = [e for e in audit.latest(tx, limit=200) if e.action == "instance.readmitted"]
    assert [entry.subject for entry in noted] == [f"instance:{data_set.SOPInstanceUID}"]
