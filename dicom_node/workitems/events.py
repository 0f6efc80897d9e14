"""What subscribers are told.  Pure.

References
----------
DICOM PS3.4 section CC.2.4, table CC.2.4-1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from dicom_node.data_sets import Attribute, Attributes, attribute
from dicom_node.dictionary import tag_of

Information = Attributes

PROGRESS = "ProcedureStepProgressInformationSequence"


class EventType(IntEnum):
    """Event types of the UPS Event class."""

    STATE_REPORT = 1
    CANCEL_REQUESTED = 2
    PROGRESS_REPORT = 3
    STATUS_CHANGE = 4
    ASSIGNED = 5


@dataclass(frozen=True, slots=True)
class Event:
    """One event with what is told of it."""

    type: EventType
    information: tuple[Attribute, ...]


def state_report(state: str, attributes: Attributes) -> Event:
    """Report the state, and why it was canceled if it was."""
    told = [
        attribute("ProcedureStepState", state),
        attribute("InputReadinessState", attributes.value("InputReadinessState")),
    ]
    for step in attributes.items(PROGRESS):
        told += _taken(step, ("ReasonForCancellation", _DISCONTINUATION))
    return Event(EventType.STATE_REPORT, tuple(told))


def cancel_requested(why: Information, asking: str) -> Event:
    """Ask the performer, who listens, to cancel."""
    wanted = ("ReasonForCancellation", _DISCONTINUATION, "ContactURI", "ContactDisplayName")
    told = (attribute("RequestingAE", asking), *_taken(why, wanted))
    return Event(EventType.CANCEL_REQUESTED, told)


def progressed(steps: Sequence[Attributes]) -> Event:
    """Report how far it is."""
    told = Attribute(tag_of(PROGRESS), "SQ", (), tuple(steps))
    return Event(EventType.PROGRESS_REPORT, (told,))


def restarted() -> Event:
    """Tell that this node was started anew, and forgot nothing (CC.2.4.3)."""
    return Event(
        EventType.STATUS_CHANGE,
        (
            attribute("SCPStatus", "RESTARTED"),
            attribute("SubscriptionListStatus", "WARM START"),
            attribute("UnifiedProcedureStepListStatus", "WARM START"),
        ),
    )


def assigned(attributes: Attributes) -> Event:
    """Tell to which station or person it was given."""
    told = _taken(attributes, ("ScheduledStationNameCodeSequence",))
    people = attributes.items("ScheduledHumanPerformersSequence")
    for person in people[:1]:
        told += _taken(person, ("HumanPerformerCodeSequence", "HumanPerformerOrganization"))
    return Event(EventType.ASSIGNED, tuple(told))


_DISCONTINUATION = "ProcedureStepDiscontinuationReasonCodeSequence"


def _taken(attributes: Attributes, keywords: Sequence[str]) -> list[Attribute]:
    tags = (tag_of(keyword) for keyword in keywords)
    return [attributes.by_tag[tag] for tag in tags if tag in attributes.by_tag]
