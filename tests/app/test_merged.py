"""Instances that name a patient who was merged: how they leave, by every way, in every order."""

from collections.abc import Iterator
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from app.studies import remarks_of
from dicom_node import query as queries
from dicom_node.as_shown import AsShown
from dicom_node.data_sets import Attributes, attribute
from dicom_node.finding import Finder
from dicom_node.outgoing import shown_of
from dicom_node.query import Root
from dicom_node.retrieve import selection
from kernel.people import Actor, Role
from storage import archive, corrections, patients
from storage.correction import Correction
from tests.app.clinic import PASSPHRASE, Clinic, multipart
from tests.app.stocked import NAMES, ROOT, Stocked, instance_path, slices, stocked_clinic
from tests.app.test_corrected import ALONE, PARTS, files_of
from tests.app.test_writing import taken
from tests.dicom_node.samples import as_file

BY = Actor("user:clerk", Role.ADMINISTRATOR)
STUDY, LATE = f"{ROOT}.1", instance_path(1, 1, 4)
BEGUN, OF_A = f"{ROOT}.5", "P2"


@pytest.fixture
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    with stocked_clinic(tmp_path_factory.mktemp("merged") / "data") as held:
        yield held


def of_a(study: int, number: int) -> Dataset:
    """Return a slice that names the patient who goes, in a study of whomever."""
    data_set = slices(1, 4)[number - 1]
    data_set.PatientID, data_set.PatientName = OF_A, "Typed^Wrong"
    data_set.PatientBirthDate, data_set.AccessionNumber = "19010101", f"ACC{study}"
    uid = f"{ROOT}.{study}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = uid, f"{uid}.1"
    data_set.SOPInstanceUID = f"{uid}.1.{number}"
    return data_set


def send(stocked: Stocked, data_set: Dataset) -> int:
    file = as_file(data_set)
    stocked.files[data_set.SOPInstanceUID] = file
    answer = stocked.program.post("/dicomweb/studies", **multipart(file))
    stocked.clinic.settle()
    return answer.status_code


def merged(stocked: Stocked) -> Correction:
    """Say that the patient of study 2 is the one of study 1."""
    with stocked.clinic.parts.database.transaction() as tx:
        (stays,), (goes,) = patients.find(tx, "P1"), patients.find(tx, OF_A)
        return corrections.merge(tx, goes.ref, stays.ref, reason="one person", actor=BY)


def said(data_set: Dataset) -> tuple[str, str, str]:
    return data_set.PatientID, str(data_set.PatientName), data_set.PatientBirthDate


def test_a_late_instance_of_who_was_merged_leaves_as_the_one_who_stays(stocked: Stocked) -> None:
    right = said(dcmread(BytesIO(stocked.files[f"{STUDY}.1.1"])))
    made = merged(stocked)
    assert send(stocked, of_a(1, 4)) == 200
    assert send(stocked, of_a(5, 1)) == 200

    for path, count in ((f"studies/{STUDY}", 4), (f"studies/{STUDY}/series/{STUDY}.1", 4)):
        found = files_of(stocked.get(path, PARTS))
        assert len(found) == count
        assert {said(each) for each in found} == {right}
    alone = stocked.get(LATE, ALONE)
    assert int(alone.headers["content-length"]) == len(alone.content)
    implicit = stocked.get(LATE, "application/dicom; transfer-syntax=1.2.840.10008.1.2")
    for answer in (alone, implicit, stocked.get(instance_path(5, 1, 1), ALONE)):
        found_one = dcmread(BytesIO(answer.content))
        assert said(found_one) == right
        was = found_one.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
        assert said(was) == (OF_A, "Typed^Wrong", "19010101")
    for study in (STUDY, BEGUN):
        for model in stocked.get(f"studies/{study}/metadata", "application/dicom+json").json():
            assert model["00100020"]["Value"] == ["P1"]
        listed = stocked.get(f"instances?StudyInstanceUID={study}&includefield=PatientID").json()
        assert {each["00100020"]["Value"][0] for each in listed} == {"P1"}
    xml = stocked.get(f"{LATE}/metadata", "multipart/related; type=application/dicom+xml")
    assert b">P1<" in xml.content
    assert stocked.get(f"studies?PatientID={OF_A}").content in (b"[]", b"")
    with stocked.clinic.parts.database.reading() as tx:
        assert "other_patient" not in {each.code for each in remarks_of(tx, STUDY)}
        assert archive.manifest(tx, STUDY).patient_ref == patients.find(tx, "P1")[0].ref
        assert archive.manifest(tx, BEGUN).patient_ref == patients.find(tx, "P1")[0].ref
    _taken_back(stocked, made)


def test_what_named_the_right_patient_leaves_byte_for_byte(stocked: Stocked) -> None:
    merged(stocked)
    send(stocked, of_a(1, 4))
    kept = stocked.clinic.engine.archive.read(f"{STUDY}.1.2")

    assert stocked.get(instance_path(1, 1, 2), ALONE).content == kept
    shown = shown_of(stocked.clinic.engine.archive, STUDY)
    assert shown is not None
    assert (shown.of(f"{STUDY}.1.2"), shown.of(f"{STUDY}.1.4") is None) == (None, False)


def _taken_back(stocked: Stocked, made: Correction) -> None:
    with stocked.clinic.parts.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="they are two", actor=BY)
    stocked.clinic.settle()
    with stocked.clinic.parts.database.reading() as tx:
        assert [(each.code, each.instances) for each in remarks_of(tx, STUDY)][:1] == [
            ("other_patient", 1)
        ]
        assert "other_patient" not in {each.code for each in remarks_of(tx, BEGUN)}
    for uid, path in ((f"{STUDY}.1.4", LATE), (f"{BEGUN}.1.1", instance_path(5, 1, 1))):
        kept = stocked.clinic.engine.archive.read(uid)
        assert stocked.get(path, ALONE).content == kept
        (model,) = stocked.get(f"{path}/metadata", "application/dicom+json").json()
        assert model["00100020"]["Value"] == [OF_A]
    listed = stocked.get(f"instances?StudyInstanceUID={BEGUN}&includefield=PatientID").json()
    assert listed[0]["00100020"]["Value"] == [OF_A]


def searched(stocked: Stocked, asked: str) -> dict[str, tuple[str, str, str]]:
    """Return what a search of instances says of the patient of each."""
    keys = "includefield=PatientID,PatientName,PatientBirthDate"
    found = stocked.get(f"instances?{asked}&{keys}").json()
    return {
        each["00080018"]["Value"][0]: (
            each["00100020"]["Value"][0],
            each["00100010"]["Value"][0]["Alphabetic"],
            each["00100030"]["Value"][0],
        )
        for each in found
    }


def retrieved(stocked: Stocked) -> dict[str, tuple[str, str, str]]:
    found = files_of(stocked.get(f"studies/{STUDY}", PARTS))
    return {str(each.SOPInstanceUID): said(each) for each in found}


def patient_ids(told: dict[str, tuple[str, str, str]]) -> dict[str, str]:
    return {uid: each[0] for uid, each in told.items()}


def asked_by_device(stocked: Stocked, **keys: str) -> dict[str, str]:
    """Return the patient ids that C-FIND at the level of instances answers."""
    told = {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": STUDY, "PatientID": "", **keys}
    asked = Attributes({each.tag: each for each in (attribute(*pair) for pair in told.items())})
    query = queries.read(asked, Root.STUDY, relational=True)
    finder = Finder(stocked.clinic.engine.archive, ae_title="", views={}, max_matches=100)
    answers = [query.answer(each, ae_title="T") for each in finder.matches(query, None)]
    said_by = [{each.keyword: each.values for each in answer} for answer in answers]
    return {each["SOPInstanceUID"][0]: each["PatientID"][0] for each in said_by}


def held_of(stocked: Stocked, patient_id: str, study: str = "") -> set[str]:
    """Return the instances that a C-MOVE or C-GET on the patient root names."""
    told = {"QueryRetrieveLevel": "STUDY" if study else "PATIENT", "PatientID": patient_id}
    if study:
        told["StudyInstanceUID"] = study
    asked = Attributes({each.tag: each for each in (attribute(*pair) for pair in told.items())})
    query = queries.read(selection(asked, Root.PATIENT), Root.STUDY, relational=True)
    finder = Finder(stocked.clinic.engine.archive, ae_title="", views={}, max_matches=100)
    return {each.instance_uid for each in finder.held(query, None)}


def test_a_search_says_of_each_instance_what_it_says_itself(stocked: Stocked) -> None:
    made = merged(stocked)
    send(stocked, of_a(1, 4))
    whole, late, mine = f"StudyInstanceUID={STUDY}", f"{STUDY}.1.4", f"{STUDY}.1.1"
    assert searched(stocked, whole) == retrieved(stocked)
    assert searched(stocked, whole)[late][0] == "P1"

    with stocked.clinic.parts.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="they are two", actor=BY)
    stocked.clinic.settle()

    told = searched(stocked, whole)
    # The name is that of the registry, at this level as at each, however a sender spelt it.
    assert patient_ids(told) == patient_ids(retrieved(stocked))
    assert (told[late][0], told[mine][0]) == (OF_A, "P1")
    assert asked_by_device(stocked) == patient_ids(told)
    # What is asked for one patient is answered with nobody else's, page by page as well.
    of_one = sorted(set(told) - {late})
    assert sorted(searched(stocked, f"{whole}&PatientID=P1")) == of_one
    assert sorted(asked_by_device(stocked, PatientID="P1")) == of_one
    assert asked_by_device(stocked, PatientID=OF_A) == {late: OF_A}
    assert late in searched(stocked, f"PatientID={OF_A}")
    assert late in searched(stocked, f"PatientName={NAMES[2]}")
    assert late not in searched(stocked, "PatientID=P1")
    everyones = stocked.get(f"instances?{whole}&PatientID=P*").json()
    assert sorted(each["00080018"]["Value"][0] for each in everyones) == sorted(told)
    assert late in held_of(stocked, OF_A)
    assert held_of(stocked, OF_A, study=STUDY) == {late}
    assert not held_of(stocked, "P1") & held_of(stocked, OF_A)
    assert held_of(stocked, "P1", study=STUDY) == set(of_one)
    paged = [
        uid
        for at in range(4)
        for uid in searched(stocked, f"{whole}&PatientID=P1&offset={at}&limit=1")
    ]
    assert paged == of_one
    with stocked.clinic.parts.database.transaction() as tx:
        (right,) = patients.find(tx, OF_A)
        corrections.move_study(tx, STUDY, right.ref, reason="wrong line", actor=BY)
    stocked.clinic.settle()
    assert patient_ids(searched(stocked, whole)) == dict.fromkeys(told, OF_A)
    assert patient_ids(retrieved(stocked)) == dict.fromkeys(told, OF_A)


def test_a_report_names_who_stands_for_the_patient(clinic: Clinic) -> None:
    reader, case = taken(clinic)
    with clinic.parts.database.transaction() as tx:
        (goes,) = patients.find(tx, "P-1")
        stays = patients.register(
            tx, issuer="CITY", patient_id="C-7", name="Right^Name", sex="F", birth_date=None
        )
        corrections.merge(tx, goes.ref, stays, reason="one person", actor=BY)
    clinic.settle()
    reader.write(case, "Clear lungs.", "Normal.", then="finalise")
    assert reader.post(f"/cases/{case.id}/sign", version="1", passphrase=PASSPHRASE).is_redirect

    report = dcmread(BytesIO(reader.get(f"/cases/{case.id}/report/1.dcm").content))
    assert (report.PatientID, str(report.PatientName)) == ("C-7", "Right^Name")
    assert report.IssuerOfPatientID == "CITY"


def test_what_makes_new_objects_reads_what_is_right(stocked: Stocked) -> None:
    made = merged(stocked)
    send(stocked, of_a(1, 4))
    source = AsShown(stocked.clinic.engine.archive)

    assert dcmread(BytesIO(source.read(f"{STUDY}.1.4"))).PatientID == "P1"
    kept = stocked.clinic.engine.archive.read(f"{STUDY}.1.1")
    assert source.read(f"{STUDY}.1.1") == kept
    with pytest.raises(archive.InstanceUnknown):
        source.read("1.2.3")
    with stocked.clinic.parts.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="they are two", actor=BY)
    assert dcmread(BytesIO(source.read(f"{STUDY}.1.4"))).PatientID == OF_A
