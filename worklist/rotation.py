"""The turn of consultants: whose it is, and why each one before was passed over."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kernel.ids import ReaderId
from worklist.case import Case
from worklist.readers import Reader


class PassedBy(StrEnum):
    """Why a consultant does not get a case now."""

    NOT_ON_LIST = "not_on_list"
    CERTIFICATE_INVALID = "certificate_invalid"
    ABSENT = "absent"
    AT_LIMIT = "at_limit"
    DECLINED = "declined"
    IN_CONFLICT = "in_conflict"
    NOT_NAMED = "not_named"


SENTENCES: dict[PassedBy, str] = {
    PassedBy.NOT_ON_LIST: "is not on the list of the profile",
    PassedBy.CERTIFICATE_INVALID: "has no valid certificate for the profile",
    PassedBy.ABSENT: "is not on duty",
    PassedBy.AT_LIMIT: "has as many open cases as allowed",
    PassedBy.DECLINED: "declined this case before",
    PassedBy.IN_CONFLICT: "may not read this patient",
    PassedBy.NOT_NAMED: "is not the one whom the request names",
}


class NamedRule(StrEnum):
    """What naming a consultant means (KZ §20); the order leaves it open."""

    ONLY = "only"
    """Nobody else is asked; the requester is asked to widen if it takes too long."""
    FIRST = "first"
    """The named one is asked first; if not eligible now, the rotation decides."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One consultant on one list at one moment.

    `turn` grows with every assignment on the list: the smallest was assigned least recently.
    `open` counts the cases offered to or held by the consultant, on all lists.
    """

    reader: Reader
    turn: int
    open: int


@dataclass(frozen=True, slots=True)
class PassedOver:
    """One consultant who was before the chosen one in turn, and why it is not theirs."""

    reader_id: ReaderId
    code: PassedBy
    sentence: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The consultant in turn, None if nobody is eligible, and those passed over."""

    reader: Reader | None
    passed_over: tuple[PassedOver, ...]


def next_reader(
    case: Case,
    seats: Iterable[Seat],
    *,
    at: datetime,
    declined: frozenset[ReaderId] = frozenset(),
    in_conflict: frozenset[ReaderId] = frozenset(),
    named_rule: NamedRule = NamedRule.ONLY,
) -> Choice:
    """Return whose turn it is to get a case: the least recently assigned of the eligible.

    The decision depends on nothing but its arguments, so it can be replayed.  Two bounds follow:
    one who is always eligible gets work within as many assignments as the list is long, and of
    two who are eligible for the same cases neither gets more than one case more than the other in
    any stretch of time.

    A consultant whom the request names goes before the rotation but must be eligible like all.

    References
    ----------
    KZ §20 (named), §22 and §23 (simple queue by the profile's list).
    """
    passed: list[PassedOver] = []
    for seat in _in_turn(seats, case.named_reader):
        code = _objection(case, seat, at, declined, in_conflict, named_rule)
        if code is None:
            return Choice(seat.reader, tuple(passed))
        sentence = f"{seat.reader.name} {SENTENCES[code]}"
        passed.append(PassedOver(seat.reader.id, code, sentence))
    return Choice(None, tuple(passed))


def unavailable(seat: Seat, profile: str, *, at: datetime) -> PassedBy | None:
    """Say what keeps a consultant from any case of a profile now; None if nothing does."""
    competence = seat.reader.competence(profile)
    if competence is None:
        return PassedBy.NOT_ON_LIST
    if not competence.valid(at):
        return PassedBy.CERTIFICATE_INVALID
    if not seat.reader.on_duty(at):
        return PassedBy.ABSENT
    if seat.open >= seat.reader.max_open:
        return PassedBy.AT_LIMIT
    return None


def everyone_declined(choice: Choice) -> bool:
    """Say whether all who could ever read the case declined it or may not read it.

    Those who are only absent or busy may still take it, so the case waits for them.
    """
    final = {PassedBy.DECLINED, PassedBy.IN_CONFLICT}
    irrelevant = {PassedBy.NOT_ON_LIST, PassedBy.CERTIFICATE_INVALID, PassedBy.NOT_NAMED}
    codes = {passed.code for passed in choice.passed_over} - irrelevant
    return choice.reader is None and PassedBy.DECLINED in codes and codes <= final


def _in_turn(seats: Iterable[Seat], named: ReaderId | None) -> list[Seat]:
    return sorted(seats, key=lambda s: (s.reader.id != named, s.turn, s.reader.id))


def _objection(
    case: Case,
    seat: Seat,
    at: datetime,
    declined: frozenset[ReaderId],
    in_conflict: frozenset[ReaderId],
    named_rule: NamedRule,
) -> PassedBy | None:
    reader_id = seat.reader.id
    if case.named_reader not in {None, reader_id} and named_rule is NamedRule.ONLY:
        return PassedBy.NOT_NAMED
    if reader_id in declined:
        return PassedBy.DECLINED
    if reader_id in in_conflict:
        return PassedBy.IN_CONFLICT
    return unavailable(seat, case.profile, at=at)
