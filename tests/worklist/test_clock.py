"""Legal clock, patient clock, targets."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worklist.examples import DAY, HOUR, MINUTE, NOON
from worklist.clock import ClockRule, Targets, clocks, drawn_forward, due_at, share_used
from worklist.errors import SettingOutOfRange, TargetOutsideLaw
from worklist.request import Form
from worklist.settings import WorklistSettings

moments = st.integers(0, 10_000).map(lambda minutes: NOON + minutes * MINUTE)


@given(request=moments, documents=moments)
def test_the_term_runs_from_the_later_of_request_and_documents(request, documents):
    both = clocks(
        request_received=request,
        documents_received=documents,
        rule=ClockRule.WHEN_DOCUMENTS_COMPLETE,
    )
    assert both.legal_start == max(request, documents)
    assert both.patient_start == min(request, documents)


def test_the_other_reading_of_the_law_is_a_setting():
    both = clocks(request_received=NOON, documents_received=NOON + HOUR, rule=ClockRule.ON_REQUEST)
    assert both.legal_start == NOON


@pytest.mark.parametrize("hours", [3, 4, 24])
def test_an_urgent_target_within_3_to_24_hours_is_taken(hours: int):
    targets = Targets(urgent=hours * HOUR)
    assert due_at(NOON, Form.URGENT, targets) == NOON + hours * HOUR


@pytest.mark.parametrize("target", [3 * HOUR - MINUTE, 24 * HOUR + MINUTE, 0 * HOUR])
def test_an_urgent_target_outside_3_to_24_hours_is_refused(target: timedelta):
    with pytest.raises(TargetOutsideLaw) as refusal:
        Targets(urgent=target)
    assert refusal.value.clause == "KZ §8"


def test_a_threat_to_life_is_never_due_after_the_urgent():
    with pytest.raises(SettingOutOfRange):
        Targets(emergent=5 * HOUR, urgent=4 * HOUR)


@given(due=moments, start=moments, head_start=st.timedeltas(-9 * DAY, 9 * DAY))
def test_a_hint_only_draws_forward(due, start, head_start):
    assert drawn_forward(due, start, head_start) <= due


def test_a_share_of_the_term():
    assert share_used(NOON, NOON + DAY, at=NOON + DAY / 2) == 0.5
    assert share_used(NOON, NOON, at=NOON) == 1.0


@pytest.mark.parametrize(
    ("slack", "minutes"),
    [(DAY, 15), (60 * MINUTE, 6), (10 * MINUTE, 2), (-HOUR, 2)],
)
def test_an_offer_runs_out_after_a_share_of_the_slack_within_its_bounds(slack, minutes):
    until = WorklistSettings().offer_until(NOON + slack, at=NOON)
    assert until == NOON + minutes * MINUTE


def test_settings_that_no_deployment_can_mean_are_refused():
    for wrong in (
        {"lease": timedelta()},
        {"offer_share": 0.0},
        {"alarm_share": 1.1},
        {"unanswered_limit": 0},
    ):
        with pytest.raises(SettingOutOfRange):
            WorklistSettings(**wrong)


def test_only_two_levels_of_triage_draw_a_case_forward():
    settings = WorklistSettings()
    assert [settings.head_start(level) for level in ("none", "advise")] == [None, None]
    assert settings.head_start("escalate") == settings.head_start_escalate
    assert settings.head_start("critical") == settings.head_start_critical
