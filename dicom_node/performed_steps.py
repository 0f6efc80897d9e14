"""Performed procedure steps: what a modality says it does, did, or gave up.  Pure.

References
----------
DICOM PS3.4 Annex F, table F.7.2-1; PS3.3 sections C.4.13 to C.4.15.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from dicom_node.data_sets import CHARACTER_SET, Attributes
from dicom_node.dictionary import tag_of
from dicom_node.errors import (
    StepAttributeMissing,
    StepEnded,
    StepValueInvalid,
    StepValueMissing,
)
from dicom_node.plain_attributes import to_plain
from kernel.digest import digest_of_value
from kernel.ids import is_uid

STATUS = "PerformedProcedureStepStatus"
SCHEDULED = "ScheduledStepAttributesSequence"
SERIES = "PerformedSeriesSequence"
WRONG_ENTRY = ("110514", "DCM")
"""'Incorrect worklist entry selected': what was scheduled is still to be done (PS3.16 CID 9300)."""


class StepState(StrEnum):
    """States of a performed procedure step (PS3.3 section C.4.14)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


MOVES: Mapping[StepState, frozenset[StepState]] = {
    StepState.IN_PROGRESS: frozenset(StepState),
    StepState.COMPLETED: frozenset(),
    StepState.DISCONTINUED: frozenset(),
}
"""What an N-SET may make of a step; once it has ended nothing (PS3.4 section F.7.2.2.2)."""

# Type 1 of an N-CREATE, and the longest value that the standard gives their VRs (PS3.5 6.2).
_REQUIRED = {
    "PerformedProcedureStepID": 16,
    "PerformedStationAETitle": 16,
    "PerformedProcedureStepStartDate": 10,
    "PerformedProcedureStepStartTime": 16,
    "Modality": 16,
    STATUS: 16,
}
_ENDING = ("PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime")
# What an N-SET may not change (table F.7.2-1, 'not allowed').
_FIXED = (
    SCHEDULED,
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "ReferencedPatientSequence",
    "PerformedProcedureStepID",
    "PerformedStationAETitle",
    "PerformedStationName",
    "PerformedLocation",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "Modality",
    "StudyID",
)
_REFERENCES = ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
_MAX_ACCESSION = 64


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a step was discontinued: a code and its scheme, no text."""

    code: str
    scheme: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformedStep:
    """One performed procedure step as it stands."""

    uid: str
    ae_title: str
    organisation_id: str
    state: StepState
    body: Attributes
    digest: str
    """Of what the N-CREATE brought."""

    @property
    def studies(self) -> tuple[tuple[str, str], ...]:
        """Pairs of study UID and accession number that the step is for."""
        return tuple(
            dict.fromkeys(
                (item.value("StudyInstanceUID"), item.value("AccessionNumber"))
                for item in self.body.items(SCHEDULED)
            )
        )

    @property
    def reason(self) -> Reason | None:
        """Why it was discontinued, if that was said."""
        for item in self.body.items("PerformedProcedureStepDiscontinuationReasonCodeSequence"):
            return Reason(
                item.value("CodeValue")[:16], item.value("CodingSchemeDesignator")[:16].strip()
            )
        return None

    @property
    def instances(self) -> tuple[str, ...]:
        """The instances that its series list."""
        return tuple(dict.fromkeys(_referenced(self.body.items(SERIES))))

    @property
    def wants_again(self) -> bool:
        """Whether what was scheduled is to be done still: the wrong line had been picked."""
        reason = self.reason
        return reason is not None and (reason.code, reason.scheme) == WRONG_ENTRY


def created(uid: str, told: Attributes, *, ae_title: str, organisation_id: str) -> PerformedStep:
    """Return the step that an N-CREATE brings.

    Raises
    ------
    StepAttributeMissing, StepValueMissing
        An attribute of type 1 is absent, or empty.
    StepValueInvalid
        A value is none of its attribute, or the step is not in progress.
    """
    told = _without_nul(told)
    for keyword, longest in _REQUIRED.items():
        _require(told, keyword)
        if len(told.value(keyword)) > longest:
            raise StepValueInvalid(keyword, f"is longer than {longest} characters")
    if told.value(STATUS) != StepState.IN_PROGRESS:
        raise StepValueInvalid(STATUS, "is IN PROGRESS when a step is created")
    _require(told, SCHEDULED)
    for item in told.items(SCHEDULED):
        _require_study(item)
    _require_series(told)
    return PerformedStep(
        uid=uid,
        ae_title=ae_title,
        organisation_id=organisation_id,
        state=StepState.IN_PROGRESS,
        body=told,
        digest=digest_of_value(to_plain(told)),
    )


def changed(step: PerformedStep, told: Attributes) -> PerformedStep:
    """Return the step as an N-SET leaves it.

    What may not change is let pass where it is told as it stands, which many modalities do.

    Raises
    ------
    StepEnded
        It was completed or discontinued before.
    StepValueInvalid
        A value is none of its attribute, or of one that may not change.
    StepAttributeMissing
        The step ends without what a final state needs.
    """
    told = _without_nul(told)
    if not MOVES[step.state]:
        raise StepEnded(step.state)
    for keyword in _FIXED:
        new, old = (of.by_tag.get(tag_of(keyword)) for of in (told, step.body))
        if new is not None and new != old:
            raise StepValueInvalid(keyword, "cannot be changed")
    _require_series(told)
    brought = {tag: each for tag, each in told.by_tag.items() if tag != CHARACTER_SET}
    body = Attributes({**step.body.by_tag, **brought})
    after = replace(step, state=_state(body.value(STATUS)), body=body)
    if after.state not in MOVES[step.state]:
        raise StepEnded(step.state)
    if after.state is not StepState.IN_PROGRESS:
        _require_end(after)
    return after


def _without_nul(told: Attributes) -> Attributes:
    """Return the attributes with spaces for NUL, which is in no character set (PS3.5 section 6.1).

    What a modality did is not refused for it, and a database may not keep it.
    """
    return Attributes(
        {
            tag: replace(
                each,
                values=tuple(value.replace("\0", " ") for value in each.values),
                items=tuple(_without_nul(item) for item in each.items),
            )
            for tag, each in told.by_tag.items()
        }
    )


def _state(text: str) -> StepState:
    try:
        return StepState(text)
    except ValueError:
        raise StepValueInvalid(STATUS, "is no status of a performed step") from None


def _require(told: Attributes, keyword: str) -> None:
    found = told.by_tag.get(tag_of(keyword))
    if found is None:
        raise StepAttributeMissing(keyword)
    if not any(found.values) and not found.items:
        raise StepValueMissing(keyword)


def _require_end(step: PerformedStep) -> None:
    for keyword in _ENDING:
        if not step.body.value(keyword):
            raise StepAttributeMissing(keyword)
    # The standard wants a series of a discontinued step too; where nothing was acquired there is
    # none, and refusing would leave the step open for ever.
    if step.state is StepState.COMPLETED and not step.body.items(SERIES):
        raise StepAttributeMissing(SERIES)


def _require_study(item: Attributes) -> None:
    _require(item, "StudyInstanceUID")
    if not is_uid(item.value("StudyInstanceUID")):
        raise StepValueInvalid("StudyInstanceUID", "is no UID")
    if len(item.value("AccessionNumber")) > _MAX_ACCESSION:
        raise StepValueInvalid("AccessionNumber", f"is longer than {_MAX_ACCESSION} characters")


def _require_series(told: Attributes) -> None:
    for item in told.items(SERIES):
        _require(item, "SeriesInstanceUID")
        if not is_uid(item.value("SeriesInstanceUID")):
            raise StepValueInvalid("SeriesInstanceUID", "is no UID")
    for uid in _referenced(told.items(SERIES)):
        if not is_uid(uid):
            raise StepValueInvalid("ReferencedSOPInstanceUID", "is no UID")


def _referenced(series: Iterable[Attributes]) -> Iterator[str]:
    for one in series:
        for keyword in _REFERENCES:
            for reference in one.items(keyword):
                yield reference.value("ReferencedSOPInstanceUID")


class Progress(StrEnum):
    """What became of a scheduled step (defined terms of (0040,0020), PS3.3 section C.4.10)."""

    SCHEDULED = ""
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    DISCONTINUED = "DISCONTINUED"


def progress(steps: Iterable[PerformedStep]) -> tuple[Progress, Reason | None]:
    """Return what became of a scheduled step by all that was performed for it.

    One that goes on makes it started; one that was completed, completed.
    """
    reason: Reason | None = None
    found = Progress.SCHEDULED
    for step in steps:
        if step.state is StepState.IN_PROGRESS:
            return Progress.STARTED, None
        if step.state is StepState.COMPLETED:
            found, reason = Progress.COMPLETED, None
        elif found is not Progress.COMPLETED and not step.wants_again:
            found, reason = Progress.DISCONTINUED, step.reason
    return found, reason
