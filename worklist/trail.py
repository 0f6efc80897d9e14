"""The trail of a change: the row, the move, the audit entry, the fact, in one transaction."""

from collections.abc import Mapping

from kernel.facts import Fact, Plain
from kernel.ids import ReaderId
from storage import audit, outbox
from storage.engine import Transaction
from worklist import store
from worklist.act import Act
from worklist.case import Case, CaseState
from worklist.history import CaseMove

_HANDS = frozenset({CaseState.OFFERED, CaseState.READING})


def move(
    tx: Transaction,
    before: Case,
    after: Case,
    fact: Fact | None,
    *,
    action: str,
    act: Act,
    reader_id: ReaderId | None = None,
    note: str = "",
    detail: Mapping[str, Plain] | None = None,
) -> Case:
    """Save a moved case, document the move and tell it; return the moved case.

    Raises
    ------
    CaseMovedMeanwhile
        Another transaction changed the case after `before` was read.
    """
    store.save_case(tx, before, after)
    document(
        tx,
        before,
        after,
        fact,
        action=action,
        act=act,
        reader_id=reader_id,
        note=note,
        detail=detail,
    )
    _wake(tx, before, after)
    return after


def document(
    tx: Transaction,
    before: Case | None,
    after: Case,
    fact: Fact | None,
    *,
    action: str,
    act: Act,
    reader_id: ReaderId | None = None,
    note: str = "",
    detail: Mapping[str, Plain] | None = None,
) -> None:
    """Write the move into the history and the audit chain, and append its fact."""
    source = None if before is None else before.state
    store.add_move(
        tx,
        CaseMove(
            case_id=after.id,
            revision=after.revision,
            source=source,
            target=after.state,
            reason=after.state_reason,
            reader_id=reader_id,
            note=note,
            actor=act.by.ref,
            at=act.at,
        ),
    )
    said: dict[str, Plain] = {
        "source": None if source is None else source.value,
        "target": after.state.value,
        "reason": after.state_reason.value,
        "revision": after.revision,
        **({} if reader_id is None else {"reader": reader_id}),
        **(detail or {}),
    }
    record(tx, act, action, after.id, after, detail=said)
    if fact is not None:
        outbox.append(tx, fact)


def record(
    tx: Transaction,
    act: Act,
    action: str,
    subject: str,
    case: Case | None = None,
    *,
    outcome: audit.Outcome = audit.Outcome.SUCCESS,
    detail: Mapping[str, Plain] | None = None,
) -> None:
    """Write one entry into the audit chain; `detail` holds ids and codes only."""
    audit.record(
        tx,
        actor=act.by,
        action=action,
        subject=subject,
        case_id=None if case is None else case.id,
        outcome=outcome,
        detail=detail,
    )


def note(
    tx: Transaction, act: Act, action: str, subject: str, case: Case | None = None, **detail: Plain
) -> None:
    """Write one entry about a change that is no move."""
    record(tx, act, action, subject, case, detail=detail)


def _wake(tx: Transaction, before: Case, after: Case) -> None:
    """Ask for a look at the queues that this move may let go on."""
    profiles = {after.profile} if after.state is CaseState.QUEUED else set()
    reader_id = before.offered_to or before.holder
    if before.state in _HANDS and after.state is not CaseState.READING and reader_id:
        profiles |= set(store.listed_profiles(tx, reader_id))
    store.wake(tx, sorted(profiles))
