"""What a workitem says of itself: when it is created, while it goes on, and in its end.  Pure.

References
----------
DICOM PS3.4 table CC.2.5-3 (UPS SOP class N-CREATE, N-SET, N-GET and C-FIND attributes).
"""

from collections.abc import Iterable
from datetime import datetime

from dicom_node.data_sets import Attribute, Attributes, attribute, sequence
from dicom_node.dictionary import tag_of
from dicom_node.workitems.errors import (
    AttributeMissing,
    FinalStateUnmet,
    ValueInvalid,
    ValueMissing,
)
from dicom_node.workitems.search import is_moment

OWN = ("SOPClassUID", "SOPInstanceUID", "ProcedureStepState", "TransactionUID")
"""Kept beside the attributes, not among them."""

PROGRESS = "ProcedureStepProgressInformationSequence"
PERFORMED = "UnifiedProcedureStepPerformedProcedureSequence"
DISCONTINUATION = "ProcedureStepDiscontinuationReasonCodeSequence"
_CANCELLATION_TIME = "ProcedureStepCancellationDateTime"

# Type 1 of N-CREATE: there, and with a value.
_NEEDED = (
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "ScheduledProcedureStepStartDateTime",
    "InputReadinessState",
)
# Type 2 of N-CREATE: there, perhaps empty; what is left out is added empty.
_EXPECTED = (
    "WorklistLabel",
    "ScheduledProcessingParametersSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "ScheduledWorkitemCodeSequence",
    "CommentsOnTheScheduledProcedureStep",
    "InputInformationSequence",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReferencedRequestSequence",
    "MedicalAlerts",
    "PregnancyStatus",
    "SpecialNeeds",
    PROGRESS,
    PERFORMED,
)
DEFAULT_LABEL = "UNASSIGNED"
"""The worklist of an item that names none: type 2 of who creates it, 1 of who keeps it."""

_VALUES = {
    "ScheduledProcedureStepPriority": frozenset({"LOW", "MEDIUM", "HIGH"}),
    "InputReadinessState": frozenset({"INCOMPLETE", "UNAVAILABLE", "READY"}),
}
# Who the patient is, and what it is about, is settled by N-CREATE ('Not Allowed' for N-SET).
_FIXED = frozenset(
    {
        *OWN,
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
        "OtherPatientIDsSequence",
        "PatientBirthDate",
        "PatientSex",
        "AdmissionID",
        "IssuerOfAdmissionIDSequence",
        "AdmittingDiagnosesDescription",
        "AdmittingDiagnosesCodeSequence",
        "ReferencedRequestSequence",
        "ReplacedProcedureStepSequence",
        "StudyInstanceUID",
        "MedicalAlerts",
        "PregnancyStatus",
        "SpecialNeeds",
        "ScheduledProcedureStepModificationDateTime",
    }
)
# The module of what is scheduled (PS3.3 table C.30.2-1): a change of it is a modification.
_SCHEDULE = frozenset(
    {
        *_NEEDED,
        "WorklistLabel",
        "ScheduledProcessingParametersSequence",
        "ScheduledStationNameCodeSequence",
        "ScheduledStationClassCodeSequence",
        "ScheduledStationGeographicLocationCodeSequence",
        "ScheduledHumanPerformersSequence",
        "ExpectedCompletionDateTime",
        "ScheduledWorkitemCodeSequence",
        "CommentsOnTheScheduledProcedureStep",
        "InputInformationSequence",
    }
)
_PERFORMED_NEEDED = (
    "PerformedStationNameCodeSequence",
    "PerformedProcedureStepStartDateTime",
    "PerformedWorkitemCodeSequence",
    "PerformedProcedureStepEndDateTime",
)
# Bulk has no place in a workitem, and what is not of the dictionary cannot be told on.
_UNWRITABLE = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT"})


def require(given: Attributes, keywords: Iterable[str]) -> None:
    """Check that attributes are there and have a value.

    Raises
    ------
    AttributeMissing, ValueMissing
        One is not, or has none.
    """
    for keyword in keywords:
        found = given.by_tag.get(tag_of(keyword))
        if found is None:
            raise AttributeMissing(f"{keyword} is missing")
        if not any(found.values) and not found.items:
            raise ValueMissing(f"{keyword} is empty")


def require_values(given: Attributes) -> None:
    """Check that attributes with a fixed set of values have one of these, and moments are some.

    Raises
    ------
    ValueInvalid
        One has another.
    """
    for keyword, allowed in _VALUES.items():
        if tag_of(keyword) in given.by_tag and given.value(keyword) not in allowed:
            raise ValueInvalid(f"{keyword} is one of {', '.join(sorted(allowed))}")
    for each in given.by_tag.values():
        if each.vr == "DT" and not all(map(is_moment, filter(None, each.values))):
            raise ValueInvalid(f"{each.keyword} is a moment: YYYYMMDDHHMMSS with an offset")


def require_not_emptied(given: Attributes) -> None:
    """Check that what each workitem says is not set to nothing (type 1 of those who keep it).

    Raises
    ------
    ValueMissing
        It is.
    """
    told = [keyword for keyword in (*_NEEDED, "WorklistLabel") if tag_of(keyword) in given.by_tag]
    require(given, told)


def completed(given: Attributes) -> tuple[Attributes, bool]:
    """Return what is created with all that belongs to it; say whether it was changed for that.

    Raises
    ------
    AttributeMissing, ValueMissing, ValueInvalid
        It lacks what cannot be supplied.
    """
    require(given, _NEEDED)
    require_values(given)
    for keyword in (PROGRESS, PERFORMED):
        if given.items(keyword):
            raise ValueInvalid(f"{keyword} is empty when a workitem is created")
    kept, dropped = writable(given)
    absent = [attribute(k) for k in _EXPECTED if tag_of(k) not in kept.by_tag]
    filled = Attributes(kept.by_tag | {each.tag: each for each in absent})
    label_given = bool(filled.value("WorklistLabel"))
    if not label_given:
        label = attribute("WorklistLabel", DEFAULT_LABEL)
        filled = Attributes(filled.by_tag | {label.tag: label})
    return filled, bool(absent) or dropped or not label_given


def writable(given: Attributes) -> tuple[Attributes, bool]:
    """Return what can be kept, at every depth; say whether anything was left out."""
    dropped = False
    kept: dict[int, Attribute] = {}
    for tag, each in given.by_tag.items():
        if each.vr in _UNWRITABLE or not each.keyword:
            dropped = dropped or bool(tag & 0xFFFF)  # group lengths say nothing
            continue
        if each.vr == "SQ":
            inner = [writable(item) for item in each.items]
            dropped = dropped or any(less for _, less in inner)
            kept[tag] = Attribute(tag, "SQ", (), tuple(item for item, _ in inner))
        else:
            kept[tag] = each
    return Attributes(kept), dropped


def is_fixed(each: Attribute) -> bool:
    """Say whether N-SET cannot change an attribute."""
    return each.keyword in _FIXED


def touches_schedule(given: Attributes) -> bool:
    """Say whether what was scheduled is changed."""
    return any(each.keyword in _SCHEDULE for each in given.by_tag.values())


def require_completed(attributes: Attributes) -> None:
    """Check what a COMPLETED workitem says (final state requirements R and P).

    Raises
    ------
    FinalStateUnmet
        The performed procedure is not described.
    """
    _require_scheduled(attributes)
    performed = attributes.items(PERFORMED)
    if not performed:
        raise FinalStateUnmet(f"a COMPLETED workitem has an item of {PERFORMED}")
    missing = [keyword for keyword in _PERFORMED_NEEDED if not _has(performed[0], keyword)]
    if tag_of("OutputInformationSequence") not in performed[0].by_tag:
        missing.append("OutputInformationSequence")
    if missing:
        raise FinalStateUnmet(f"a COMPLETED workitem says {missing[0]} of what was performed")


def require_canceled(attributes: Attributes) -> None:
    """Check what a CANCELED workitem says (final state requirements R and X).

    Raises
    ------
    FinalStateUnmet
        The reason is missing.
    """
    _require_scheduled(attributes)
    if not any(_has(step, DISCONTINUATION) for step in attributes.items(PROGRESS)):
        raise FinalStateUnmet(f"a CANCELED workitem says why in {DISCONTINUATION}")


def with_cancellation_time(attributes: Attributes, at: datetime) -> Attributes:
    """Return the attributes with the moment of the cancellation, where it is not given."""
    steps = attributes.items(PROGRESS) or (Attributes(),)
    if _has(steps[0], _CANCELLATION_TIME):
        return attributes
    stamp = attribute(_CANCELLATION_TIME, moment(at))
    return _with_progress(attributes, [*steps[0].by_tag.values(), stamp], steps[1:])


def with_discontinuation(attributes: Attributes, why: Attributes, at: datetime) -> Attributes:
    """Return the attributes with the reason and the moment of the cancellation.

    A request that gives no code is kept as 110513, discontinued for unspecified reason (CID 9300).
    """
    reason: tuple[Attribute, ...] = tuple(
        why.by_tag[tag_of(keyword)]
        for keyword in ("ReasonForCancellation", DISCONTINUATION)
        if _has(why, keyword)
    )
    if not _has(why, DISCONTINUATION):
        unspecified = (
            attribute("CodeValue", "110513"),
            attribute("CodingSchemeDesignator", "DCM"),
            attribute("CodeMeaning", "Discontinued for unspecified reason"),
        )
        reason = (*reason, sequence(DISCONTINUATION, unspecified))
    steps = attributes.items(PROGRESS) or (Attributes(),)
    stamp = attribute(_CANCELLATION_TIME, moment(at))
    return _with_progress(attributes, [*steps[0].by_tag.values(), *reason, stamp], steps[1:])


def moment(at: datetime) -> str:
    """Return a moment as a DT value with its offset (PS3.5 table 6.2-1)."""
    return f"{at:%Y%m%d%H%M%S%z}"


def _with_progress(
    attributes: Attributes, first: Iterable[Attribute], others: Iterable[Attributes]
) -> Attributes:
    told = sequence(PROGRESS, tuple(first), *(tuple(each.by_tag.values()) for each in others))
    return Attributes(attributes.by_tag | {told.tag: told})


def _require_scheduled(attributes: Attributes) -> None:
    for keyword in (*_NEEDED, "WorklistLabel"):
        if not _has(attributes, keyword):
            raise FinalStateUnmet(f"a workitem in its final state says {keyword}")


def _has(attributes: Attributes, keyword: str) -> bool:
    found = attributes.by_tag.get(tag_of(keyword))
    return found is not None and (any(found.values) or bool(found.items))


def require_reason(why: Attributes) -> None:
    """Check what a request to cancel says of its reason.

    Raises
    ------
    ValueInvalid
        The code of the reason is none.
    """
    for item in why.items(DISCONTINUATION):
        if not _has(item, "CodeValue") or not _has(item, "CodeMeaning"):
            raise ValueInvalid("the reason for a cancellation is a code with its meaning")


def size(attributes: Attributes) -> int:
    """Return how many attributes there are, at every depth."""
    return sum(1 + sum(size(item) for item in each.items) for each in attributes.by_tag.values())
