"""A run moves only along its table, and belongs to one worker at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ai_assist.card import ModelCard, parse_card
from ai_assist.level import Level
from ai_assist.runs import (
    ENDED,
    LEASE,
    MAX_ATTEMPTS,
    MOVES,
    RunMoveRefused,
    RunState,
    StoredReport,
    TriageRun,
    claim,
    fail,
    is_free,
    plan,
    put_back,
    renew,
    settle,
    skip,
)
from ai_assist.shelf import CARD_FILE, shipped_models

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
REPORT = StoredReport("triage/x/sr.dcm", "0" * 64, "2.25.1")


def the_card() -> ModelCard:
    (file,) = shipped_models().glob(f"cxr-qc/*/{CARD_FILE}")
    return parse_card(file.read_bytes())


def a_run(**changes: object) -> TriageRun:
    run = plan(
        the_card(),
        case_id="c-1",
        study_uid="1.2.3",
        manifest_version=1,
        manifest_digest="0" * 64,
        at=NOON,
    )
    return replace(run, **changes)  # type: ignore[arg-type]


def test_planning_twice_is_the_same_run() -> None:
    assert a_run() == a_run()


def test_the_second_worker_is_refused_until_the_lease_runs_out() -> None:
    held = claim(a_run(), holder="w-1", at=NOON)
    with pytest.raises(RunMoveRefused):
        claim(held, holder="w-2", at=NOON + LEASE - timedelta(seconds=1))
    taken = claim(held, holder="w-2", at=NOON + LEASE)
    assert (taken.holder, taken.attempts) == ("w-2", 2)


def test_a_renewed_lease_counts_from_now() -> None:
    held = claim(a_run(), holder="w-1", at=NOON)
    later = NOON + timedelta(seconds=60)
    assert renew(held, at=later).held_until == later + LEASE


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_run_stays_as_it_is(state: RunState) -> None:
    run = a_run(state=state)
    with pytest.raises(RunMoveRefused):
        fail(run, reason="x", at=NOON)
    assert not is_free(run, at=NOON + timedelta(days=9))


def test_each_pause_is_longer_and_the_last_attempt_fails() -> None:
    run, at, pauses = a_run(), NOON, []
    while run.state not in ENDED:
        run = claim(run, holder="w", at=at)
        run = put_back(run, reason="storage.objects_unavailable", at=at)
        pauses.append(run.due_at - at)
        at = max(at, run.due_at)
    assert (run.attempts, run.state) == (MAX_ATTEMPTS, RunState.FAILED)
    assert run.reason == "storage.objects_unavailable"
    assert all(shorter < longer for shorter, longer in pairwise(pauses[:-1]))


class Life(RuleBasedStateMachine):
    """Any order of moves, at any time: the table holds and nothing is lost."""

    @initialize()
    def begin(self) -> None:
        self.run_, self.at = a_run(), NOON

    @rule(seconds=st.integers(0, 200))
    def time_passes(self, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)

    @rule(worker=st.sampled_from(["w-1", "w-2"]))
    def claimed(self, worker: str) -> None:
        free = is_free(self.run_, at=self.at)
        try:
            self.run_ = claim(self.run_, holder=worker, at=self.at)
            assert free
        except RunMoveRefused:
            assert not free

    @precondition(lambda self: self.run_.state is RunState.RUNNING)
    @rule()
    def renewed(self) -> None:
        self.run_ = renew(self.run_, at=self.at)

    @precondition(lambda self: self.run_.state is RunState.RUNNING)
    @rule(end=st.sampled_from(["settle", "skip", "fail", "put back"]))
    def ended(self, end: str) -> None:
        moves = {
            "settle": lambda: settle(
                self.run_, level=Level.ADVISE, reason="raised", report=REPORT, at=self.at
            ),
            "skip": lambda: skip(self.run_, reason="x", at=self.at),
            "fail": lambda: fail(self.run_, reason="x", at=self.at),
            "put back": lambda: put_back(self.run_, reason="x", at=self.at),
        }
        before = self.run_.state
        self.run_ = moves[end]()
        assert self.run_.state in MOVES[before]

    @invariant()
    def a_running_run_has_a_holder_and_no_other_has(self) -> None:
        running = self.run_.state is RunState.RUNNING
        assert (self.run_.holder is not None) == running
        assert (self.run_.held_until is not None) == running

    @invariant()
    def only_a_settled_run_speaks(self) -> None:
        if self.run_.state is not RunState.SETTLED:
            assert (self.run_.level, self.run_.sr_key) == (Level.NONE, None)


TestLife = Life.TestCase
