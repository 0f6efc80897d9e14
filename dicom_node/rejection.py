"""Key objects that take instances back: the rejection notes of IHE IOCM.  Pure.

References
----------
IHE RAD TF-3, 4.66 (Rejection Note Stored); DICOM PS3.3 section C.17.6.2 (evidence of key objects);
PS3.16 CID 7011 (the titles).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_node.data_sets import Attributes
from dicom_node.errors import AnnouncementInvalid
from kernel.ids import is_uid
from storage.retention import SCHEME, Reason

_REASONS = {reason.value: reason for reason in Reason}


@dataclass(frozen=True, slots=True)
class Rejection:
    """What a note takes back, by study, and why."""

    reason: Reason
    instances: Mapping[str, frozenset[str]]


def of_key_object(told: Attributes) -> Rejection | None:
    """Return what key objects reject; None if their title is none of a rejection.

    Raises
    ------
    AnnouncementInvalid
        A study or an instance is listed without its UID.
    """
    titles = [
        _REASONS[item.value("CodeValue")]
        for item in told.items("ConceptNameCodeSequence")
        if item.value("CodingSchemeDesignator") == SCHEME and item.value("CodeValue") in _REASONS
    ]
    if not titles:
        return None
    named: dict[str, set[str]] = {}
    for study in told.items("CurrentRequestedProcedureEvidenceSequence"):
        uids = named.setdefault(_uid(study, "StudyInstanceUID"), set())
        for series in study.items("ReferencedSeriesSequence"):
            for item in series.items("ReferencedSOPSequence"):
                uids.add(_uid(item, "ReferencedSOPInstanceUID"))
    return Rejection(titles[0], {study: frozenset(uids) for study, uids in named.items()})


def _uid(item: Attributes, keyword: str) -> str:
    uid = item.value(keyword)
    if not is_uid(uid):
        raise AnnouncementInvalid("a rejection note names studies and instances by their UIDs")
    return uid
