"""What happened to a case: its moves and the offers made of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kernel.ids import CaseId, ReaderId
from worklist.case import MOVES, CaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMove:
    """One move of a case; `source` is None where the case was opened.

    `note` is what a person wrote to explain it; it is shown with the case and never logged.
    """

    case_id: CaseId
    revision: int
    source: CaseState | None
    target: CaseState
    reason: str
    reader_id: ReaderId | None
    note: str
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One offer of a case to one consultant; `outcome` is None while it is open."""

    id: str
    case_id: CaseId
    reader_id: ReaderId
    profile: str
    asking: int
    revision: int
    turn_before: int
    offered_at: datetime
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None


def fold(moves: Iterable[CaseMove]) -> CaseState | None:
    """Return the state to which the moves of one case lead; None if they do not join up."""
    state: CaseState | None = None
    for number, move in enumerate(moves):
        if move.source is not state or (number == 0) != (move.source is None):
            return None
        if state is not None and move.target not in MOVES[state]:
            return None
        state = move.target
    return state
