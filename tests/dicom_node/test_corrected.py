"""What goes out of a corrected study: right attributes, the same pixels, and what was noted."""

import struct
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.corrected import corrected, corrected_model, rewritten
from dicom_node.dicom_json import metadata_of
from dicom_node.elements import spans
from dicom_node.encoding import Encoding, element
from dicom_node.errors import CorrectionNotShown
from dicom_node.part10 import split
from dicom_node.right_values import wanted
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
    right = {f"{tag:08X}" for tag in wanted(moved(accession="ACC-9"))}
    ours = {"04000561", *right}
    assert {tag: out[tag] for tag in out if tag not in ours} == {
        tag: whole[tag] for tag in whole if tag not in ours
    }
    assert out["00100020"]["Value"] == ["P77"]


def requested(*numbers: str, undefined: bool = False) -> Dataset:
    """Return a slice that was made for several requests, its own number ACC1."""
    data_set = a_slice()
    data_set.RequestAttributesSequence = [Dataset() for _ in numbers]
    data_set["RequestAttributesSequence"].is_undefined_length = undefined
    for each, number in zip(data_set.RequestAttributesSequence, numbers, strict=True):
        each.is_undefined_length_sequence_item = undefined
        each.AccessionNumber = number
        each.RequestedProcedureDescription = "Грудь"
        each.RequestedProcedureID = "R1"
        each.RequestedProcedureCodeSequence = [Dataset()]
        each.RequestedProcedureCodeSequence[0].CodeValue = "X"
    return data_set


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_the_request_within_has_the_right_number_too(syntax: str, undefined: bool) -> None:
    before = requested("OTHER", "ACC1", undefined=undefined)
    before.ReferencedRequestSequence = [Dataset()]
    before.ReferencedRequestSequence[0].AccessionNumber = "ACC1"
    file, shown = as_file(before, syntax), moved(None, accession="ACC-9")
    out = read(corrected(file, shown))
    assert [each.AccessionNumber for each in out.RequestAttributesSequence] == ["OTHER", "ACC-9"]
    assert out.ReferencedRequestSequence[0].AccessionNumber == "ACC-9"
    right = out.RequestAttributesSequence[1]
    assert right.RequestedProcedureDescription == "Грудь"
    assert right.RequestedProcedureCodeSequence[0].CodeValue == "X"
    assert out.PixelData == before.PixelData
    old = was(out)
    assert [each.AccessionNumber for each in old.RequestAttributesSequence] == ["OTHER", "ACC1"]
    told = corrected_model(metadata_of(BytesIO(file), bulk="urn:b"), shown)
    assert told == metadata_of(BytesIO(corrected(file, shown)), bulk="urn:b")


@pytest.mark.parametrize(
    ("own", "numbers", "expected"),
    [
        ("", ["ACC1"], ["ACC-9"]),
        ("", ["ACC1", "ACC2"], ["ACC1", "ACC2"]),
        ("ACC1", ["ACC2"], ["ACC2"]),
        ("ACC1", [""], [""]),
        ("ACC1", [], []),
        ("ACC1", ["ACC1 "], ["ACC-9"]),
        ("ACC-9", ["ACC-9", "ACC2"], ["ACC-9", "ACC2"]),
    ],
)
def test_a_request_that_is_not_meant_keeps_its_number(
    own: str, numbers: list[str], expected: list[str]
) -> None:
    before = requested(*numbers)
    before.AccessionNumber = own
    file, shown = as_file(before), moved(None, accession="ACC-9")
    out = read(corrected(file, shown))
    assert out.AccessionNumber == "ACC-9"
    assert [each.AccessionNumber for each in out.RequestAttributesSequence] == expected
    told = corrected_model(metadata_of(BytesIO(file), bulk="urn:b"), shown)
    assert told == metadata_of(BytesIO(corrected(file, shown)), bulk="urn:b")


def test_a_number_of_other_letters_goes_into_the_request_too() -> None:
    before = requested("ACC1")
    before.SpecificCharacterSet = "ISO_IR 100"
    before.RequestAttributesSequence[0].RequestedProcedureDescription = "Thorax"
    before.RequestAttributesSequence[0].SpecificCharacterSet = "ISO_IR 100"
    before.PatientName, before.StudyDescription = "Old^Name", "Thorax"
    out = read(corrected(as_file(before), moved(None, accession="Ж-9")))
    assert out.RequestAttributesSequence[0].AccessionNumber == out.AccessionNumber == "Ж-9"


def test_the_request_of_another_person_does_not_go_out() -> None:
    before = requested("ACC1")
    before.ReferencedPatientSequence = [Dataset()]
    before.ReferencedPatientSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    before.AdmittingDiagnosesDescription, before.AdmissionID = "cough", "V-1"
    before.ClinicalTrialSubjectID = "S-1"
    out = read(corrected(as_file(before), moved(accession="ACC-9")))
    gone = (
        "RequestAttributesSequence",
        "ReferencedPatientSequence",
        "AdmittingDiagnosesDescription",
        "AdmissionID",
        "ClinicalTrialSubjectID",
    )
    for keyword in gone:
        assert keyword not in out
        assert keyword in was(out)


def test_ids_of_the_same_person_stay_after_a_merge() -> None:
    before = requested("ACC1")
    before.OtherPatientIDsSequence = [Dataset()]
    before.OtherPatientIDsSequence[0].PatientID = "OTHER"
    shown = replace(moved(), another_person=False)
    out = read(corrected(as_file(before), shown))
    assert out.PatientID == "P77"
    assert out.OtherPatientIDsSequence[0].PatientID == "OTHER"
    assert out.RequestAttributesSequence[0].AccessionNumber == "ACC1"


def test_what_says_what_is_right_leaves_byte_for_byte() -> None:
    before = a_slice()
    before.AccessionNumber = "ACC-9"
    file, shown = as_file(before), moved(None, accession="ACC-9")
    assert corrected(file, shown) == file
    model = metadata_of(BytesIO(file), bulk="urn:b")
    assert corrected_model(model, shown) == model


def test_a_request_that_cannot_be_read_keeps_the_instance_here() -> None:
    file = as_file(requested("ACC1"))
    at = file.index(b"\xfe\xff\x00\xe0")
    with pytest.raises(CorrectionNotShown):
        corrected(file[:at] + b"\x01" + file[at + 1 :], moved(None, accession="ACC-9"))


@pytest.mark.parametrize("own", [b"", b"\x08\x00\x50\x00SH\x04\x00ACC1"], ids=["empty", "long"])
def test_a_sequence_without_end_takes_no_memory(own: bytes) -> None:
    data_set = a_slice()
    data_set.AccessionNumber = ""
    file = bytearray(as_file(data_set))
    item = own * (1 if not own else 100_000)
    items = struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    items *= max(1, 1_000_000 // len(items))
    head = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, len(items))
    at = file.index(b"\x28\x00\x02\x00US")
    with pytest.raises(CorrectionNotShown, match="taken apart"):
        corrected(bytes(file[:at] + head + items + file[at:]), moved(None, accession="ACC-9"))


@given(at=st.integers(0, 900), to=st.binary(min_size=1, max_size=6), cut=st.integers(0, 900))
@settings(max_examples=400, deadline=None)
def test_bytes_that_are_no_data_set_are_refused_and_nothing_else(
    at: int, to: bytes, cut: int
) -> None:
    file = as_file(requested("ACC1", "OTHER", undefined=True))
    begin = split(file).data_set_offset + at
    broken = (file[:begin] + to + file[begin + len(to) :])[: len(file) - cut]
    with suppress(CorrectionNotShown):
        corrected(broken, moved(None, accession="ACC-9"))


def test_what_was_is_noted_beside_what_another_noted_as_unknown() -> None:
    before = a_slice()
    before.PregnancyStatus = 4
    before.OtherPatientIDsSequence = [Dataset()]
    noted_before = struct.pack(
        "<HHIHHI12s", 0xFFFE, 0xE000, 20, 0x0400, 0x0563, 12, b"OTHER SYSTEM"
    )
    syntax = ExplicitVRLittleEndian
    file = as_file(before, syntax)
    begin = split(file).data_set_offset
    _, rest = spans(memoryview(file)[begin:], syntax, last=0x04000560, whole=len(file) - begin)
    unknown = element(0x04000561, "UN", noted_before, Encoding("<", explicit=True))
    file = file[: begin + rest] + unknown + file[begin + rest :]
    first, ours = read(corrected(file, moved(accession="ACC-9"))).OriginalAttributesSequence
    assert first.ModifyingSystem == "OTHER SYSTEM"
    old = ours.ModifiedAttributesSequence[0]
    assert (old.PatientID, old.AccessionNumber) == ("P1", "ACC1")
    assert old.PregnancyStatus == 4
    assert "OtherPatientIDsSequence" not in old


LITTLE = Encoding("<", explicit=True)


SIDE = 256  # longer than the head that is read of a large instance


def disordered(*, early: bytes = b"", late: bytes = b"") -> bytes:
    """Return a file whose data set begins with, or ends in, what belongs elsewhere in it."""
    file = as_file(a_slice(side=SIDE))
    at = split(file).data_set_offset
    return file[:at] + early + file[at:] + late


@pytest.mark.parametrize(
    "file",
    [
        disordered(early=element(0x60000010, "US", b"\1\0", LITTLE)),
        disordered(late=element(0x00100020, "LO", b"P3", LITTLE)),
        disordered(early=element(0x00100020, "LO", b"P3", LITTLE)),
        disordered(early=element(0x7FE10010, "LO", b"PRIVATE", LITTLE)),
    ],
    ids=["overlay first", "patient last", "patient twice", "private first"],
)
@pytest.mark.parametrize("name", ["Right^One", "Ґудзь^Їжак"])
def test_no_wrong_patient_stays_where_elements_are_out_of_order(file: bytes, name: str) -> None:
    out = corrected(file, moved(replace(RIGHT, name=name)))

    at = split(out).data_set_offset
    found, _ = spans(
        memoryview(out)[at:], ExplicitVRLittleEndian, last=1 << 32, whole=len(out) - at
    )
    tags = [span.tag for span in found]
    assert tags == sorted(set(tags))
    told = read(out)
    assert (told.PatientName, told.PatientID) == (name, "P77")
    assert told.PixelData == a_slice(side=SIDE).PixelData


@pytest.mark.parametrize("syntax", SYNTAXES[:3], ids=lambda uid: uid.name)
def test_zeros_that_fill_up_a_file_stay_at_its_end(syntax: str) -> None:
    file, zeros = as_file(a_slice(), syntax), bytes(512)
    assert corrected(file + zeros, moved()) == corrected(file, moved()) + zeros


def test_the_right_patient_beside_a_wrong_one_goes_out_alone() -> None:
    right = replace(RIGHT, patient_id="P1", name="Ахметова^Айгүл")
    shown = replace(moved(right), another_person=False)
    out = corrected(disordered(early=element(0x00100020, "LO", b"P3", LITTLE)), shown)
    assert b"P3" not in out
    assert read(out).PatientID == "P1"


def test_what_stands_in_a_data_set_does_not_move_into_the_head_of_the_file() -> None:
    with pytest.raises(CorrectionNotShown, match="file meta information"):
        corrected(disordered(late=element(0x00020010, "UI", b"1.2\0", LITTLE)), moved())


@pytest.mark.filterwarnings("ignore")  # pydicom's, about the VR
def test_what_can_be_read_in_two_ways_does_not_go_out() -> None:
    before = a_slice()
    del before.SpecificCharacterSet
    before.PatientName = "Old^Name"
    file = as_file(before, ExplicitVRBigEndian)
    at = split(file).data_set_offset
    # A VR that is none: the length behind it is of two bytes to one reader, of four to another.
    odd = file[:at] + struct.pack(">HH2sH", 8, 1, b"S\0", 2) + b"ab" + file[at:]
    with pytest.raises(CorrectionNotShown, match="ValueError"):
        corrected(odd, moved(replace(RIGHT, name="Ґудзь^Їжак")))
