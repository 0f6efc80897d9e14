"""The vigil: who hangs is found, and who could not show life is not accused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.board import Board, Condition, Part, ProcessDown
from app.vigil import Patience, Vigil

PATIENCE = Patience(silent_s=30, stuck_s=180)
assert PATIENCE.period_s is not None
PERIOD = PATIENCE.period_s


def looks_until_found(vigil: Vigil, counts: dict[Part, int], since_s: float = PERIOD) -> int:
    for look in range(1, 1000):
        if vigil.look(counts, since_s) is not None:
            return look
    raise AssertionError("it was never found")


def test_a_loop_that_does_not_turn_is_found_after_its_bound_and_not_before() -> None:
    vigil = Vigil(PATIENCE)
    looks = looks_until_found(vigil, {Part.ACCEPTING: 7})
    assert (looks - 1) * PERIOD > 30 >= (looks - 2) * PERIOD
    assert vigil.look({Part.ACCEPTING: 9}, PERIOD) is None


def test_a_commit_has_longer() -> None:
    looks = looks_until_found(Vigil(PATIENCE), {Part.COMMITTING: 1})
    assert (looks - 1) * PERIOD > 180


def test_a_start_has_longest_between_its_steps_and_as_many_steps_as_it_needs() -> None:
    assert (looks_until_found(Vigil(PATIENCE), {Part.STARTING: 1}) - 1) * PERIOD > 300
    vigil = Vigil(PATIENCE)
    looks = int(300 / PERIOD)
    for step in range(5):
        counts = {Part.STARTING: 2 * step + 1}
        assert [vigil.look(counts, PERIOD) for _ in range(looks)] == [None] * looks


@given(st.lists(st.floats(0, 1e6)))
def test_what_rests_is_never_found(passed: list[float]) -> None:
    vigil = Vigil(PATIENCE)
    assert [vigil.look(dict.fromkeys(Part, 4), since_s) for since_s in passed] == [None] * len(
        passed
    )


@given(st.lists(st.floats(2.01 * PERIOD, 1e9), min_size=1), st.integers(0, 3))
def test_time_in_which_the_watcher_was_away_is_not_counted(away: list[float], awake: int) -> None:
    """A machine that was suspended, a stopped supervisor, one that got no turn."""
    vigil, counts = Vigil(PATIENCE), dict.fromkeys(Part, 1)
    for since_s in [*[PERIOD] * awake, *away]:
        assert vigil.look(counts, since_s) is None


@given(st.lists(st.tuples(st.floats(0, 2 * PERIOD), st.booleans()), max_size=60))
def test_it_is_found_exactly_if_it_was_silent_beyond_its_bound(
    seen: list[tuple[float, bool]],
) -> None:
    vigil, count, silent_s = Vigil(PATIENCE), 1, 0.0
    vigil.look({Part.ANSWERING: count}, 0.0)
    for since_s, moves in seen:
        count += 2 * moves
        silent_s = 0.0 if moves else silent_s + since_s
        found = vigil.look({Part.ANSWERING: count}, since_s)
        assert found == (Part.ANSWERING if silent_s > 30 else None)


def test_patience_may_be_endless() -> None:
    assert Patience(0, 0, 0).period_s is None
    loops_only = Vigil(Patience(silent_s=30, stuck_s=0))
    assert all(loops_only.look({Part.COMMITTING: 1}, PERIOD) is None for _ in range(1000))


def test_the_board_says_who_hangs_and_later_that_it_was_started_anew_and_why() -> None:
    board = Board(["node", "web"])
    board.note("node", Condition.SERVING)
    assert board.require_serving("node") is None
    board.note("node", Condition.HUNG, Part.ACCEPTING)
    with pytest.raises(ProcessDown, match="hung and is started anew: it took no connections"):
        board.require_serving("node")
    board.begin("node", again=True)
    board.note("node", Condition.SERVING)
    assert board.require_serving("node") == (
        "well; started anew once, because it took no connections"
    )
    board.note("node", Condition.DOWN)
    board.begin("node", again=True)
    board.note("node", Condition.SERVING)
    assert board.told_of("node") == "well; started anew 2 times, at last because it died"
    assert board.told_of("web") is None


def test_a_process_that_begins_anew_owes_its_start_and_nothing_else_yet() -> None:
    board = Board(["node", "web"])
    pulse = board.pulse("node", Part.COMMITTING, every_s=None)
    pulse.beat()
    assert board.counts("node")[Part.COMMITTING] == 1
    assert set(board.counts("web").values()) == {0}
    board.begin("node", again=True)
    owed = {part for part, count in board.counts("node").items() if count & 1}
    assert owed == {Part.STARTING}
