"""The results of a run as a structured report: unverified, preliminary, in its own series.

References
----------
DICOM PS3.16 TID 1500 (root), TID 1501 (one measurement group per finding), TID 4019 (algorithm);
PS3.3 A.35.13 (Comprehensive 3D SR).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from io import BytesIO

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from ai_assist.card import ModelCard, Output
from ai_assist.errors import ResultNotEncoded
from ai_assist.quality import judge
from ai_assist.runs import TriageRun
from ai_assist.store import InstanceResult
from kernel.codes import Coded
from kernel.ids import derived_uid

PROJECT_SCHEME = "99TELERAD"
MANUFACTURER = "telerad"
SERIES_NUMBER = 99_001  # far from what modalities count up to

_SCORE = CodedConcept("SCORE", PROJECT_SCHEME, "Score given by the model")
_RAISED = CodedConcept("RAISED", PROJECT_SCHEME, "Finding raised by the model, unverified")
_YES = CodedConcept("373066001", "SCT", "Yes")
_NO = CodedConcept("373067005", "SCT", "No")
_NO_UNITS = CodedConcept("1", "UCUM", "no units")

_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_DATES = ("PatientBirthDate", "StudyDate")
_TEXTS = {  # value representation limits of PS3.5 section 6.2
    "PatientID": 64,
    "PatientName": 324,
    "AccessionNumber": 16,
    "StudyID": 16,
    "ReferringPhysicianName": 324,
    "StudyDescription": 64,
    "IssuerOfPatientID": 64,
}


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One image with what a model gave for it."""

    image: Dataset
    result: InstanceResult


def report_uid(run: TriageRun) -> str:
    """Return the SOP Instance UID that the report of a run always has."""
    return derived_uid("triage-sr", run.id)


def build(run: TriageRun, card: ModelCard, scored: Sequence[ScoredImage]) -> bytes:
    """Return the Part 10 bytes of the report; the same run and results give the same bytes.

    Raises
    ------
    ResultNotEncoded
        The headers of the images do not let a valid report be made.
    """
    try:
        evidence = [_evidence(one.image) for one in scored]
        report = Comprehensive3DSR(
            evidence=evidence,
            content=_content(run, card, scored)[0],
            series_instance_uid=derived_uid("triage-sr-series", run.id),
            series_number=SERIES_NUMBER,
            sop_instance_uid=report_uid(run),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=False,
            is_final=False,
            is_verified=False,
            series_description=f"AI, unverified: {card.id} {card.version}"[:64],
            manufacturer_model_name=card.id,
            software_versions=card.version,
            device_serial_number=run.weights_digest,
            specific_character_set="ISO_IR 192",
        )
        offset = _matching(_OFFSET, scored[0].image.get("TimezoneOffsetFromUTC"))
        _stamp(report, run.planned_at, offset)
        return _bytes(report)
    except Exception as error:  # highdicom and pydicom raise many kinds for odd headers
        raise ResultNotEncoded("the results cannot be written as a structured report") from error


def _content(run: TriageRun, card: ModelCard, scored: Sequence[ScoredImage]) -> MeasurementReport:
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid("model", card.id, card.version, card.weights_digest),
        name=f"{card.id} {card.version}",
        manufacturer_name=MANUFACTURER,
        model_name=card.id,
        serial_number=card.weights_digest,
    )
    groups = [group for one in scored for group in _groups(run, card, one)]
    return MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=codes.DCM.Device, observer_identifying_attributes=device
            )
        ),
        procedure_reported=CodedConcept("PRETRIAGE", PROJECT_SCHEME, "Pre-triage of images by AI"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _groups(
    run: TriageRun, card: ModelCard, one: ScoredImage
) -> list[MeasurementsAndQualitativeEvaluations]:
    verdict = judge(card, one.result.scores)
    gated = any(output.raised_below for output in verdict.raised)
    told = verdict.raised if gated else card.outputs
    return [_group(run, card, one, output, output in verdict.raised) for output in told]


def _group(
    run: TriageRun, card: ModelCard, one: ScoredImage, output: Output, raised: bool
) -> MeasurementsAndQualitativeEvaluations:
    source = SourceImageForMeasurementGroup(
        str(one.image.SOPClassUID), str(one.image.SOPInstanceUID)
    )
    algorithm = AlgorithmIdentification(
        name=card.id,
        version=card.version,
        parameters=[
            f"weights_sha256={run.weights_digest}",
            f"manifest_version={run.manifest_version}",
            f"manifest_sha256={run.manifest_digest}",
            f"threshold={output.threshold:g}",
            f"mode={card.effective_mode.value}",
        ],
    )
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=derived_uid("triage-finding", run.id, one.result.instance_uid, output.name),
            identifier=f"{card.id} {output.name}",
        ),
        finding_type=_concept(output.finding),
        algorithm_id=algorithm,
        measurements=[
            Measurement(name=_SCORE, value=one.result.scores[output.name], unit=_NO_UNITS)
        ],
        qualitative_evaluations=[QualitativeEvaluation(_RAISED, _YES if raised else _NO)],
        source_images=[source],
    )


def _concept(coded: Coded) -> CodedConcept:
    return CodedConcept(coded.value, coded.scheme, coded.meaning)


def _evidence(image: Dataset) -> Dataset:
    """Return what the report takes over from an image, with what is not valid left empty."""
    kept = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"):
        setattr(kept, keyword, str(image[keyword].value))
    for keyword, longest in _TEXTS.items():
        setattr(kept, keyword, str(image.get(keyword) or "").strip()[:longest])
    for keyword in _DATES:
        setattr(kept, keyword, _matching(_DATE, image.get(keyword)))
    kept.StudyTime = _matching(_TIME, image.get("StudyTime"))
    sex = str(image.get("PatientSex") or "").strip()
    kept.PatientSex = sex if sex in {"M", "F", "O"} else ""
    kept.SpecificCharacterSet = "ISO_IR 192"
    kept.Modality = str(image.get("Modality") or "OT")
    return kept


def _matching(pattern: re.Pattern[str], value: object) -> str:
    text = str(value or "").strip()
    return text if pattern.fullmatch(text) else ""


def _stamp(report: Dataset, at: datetime, offset: str) -> None:
    """Set every time to that of the plan: highdicom reads the clock, and bytes must repeat.

    The times of the study are taken over as they are, and one offset holds for all times of an
    object (PS3.3 C.12.1.1.8): so ours are given in the offset of the images, where they name one,
    and in UTC without an offset where they do not.
    """
    if offset:
        report.TimezoneOffsetFromUTC = offset
        at = at.astimezone(_zone(offset))
    day, moment = at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")
    report.InstanceCreationDate, report.InstanceCreationTime = day, moment
    report.ContentDate, report.ContentTime = day, moment
    report.SeriesDate, report.SeriesTime = day, moment
    for equipment in report.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = day + moment


def _zone(offset: str) -> timezone:
    sign = -1 if offset[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5])))


def _bytes(report: Dataset) -> bytes:
    target = BytesIO()
    report.save_as(target, enforce_file_format=True)
    return target.getvalue()
