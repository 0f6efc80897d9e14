"""The SR: what another program makes of it, and that it agrees with its study."""

import contextlib
import io
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from kernel.ids import UNIDENTIFIED
from reporting import sr
from reporting.document import TITLES, Party, title_for
from reporting.sections import ADDENDUM, WRITTEN, Section
from reporting.sr import ImageUnreadable, Predecessor
from storage.patients import unstated_issuer
from tests.reporting.samples import HOUR, NOON, a_content, a_manifest


def a_report(**changes: object) -> bytes:
    """The SR of the sample content."""
    content = a_content(**changes)
    manifest = a_manifest()
    return sr.build(content, manifest, sr.header_from(content, manifest), signed_at=NOON + HOUR)


def errors_in(data: bytes, tmp_path: Path) -> list[str]:
    """What dciodvfy calls an error."""
    path = tmp_path / "report.dcm"
    path.write_bytes(data)
    found = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    said = (found.stdout + found.stderr).splitlines()
    assert "BasicTextSR" in said
    return [line for line in said if line.startswith("Error")]


def an_image(**values: object) -> bytes:
    """A Part 10 file as a device might send it, with whatever values."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in values.items():
        setattr(image, keyword, value)
    buffer = io.BytesIO()
    image.save_as(buffer, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


@pytest.mark.parametrize("modality", ["DX", "CT", "MR", "US", "XA"])
def test_dciodvfy_finds_no_error(modality, tmp_path):
    data = a_report(modality=modality, title=title_for(modality))

    assert errors_in(data, tmp_path) == []


def test_an_addendum_names_the_report_that_it_adds_to(tmp_path):
    content = a_content(
        version=2,
        kind="addendum",
        sections=(*a_content().sections, Section(ADDENDUM, "Old films: unchanged.")),
    )
    manifest = a_manifest()
    before = Predecessor(sr.series_uid(content), sr.instance_uid(a_content()))
    data = sr.build(
        content,
        manifest,
        sr.header_from(content, manifest),
        signed_at=NOON,
        predecessor=before,
    )

    assert errors_in(data, tmp_path) == []
    (study,) = dcmread(io.BytesIO(data)).PredecessorDocumentsSequence
    reference = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == before.instance_uid


def test_the_author_verified_it_when_they_signed():
    report = dcmread(io.BytesIO(a_report()))

    (verifier,) = report.VerifyingObserverSequence
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert verifier.VerifyingObserverName == "Щърбанов Йордан"
    assert verifier.VerificationDateTime == "20261122130000+0000"


def test_it_names_every_instance_that_the_author_was_given():
    report = dcmread(io.BytesIO(a_report()))

    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert study.StudyInstanceUID == report.StudyInstanceUID == "1.2.3"
    assert [r.ReferencedSOPInstanceUID for r in series.ReferencedSOPSequence] == [
        "1.2.3.1.1",
        "1.2.3.1.2",
    ]
    assert report.SeriesInstanceUID != series.SeriesInstanceUID


def test_it_holds_every_section_as_it_was_written():
    tree = dcmread(io.BytesIO(a_report())).ContentSequence

    held = [
        (item.ConceptNameCodeSequence[0].CodeValue, item.ContentSequence[0].TextValue)
        for item in tree
        if item.ValueType == "CONTAINER"
    ]
    assert held == [(s.code.value, s.text.replace("\n", "\r\n")) for s in a_content().sections]


def test_the_same_version_is_the_same_object_and_the_next_one_another():
    assert a_report() == a_report()
    one, two = (dcmread(io.BytesIO(a_report(version=n))) for n in (1, 2))
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.SeriesInstanceUID == two.SeriesInstanceUID


def test_codes_are_those_of_the_standard():
    known = {(code.scheme_designator, code.value) for code in codes.cid7000.concepts.values()}
    headings = {(code.scheme_designator, code.value) for code in codes.cid7001.concepts.values()}

    assert {(c.scheme, c.value) for c in TITLES.values()} <= known
    assert {(c.scheme, c.value) for c in (*WRITTEN, ADDENDUM)} <= headings


def test_patient_and_study_are_as_the_images_say():
    image = an_image(
        PatientName="Әлібекұлы^Қуаныш",
        PatientID="A-1",
        PatientBirthDate="19610412",
        PatientSex="F",
        StudyDate="20261120",
        StudyTime="101112.25",
        StudyID="7",
        AccessionNumber="ACC-9",
        ReferringPhysicianName="Иванова^Мария",
    )

    header = sr.header_of(image)
    report = dcmread(io.BytesIO(sr.build(a_content(), a_manifest(), header, signed_at=NOON)))

    for keyword in ("PatientName", "PatientID", "PatientSex", "StudyDate", "StudyID"):
        assert report[keyword].value == dcmread(io.BytesIO(image), force=True)[keyword].value
    assert report.StudyTime == "101112"
    assert report.AccessionNumber == "ACC-9"


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the toolkit, about the form of the file
@pytest.mark.parametrize("data", [b"", b"DICM" * 3, bytes(200), b"%PDF-1.7"])
def test_an_image_that_is_none_says_nothing_or_is_found(data):
    with contextlib.suppress(ImageUnreadable):
        assert sr.header_of(data).patient_id == ""


def test_a_long_name_of_author_and_organisation_is_made_to_fit(tmp_path):
    data = a_report(
        author=Party("r-1", "Константинопольська Олександра Володимирівна"),
        organisation=Party("o-1", "Комунальне некомерційне підприємство обласна лікарня № 1"),
    )

    assert errors_in(data, tmp_path) == []
    report = dcmread(io.BytesIO(data))
    assert report.VerifyingObserverSequence[0].VerifyingObserverName == (
        "Константинопольська О. В."
    )


def test_a_value_that_is_not_legal_is_left_out_without_a_word():
    image = (
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 144"
        b"\x08\x00\x20\x00DA\x08\x0020261399"
        b"\x10\x00\x10\x00PN\x06\x00\xbf\xe3\xe8\xda^\x00"
        b"\x10\x00\x30\x00DA\x06\x00born 1"
        b"\x10\x00\x40\x00CS\x06\x00female"
    )

    header = sr.header_of(image)

    assert (header.study_date, header.birth_date, header.sex) == ("", "", "")
    assert header.patient_name == "Пушк^"


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=90), accession=st.text(max_size=30))
def test_whatever_names_and_numbers_are_the_object_can_be_written_and_read(text, accession):
    patient = replace(a_content().patient, name=text, patient_id=text)
    content = a_content(
        patient=patient,
        author=Party("r-1", text),
        organisation=Party("o-1", text),
        accession=accession,
    )
    manifest = replace(a_manifest(), study_date=text, study_time=text, study_description=text)

    data = sr.build(content, manifest, sr.header_from(content, manifest), signed_at=NOON)

    assert dcmread(io.BytesIO(data)).StudyInstanceUID == "1.2.3"


@pytest.mark.parametrize(
    ("issuer", "told"),
    [
        ("CITY", ("P-1", "CITY")),
        (unstated_issuer("east"), ("P-1", "")),
        (UNIDENTIFIED, ("", "")),  # by the UID of the study, which is no id of a person
    ],
)
def test_what_we_call_a_patient_among_ourselves_is_told_to_nobody(issuer, told):
    patient = replace(a_content().patient, issuer=issuer, patient_id="P-1")
    header = sr.header_from(a_content(patient=patient), a_manifest())

    assert (header.patient_id, header.issuer) == told
