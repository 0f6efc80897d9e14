"""A pulse: it moves with every turn, and says whether another one is owed."""

from hypothesis import given
from hypothesis import strategies as st

from kernel.pulse import Pulse


@given(st.lists(st.sampled_from(["beat", "rest"])))
def test_every_beat_moves_it_and_it_is_odd_from_a_beat_to_a_rest(turns: list[str]) -> None:
    pulse, counts = Pulse(), [0]
    for turn in turns:
        getattr(pulse, turn)()
        counts.append(pulse.count())

    for turn, before, after in zip(turns, counts[:-1], counts[1:], strict=True):
        assert bool(after & 1) == (turn == "beat")
        assert after > before or turn == "rest"
        assert after >= before


def test_what_shares_the_memory_sees_it() -> None:
    cell = memoryview(bytearray(8)).cast("Q")
    with Pulse(cell):
        assert Pulse(cell).count() & 1
    assert not Pulse(cell).count() & 1
