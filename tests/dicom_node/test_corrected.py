"""What goes out of a corrected study: right attributes, the same pixels, and what was noted."""

from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.corrected import corrected, corrected_model, rewritten
from dicom_node.dicom_json import metadata_of
from dicom_node.errors import CorrectionNotShown
from dicom_node.part10 import split
from kernel.ids import PatientRef
from storage.patients import Patient, unstated_issuer
from storage.shown import Shown
from tests.dicom_node.samples import a_slice, as_file, real_files

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
RIGHT = Patient(PatientRef("p"), "HOSPITAL", "P77", "Rakhimova^Aliya", "F", date(1981, 2, 3))
SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]


def moved(patient: Patient | None = RIGHT, *, accession: str | None = None) -> Shown:
    return Shown(
        study_uid="1.2",
        patient=patient,
        demographics={},
        accession=accession,
        another_person=patient is not None,
        at=AT,
    )


def read(file: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(file))


def was(data_set: Dataset) -> Dataset:
    found: Dataset = data_set.OriginalAttributesSequence[-1].ModifiedAttributesSequence[0]
    return found


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_the_right_patient_goes_out_and_the_wrong_one_is_noted(syntax: str) -> None:
    before = a_slice()
    before.PatientAge, before.PatientWeight = "056Y", "70"
    before.OtherPatientIDsSequence = [Dataset()]
    before.OtherPatientIDsSequence[0].PatientID = "OTHER"
    pixels = before.PixelData
    file = as_file(before, syntax)
    out = read(corrected(file, moved(accession="ACC-9")))
    assert (out.PatientName, out.PatientID) == ("Rakhimova^Aliya", "P77")
    assert (out.IssuerOfPatientID, out.PatientBirthDate, out.PatientSex) == (
        "HOSPITAL", "19810203", "F",
    )  # fmt: skip
    assert out.AccessionNumber == "ACC-9"
    assert "PatientAge" not in out
    assert "OtherPatientIDsSequence" not in out
    assert out.PatientWeight == 70
    assert out.PixelData == pixels
    assert out.file_meta.TransferSyntaxUID == syntax
    old = was(out)
    assert (old.PatientID, old.AccessionNumber, old.PatientAge) == ("P1", "ACC1", "056Y")
    assert old.PatientName == "Ахметова^Айгүл"
    assert old.OtherPatientIDsSequence[0].PatientID == "OTHER"
    note = out.OriginalAttributesSequence[-1]
    assert note.ReasonForTheAttributeModification == "CORRECT"
    assert note.ModifyingSystem == "TELERAD"
    assert note.AttributeModificationDateTime == "20261122093000.000000+0000"


def test_an_earlier_note_stays_before_ours() -> None:
    before = a_slice()
    earlier = Dataset()
    earlier.ModifyingSystem = "RIS"
    before.OriginalAttributesSequence = [earlier]
    for undefined in (False, True):
        before["OriginalAttributesSequence"].is_undefined_length = undefined
        out = read(corrected(as_file(before), moved()))
        found = [one.ModifyingSystem for one in out.OriginalAttributesSequence]
        assert found == ["RIS", "TELERAD"]


def test_only_what_is_wrong_changes() -> None:
    file = as_file(a_slice())
    out = read(corrected(file, moved(None, accession="ACC-9")))
    assert out.PatientID == "P1"
    assert [each.keyword for each in was(out)] == ["AccessionNumber"]


@pytest.mark.parametrize(
    ("declared", "name", "kept"),
    [
        ("ISO_IR 144", "Иванова^Анна", "ISO_IR 144"),
        ("ISO_IR 144", "Әлия^Қанат", "ISO_IR 192"),
        ("ISO_IR 100", "Иванова^Анна", "ISO_IR 192"),
        ("", "Иванова^Анна", "ISO_IR 192"),
        ("ISO_IR 192", "Әлия^Қанат", "ISO_IR 192"),
    ],
)
def test_a_name_goes_out_in_a_character_set_that_has_it(
    declared: str, name: str, kept: str
) -> None:
    before = a_slice()
    before.SpecificCharacterSet = declared or None
    before.PatientName = "Old^Name"
    before.StudyDescription = "Грудь" if declared == "ISO_IR 144" else "Thorax"
    right = Patient(PatientRef("p"), unstated_issuer("x"), "P77", name, "F", None)
    out = read(corrected(as_file(before), moved(right)))
    assert (str(out.PatientName), out.SpecificCharacterSet) == (name, kept)
    assert out.StudyDescription == before.StudyDescription
    assert "IssuerOfPatientID" not in out
    assert out.PixelData == before.PixelData


def test_the_metadata_say_what_the_file_says() -> None:
    file = as_file(a_slice())
    shown = moved(accession="ACC-9")
    told = corrected_model(metadata_of(BytesIO(file), bulk="urn:b"), shown)
    expected = metadata_of(BytesIO(corrected(file, shown)), bulk="urn:b")
    assert told == expected


def test_the_rest_of_a_large_instance_is_never_read() -> None:
    file = as_file(a_slice(side=512))
    asked = []

    def head(length: int) -> bytes:
        asked.append(length)
        return file[:length]

    made = rewritten(head, len(file), moved())
    assert made.head + file[made.tail :] == corrected(file, moved())
    assert max(asked) < len(file)


def test_what_cannot_be_rewritten_does_not_go_out() -> None:
    file = as_file(a_slice())
    head = split(file).data_set_offset
    with pytest.raises(CorrectionNotShown):
        corrected(file[:head] + b"\x08\x00\x16\x00UI\xff\x00abc", moved())


@pytest.mark.parametrize("path", real_files(), ids=lambda path: path.name)
def test_real_instances_keep_everything_else(path: Path) -> None:
    data = path.read_bytes()
    try:
        before = read(data)
        whole = before.to_json_dict()
    except Exception:  # noqa: BLE001 - what an independent reader cannot read proves nothing
        pytest.skip("pydicom does not read it")
    if "PatientID" not in before or "TransferSyntaxUID" not in before.file_meta:
        pytest.skip("it is no instance of a patient")
    out = read(corrected(data, moved(accession="ACC-9"))).to_json_dict()
    ours = {"00080050", "04000561", *(tag for tag in (*whole, *out) if tag.startswith("0010"))}
    assert {tag: out[tag] for tag in out if tag not in ours} == {
        tag: whole[tag] for tag in whole if tag not in ours
    }
    assert out["00100020"]["Value"] == ["P77"]
