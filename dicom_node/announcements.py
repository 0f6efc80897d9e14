"""What a sender says that a study consists of, before or while it comes.  Pure.

References
----------
DICOM PS3.4 section R.3.2 (instance availability notification) and Annex F (performed steps);
PS3.3 section C.17.6.2 (evidence of key objects); IHE RAD TF-2, 4.68 (manifest).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from dicom_node.data_sets import Attributes
from dicom_node.errors import AnnouncementInvalid
from dicom_node.performed_steps import PerformedStep, StepState
from kernel.ids import is_uid

_GONE = "UNAVAILABLE"
MANIFEST_TITLE = ("113030", "DCM")
"""The title of key objects that are a manifest (PS3.16 CID 7010)."""


class Kind(StrEnum):
    """Who announces."""

    STEP = "mpps"
    NOTICE = "notice"
    COMMITMENT = "commitment"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """The instances that a sender says there are of a study.

    `whole` means that there are no others; `source` is a UID or AE title that tells two senders
    of one kind apart.
    """

    study_uid: str
    kind: Kind
    source: str
    organisation_id: str
    whole: bool
    instances: tuple[str, ...]


def of_step(step: PerformedStep) -> Announcement | None:
    """Return what a performed step lists; None where it lists nothing, or is for several studies.

    Of several studies nobody could say to which of them an instance belongs.
    """
    studies = {study_uid for study_uid, _ in step.studies}
    if len(studies) != 1 or not step.instances:
        return None
    return Announcement(
        study_uid=studies.pop(),
        kind=Kind.STEP,
        source=step.uid,
        organisation_id=step.organisation_id,
        whole=step.state is not StepState.IN_PROGRESS,
        instances=step.instances,
    )


def of_notice(told: Attributes, *, ae_title: str, organisation_id: str) -> Announcement:
    """Return what a peer says in an instance availability notification.

    One that is about a performed step says nothing of the rest of the study.

    Raises
    ------
    AnnouncementInvalid
        It names no study, or an instance without its UID.
    """
    study_uid = told.value("StudyInstanceUID")
    if not is_uid(study_uid):
        raise AnnouncementInvalid("an availability notice names its study by its UID")
    references = [
        item
        for series in told.items("ReferencedSeriesSequence")
        for item in series.items("ReferencedSOPSequence")
        if item.value("InstanceAvailability") != _GONE
    ]
    return Announcement(
        study_uid=study_uid,
        kind=Kind.NOTICE,
        source=ae_title,
        organisation_id=organisation_id,
        whole=not told.items("ReferencedPerformedProcedureStepSequence"),
        instances=_uids(references),
    )


def of_manifest(told: Attributes) -> tuple[str, ...]:
    """Return the instances that key objects list of their own study, none if they are no manifest.

    Raises
    ------
    AnnouncementInvalid
        An instance is listed without its UID.
    """
    titles = {
        (item.value("CodeValue"), item.value("CodingSchemeDesignator"))
        for item in told.items("ConceptNameCodeSequence")
    }
    if MANIFEST_TITLE not in titles:
        return ()
    return _uids(
        item
        for study in told.items("CurrentRequestedProcedureEvidenceSequence")
        if study.value("StudyInstanceUID") == told.value("StudyInstanceUID")
        for series in study.items("ReferencedSeriesSequence")
        for item in series.items("ReferencedSOPSequence")
    )


def _uids(references: Iterable[Attributes]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_each(references)))


def _each(references: Iterable[Attributes]) -> Iterator[str]:
    for item in references:
        uid = item.value("ReferencedSOPInstanceUID")
        if not is_uid(uid):
            raise AnnouncementInvalid("an announced instance is named by its UID")
        yield uid
