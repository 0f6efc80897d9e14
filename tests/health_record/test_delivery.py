"""The states of a delivery, and the laws of trying again."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from health_record.delivery import (
    ATTEMPT_LOST,
    MAX_SENTENCE_LENGTH,
    MOVES,
    Delivery,
    DeliveryState,
    Refusal,
    RetryPolicy,
    claimed,
    delivery_id,
    filed,
    parked,
    postponed,
    rejected,
    replayed,
)
from health_record.errors import DeliveryMoveRefused
from tests.health_record.samples import NOON

LEASE = timedelta(minutes=2)
POLICY = RetryPolicy()
DOWN = Refusal("health_record.unavailable", "the health record cannot be reached: ConnectError")


def a_delivery(state: DeliveryState = DeliveryState.PENDING) -> Delivery:
    return Delivery(
        id=delivery_id("r-1", 1, "record"),
        case_id="c-1",
        request_id="q-1",
        report_id="r-1",
        report_version=1,
        document_digest="0" * 64,
        destination="record",
        state=state,
        attempts=0,
        since=NOON,
        moved_at=NOON,
        next_at=NOON if state in (DeliveryState.PENDING, DeliveryState.ATTEMPTING) else None,
    )


def attempting(at: datetime = NOON) -> Delivery:
    return claimed(a_delivery(), at=at, lease="l-1", until=at + LEASE, policy=POLICY)


def test_the_id_is_that_of_report_version_and_destination():
    assert delivery_id("r-1", 1, "record") == delivery_id("r-1", 1, "record")
    others = {
        delivery_id("r-1", 2, "record"),
        delivery_id("r-1", 1, "requester"),
        delivery_id("r-2", 1, "record"),
    }
    assert delivery_id("r-1", 1, "record") not in others
    assert len(others) == 3


def test_a_claim_holds_until_the_lease_runs_out_and_nobody_else_gets_it():
    held = attempting()

    with pytest.raises(DeliveryMoveRefused, match="not due"):
        claimed(held, at=NOON, lease="l-2", until=NOON + LEASE, policy=POLICY)
    again = claimed(held, at=NOON + LEASE, lease="l-2", until=NOON + 2 * LEASE, policy=POLICY)

    assert (held.lease, held.next_at, held.attempts) == ("l-1", NOON + LEASE, 1)
    assert (again.lease, again.attempts) == ("l-2", 2)


def test_a_filed_delivery_is_filed_for_good():
    done = filed(attempting(), "DiagnosticReport/1", at=NOON)

    assert (done.receipt, done.next_at, done.refusal) == ("DiagnosticReport/1", None, None)
    for move in (
        lambda: filed(done, "other", at=NOON),
        lambda: rejected(done, DOWN, at=NOON),
        lambda: parked(done, DOWN, at=NOON),
        lambda: postponed(done, DOWN, at=NOON, policy=POLICY),
        lambda: replayed(done, at=NOON),
        lambda: claimed(done, at=NOON, lease="l", until=NOON, policy=POLICY),
    ):
        with pytest.raises(DeliveryMoveRefused):
            move()


@pytest.mark.parametrize(
    "state", [state for state in DeliveryState if DeliveryState.FILED not in MOVES[state]]
)
def test_only_an_attempt_can_file(state: DeliveryState):
    with pytest.raises(DeliveryMoveRefused):
        filed(a_delivery(state), "receipt", at=NOON)


@pytest.mark.parametrize("state", [DeliveryState.REJECTED, DeliveryState.PARKED])
def test_a_replay_starts_a_new_horizon_and_keeps_the_reason_visible(state: DeliveryState):
    resting = replace(a_delivery(state), refusal=DOWN, attempts=9)
    later = NOON + timedelta(days=30)

    again = replayed(resting, at=later)

    assert (again.state, again.since, again.next_at) == (DeliveryState.PENDING, later, later)
    assert (again.attempts, again.refusal) == (0, DOWN)


def test_a_postponed_delivery_shows_why_and_until_when():
    waiting = postponed(attempting(), DOWN, at=NOON, policy=POLICY)

    assert waiting.state is DeliveryState.PENDING
    assert waiting.refusal == DOWN
    assert waiting.next_at == NOON + POLICY.first_wait


def test_what_kills_every_worker_is_parked_at_the_horizon():
    beyond = NOON + POLICY.horizon
    given_up = claimed(attempting(), at=beyond, lease="l", until=beyond + LEASE, policy=POLICY)

    assert given_up.state is DeliveryState.PARKED
    assert given_up.refusal is not None
    assert given_up.refusal.code == ATTEMPT_LOST


@given(st.integers(1, 10_000))
def test_waits_grow_and_never_pass_the_cap(attempts: int):
    wait = POLICY.wait_after(attempts)

    assert POLICY.first_wait <= wait <= POLICY.cap
    assert POLICY.wait_after(attempts + 1) >= wait


@settings(deadline=None)
@given(
    first=st.integers(60, 600),
    factor=st.integers(1, 5),
    cap=st.integers(600, 7200),
    horizon=st.integers(600, 36_000),
    duration=st.integers(0, 300),
)
def test_an_unreachable_destination_is_tried_until_the_horizon_and_then_parked(
    first: int, factor: int, cap: int, horizon: int, duration: int
):
    policy = RetryPolicy(
        first_wait=timedelta(seconds=first),
        factor=factor,
        cap=timedelta(seconds=cap),
        horizon=timedelta(seconds=horizon),
    )
    delivery, at, tries = a_delivery(), NOON, 0
    while delivery.next_at is not None:
        at = max(at, delivery.next_at)
        delivery = claimed(delivery, at=at, lease="l", until=at + LEASE, policy=policy)
        at += timedelta(seconds=duration)
        delivery = postponed(delivery, DOWN, at=at, policy=policy)
        tries += 1
    assert delivery.state is DeliveryState.PARKED
    assert delivery.refusal == DOWN
    assert at + policy.wait_after(tries) - NOON > policy.horizon


@given(st.text(max_size=2000))
def test_a_long_sentence_of_a_destination_is_cut(sentence: str):
    refusal = rejected(attempting(), Refusal("x", sentence), at=NOON).refusal

    assert refusal is not None
    assert refusal.sentence == sentence[:MAX_SENTENCE_LENGTH]


class DeliveryLife(RuleBasedStateMachine):
    """Workers, killed workers, destinations and a person, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.delivery = a_delivery()
        self.at = NOON
        self.filings = 0
        self.leases = 0

    @rule(by=st.integers(0, 3 * 86_400))
    def time_passes(self, by: int) -> None:
        self.at += timedelta(seconds=by)

    @rule()
    def a_worker_claims(self) -> None:
        before, self.leases = self.delivery, self.leases + 1
        due = before.next_at is not None and before.next_at <= self.at
        try:
            self.delivery = claimed(
                before,
                at=self.at,
                lease=str(self.leases),
                until=self.at + LEASE,
                policy=POLICY,
            )
        except DeliveryMoveRefused:
            assert not due
        else:
            assert due

    @precondition(lambda self: self.delivery.state is DeliveryState.ATTEMPTING)
    @rule(answer=st.sampled_from(["receipt", "no", "later", "strange"]))
    def an_attempt_ends(self, answer: str) -> None:
        match answer:
            case "receipt":
                self.delivery = filed(self.delivery, "there", at=self.at)
                self.filings += 1
            case "no":
                self.delivery = rejected(self.delivery, DOWN, at=self.at)
            case "later":
                self.delivery = postponed(self.delivery, DOWN, at=self.at, policy=POLICY)
            case _:
                self.delivery = parked(self.delivery, DOWN, at=self.at)

    @rule()
    def a_person_replays(self) -> None:
        resting = self.delivery.state in (DeliveryState.PARKED, DeliveryState.REJECTED)
        try:
            self.delivery = replayed(self.delivery, at=self.at)
        except DeliveryMoveRefused:
            assert not resting
        else:
            assert resting

    @invariant()
    def it_is_filed_at_most_once(self) -> None:
        assert self.filings <= 1
        assert (self.delivery.state is DeliveryState.FILED) == (self.filings == 1)

    @invariant()
    def it_is_open_with_a_next_moment_or_rests_with_a_reason(self) -> None:
        delivery = self.delivery
        is_open = delivery.state in (DeliveryState.PENDING, DeliveryState.ATTEMPTING)
        assert is_open == (delivery.next_at is not None)
        assert (delivery.lease is not None) == (delivery.state is DeliveryState.ATTEMPTING)
        if delivery.state in (DeliveryState.REJECTED, DeliveryState.PARKED):
            assert delivery.refusal is not None

    @invariant()
    def it_never_waits_longer_than_the_cap(self) -> None:
        if self.delivery.next_at is not None:
            wait = self.delivery.next_at - self.delivery.moved_at
            assert wait <= max(POLICY.cap, LEASE)


TestDeliveryLife = DeliveryLife.TestCase
