"""Reading cases as workitems: one for each claim, and the claim through the workitem.

The worklist knows nothing of workitems and the DICOM node nothing of cases; what happens to a case
is told here by its facts, and who begins a workitem from outside is judged by the worklist's rules.

References
----------
DICOM PS3.4 Annex CC; PS3.16 CID 9231 (workitems), CID 9300 and 9303 (reasons); docs/adr.
"""

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from dicom_node.data_sets import Attribute, Attributes, attribute, sequence
from dicom_node.workitems import identity, requirements, store, workitem
from dicom_node.workitems.commands import keep, keep_new
from dicom_node.workitems.errors import AlreadyInProgress, PerformerRefused
from dicom_node.workitems.subscriber import Asker
from dicom_node.workitems.workitem import Remark, StepState, Workitem, code, coded
from kernel.errors import NotFound, Refused
from kernel.facts import (
    CaseClaimed,
    CaseOffered,
    CaseQueued,
    CaseReleased,
    CaseSigned,
    Fact,
    RequestChanged,
    StudyCorrected,
)
from kernel.ids import derived_uid
from storage import patients
from storage.engine import Transaction
from storage.work import Reactions

if TYPE_CHECKING:
    from worklist.case import Case
    from worklist.settings import WorklistSettings

CONSUMER = "app.readings"
WORKLIST = "READING"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
_INTERPRETATION = ("110005", "DCM", "Interpretation")
_PRIORITIES = {"emergent": "HIGH", "urgent": "HIGH"}
_CANCELLED = "cancelled"

# Why a claim ended without a report (CID 9303 where it has the reason, else CID 9300).
_REJECTED = ("110530", "DCM", "Workitem assignment rejected by assigned resource")
_PRE_EMPTED = ("110526", "DCM", "Resource pre-empted")
_NEEDS_OTHER = ("110532", "DCM", "Interpretation requires specialist expertise")
_QUALITY = ("110531", "DCM", "Insufficient quality for interpretation")
_DUPLICATE = ("110510", "DCM", "Duplicate order")
_EXPIRED = ("110533", "DCM", "Workitem expired")
_UNSPECIFIED = ("110513", "DCM", "Discontinued for unspecified reason")
REASONS = {
    "conflict": _REJECTED,
    "no_time": _REJECTED,
    "other": _REJECTED,
    "released": _REJECTED,
    "declined": _REJECTED,
    "needs_other_skill": _NEEDS_OTHER,
    "technical": _QUALITY,
    "offer_withdrawn": _PRE_EMPTED,
    "lease_expired": _EXPIRED,
    "offer_expired": _EXPIRED,
    "cancelled_as_duplicate": _DUPLICATE,
    "cancelled_for_quality": _QUALITY,
}


class Readings:
    """Judges who begins or gives back a reading through its workitem."""

    def __init__(self, settings: "WorklistSettings") -> None:
        self._settings = settings

    def begin(self, tx: Transaction, item: Workitem, asker: Asker) -> None:
        """Accept the offer of the case for the consultant who asks (KZ §23).

        Raises
        ------
        PerformerRefused, AlreadyInProgress
            The asker stands for no consultant, or the case is offered to another; it is read.
        """
        from worklist import commands as worklist
        from worklist import queries
        from worklist.act import Act
        from worklist.case import CaseState

        case_id, reader_id = _case_of(item), _reader_of(item, asker)
        if queries.get_case(tx, case_id).state is CaseState.READING:
            raise AlreadyInProgress("a consultant reads this case already", uid=item.uid)
        try:
            act = Act(tx.at, asker.actor)
            worklist.accept(tx, case_id, reader_id, settings=self._settings, act=act)
        except Refused as refusal:
            raise PerformerRefused(refusal.sentence, uid=item.uid) from refusal

    def give_up(self, tx: Transaction, item: Workitem, asker: Asker) -> None:
        """Put the case back into its place for the consultant who holds it (KZ §35).

        Raises
        ------
        PerformerRefused
            The asker does not hold it.
        """
        from worklist import commands as worklist
        from worklist.act import Act

        case_id, reader_id = _case_of(item), _reader_of(item, asker)
        try:
            worklist.require_holder(tx, case_id, reader_id)
            worklist.release(tx, case_id, act=Act(tx.at, asker.actor))
        except Refused as refusal:
            raise PerformerRefused(refusal.sentence, uid=item.uid) from refusal


def reactions() -> Reactions:
    """Return the reactions by consumer and fact."""
    return {
        CONSUMER: {
            CaseQueued: _queued,
            CaseOffered: _offered,
            CaseClaimed: _claimed,
            CaseReleased: _released,
            CaseSigned: _signed,
            RequestChanged: _request_changed,
            StudyCorrected: _corrected,
        }
    }


def _queued(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, CaseQueued)
    if store.open_of_case(tx, fact.case_id) is None:
        _schedule(tx, fact.case_id, fact)


def _offered(tx: Transaction, fact: Fact) -> None:
    """Name the consultant to whom it is offered; that is the event 'assigned'."""
    assert isinstance(fact, CaseOffered)
    item = store.open_of_case(tx, fact.case_id)
    if item is None or item.state is not StepState.SCHEDULED:
        return
    given = Attributes({each.tag: each for each in [_performers(tx, fact.reader_id)]})
    keep(tx, "workitem.assigned", item, workitem.update(item, given, "", at=tx.at))


def _claimed(tx: Transaction, fact: Fact) -> None:
    """Begin the workitem, unless the claim came through it."""
    assert isinstance(fact, CaseClaimed)
    item = store.open_of_case(tx, fact.case_id) or _schedule(tx, fact.case_id, fact)
    if item.state is StepState.SCHEDULED:
        lock = derived_uid("reading-claim", fact.id)
        moved = workitem.change_state(item, StepState.IN_PROGRESS, lock, at=tx.at)
        item = keep(tx, "workitem.state_changed", item, moved).item
    begun = sequence(requirements.PERFORMED, _begun(fact.at))
    given = Attributes({begun.tag: begun})
    moved = workitem.update(item, given, item.transaction_uid, at=tx.at)
    keep(tx, "workitem.updated", item, moved)


def _released(tx: Transaction, fact: Fact) -> None:
    """End the workitem of a claim and schedule another; an offer alone had begun none."""
    assert isinstance(fact, CaseReleased)
    item = store.open_of_case(tx, fact.case_id)
    if item is not None and item.state is StepState.IN_PROGRESS:
        _cancel(tx, item, fact.reason)
        item = None
    if item is None:
        _schedule(tx, fact.case_id, fact)


def _signed(tx: Transaction, fact: Fact) -> None:
    """Complete the workitem of the claim with a reference to the report."""
    assert isinstance(fact, CaseSigned)
    item = store.open_of_case(tx, fact.case_id)
    if item is None:  # a further version of a conclusion that is signed already
        return
    if item.state is StepState.SCHEDULED:  # signed in the moment in which the lease ran out
        lock = derived_uid("reading-claim", fact.id)
        moved = workitem.change_state(item, StepState.IN_PROGRESS, lock, at=tx.at)
        item = keep(tx, "workitem.state_changed", item, moved).item
    given = Attributes({each.tag: each for each in [_performed(tx, item, fact)]})
    moved = workitem.update(item, given, item.transaction_uid, at=tx.at)
    item = keep(tx, "workitem.updated", item, moved).item
    moved = workitem.change_state(item, StepState.COMPLETED, item.transaction_uid, at=tx.at)
    keep(tx, "workitem.state_changed", item, moved)


def _request_changed(tx: Transaction, fact: Fact) -> None:
    """Cancel the workitem of a request that was called off (KZ §15)."""
    assert isinstance(fact, RequestChanged)
    from worklist.case import case_id_of

    if fact.state != _CANCELLED:
        return
    item = store.open_of_case(tx, case_id_of(fact.request_id))
    if item is None:
        return
    if item.state is StepState.SCHEDULED:
        lock = derived_uid("reading-claim", fact.id)
        moved = workitem.change_state(item, StepState.IN_PROGRESS, lock, at=tx.at)
        item = keep(tx, "workitem.state_changed", item, moved).item
    _cancel(tx, item, fact.reason)


def _corrected(tx: Transaction, fact: Fact) -> None:
    """Have the workitem be about whom the case is about by now, where that follows the study."""
    assert isinstance(fact, StudyCorrected)
    from worklist.intake import patient_of
    from worklist.store import cases_of_study

    if "patient" not in fact.what:
        return
    for case in cases_of_study(tx, fact.study_uid, lock=False):
        item, ref = store.open_of_case(tx, case.id), patient_of(tx, case)
        if item is not None and ref is not None and item.patient_ref != ref:
            after = replace(item, patient_ref=ref, revision=item.revision + 1)
            keep(tx, "workitem.corrected", item, (after, (), Remark.NONE))


def _cancel(tx: Transaction, item: Workitem, reason: str) -> None:
    why = coded(requirements.DISCONTINUATION, *REASONS.get(reason, _UNSPECIFIED))
    moved = workitem.cancel(item, Attributes({why.tag: why}), at=tx.at)
    keep(tx, "workitem.state_changed", item, moved)


def _schedule(tx: Transaction, case_id: str, fact: Fact) -> Workitem:
    """Create the workitem for the next claim of a case; told twice, it is the same."""
    from worklist import queries

    case = queries.get_case(tx, case_id)
    item, events, _ = workitem.create(
        derived_uid("reading", case_id, fact.id),
        _described(tx, case),
        organisation_id=str(case.site_id),
        at=tx.at,
        case_id=case_id,
        patient_ref=case.patient_ref,
    )
    readers = queries.list_readers(tx, profile=case.profile)
    keep_new(tx, item, events, seen_by={str(reader.organisation_id) for reader in readers})
    return item


def _described(tx: Transaction, case: "Case") -> Attributes:
    given = [
        attribute("ProcedureStepState", StepState.SCHEDULED.value),
        attribute("ScheduledProcedureStepPriority", _PRIORITIES.get(case.form.value, "MEDIUM")),
        attribute("ProcedureStepLabel", f"Read {case.modality} ({case.profile})"[:64]),
        attribute("WorklistLabel", WORKLIST),
        attribute(
            "ScheduledProcedureStepStartDateTime", requirements.moment(case.legal_clock_start)
        ),
        attribute("ExpectedCompletionDateTime", requirements.moment(case.due)),
        attribute("InputReadinessState", "READY"),
        coded("ScheduledWorkitemCodeSequence", *_INTERPRETATION),
        sequence(
            "InputInformationSequence",
            (
                attribute("TypeOfInstances", "DICOM"),
                attribute("StudyInstanceUID", str(case.study_uid)),
            ),
        ),
        attribute("StudyInstanceUID", str(case.study_uid)),
        sequence(
            "ReferencedRequestSequence",
            (
                attribute("StudyInstanceUID", str(case.study_uid)),
                attribute("AccessionNumber", case.accession[:16]),
            ),
        ),
        *_patient(tx, case.patient_ref),
    ]
    return Attributes({each.tag: each for each in given})


def _patient(tx: Transaction, ref: str) -> list[Attribute]:
    try:
        return identity.said_of(patients.get(tx, ref))
    except NotFound:
        return []


def _performers(tx: Transaction, reader_id: str) -> Attribute:
    """Return the scheduled performer, by the code of the node: no names of people leave here."""
    from worklist import queries

    reader = queries.get_reader(tx, reader_id)
    person = (
        coded("HumanPerformerCodeSequence", reader_id[:16], "99TELERAD", "Consultant"),
        attribute("HumanPerformerOrganization", str(reader.organisation_id)),
    )
    return sequence("ScheduledHumanPerformersSequence", person)


def _performed(tx: Transaction, item: Workitem, fact: CaseSigned) -> Attribute:
    from worklist import queries

    case = queries.get_case(tx, fact.case_id)
    report = (
        attribute("TypeOfInstances", "DICOM"),
        attribute("StudyInstanceUID", str(case.study_uid)),
        attribute("SeriesInstanceUID", derived_uid("report.sr.series", fact.report_id)),
        sequence(
            "ReferencedSOPSequence",
            (
                attribute("ReferencedSOPClassUID", BASIC_TEXT_SR),
                attribute(
                    "ReferencedSOPInstanceUID",
                    derived_uid("report.sr", fact.report_id, fact.report_version),
                ),
            ),
        ),
    )
    ended = (
        attribute("PerformedProcedureStepEndDateTime", requirements.moment(fact.at)),
        sequence("OutputInformationSequence", report),
    )
    begun = item.attributes.items(requirements.PERFORMED)
    told = tuple(begun[0].by_tag.values()) if begun else _begun(fact.at)
    return sequence(requirements.PERFORMED, (*told, *ended))


def _begun(at: datetime) -> tuple[Attribute, ...]:
    station = code("TELERAD", "99TELERAD", "telerad")
    return (
        sequence("PerformedStationNameCodeSequence", station),
        attribute("PerformedProcedureStepStartDateTime", requirements.moment(at)),
        coded("PerformedWorkitemCodeSequence", *_INTERPRETATION),
    )


def _case_of(item: Workitem) -> str:
    assert item.case_id is not None
    return item.case_id


def _reader_of(item: Workitem, asker: Asker) -> str:
    if asker.reader_id is None:
        raise PerformerRefused(
            "a reading is begun by the consultant to whom it is offered", uid=item.uid
        )
    return asker.reader_id
