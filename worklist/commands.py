"""What the worklist does: load, decide by the pure rules, save, document, tell.

Every command takes the caller's transaction and never commits.  Locks are taken in one order, a
profile before its consultants and a case before its consultant, and nobody who holds a
consultant waits for a profile, so that two workers never wait for each other in a circle.
"""

from collections.abc import Sequence
from dataclasses import replace

from kernel.facts import Plain
from kernel.ids import ReaderId, ReportId
from storage import outbox
from storage.audit import Outcome
from storage.engine import Transaction
from worklist import case as moves
from worklist import store, trail
from worklist.act import Act
from worklist.case import CancelReason, Case, CaseState
from worklist.errors import RequestClosed
from worklist.intake import (
    add_conflict,
    add_organisation,
    add_profile,
    add_reader,
    add_request,
    amend,
    attach,
    correct,
    join_request,
    open_case,
    reconsider,
    set_presence,
)
from worklist.offering import accept, decline, expire, offer_next
from worklist.request import Request, RequestState, changed
from worklist.settings import WorklistSettings

__all__ = [
    "accept",
    "add_conflict",
    "add_organisation",
    "add_profile",
    "add_reader",
    "add_request",
    "amend",
    "ask_again",
    "attach",
    "cancel",
    "cancel_request",
    "complete",
    "correct",
    "decline",
    "deliver",
    "enqueue",
    "enqueue_overdue",
    "expire",
    "file",
    "finish",
    "join_request",
    "offer_next",
    "open_case",
    "reconsider",
    "refuse_filing",
    "release",
    "renew",
    "require_holder",
    "require_writer",
    "set_presence",
    "take_note_of_late_images",
]


def enqueue(
    tx: Transaction,
    case_id: str,
    *,
    level: str,
    reason: str,
    run_ids: Sequence[str] = (),
    settings: WorklistSettings,
    act: Act,
) -> Case:
    """Take note of the settled triage and let the case wait; settled twice changes nothing.

    The triage may come after the deadline that queued the case: it still draws it forward.
    """
    before = store.locked_case(tx, case_id)
    settled = moves.settle(before, level, head_start=settings.head_start(level))
    if settled != before:
        store.save_case(tx, before, settled)
        detail: dict[str, Plain] = {"level": level, "reason": reason, "runs": list(run_ids)}
        if settled.due != before.due:
            detail |= {"due": settled.due.isoformat(), "due_before": before.due.isoformat()}
        trail.record(tx, act, "case.triage_settled", settled.id, settled, detail=detail)
        store.wake(tx, [settled.profile])
    if settled.state is not CaseState.RECEIVED:
        return settled
    queued, fact = moves.enqueue(settled, act=act)
    return trail.move(tx, settled, queued, fact, action="case.queued", act=act)


def enqueue_overdue(tx: Transaction, case_id: str, *, settings: WorklistSettings, act: Act) -> Case:
    """Let a case wait for its consultant although its triage has not settled in time."""
    case = store.locked_case(tx, case_id)
    overdue = case.opened_at + settings.triage_deadline <= act.at
    if case.state is not CaseState.RECEIVED or not overdue:
        return case
    queued, fact = moves.enqueue(case, act=act)
    return trail.move(tx, case, queued, fact, action="case.queued_without_triage", act=act)


def renew(
    tx: Transaction, case_id: str, reader_id: str, *, settings: WorklistSettings, act: Act
) -> Case:
    """Lengthen the lease because the consultant is at work on the case.

    Raises
    ------
    NotHolder
        The consultant does not hold the case.
    """
    before = store.locked_case(tx, case_id)
    after = moves.renew(before, ReaderId(reader_id), lease=settings.lease, act=act)
    store.save_case(tx, before, after)
    return after


def take_note_of_late_images(tx: Transaction, case_id: str, reader_id: str, *, act: Act) -> Case:
    """Note that the reader has seen that images came late, and reads them too.

    Raises
    ------
    NotHolder
        The consultant neither holds the case nor signed its conclusion.
    """
    before = store.locked_case(tx, case_id)
    after = moves.take_note(before, ReaderId(reader_id))
    if after != before:
        store.save_case(tx, before, after)
        trail.note(
            tx, act, "case.late_images_noted", case_id, after, manifest=after.manifest_version
        )
    return after


def release(tx: Transaction, case_id: str, *, note: str = "", act: Act) -> Case:
    """Put an offered or held case back into its place, by a dispatcher or by its holder.

    Raises
    ------
    CaseMoveRefused
        Nobody has the case.
    """
    before = store.locked_case(tx, case_id)
    reader_id = before.offered_to or before.holder
    queued, fact = moves.release(before, act=act)
    store.end_offer(tx, case_id, "withdrawn")
    return trail.move(
        tx, before, queued, fact, action="case.released", act=act, reader_id=reader_id, note=note
    )


def ask_again(tx: Transaction, case_id: str, *, note: str = "", act: Act) -> Case:
    """Put an escalated case back; those who declined it may be asked again.

    Raises
    ------
    CaseMoveRefused
        The case is not escalated.
    """
    before = store.locked_case(tx, case_id)
    queued, fact = moves.ask_again(before, act=act)
    return trail.move(tx, before, queued, fact, action="case.asked_again", act=act, note=note)


def require_holder(tx: Transaction, case_id: str, reader_id: str) -> Case:
    """Return the case if the consultant holds it, and keep it so until the transaction ends.

    Raises
    ------
    CaseUnknown
        No case has this id.
    NotHolder
        Nobody or somebody else holds it.
    """
    return moves.require_held(store.locked_case(tx, case_id), reader_id)


def require_writer(tx: Transaction, case_id: str, reader_id: str) -> Case:
    """Return the case if the consultant may write on it, and keep it so until the end.

    Raises
    ------
    CaseUnknown, NotHolder
        As `require_holder`.
    CaseMisfiled
        Its study is another patient's.
    """
    return moves.require_filed_well(require_holder(tx, case_id, reader_id))


def finish(
    tx: Transaction,
    case_id: str,
    *,
    report_id: str,
    report_version: int,
    document_digest: str,
    author: str,
    act: Act,
) -> Case:
    """Note that a version of the conclusion is signed; the same version again changes nothing.

    Raises
    ------
    CaseMoveRefused
        The case was cancelled before.
    """
    before = store.locked_case(tx, case_id)
    signed = moves.sign(
        before,
        report_id=ReportId(report_id),
        report_version=report_version,
        document_digest=document_digest,
        author=ReaderId(author),
        act=act,
    )
    if signed is None:
        return before
    store.end_offer(tx, case_id, "withdrawn", "signed")
    after, fact = signed
    return trail.move(
        tx, before, after, fact, action="case.signed", act=act, reader_id=ReaderId(author)
    )


def deliver(
    tx: Transaction, case_id: str, *, report_id: str, report_version: int, act: Act
) -> Case:
    """Note that the requester has the signed version and was told (KZ §21)."""
    before = store.locked_case(tx, case_id)
    if not _is_current(before, report_id, report_version) or before.notified_at is not None:
        return before
    after = moves.deliver(before, act=act)
    return complete(
        tx, trail.move(tx, before, after, None, action="case.delivered", act=act), act=act
    )


def file(
    tx: Transaction,
    case_id: str,
    *,
    report_id: str,
    report_version: int,
    destination: str,
    act: Act,
) -> Case:
    """Note that the health record took the signed version (KZ §37)."""
    before = store.locked_case(tx, case_id)
    if not _is_current(before, report_id, report_version) or before.filed_at is not None:
        return before
    after = moves.file(before, act=act)
    store.save_case(tx, before, after)
    trail.note(tx, act, "case.filed", case_id, after, destination=destination)
    return complete(tx, after, act=act)


def refuse_filing(tx: Transaction, case_id: str, *, destination: str, code: str, act: Act) -> Case:
    """Show on the case that a destination refused its document for good."""
    before = store.locked_case(tx, case_id)
    after = moves.refuse_filing(before)
    if after != before:
        store.save_case(tx, before, after)
        trail.record(
            tx,
            act,
            "case.filing_rejected",
            case_id,
            after,
            outcome=Outcome.FAILED,
            detail={"destination": destination, "code": code},
        )
    return after


def complete(tx: Transaction, case: Case, *, act: Act) -> Case:
    """Close a case that is both filed and delivered (KZ §21); else leave it as it is."""
    if case.state is not CaseState.DELIVERED or case.filed_at is None:
        return case
    done, fact = moves.complete(case, act=act)
    return trail.move(tx, case, done, fact, action="case.completed", act=act)


def cancel(
    tx: Transaction, case_id: str, reason: CancelReason, *, note: str = "", act: Act
) -> Case:
    """Call a case and its request off and tell all sides why (KZ §15).

    Raises
    ------
    CaseMoveRefused
        It is signed, or cancelled already.
    """
    before = store.locked_case(tx, case_id)
    after = moves.cancel(before, reason, act=act)
    store.end_offer(tx, case_id, "withdrawn", reason.value)
    reader_id = before.offered_to or before.holder
    trail.move(
        tx, before, after, None, action="case.cancelled", act=act, reader_id=reader_id, note=note
    )
    _cancel_request(tx, after.request_id, reason, act)
    return after


def cancel_request(
    tx: Transaction, request_id: str, reason: CancelReason, *, note: str = "", act: Act
) -> Request:
    """Call a request off, with its case if there is one, and tell all sides why (KZ §15).

    Raises
    ------
    RequestClosed
        It is cancelled already.
    CaseMoveRefused
        Its case has a signed conclusion.
    """
    case_id = moves.case_id_of(request_id)
    if store.find_case(tx, case_id) is not None:
        cancel(tx, case_id, reason, note=note, act=act)
        return store.get_request(tx, request_id)
    return _cancel_request(tx, request_id, reason, act)


def _cancel_request(tx: Transaction, request_id: str, reason: CancelReason, act: Act) -> Request:
    request = store.find_request(tx, request_id, lock=True) or store.get_request(tx, request_id)
    if request.state is RequestState.CANCELLED:
        raise RequestClosed("the request is cancelled already", request_id=request_id)
    after = replace(request, state=RequestState.CANCELLED, state_reason=reason.value)
    store.save_request(tx, after)
    trail.note(tx, act, "request.cancelled", request_id, reason=reason.value)
    outbox.append(tx, changed(after, act=act))
    return after


def _is_current(case: Case, report_id: str, report_version: int) -> bool:
    return (case.report_id, case.report_version) == (report_id, report_version)
