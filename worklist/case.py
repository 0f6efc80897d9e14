"""The case: one request and its study from arrival to completion, and the moves it can make.

The state is coarse and drives the machine; `state_reason` is fine and tells people why the case
is where it is.  Every move is a pure function that returns the moved case and, where another
package must hear of it, the fact; the caller saves both in one transaction.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypedDict

from kernel.facts import (
    CaseClaimed,
    CaseCompleted,
    CaseOffered,
    CaseOpened,
    CaseQueued,
    CaseReleased,
    CaseSigned,
    Fact,
)
from kernel.ids import (
    CaseId,
    OrganisationId,
    PatientRef,
    ReaderId,
    ReportId,
    RequestId,
    StudyUID,
    derived,
)
from worklist.act import Act
from worklist.clock import Clocks, drawn_forward
from worklist.errors import CaseMisfiled, CaseMoveRefused, NotHolder, NotOfferedToReader
from worklist.request import Form, Request


class _FactHead(TypedDict):
    id: str
    subject: str
    at: datetime
    actor: str
    cause: str | None
    case_id: str


class CaseState(StrEnum):
    """Where a case stands; the states that the machine decides by."""

    RECEIVED = "received"
    """Request and documents are here; the triage is awaited, for a bounded time."""
    QUEUED = "queued"
    """It waits for the consultant in turn (KZ §23)."""
    OFFERED = "offered"
    """It is offered to one consultant, until the offer runs out."""
    READING = "reading"
    """One consultant holds it, until the lease runs out."""
    SIGNED = "signed"
    """The conclusion is signed (KZ §37) and not yet delivered."""
    DELIVERED = "delivered"
    """The requester has access and was told (KZ §21); the health record has no receipt yet."""
    COMPLETED = "completed"
    """The requester was told and the document is filed (KZ §21)."""
    ESCALATED = "escalated"
    """Every consultant who could read it declined: a person must decide."""
    CANCELLED = "cancelled"
    """It was called off, with a reason that all sides are told (KZ §15)."""


_S = CaseState
MOVES: dict[CaseState, frozenset[CaseState]] = {
    _S.RECEIVED: frozenset({_S.QUEUED, _S.CANCELLED}),
    # A report may be signed a moment before its author's lease is found to have run out: the
    # signature counts wherever the case went in that moment, so nobody reads it twice.
    _S.QUEUED: frozenset({_S.OFFERED, _S.ESCALATED, _S.SIGNED, _S.CANCELLED}),
    _S.OFFERED: frozenset({_S.READING, _S.QUEUED, _S.SIGNED, _S.CANCELLED}),
    _S.READING: frozenset({_S.QUEUED, _S.SIGNED, _S.CANCELLED}),
    _S.ESCALATED: frozenset({_S.QUEUED, _S.SIGNED, _S.CANCELLED}),
    # A later version (addendum, correction) is signed again and must be delivered again.
    _S.SIGNED: frozenset({_S.DELIVERED, _S.SIGNED}),
    _S.DELIVERED: frozenset({_S.COMPLETED, _S.SIGNED}),
    _S.COMPLETED: frozenset({_S.SIGNED}),
    _S.CANCELLED: frozenset(),
}
UNREAD = frozenset({_S.RECEIVED, _S.QUEUED, _S.OFFERED, _S.ESCALATED})
"""States in which nobody has begun to read."""
OVER = frozenset({_S.COMPLETED, _S.CANCELLED})
"""States in which nobody waits for anything; a further version may still be signed."""


class StateReason(StrEnum):
    """Why a case is where it is, as a constant code; `SENTENCES` has the words."""

    AWAITS_TRIAGE = "awaits_triage"
    WAITS_IN_ORDER = "waits_in_order"
    NO_CONSULTANT = "no_consultant"
    NO_CONSULTANT_ALARM = "no_consultant_alarm"
    EVERYONE_BUSY = "everyone_busy"
    EVERYONE_BUSY_ALARM = "everyone_busy_alarm"
    NAMED_AWAITED = "named_awaited"
    NAMED_AWAITED_ALARM = "named_awaited_alarm"
    IN_TURN = "in_turn"
    NAMED_IN_REQUEST = "named_in_request"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    OFFER_EXPIRED = "offer_expired"
    OFFER_WITHDRAWN = "offer_withdrawn"
    LEASE_EXPIRED = "lease_expired"
    RELEASED = "released"
    EVERYONE_DECLINED = "everyone_declined"
    ASKED_AGAIN = "asked_again"
    SIGNED_BY_HOLDER = "signed_by_holder"
    SIGNED_AFTER_RELEASE = "signed_after_release"
    NEW_VERSION_SIGNED = "new_version_signed"
    REQUESTER_NOTIFIED = "requester_notified"
    FILING_REJECTED = "filing_rejected"
    FILED_AND_NOTIFIED = "filed_and_notified"
    CANCELLED_BY_PATIENT = "cancelled_by_patient"
    CANCELLED_BY_SITE = "cancelled_by_site"
    CANCELLED_BY_CONSULTANT = "cancelled_by_consultant"
    CANCELLED_AS_DUPLICATE = "cancelled_as_duplicate"
    CANCELLED_FOR_QUALITY = "cancelled_for_quality"


_R = StateReason
SENTENCES: dict[StateReason, str] = {
    _R.AWAITS_TRIAGE: "The automatic check is awaited, for a few minutes at most.",
    _R.WAITS_IN_ORDER: "It waits in order.",
    _R.NO_CONSULTANT: "No consultant of the profile is available now.",
    _R.NO_CONSULTANT_ALARM: "No consultant of the profile is available: act now.",
    _R.EVERYONE_BUSY: "Every consultant present has as many open cases as allowed.",
    _R.EVERYONE_BUSY_ALARM: "Every consultant present is busy and half of the term is used: act.",
    _R.NAMED_AWAITED: "The consultant named in the request is not available now.",
    _R.NAMED_AWAITED_ALARM: "The named consultant is not available: ask the requester to widen.",
    _R.IN_TURN: "It is offered to the consultant in turn.",
    _R.NAMED_IN_REQUEST: "It is offered to the consultant named in the request.",
    _R.ACCEPTED: "The consultant took it.",
    _R.DECLINED: "The consultant declined; it is back in its place.",
    _R.OFFER_EXPIRED: "The offer was not answered; it is back in its place.",
    _R.OFFER_WITHDRAWN: "The offer was withdrawn; it is back in its place.",
    _R.LEASE_EXPIRED: "The consultant was silent for too long; it is back in its place.",
    _R.RELEASED: "It was given back; it is in its place again.",
    _R.EVERYONE_DECLINED: "Every consultant of the profile declined: a person must decide.",
    _R.ASKED_AGAIN: "A dispatcher put it back; consultants who declined may be asked again.",
    _R.SIGNED_BY_HOLDER: "The conclusion is signed.",
    _R.SIGNED_AFTER_RELEASE: "The conclusion was signed in the moment the lease ran out.",
    _R.NEW_VERSION_SIGNED: "A further version of the conclusion is signed and must be delivered.",
    _R.REQUESTER_NOTIFIED: "The requester has access and was told; the receipt is awaited.",
    _R.FILING_REJECTED: "A destination refused the document for good: a person must act.",
    _R.FILED_AND_NOTIFIED: "The document is filed and the requester was told.",
    _R.CANCELLED_BY_PATIENT: "The patient called it off.",
    _R.CANCELLED_BY_SITE: "The requesting organisation called it off.",
    _R.CANCELLED_BY_CONSULTANT: "The consulting organisation called it off.",
    _R.CANCELLED_AS_DUPLICATE: "It was asked for twice.",
    _R.CANCELLED_FOR_QUALITY: "The images cannot be read and must be made again.",
}
MISFILED = "The study was found to be another patient's: a person must decide."
ALARMS = frozenset(
    {
        _R.NO_CONSULTANT_ALARM,
        _R.EVERYONE_BUSY_ALARM,
        _R.NAMED_AWAITED_ALARM,
        _R.EVERYONE_DECLINED,
        _R.FILING_REJECTED,
    }
)
"""Reasons at which a dispatcher must act."""


class CancelReason(StrEnum):
    """Why a case or request is called off; a reason is mandatory (KZ §15)."""

    BY_PATIENT = "cancelled_by_patient"
    BY_SITE = "cancelled_by_site"
    BY_CONSULTANT = "cancelled_by_consultant"
    DUPLICATE = "cancelled_as_duplicate"
    QUALITY = "cancelled_for_quality"


class DeclineReason(StrEnum):
    """Why a consultant does not take a case; the justified ones keep the consultant's place.

    References
    ----------
    Codes after DICOM PS3.16 CID 9303: 110530, 110531, 110532.
    """

    CONFLICT = "conflict"
    NEEDS_OTHER_SKILL = "needs_other_skill"
    TECHNICAL = "technical"
    NO_TIME = "no_time"
    OTHER = "other"

    @property
    def justified(self) -> bool:
        """Say whether the decline keeps the place in the rotation."""
        return self in {self.CONFLICT, self.NEEDS_OTHER_SKILL, self.TECHNICAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request from arrival to completion (KZ §2(24)).

    `due` and `arrival_number` are its place in the order and survive every return to the queue.
    `manifest_version` is what is to be read; `late_version` is set when images came after the
    reading began, until the reader has taken note of them.  `correction` is the one of the study
    that its reader has not taken note of; `misfiled_by` the one by which the study is another
    patient's: nothing is read or written on the case as long as that is in force.  `asking`
    counts how often the round of all consultants was begun.  `revision` grows with every change:
    a change of an older revision is refused.
    """

    id: CaseId
    request_id: RequestId
    study_uid: StudyUID
    manifest_version: int
    patient_ref: PatientRef
    accession: str
    site_id: OrganisationId
    profile: str
    form: Form
    modality: str
    state: CaseState
    state_reason: StateReason
    legal_clock_start: datetime
    patient_clock_start: datetime
    due: datetime
    arrival_number: int
    opened_at: datetime
    moved_at: datetime
    named_reader: ReaderId | None = None
    holder: ReaderId | None = None
    held_until: datetime | None = None
    offered_to: ReaderId | None = None
    offered_until: datetime | None = None
    triage_level: str | None = None
    late_version: int | None = None
    correction: int | None = None
    misfiled_by: int | None = None
    signed_by: ReaderId | None = None
    report_id: ReportId | None = None
    report_version: int | None = None
    filed_at: datetime | None = None
    notified_at: datetime | None = None
    asking: int = 1
    revision: int = 1

    @property
    def alarm(self) -> bool:
        """Say whether a dispatcher must act."""
        return self.state_reason in ALARMS or self.misfiled_by is not None

    @property
    def sentence(self) -> str:
        """The reason of the state in words."""
        return MISFILED if self.misfiled_by is not None else SENTENCES[self.state_reason]


def case_id_of(request_id: str) -> CaseId:
    """Return the id of the one case that a request can have."""
    return CaseId(derived("case", request_id))


def open_case(
    request: Request,
    *,
    study_uid: StudyUID,
    manifest_version: int,
    patient_ref: PatientRef,
    profile: str,
    modality: str,
    clocks: Clocks,
    due: datetime,
    arrival_number: int,
    act: Act,
) -> tuple[Case, CaseOpened]:
    """Make the case of a request and its complete study; its clock runs from now on (KZ §13)."""
    case = Case(
        id=case_id_of(request.id),
        request_id=request.id,
        study_uid=study_uid,
        manifest_version=manifest_version,
        patient_ref=patient_ref,
        accession=request.accession,
        site_id=request.organisation_id,
        profile=profile,
        form=request.form,
        modality=modality,
        state=CaseState.RECEIVED,
        state_reason=StateReason.AWAITS_TRIAGE,
        legal_clock_start=clocks.legal_start,
        patient_clock_start=clocks.patient_start,
        due=due,
        arrival_number=arrival_number,
        opened_at=act.at,
        moved_at=act.at,
        named_reader=request.named_reader,
    )
    return case, CaseOpened(
        **_fact(CaseOpened, case, act),
        request_id=case.request_id,
        study_uid=case.study_uid,
        manifest_version=case.manifest_version,
        site_id=case.site_id,
        profile=case.profile,
        form=case.form,
    )


def settle(case: Case, level: str, *, head_start: timedelta | None) -> Case:
    """Note what the triage found; draw the due moment forward where the level asks for it.

    AI never moves a case later and never changes its form.  A case whose reading has begun keeps
    its place; a second settling changes nothing.
    """
    if case.triage_level is not None:
        return case
    due = case.due
    if head_start is not None and case.state in UNREAD:
        due = drawn_forward(case.due, case.legal_clock_start, head_start)
    return replace(case, triage_level=level, due=due, revision=case.revision + 1)


def enqueue(case: Case, *, act: Act) -> tuple[Case, CaseQueued]:
    """Let a case wait for its consultant: its triage is settled, or was awaited long enough."""
    queued = _moved(case, CaseState.QUEUED, StateReason.WAITS_IN_ORDER, act)
    return queued, CaseQueued(
        **_fact(CaseQueued, queued, act),
        profile=queued.profile,
        due=queued.due,
        arrival_number=queued.arrival_number,
    )


def offer(
    case: Case, reader_id: ReaderId, *, until: datetime, act: Act
) -> tuple[Case, CaseOffered]:
    """Offer a waiting case to the consultant in turn (KZ §23), or to the named one (KZ §20)."""
    named = case.named_reader == reader_id
    reason = StateReason.NAMED_IN_REQUEST if named else StateReason.IN_TURN
    offered = replace(
        _moved(case, CaseState.OFFERED, reason, act), offered_to=reader_id, offered_until=until
    )
    return offered, CaseOffered(
        **_fact(CaseOffered, offered, act), reader_id=reader_id, until=until
    )


def accept(
    case: Case, reader_id: ReaderId, *, lease: timedelta, act: Act
) -> tuple[Case, CaseClaimed]:
    """Give an offered case to the consultant until the lease runs out.

    An offer stands until the engine takes it back: an answer a moment late harms nobody.

    Raises
    ------
    NotOfferedToReader
        The case is offered to somebody else, or no longer offered.
    """
    _require_offered(case, reader_id)
    held = replace(
        _moved(case, CaseState.READING, StateReason.ACCEPTED, act),
        holder=reader_id,
        held_until=act.at + lease,
    )
    return held, CaseClaimed(
        **_fact(CaseClaimed, held, act), reader_id=reader_id, held_until=act.at + lease
    )


def decline(
    case: Case, reader_id: ReaderId, reason: DeclineReason, *, act: Act
) -> tuple[Case, CaseReleased]:
    """Put a case back into its place because the consultant does not take it.

    Raises
    ------
    NotOfferedToReader
        The case is offered to somebody else, or no longer offered.
    """
    _require_offered(case, reader_id)
    return _back(case, StateReason.DECLINED, reason.value, act)


def expire_offer(case: Case, *, act: Act) -> tuple[Case, CaseReleased] | None:
    """Take an unanswered offer back; None if it has not run out or is no longer open."""
    if case.offered_until is None or act.at < case.offered_until:
        return None
    return _back(case, StateReason.OFFER_EXPIRED, StateReason.OFFER_EXPIRED.value, act)


def expire_lease(case: Case, *, act: Act) -> tuple[Case, CaseReleased] | None:
    """Take a case from a silent consultant; None if the lease has not run out."""
    if case.held_until is None or act.at < case.held_until:
        return None
    return _back(case, StateReason.LEASE_EXPIRED, StateReason.LEASE_EXPIRED.value, act)


def release(case: Case, *, act: Act) -> tuple[Case, CaseReleased]:
    """Put an offered or held case back into its place, by its reader or a dispatcher.

    Raises
    ------
    CaseMoveRefused
        Nobody has the case.
    """
    if (case.offered_to or case.holder) is None:
        raise CaseMoveRefused(case.id, case.state, CaseState.QUEUED)
    withdrawn = case.state is CaseState.OFFERED
    reason = StateReason.OFFER_WITHDRAWN if withdrawn else StateReason.RELEASED
    return _back(case, reason, reason.value, act)


def renew(case: Case, reader_id: ReaderId, *, lease: timedelta, act: Act) -> Case:
    """Lengthen the lease of a consultant who is at work on the case.

    Raises
    ------
    NotHolder
        The consultant does not hold the case.
    """
    require_held(case, reader_id)
    return replace(case, held_until=act.at + lease, revision=case.revision + 1)


def require_held(case: Case, reader_id: str) -> Case:
    """Return the case if the consultant holds it.

    A lease ends when the engine takes the case back, not before: work saved a moment late by the
    only one who has the case is still that person's work.

    Raises
    ------
    NotHolder
        Nobody or somebody else holds it (KZ §35).
    """
    if case.state is not CaseState.READING or case.holder != reader_id:
        raise NotHolder(
            "only the consultant who holds the case may do this",
            case_id=case.id,
            reader_id=reader_id,
            state=case.state.value,
        )
    return case


def wait(case: Case, reason: StateReason) -> Case:
    """Say why a queued case still waits."""
    if case.state is not CaseState.QUEUED or case.state_reason is reason:
        return case
    return replace(case, state_reason=reason, revision=case.revision + 1)


def escalate(case: Case, *, act: Act) -> Case:
    """Hand a case that everyone declined to a person."""
    return _moved(case, CaseState.ESCALATED, StateReason.EVERYONE_DECLINED, act)


def ask_again(case: Case, *, act: Act) -> tuple[Case, CaseQueued]:
    """Put an escalated case back into its place; those who declined may be asked again."""
    if case.state is not CaseState.ESCALATED:
        raise CaseMoveRefused(case.id, case.state, CaseState.QUEUED)
    queued, fact = enqueue(case, act=act)
    return replace(queued, state_reason=StateReason.ASKED_AGAIN, asking=case.asking + 1), fact


def sign(
    case: Case,
    *,
    report_id: ReportId,
    report_version: int,
    document_digest: str,
    author: ReaderId,
    act: Act,
) -> tuple[Case, CaseSigned] | None:
    """Note that a version of the conclusion is signed; None if that version is noted already.

    A further version must be delivered like the first, so what was filed before counts no more.
    """
    same = report_id == case.report_id
    if same and case.report_version is not None and report_version <= case.report_version:
        return None
    signed = replace(
        _moved(case, CaseState.SIGNED, _why_signed(case, author), act),
        signed_by=author,
        report_id=report_id,
        report_version=report_version,
        filed_at=None,
        notified_at=None,
    )
    return signed, CaseSigned(
        **_fact(CaseSigned, signed, act),
        request_id=signed.request_id,
        report_id=report_id,
        report_version=report_version,
        document_digest=document_digest,
    )


def deliver(case: Case, *, act: Act) -> Case:
    """Note that the requester has access to the conclusion and was told so (KZ §21)."""
    refused = case.state_reason is StateReason.FILING_REJECTED
    reason = StateReason.FILING_REJECTED if refused else StateReason.REQUESTER_NOTIFIED
    return replace(_moved(case, CaseState.DELIVERED, reason, act), notified_at=act.at)


def file(case: Case, *, act: Act) -> Case:
    """Note that the health record took the conclusion; the case stays where it is."""
    if case.filed_at is not None:
        return case
    reason = case.state_reason
    if reason is StateReason.FILING_REJECTED:
        told = case.notified_at is not None
        reason = StateReason.REQUESTER_NOTIFIED if told else StateReason.SIGNED_BY_HOLDER
    return replace(case, filed_at=act.at, state_reason=reason, revision=case.revision + 1)


def refuse_filing(case: Case) -> Case:
    """Show on a signed or delivered case that a destination refused its document."""
    if case.state not in {CaseState.SIGNED, CaseState.DELIVERED}:
        return case
    return replace(case, state_reason=StateReason.FILING_REJECTED, revision=case.revision + 1)


def complete(case: Case, *, act: Act) -> tuple[Case, CaseCompleted]:
    """Close a case whose conclusion is filed and whose requester was told.

    References
    ----------
    KZ §21: completion is delivery to the requester; signing alone completes nothing.
    """
    if case.filed_at is None or case.notified_at is None:
        raise CaseMoveRefused(case.id, case.state, CaseState.COMPLETED)
    done = _moved(case, CaseState.COMPLETED, StateReason.FILED_AND_NOTIFIED, act)
    return done, CaseCompleted(**_fact(CaseCompleted, done, act))


def cancel(case: Case, reason: CancelReason, *, act: Act) -> Case:
    """Call a case off with the reason that all sides are told (KZ §15)."""
    return _moved(case, CaseState.CANCELLED, StateReason(reason.value), act)


def amend(case: Case, manifest_version: int) -> Case:
    """Note that further images of the study came.

    While nobody reads, the case simply includes them.  From the reading on they are shown to the
    reader as late; a signed case is never reopened silently.
    """
    if manifest_version <= max(case.manifest_version, case.late_version or 0):
        return case
    grown = replace(case, revision=case.revision + 1)
    if case.state in UNREAD:
        return replace(grown, manifest_version=manifest_version)
    return replace(grown, late_version=manifest_version)


def correct(
    case: Case, correction: int, *, patient_ref: PatientRef, misfiled_by: int | None
) -> Case:
    """Note that a correction of the study was made or taken back.

    The reader is told, and while the study is another patient's nothing is read or written.
    """
    unread = case.state in UNREAD
    corrected = replace(
        case,
        patient_ref=patient_ref,
        correction=None if unread else correction,
        misfiled_by=misfiled_by,
    )
    return case if corrected == case else replace(corrected, revision=case.revision + 1)


def require_filed_well(case: Case) -> Case:
    """Return a case whose study is of its patient.

    Raises
    ------
    CaseMisfiled
        It is another patient's, by a correction in force.
    """
    if case.misfiled_by is not None:
        raise CaseMisfiled(
            "the study was found to be another patient's: nothing is written on this case",
            case_id=case.id,
        )
    return case


def take_note(case: Case, reader_id: ReaderId) -> Case:
    """Include late images, and note a correction, because who reads the case took note.

    That is the holder, or the author after signing.

    Raises
    ------
    NotHolder
        The consultant neither holds the case nor signed its conclusion.
    """
    if case.signed_by != reader_id:
        require_held(case, reader_id)
    if case.late_version is None and case.correction is None:
        return case
    noted = replace(_with_late_images(case), correction=None)
    return replace(noted, revision=case.revision + 1)


def _back(case: Case, reason: StateReason, code: str, act: Act) -> tuple[Case, CaseReleased]:
    """Return a case to the queue; `due` and `arrival_number` are its original place."""
    reader_id = case.offered_to or case.holder or ""
    queued = _with_late_images(_moved(case, CaseState.QUEUED, reason, act))
    return queued, CaseReleased(
        **_fact(CaseReleased, queued, act), reader_id=reader_id, reason=code
    )


def _with_late_images(case: Case) -> Case:
    if case.late_version is None:
        return case
    return replace(case, manifest_version=case.late_version, late_version=None)


def _why_signed(case: Case, author: ReaderId) -> StateReason:
    if case.report_id is not None:
        return StateReason.NEW_VERSION_SIGNED
    if case.holder == author:
        return StateReason.SIGNED_BY_HOLDER
    return StateReason.SIGNED_AFTER_RELEASE


def _require_offered(case: Case, reader_id: str) -> None:
    if case.state is not CaseState.OFFERED or case.offered_to != reader_id:
        raise NotOfferedToReader(
            "the case is not, or no longer, offered to this consultant",
            case_id=case.id,
            reader_id=reader_id,
            state=case.state.value,
        )


def _moved(case: Case, target: CaseState, reason: StateReason, act: Act) -> Case:
    """Move a case: the only place that changes a state; offers and claims end with a move."""
    if target not in MOVES[case.state]:
        raise CaseMoveRefused(case.id, case.state, target)
    return replace(
        case,
        state=target,
        state_reason=reason,
        moved_at=act.at,
        holder=None,
        held_until=None,
        offered_to=None,
        offered_until=None,
        revision=case.revision + 1,
    )


def _fact(kind: type[Fact], case: Case, act: Act) -> _FactHead:
    """Return what every fact of a case begins with; a move decided again has the same id."""
    return {
        "id": derived("fact", kind.kind, case.id, case.revision),
        "subject": case.id,
        "at": act.at,
        "actor": act.by.ref,
        "cause": act.cause,
        "case_id": case.id,
    }
