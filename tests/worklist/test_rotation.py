"""The turn of consultants."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.ids import ReaderId
from tests.worklist.examples import DAY, HOUR, MINUTE, NOON, THORAX, a_case, a_reader, a_seat
from worklist.case import StateReason
from worklist.readers import Competence
from worklist.request import Form
from worklist.rotation import (
    SENTENCES,
    Choice,
    NamedRule,
    PassedBy,
    Seat,
    everyone_declined,
    next_reader,
)
from worklist.wait import why

R1, R2, R3 = ReaderId("r-1"), ReaderId("r-2"), ReaderId("r-3")


def chosen(choice: Choice) -> str | None:
    return None if choice.reader is None else choice.reader.id


def codes(choice: Choice) -> dict[str, PassedBy]:
    return {passed.reader_id: passed.code for passed in choice.passed_over}


def test_the_least_recently_assigned_consultant_is_next_whatever_the_order_of_rows():
    seats = [a_seat("r-1", turn=7), a_seat("r-2", turn=3), a_seat("r-3", turn=5)]
    assert chosen(next_reader(a_case(), seats, at=NOON)) == "r-2"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"competences": ()}, PassedBy.NOT_ON_LIST),
        ({"competences": (Competence("neuroradiology"),)}, PassedBy.NOT_ON_LIST),
        ({"competences": (Competence(THORAX, valid_until=NOON),)}, PassedBy.CERTIFICATE_INVALID),
        (
            {"competences": (Competence(THORAX, valid_from=NOON + MINUTE),)},
            PassedBy.CERTIFICATE_INVALID,
        ),
        ({"present": False}, PassedBy.ABSENT),
        ({"present_until": NOON}, PassedBy.ABSENT),
        ({"max_open": 2}, PassedBy.AT_LIMIT),
    ],
)
def test_who_is_not_eligible_is_passed_over_with_the_reason(changes, code):
    seats = [a_seat("r-1", turn=1, open=2, **changes), a_seat("r-2", turn=2)]
    choice = next_reader(a_case(), seats, at=NOON)
    assert chosen(choice) == "r-2"
    assert codes(choice) == {"r-1": code}
    assert choice.passed_over[0].sentence == f"Dr r-1 {SENTENCES[code]}"


def test_a_certificate_and_a_shift_hold_until_their_last_moment():
    competence = Competence(THORAX, valid_from=NOON, valid_until=NOON + DAY)
    seat = a_seat("r-1", competences=(competence,), present_until=NOON + HOUR)
    assert chosen(next_reader(a_case(), [seat], at=NOON)) == "r-1"


def test_who_declined_or_may_not_read_the_patient_is_passed_over():
    seats = [a_seat("r-1", turn=1), a_seat("r-2", turn=2), a_seat("r-3", turn=3)]
    choice = next_reader(
        a_case(), seats, at=NOON, declined=frozenset({R1}), in_conflict=frozenset({R2})
    )
    assert chosen(choice) == "r-3"
    assert codes(choice) == {"r-1": PassedBy.DECLINED, "r-2": PassedBy.IN_CONFLICT}


def test_a_named_consultant_goes_before_the_rotation():
    seats = [a_seat("r-1", turn=1), a_seat("r-2", turn=9)]
    assert chosen(next_reader(a_case(named_reader=R2), seats, at=NOON)) == "r-2"


def test_a_named_consultant_who_is_absent_is_awaited_or_replaced_by_policy():
    seats = [a_seat("r-1", turn=1), a_seat("r-2", turn=9, present=False)]
    case = a_case(named_reader=R2)
    only = next_reader(case, seats, at=NOON, named_rule=NamedRule.ONLY)
    first = next_reader(case, seats, at=NOON, named_rule=NamedRule.FIRST)
    assert codes(only) == {"r-2": PassedBy.ABSENT, "r-1": PassedBy.NOT_NAMED}
    assert chosen(first) == "r-1"


def test_everyone_declined_only_if_nobody_is_left_who_might_still_come():
    declined = {"declined": frozenset({R1})}
    alone = next_reader(a_case(), [a_seat("r-1")], at=NOON, **declined)
    other_absent = next_reader(
        a_case(), [a_seat("r-1"), a_seat("r-2", present=False)], at=NOON, **declined
    )
    nobody = next_reader(a_case(), [], at=NOON)
    assert everyone_declined(alone)
    assert not everyone_declined(other_absent)
    assert not everyone_declined(nobody)


def test_a_named_consultant_who_declined_was_everyone():
    seats = [a_seat("r-1"), a_seat("r-2", turn=2)]
    choice = next_reader(a_case(named_reader=R1), seats, at=NOON, declined=frozenset({R1}))
    assert everyone_declined(choice)


@pytest.mark.parametrize(
    ("form", "seat", "at", "reason"),
    [
        (Form.URGENT, None, NOON, StateReason.NO_CONSULTANT_ALARM),
        (Form.PLANNED, None, NOON, StateReason.NO_CONSULTANT),
        (Form.PLANNED, None, NOON + DAY / 2, StateReason.NO_CONSULTANT_ALARM),
        (Form.URGENT, a_seat(open=3), NOON, StateReason.EVERYONE_BUSY),
        (Form.URGENT, a_seat(open=3), NOON + DAY / 2, StateReason.EVERYONE_BUSY_ALARM),
        (Form.URGENT, a_seat(), NOON, StateReason.WAITS_IN_ORDER),
    ],
)
def test_a_wait_has_its_reason_and_alarms_in_time(form, seat, at, reason):
    case = a_case(form=form)
    choice = next_reader(case, [seat] if seat else [], at=at)
    assert why(case, choice, at=at, alarm_share=0.5) is reason


def test_awaiting_a_named_consultant_alarms_at_once_when_urgent():
    seats = [a_seat("r-1"), a_seat("r-2", present=False)]
    case = a_case(named_reader=R2)
    choice = next_reader(case, seats, at=NOON)
    assert why(case, choice, at=NOON, alarm_share=0.5) is StateReason.NAMED_AWAITED_ALARM


# A list whose members come and go, to which cases are assigned one after the other.

churn = st.lists(
    st.frozensets(st.integers(0, 5), max_size=6).map(sorted),
    min_size=1,
    max_size=60,
)


def assignments(rounds: list[list[int]], members: int) -> list[tuple[int | None, frozenset[int]]]:
    """Assign one case a round; return who got it and who was eligible."""
    turns = {number: number for number in range(members)}
    got: list[tuple[int | None, frozenset[int]]] = []
    for clock, absent in enumerate(rounds):
        seats = [
            Seat(a_reader(str(n), present=n not in absent), turns[n], 0) for n in range(members)
        ]
        choice = next_reader(a_case(clock + 1), seats, at=NOON)
        eligible = frozenset(range(members)) - frozenset(absent)
        if choice.reader is None:
            got.append((None, eligible))
            continue
        number = int(choice.reader.id)
        turns[number] = members + clock
        got.append((number, eligible))
    return got


@given(rounds=churn, members=st.integers(1, 6))
def test_somebody_gets_the_case_exactly_when_somebody_is_eligible(rounds, members):
    for winner, eligible in assignments(rounds, members):
        assert (winner in eligible) if eligible else (winner is None)


@given(rounds=churn, members=st.integers(2, 6))
def test_one_who_is_always_eligible_gets_work_within_as_many_assignments_as_the_list_is_long(
    rounds, members
):
    always = [[n for n in absent if n != 0] for absent in rounds]
    winners = [winner for winner, _ in assignments(always, members)]
    places = [-1, *(i for i, winner in enumerate(winners) if winner == 0), len(winners)]
    assert all(after - before <= members for before, after in pairwise(places))


@given(rounds=churn, members=st.integers(2, 6))
def test_two_eligible_for_the_same_cases_differ_by_one_at_most_in_every_window(rounds, members):
    together = [
        [n for n in absent if n not in {0, 1}] + ([0, 1] if {0, 1} <= set(absent) else [])
        for absent in rounds
    ]
    lead, highest, lowest = 0, 0, 0
    for winner, _ in assignments(together, members):
        lead += (winner == 0) - (winner == 1)
        highest, lowest = max(highest, lead), min(lowest, lead)
    assert highest - lowest <= 1


@given(
    turns=st.lists(st.integers(0, 99), unique=True, min_size=1, max_size=6),
    absent=st.sets(st.integers(0, 5)),
    data=st.data(),
)
def test_the_decision_is_pure_and_does_not_depend_on_the_order_of_rows(turns, absent, data):
    seats = [a_seat(f"r-{i}", turn=t, present=i not in absent) for i, t in enumerate(turns)]
    shuffled = data.draw(st.permutations(seats))
    assert next_reader(a_case(), seats, at=NOON) == next_reader(a_case(), shuffled, at=NOON)
