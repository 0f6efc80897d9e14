"""The order of requests."""

from hypothesis import given
from hypothesis import strategies as st

from tests.worklist.examples import DAY, HOUR, MINUTE, NOON, a_case
from worklist.case import Case
from worklist.clock import Targets, due_at
from worklist.queue import in_line
from worklist.request import Form

TARGETS = Targets()


@st.composite
def waiting(draw: st.DrawFn) -> list[Case]:
    numbers = draw(st.lists(st.integers(1, 500), unique=True, min_size=2, max_size=12))
    cases = []
    for number in numbers:
        start = NOON + draw(st.integers(0, 3000)) * MINUTE
        form = draw(st.sampled_from(Form))
        due = due_at(start, form, TARGETS)
        cases.append(a_case(number, form=form, legal_clock_start=start, due=due))
    return cases


@given(minutes=st.lists(st.integers(0, 10_000), unique=True, min_size=1), data=st.data())
def test_a_queue_of_one_form_is_first_in_first_out_however_rows_come_back(minutes, data):
    cases = [a_case(m, due=NOON + m * MINUTE + DAY) for m in data.draw(st.permutations(minutes))]
    assert [case.arrival_number for case in in_line(cases)] == sorted(minutes)


@given(cases=waiting())
def test_a_threat_to_life_goes_before_all_else(cases):
    forms = [case.form is Form.EMERGENT for case in in_line(cases)]
    assert forms == sorted(forms, reverse=True)


@given(cases=waiting())
def test_outside_that_class_nobody_is_overtaken_by_a_later_due_case(cases):
    dues = [case.due for case in in_line(cases) if case.form is not Form.EMERGENT]
    assert dues == sorted(dues)


def test_a_planned_case_is_not_starved_by_urgent_ones():
    planned = a_case(1, form=Form.PLANNED, due=NOON + 72 * HOUR)
    urgent = a_case(2, due=NOON + 49 * HOUR + 24 * HOUR)
    assert in_line([urgent, planned]) == [planned, urgent]


def test_ties_go_by_arrival():
    assert [c.arrival_number for c in in_line([a_case(2), a_case(3), a_case(1)])] == [1, 2, 3]
