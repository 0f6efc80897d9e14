"""One workitem and the moves that it can make.  Pure.

References
----------
DICOM PS3.4 section CC.1.1 (states, table CC.1.1-2), PS3.3 section B.26 (the IOD).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from dicom_node.data_sets import UTF_8, Attribute, Attributes, attribute, sequence
from dicom_node.dictionary import tag_of
from dicom_node.uids import UPS_PUSH
from dicom_node.workitems import requirements
from dicom_node.workitems.errors import (
    AlreadyCompleted,
    AlreadyInProgress,
    AttributeFixed,
    Ended,
    NeverScheduledAgain,
    NotInProgress,
    NotScheduled,
    PerformerUnreachable,
    TransactionMissing,
    TransactionWrong,
    ValueInvalid,
)
from dicom_node.workitems.events import (
    Event,
    Information,
    assigned,
    cancel_requested,
    progressed,
    state_report,
)
from kernel.ids import is_uid


class StepState(StrEnum):
    """Procedure Step State (0074,1000)."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


_S = StepState
MOVES: dict[StepState, frozenset[StepState]] = {
    _S.SCHEDULED: frozenset({_S.IN_PROGRESS}),
    _S.IN_PROGRESS: frozenset({_S.COMPLETED, _S.CANCELED}),
    _S.COMPLETED: frozenset(),
    _S.CANCELED: frozenset(),
}
FINAL = frozenset({_S.COMPLETED, _S.CANCELED})


class Remark(StrEnum):
    """What succeeded and yet is worth a word (the warnings of PS3.4 section CC.2)."""

    NONE = "none"
    CREATED_WITH_MODIFICATIONS = "created with modifications"
    COERCED = "coerced"
    LOCK_NOT_GRANTED = "deletion lock not granted"
    ALREADY_CANCELED = "already canceled"
    ALREADY_COMPLETED = "already completed"
    NOT_ALL_SUPPORTED = "requested optional attributes are not supported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workitem:
    """A Unified Procedure Step.

    `attributes` are what it says of itself, without state, UIDs and lock.  `case_id` names the
    reading case whose claim it stands for, if it does; `patient_ref` is whom it is about, as was
    told first: who stands for that patient by now is shown (`identity`).  `revision` grows with
    every change.
    """

    uid: str
    state: StepState
    attributes: Attributes
    organisation_id: str | None
    transaction_uid: str = ""
    case_id: str | None = None
    patient_ref: str | None = None
    revision: int = 1

    def shown(self) -> Attributes:
        """Return all that may be told; the Transaction UID never is (CC.2.7.3)."""
        own = (
            # Whichever class it is spoken of through (CC.3.1).
            attribute("SOPClassUID", UPS_PUSH),
            attribute("SOPInstanceUID", self.uid),
            attribute("ProcedureStepState", self.state.value),
            attribute("SpecificCharacterSet", UTF_8),
        )
        return Attributes(self.attributes.by_tag | {each.tag: each for each in own})


Moved = tuple[Workitem, tuple[Event, ...], Remark]


def create(
    uid: str,
    given: Attributes,
    *,
    organisation_id: str | None,
    at: datetime,
    case_id: str | None = None,
    patient_ref: str | None = None,
) -> Moved:
    """Return a workitem as it is scheduled (N-CREATE).

    Raises
    ------
    NotScheduled, AttributeMissing, ValueInvalid
        It does not say what each new workitem says (table CC.2.5-3).
    """
    if given.value("ProcedureStepState") not in {StepState.SCHEDULED, ""}:
        raise NotScheduled("a workitem is created SCHEDULED")
    if tag_of("ProcedureStepState") not in given.by_tag:
        requirements.require(given, ("ProcedureStepState",))
    completed, changed = requirements.completed(given)
    made = Workitem(
        uid=uid,
        state=StepState.SCHEDULED,
        attributes=_stamped(_without(completed, (*requirements.OWN, "SpecificCharacterSet")), at),
        organisation_id=organisation_id,
        case_id=case_id,
        patient_ref=patient_ref,
    )
    remark = Remark.CREATED_WITH_MODIFICATIONS if changed else Remark.NONE
    events = (_reported(made), *_assignment(Attributes(), made.attributes))
    return made, events, remark


def change_state(item: Workitem, wanted: str, transaction_uid: str, *, at: datetime) -> Moved:
    """Move a workitem to another state (N-ACTION 1).

    Raises
    ------
    TransactionMissing, TransactionWrong, AlreadyInProgress, NeverScheduledAgain, Ended,
    NotInProgress, FinalStateUnmet, ValueInvalid
        The table of states does not allow it.
    """
    target = _state(wanted)
    if target is StepState.SCHEDULED:
        raise NeverScheduledAgain("a workitem does not become SCHEDULED again: create another")
    if target is StepState.IN_PROGRESS:
        return _begin(item, transaction_uid)
    require_performer(item, transaction_uid)
    if item.state is target:
        already = (
            Remark.ALREADY_CANCELED if target is StepState.CANCELED else Remark.ALREADY_COMPLETED
        )
        return item, (), already
    if item.state in FINAL:
        raise Ended(f"a workitem that is {item.state} stays so")
    return _end(item, target, at)


def require_performer(item: Workitem, transaction_uid: str) -> None:
    """Check that who asks performs the workitem.

    Raises
    ------
    TransactionMissing, NotInProgress, TransactionWrong
        The Transaction UID is missing, nobody performs it, or somebody else does.
    """
    if not is_uid(transaction_uid):
        raise TransactionMissing("a change of state names a Transaction UID")
    if item.state is StepState.SCHEDULED:
        raise NotInProgress("a workitem is IN PROGRESS before it ends")
    if transaction_uid != item.transaction_uid:
        raise TransactionWrong("another Transaction UID holds this workitem")


def update(item: Workitem, given: Attributes, transaction_uid: str, *, at: datetime) -> Moved:
    """Set attributes (N-SET); a sequence is set as a whole.

    Raises
    ------
    Ended, NotInProgress, TransactionMissing, TransactionWrong, AttributeFixed, ValueMissing,
    ValueInvalid
        The state does not allow it, or an attribute is not set in this way.
    """
    if item.state in FINAL:
        raise Ended(f"a workitem that is {item.state} is not changed any more")
    if item.state is StepState.SCHEDULED and transaction_uid:
        raise NotInProgress("nobody performs this workitem: there is no Transaction UID")
    if item.state is StepState.IN_PROGRESS:
        if not transaction_uid:
            raise TransactionMissing("a workitem in progress is changed with its Transaction UID")
        if transaction_uid != item.transaction_uid:
            raise TransactionWrong("another Transaction UID holds this workitem")
    wanted = _without(given, ("TransactionUID", "SpecificCharacterSet"))
    fixed = sorted(each.keyword for each in wanted.by_tag.values() if requirements.is_fixed(each))
    if fixed:
        raise AttributeFixed(f"{fixed[0] or 'a private attribute'} is not changed by N-SET")
    requirements.require_not_emptied(wanted)
    requirements.require_values(wanted)
    kept, dropped = requirements.writable(wanted)
    merged = Attributes(item.attributes.by_tag | kept.by_tag)
    if requirements.touches_schedule(kept):
        merged = _stamped(merged, at)
    after = replace(item, attributes=merged, revision=item.revision + 1)
    return after, _told_of(item, after), Remark.COERCED if dropped else Remark.NONE


def request_cancel(
    item: Workitem, why: Information, *, asking: str, heard: bool, at: datetime
) -> Moved:
    """Ask that a workitem be canceled (N-ACTION 2).

    What nobody performs is canceled at once, through IN PROGRESS (CC.2.2.3); else its performer
    is told, who may or may not cancel.

    Parameters
    ----------
    heard
        Whether anybody listens to the events of this workitem.

    Raises
    ------
    AlreadyCompleted, PerformerUnreachable
        It is completed, or nobody would hear of the request.
    """
    if item.state is StepState.COMPLETED:
        raise AlreadyCompleted("the workitem is completed")
    if item.state is StepState.CANCELED:
        return item, (), Remark.ALREADY_CANCELED
    if item.state is StepState.IN_PROGRESS:
        if not heard:
            raise PerformerUnreachable("nobody listens who could tell the performer")
        return item, (cancel_requested(why, asking),), Remark.NONE
    begun = replace(item, state=StepState.IN_PROGRESS, revision=item.revision + 1)
    ended, events, remark = cancel(begun, why, at=at)
    return ended, (_reported(begun), *events), remark


def cancel(item: Workitem, why: Information, *, at: datetime) -> Moved:
    """End a workitem in progress whose performer gave it up, with the reason."""
    noted = requirements.with_discontinuation(item.attributes, why, at)
    return _end(replace(item, attributes=noted), StepState.CANCELED, at)


def _begin(item: Workitem, transaction_uid: str) -> Moved:
    if not is_uid(transaction_uid):
        raise TransactionMissing("who begins a workitem locks it with a Transaction UID")
    if item.state is StepState.IN_PROGRESS:
        raise AlreadyInProgress("somebody performs this workitem already")
    if item.state in FINAL:
        raise Ended(f"a workitem that is {item.state} stays so")
    begun = replace(
        item,
        state=StepState.IN_PROGRESS,
        transaction_uid=transaction_uid,
        revision=item.revision + 1,
    )
    return begun, (_reported(begun),), Remark.NONE


def _end(item: Workitem, target: StepState, at: datetime) -> Moved:
    if target is StepState.CANCELED:
        item = replace(item, attributes=requirements.with_cancellation_time(item.attributes, at))
        requirements.require_canceled(item.attributes)
    else:
        requirements.require_completed(item.attributes)
    ended = replace(item, state=target, revision=item.revision + 1)
    return ended, (_reported(ended),), Remark.NONE


def _told_of(before: Workitem, after: Workitem) -> tuple[Event, ...]:
    events: list[Event] = []
    readiness = "InputReadinessState"
    if before.attributes.value(readiness) != after.attributes.value(readiness):
        events.append(_reported(after))
    steps = "ProcedureStepProgressInformationSequence"
    if before.attributes.items(steps) != after.attributes.items(steps):
        events.append(progressed(after.attributes.items(steps)))
    return (*events, *_assignment(before.attributes, after.attributes))


def _assignment(before: Attributes, after: Attributes) -> tuple[Event, ...]:
    names = ("ScheduledStationNameCodeSequence", "ScheduledHumanPerformersSequence")
    if all(before.items(name) == after.items(name) for name in names):
        return ()
    return (assigned(after),)


def _reported(item: Workitem) -> Event:
    return state_report(item.state.value, item.attributes)


def reported(item: Workitem) -> Event:
    """Return the report of the state that a new subscriber is given."""
    return _reported(item)


def _state(wanted: str) -> StepState:
    try:
        return StepState(wanted)
    except ValueError:
        raise ValueInvalid("there is no such Procedure Step State") from None


def _stamped(attributes: Attributes, at: datetime) -> Attributes:
    stamp = attribute("ScheduledProcedureStepModificationDateTime", requirements.moment(at))
    return Attributes(attributes.by_tag | {stamp.tag: stamp})


def _without(attributes: Attributes, keywords: Iterable[str]) -> Attributes:
    gone = {tag_of(keyword) for keyword in keywords}
    return Attributes({tag: each for tag, each in attributes.by_tag.items() if tag not in gone})


def code(value: str, scheme: str, meaning: str) -> tuple[Attribute, ...]:
    """Return the attributes of a coded concept (PS3.3 section 8)."""
    return (
        attribute("CodeValue", value),
        attribute("CodingSchemeDesignator", scheme),
        attribute("CodeMeaning", meaning),
    )


def coded(keyword: str, value: str, scheme: str, meaning: str) -> Attribute:
    """Return a code sequence with one item."""
    return sequence(keyword, code(value, scheme, meaning))
