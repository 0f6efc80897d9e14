"""The report as a DICOM object: a verified Basic Text SR in a series of its own.

References
----------
DICOM PS3.3 A.35.1 (Basic Text SR), PS3.16 TID 2000 (Basic Diagnostic Imaging Report),
CID 7000 to 7002.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pydicom import Dataset, Sequence, dcmread
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, BasicTextSRStorage, ExplicitVRLittleEndian
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from kernel.codes import Coded
from kernel.errors import Corrupt
from kernel.ids import UNIDENTIFIED, derived_uid
from reporting.document import Content, in_zone
from reporting.sections import (
    ADDENDUM,
    COMPARISON,
    FINDINGS,
    IMPRESSION,
    INDICATION,
    PROCEDURE,
    RECOMMENDATION,
    Section,
)
from storage.archive import Manifest
from storage.patients import is_stated

SERIES_NUMBER = 9001
MAKER = "telerad"

# The concept that names the text inside the container of a section (CID 7002 and kin).
_ELEMENTS: dict[Coded, Coded] = {
    INDICATION: Coded("121109", "DCM", "Indications for Procedure"),
    PROCEDURE: Coded("121065", "DCM", "Procedure Description"),
    COMPARISON: Coded("121069", "DCM", "Previous Finding"),
    FINDINGS: Coded("121071", "DCM", "Finding"),
    IMPRESSION: Coded("121073", "DCM", "Impression"),
    RECOMMENDATION: Coded("121075", "DCM", "Recommendation"),
    ADDENDUM: Coded("121078", "DCM", "Addendum"),
}
_LANGUAGE = Coded("121049", "DCM", "Language of Content Item and Descendants")
_OBSERVER_TYPE = Coded("121005", "DCM", "Observer Type")
_PERSON = Coded("121006", "DCM", "Person")
_OBSERVER_NAME = Coded("121008", "DCM", "Person Observer Name")
_OBSERVER_ORGANISATION = Coded("121009", "DCM", "Person Observer's Organization Name")
_ADDENDED = Coded("121361", "DCM", "Addended report")
_LANGUAGES = {"en": "English", "uk": "Ukrainian", "kk": "Kazakh", "bg": "Bulgarian"}

# Longest values of the value representations that are filled from elsewhere.  The standard counts
# characters; receivers are met that count bytes of UTF-8, so what may be cut is cut by bytes.
_SHORT, _LONG, _PERSON_NAME = 16, 64, 64


class ImageUnreadable(Corrupt):
    """A stored image of the study cannot be read as DICOM."""

    code = "reporting.image_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyHeader:
    """What all objects of a study say alike (PS3.3 C.7.1.1, C.7.2.1), as its images say it."""

    patient_name: str
    patient_id: str
    issuer: str
    birth_date: str
    sex: str
    study_date: str
    study_time: str
    study_id: str
    study_description: str
    referring_physician: str
    accession: str


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The SR of the sealed version that an addendum adds to."""

    series_uid: str
    instance_uid: str


def instance_uid(content: Content) -> str:
    """Return the UID that the SR of this version always has."""
    return derived_uid("report.sr", content.report_id, content.version)


def series_uid(content: Content) -> str:
    """Return the UID of the series that holds the SRs of this report."""
    return derived_uid("report.sr.series", content.report_id)


def header_of(image: bytes) -> StudyHeader:
    """Read what the study says from one of its images (a whole Part 10 file).

    Raises
    ------
    ImageUnreadable
        The bytes are not DICOM.
    """
    try:
        dataset = dcmread(io.BytesIO(image), stop_before_pixels=True, force=True)
        return StudyHeader(
            patient_name=_text(dataset, "PatientName", 3 * _PERSON_NAME + 2),
            patient_id=_text(dataset, "PatientID", _LONG),
            issuer=_text(dataset, "IssuerOfPatientID", _LONG),
            birth_date=_date(_text(dataset, "PatientBirthDate", _LONG)),
            sex=_sex(_text(dataset, "PatientSex", _SHORT)),
            study_date=_date(_text(dataset, "StudyDate", _LONG)),
            study_time=_time(_text(dataset, "StudyTime", _LONG)),
            study_id=_text(dataset, "StudyID", _SHORT),
            study_description=_cut(_text(dataset, "StudyDescription", _LONG), _LONG),
            referring_physician=_text(dataset, "ReferringPhysicianName", _PERSON_NAME),
            accession=_text(dataset, "AccessionNumber", _SHORT),
        )
    except (InvalidDicomError, ValueError, EOFError, LookupError) as error:
        raise ImageUnreadable("a stored image of the study cannot be read as DICOM") from error


def header_from(content: Content, manifest: Manifest) -> StudyHeader:
    """Return the header as the index knows it, for when the images cannot be had right now."""
    patient = content.patient
    unnamed = patient.issuer == UNIDENTIFIED
    issuer = patient.issuer if is_stated(patient.issuer) and not unnamed else ""
    return StudyHeader(
        patient_name=patient.name,
        patient_id="" if unnamed else patient.patient_id[:_LONG],
        issuer=issuer[:_LONG],
        birth_date=(patient.birth_date or "").replace("-", ""),
        sex=_sex(patient.sex),
        study_date=_date(manifest.study_date),
        study_time=_time(manifest.study_time),
        study_id="",
        study_description=_cut(manifest.study_description, _LONG),
        referring_physician="",
        accession=_fits(content.accession, _SHORT),
    )


def build(
    content: Content,
    manifest: Manifest,
    header: StudyHeader,
    *,
    signed_at: datetime,
    predecessor: Predecessor | None = None,
) -> bytes:
    """Return the report as a Part 10 file, verified by its author.

    The same arguments always give the same bytes.
    """
    buffer = io.BytesIO()
    root = FileDataset(buffer, {}, file_meta=_file_meta(content), preamble=bytes(128))
    root.SpecificCharacterSet = "ISO_IR 192"
    _add_patient_and_study(root, content, header)
    _add_series_and_equipment(root, content)
    _add_document(root, content, manifest, header, signed_at)
    if predecessor is not None:
        root.PredecessorDocumentsSequence = [_predecessor(content, predecessor)]
    _add_tree(root, content)
    root.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _file_meta(content: Content) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = BasicTextSRStorage
    meta.MediaStorageSOPInstanceUID = UID(instance_uid(content))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(derived_uid("implementation", MAKER))
    meta.ImplementationVersionName = MAKER.upper()
    return meta


def _add_patient_and_study(root: Dataset, content: Content, header: StudyHeader) -> None:
    root.PatientName = _person(header.patient_name)
    root.PatientID = header.patient_id
    if header.issuer:
        root.IssuerOfPatientID = header.issuer
    root.PatientBirthDate = header.birth_date
    root.PatientSex = header.sex
    root.StudyInstanceUID = content.study_uid
    root.StudyDate = header.study_date
    root.StudyTime = header.study_time
    root.ReferringPhysicianName = _person(header.referring_physician)
    root.StudyID = header.study_id
    root.AccessionNumber = header.accession
    if header.study_description:
        root.StudyDescription = header.study_description


def _add_series_and_equipment(root: Dataset, content: Content) -> None:
    root.Modality = "SR"
    root.SeriesInstanceUID = series_uid(content)
    root.SeriesNumber = SERIES_NUMBER
    root.SeriesDescription = content.title.meaning[:_LONG]
    root.ReferencedPerformedProcedureStepSequence = []
    root.Manufacturer = MAKER
    root.ManufacturerModelName = MAKER
    root.InstitutionName = _cut(content.organisation.name, _LONG)


def _add_document(
    root: Dataset,
    content: Content,
    manifest: Manifest,
    header: StudyHeader,
    signed_at: datetime,
) -> None:
    """Fill the SR Document General module (PS3.3 C.17.2)."""
    written = in_zone(content.finalised_at, content.zone)
    root.SOPClassUID = BasicTextSRStorage
    root.SOPInstanceUID = instance_uid(content)
    root.InstanceNumber = content.version
    root.ContentDate = f"{written:%Y%m%d}"
    root.ContentTime = f"{written:%H%M%S}"
    root.CompletionFlag = "COMPLETE"
    root.VerificationFlag = "VERIFIED"
    root.PreliminaryFlag = "FINAL"
    root.VerifyingObserverSequence = [_verifier(content, signed_at)]
    root.ReferencedRequestSequence = [_request(content, header)]
    root.PerformedProcedureCodeSequence = []
    root.CurrentRequestedProcedureEvidenceSequence = [_evidence(manifest)]


def _verifier(content: Content, signed_at: datetime) -> Dataset:
    item = Dataset()
    item.VerifyingOrganization = _cut(content.organisation.name, _LONG)
    item.VerificationDateTime = f"{signed_at.astimezone(UTC):%Y%m%d%H%M%S}+0000"
    item.VerifyingObserverName = _short_person(content.author.name)
    item.VerifyingObserverIdentificationCodeSequence = []
    return item


def _request(content: Content, header: StudyHeader) -> Dataset:
    item = Dataset()
    item.StudyInstanceUID = content.study_uid
    item.ReferencedStudySequence = []
    item.AccessionNumber = header.accession
    item.PlacerOrderNumberImagingServiceRequest = ""
    item.FillerOrderNumberImagingServiceRequest = ""
    item.RequestedProcedureID = _fits(content.accession, _SHORT)
    item.RequestedProcedureDescription = header.study_description
    item.RequestedProcedureCodeSequence = []
    return item


def _evidence(manifest: Manifest) -> Dataset:
    """Name every instance that the author was given (PS3.3 table 10-3b)."""
    by_series: dict[str, list[Dataset]] = {}
    for entry in manifest.entries:
        reference = _reference(entry.sop_class_uid, entry.instance_uid)
        by_series.setdefault(entry.series_uid, []).append(reference)
    study = Dataset()
    study.StudyInstanceUID = manifest.study_uid
    study.ReferencedSeriesSequence = [_series(uid, refs) for uid, refs in by_series.items()]
    return study


def _predecessor(content: Content, predecessor: Predecessor) -> Dataset:
    reference = _reference(BasicTextSRStorage, predecessor.instance_uid)
    reference.PurposeOfReferenceCodeSequence = [_code(_ADDENDED)]
    study = Dataset()
    study.StudyInstanceUID = content.study_uid
    study.ReferencedSeriesSequence = [_series(predecessor.series_uid, [reference])]
    return study


def _series(uid: str, references: Iterable[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = uid
    series.ReferencedSOPSequence = Sequence(references)
    return series


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = sop_class_uid
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    return reference


def _add_tree(root: Dataset, content: Content) -> None:
    """Fill the content tree (TID 2000): language, observer, one container a section."""
    root.ValueType = "CONTAINER"
    root.ConceptNameCodeSequence = [_code(content.title)]
    root.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource = "DCMR"
    template.TemplateIdentifier = "2000"
    root.ContentTemplateSequence = [template]
    language = Coded(content.language, "RFC5646", _LANGUAGES[content.language])
    root.ContentSequence = [
        _coded("HAS CONCEPT MOD", _LANGUAGE, language),
        _coded("HAS OBS CONTEXT", _OBSERVER_TYPE, _PERSON),
        _observer(content.author.name),
        _worded("HAS OBS CONTEXT", _OBSERVER_ORGANISATION, content.organisation.name),
        *(_container(section) for section in content.sections),
    ]


def _container(section: Section) -> Dataset:
    item = _item("CONTAINS", "CONTAINER", section.code)
    item.ContinuityOfContent = "SEPARATE"
    item.ContentSequence = [_worded("CONTAINS", _ELEMENTS[section.code], section.text)]
    return item


def _observer(name: str) -> Dataset:
    item = _item("HAS OBS CONTEXT", "PNAME", _OBSERVER_NAME)
    item.PersonName = _short_person(name)
    return item


def _coded(relation: str, concept: Coded, value: Coded) -> Dataset:
    item = _item(relation, "CODE", concept)
    item.ConceptCodeSequence = [_code(value)]
    return item


def _worded(relation: str, concept: Coded, text: str) -> Dataset:
    item = _item(relation, "TEXT", concept)
    item.TextValue = text.replace("\n", "\r\n")
    return item


def _item(relation: str, value_type: str, concept: Coded) -> Dataset:
    item = Dataset()
    item.RelationshipType = relation
    item.ValueType = value_type
    item.ConceptNameCodeSequence = [_code(concept)]
    return item


def _code(coded: Coded) -> Dataset:
    item = Dataset()
    item.CodeValue = coded.value
    item.CodingSchemeDesignator = coded.scheme
    item.CodeMeaning = coded.meaning
    return item


def _text(dataset: Dataset, keyword: str, longest: int) -> str:
    """Read one value as text that is legal to write again: a device may have sent anything.

    The raw bytes are decoded here because the toolkit warns of values that it finds wrong with
    the values themselves, which are patient data.
    """
    if keyword not in dataset:
        return ""
    raw = dataset.get_item(keyword).value
    if isinstance(raw, bytes):
        encodings = convert_encodings(dataset.get("SpecificCharacterSet", "ISO_IR 6"))
        delimiters = PN_DELIMS if keyword.endswith("Name") else TEXT_VR_DELIMS
        raw = decode_bytes(raw.rstrip(b"\0 "), encodings, delimiters)
    return _bounded(str(raw), longest)


def _fits(text: str, longest: int) -> str:
    """Return an identifier, or nothing: half of one would name something else."""
    return text if len(text) <= longest and "\\" not in text else ""


def _bounded(text: str, longest: int) -> str:
    printable = "".join(c if c.isprintable() and c != "\\" else " " for c in text)
    return printable[:longest].strip()


def _cut(text: str, longest: int) -> str:
    return _bounded(text, longest).encode()[:longest].decode(errors="ignore").strip()


def _person(name: str) -> str:
    """Return a person name within the bounds of VR PN (PS3.5 section 6.2)."""
    groups = [_bounded(group, _PERSON_NAME) for group in name.split("=")[:3]]
    return "=".join(groups).rstrip("=")


def _short_person(name: str) -> str:
    """Return an author's name, with initials after its first word where it would be cut."""
    whole = _person(name)
    if len(whole.encode()) <= _PERSON_NAME:
        return whole
    first, *others = whole.split()
    return _cut(" ".join([first, *(f"{other[0]}." for other in others)]), _PERSON_NAME)


def _date(text: str) -> str:
    digits = text.strip().replace(".", "")
    if len(digits) != 8 or not digits.isascii() or not digits.isdigit():
        return ""
    try:
        datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return digits


def _time(text: str) -> str:
    """Return a time to the second; fractions differ between the images of one study."""
    digits = text.strip().split(".")[0].replace(":", "")
    if len(digits) != 6 or not digits.isascii() or not digits.isdigit():
        return ""
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    return digits if hours < 24 and minutes < 60 and seconds < 60 else ""


def _sex(text: str) -> str:
    return text if text in {"M", "F", "O"} else ""
