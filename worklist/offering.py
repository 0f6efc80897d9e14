"""Commands of the turn: which waiting case is offered to whom, and how an offer ends."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kernel.ids import ReaderId, derived
from storage.engine import Transaction
from worklist import case as moves
from worklist import store, trail
from worklist.act import Act
from worklist.case import Case, CaseState, DeclineReason
from worklist.history import Offer
from worklist.readers import Reader
from worklist.rotation import Choice, Seat, everyone_declined, next_reader, unavailable
from worklist.settings import WorklistSettings
from worklist.wait import why

_PAGE = 50


def offer_next(
    tx: Transaction, profile: str, *, settings: WorklistSettings, act: Act
) -> Case | None:
    """Offer the first waiting case to the consultant in turn; None if no case can move now.

    A later case passes an earlier one only when nobody who is free is eligible for the earlier.
    None is also returned when another worker has this rotation: that one goes on.
    """
    if not store.lock_profile(tx, profile):
        return None
    store.take_wakes(tx, profile)
    seats = store.seats(tx, profile, lock=True)
    turns = {seat.reader.id: seat.turn for seat in seats}
    somebody_waits = False
    for case, choice in _choices(tx, profile, seats, settings, act):
        offered = _offer_or_wait(tx, case, choice, turns, settings, act)
        if offered is not None:
            store.wake(tx, [profile])
            return offered
        somebody_waits = True
    store.look_again(tx, profile, act.at + settings.look_again if somebody_waits else None)
    return None


def accept(
    tx: Transaction, case_id: str, reader_id: str, *, settings: WorklistSettings, act: Act
) -> Case:
    """Give an offered case to the consultant to whom it is offered.

    Raises
    ------
    NotOfferedToReader
        It is offered to somebody else, or no longer offered.
    """
    before = store.locked_case(tx, case_id)
    held, fact = moves.accept(before, ReaderId(reader_id), lease=settings.lease, act=act)
    store.end_offer(tx, case_id, "accepted")
    _answered(tx, reader_id)
    return trail.move(
        tx, before, held, fact, action="case.claimed", act=act, reader_id=ReaderId(reader_id)
    )


def decline(
    tx: Transaction,
    case_id: str,
    reader_id: str,
    reason: DeclineReason,
    *,
    note: str = "",
    act: Act,
) -> Case:
    """Put an offered case back because the consultant does not take it.

    A justified decline gives the place in the rotation back; no decline is ever asked of the same
    person again in the same round.

    Raises
    ------
    NotOfferedToReader
        It is offered to somebody else, or no longer offered.
    """
    before = store.locked_case(tx, case_id)
    queued, fact = moves.decline(before, ReaderId(reader_id), reason, act=act)
    offer = store.end_offer(tx, case_id, "declined", reason.value)
    _answered(tx, reader_id)
    if offer is not None and reason.justified:
        store.set_turn(tx, offer.profile, reader_id, offer.turn_before)
    return trail.move(
        tx,
        before,
        queued,
        fact,
        action="case.declined",
        act=act,
        reader_id=ReaderId(reader_id),
        note=note,
    )


def expire(tx: Transaction, case_id: str, *, settings: WorklistSettings, act: Act) -> Case | None:
    """Put a case back whose offer or lease has run out; None if neither has.

    Offers that run out count as turns; so many in a row mark the consultant absent.
    """
    before = store.locked_case(tx, case_id)
    if before.state is CaseState.OFFERED:
        expired, action = moves.expire_offer(before, act=act), "case.offer_expired"
    else:
        expired, action = moves.expire_lease(before, act=act), "case.lease_expired"
    if expired is None:
        return None
    reader_id = before.offered_to or before.holder
    if before.offered_to is not None:
        store.end_offer(tx, case_id, "expired")
        _unanswered(tx, before.offered_to, settings, act)
    after, fact = expired
    return trail.move(tx, before, after, fact, action=action, act=act, reader_id=reader_id)


def _choices(
    tx: Transaction, profile: str, seats: Sequence[Seat], settings: WorklistSettings, act: Act
) -> Iterator[tuple[Case, Choice]]:
    """Yield the waiting cases in order, each with whose turn it is.

    While somebody is free the whole queue is looked through; else only its head, which is told
    why it waits, so that a long queue costs no more than a short one.
    """
    somebody_free = any(unavailable(seat, profile, at=act.at) is None for seat in seats)
    looked_at, last = 0, None
    while somebody_free or looked_at < settings.look_depth:
        page = store.queue(tx, profile, after=last, limit=_PAGE)
        declined = store.declined(tx, page)
        conflicts = store.in_conflict(tx, (case.patient_ref for case in page))
        for case in page:
            yield (
                case,
                next_reader(
                    case,
                    seats,
                    at=act.at,
                    declined=declined.get(case.id, frozenset()),
                    in_conflict=conflicts.get(case.patient_ref, frozenset()),
                    named_rule=settings.named_rule,
                ),
            )
        if len(page) < _PAGE:
            return
        looked_at, last = looked_at + len(page), page[-1]


def _offer_or_wait(
    tx: Transaction,
    seen: Case,
    choice: Choice,
    turns: Mapping[ReaderId, int],
    settings: WorklistSettings,
    act: Act,
) -> Case | None:
    if choice.reader is not None:
        case = store.queued_case_if_free(tx, seen.id)
        return case and _offer(tx, case, choice.reader, choice, turns, settings, act)
    if everyone_declined(choice):
        case = store.queued_case_if_free(tx, seen.id)
        if case is not None:
            after = moves.escalate(case, act=act)
            trail.move(tx, case, after, None, action="case.escalated", act=act)
        return None
    reason = why(seen, choice, at=act.at, alarm_share=settings.alarm_share)
    waiting = moves.wait(seen, reason)
    if waiting != seen and store.try_save_case(tx, seen, waiting):
        action = "case.alarm" if waiting.alarm else "case.waits"
        detail = {"reason": reason.value, "passed": _codes(choice)}
        trail.record(tx, act, action, seen.id, waiting, detail=detail)
    return None


def _offer(
    tx: Transaction,
    case: Case,
    reader: Reader,
    choice: Choice,
    turns: Mapping[ReaderId, int],
    settings: WorklistSettings,
    act: Act,
) -> Case:
    until = settings.offer_until(case.due, at=act.at)
    offered, fact = moves.offer(case, reader.id, until=until, act=act)
    store.open_offer(
        tx,
        Offer(
            id=derived("offer", case.id, offered.revision),
            case_id=case.id,
            reader_id=reader.id,
            profile=case.profile,
            asking=case.asking,
            revision=offered.revision,
            turn_before=turns[reader.id],
            offered_at=act.at,
        ),
    )
    if case.named_reader != reader.id or settings.named_uses_turn:
        store.set_turn(tx, case.profile, reader.id, store.next_turn(tx, case.profile))
    return trail.move(
        tx,
        case,
        offered,
        fact,
        action="case.offered",
        act=act,
        reader_id=reader.id,
        detail={"passed": _codes(choice)},
    )


def _codes(choice: Choice) -> list[str]:
    return [f"{passed.reader_id}:{passed.code}" for passed in choice.passed_over]


def _answered(tx: Transaction, reader_id: str) -> None:
    reader = store.locked_reader(tx, reader_id)
    if reader.unanswered:
        store.update_reader(tx, replace(reader, unanswered=0))


def _unanswered(tx: Transaction, reader_id: str, settings: WorklistSettings, act: Act) -> None:
    reader = store.locked_reader(tx, reader_id)
    count = reader.unanswered + 1
    store.update_reader(tx, replace(reader, unanswered=count))
    if count >= settings.unanswered_limit and reader.present:
        gone = replace(reader, present=False, present_until=None, unanswered=0)
        store.update_reader(tx, gone)
        trail.note(tx, act, "reader.marked_absent", reader_id, unanswered=count)
