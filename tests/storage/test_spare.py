"""Spare segments: several are ready, whoever needs the next waits for it, and none is left over."""

import threading
from pathlib import Path

from storage.segment import Segment, discard, zero_filled
from storage.spare import SPARES, Spare
from tests.wire.speaker import until

PATIENCE_S = 30


class Maker:
    """Makes small segments, each when it is let."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.may = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.made = 0
        self.fails = False

    def __call__(self) -> Segment:
        self.begun.release()
        assert self.may.acquire(timeout=PATIENCE_S)
        if self.fails:
            raise OSError(28, "full")
        self.made += 1
        return zero_filled(self.folder / f"n-{self.made}.seg", 4096)

    def parts(self) -> int:
        return len(list(self.folder.glob("*.part")))


def test_several_are_made_ahead_and_none_is_left_over(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    spare = Spare(maker, quiet_s=0.0)
    spare.keep_ready()
    maker.may.release(2 * SPARES + 4)
    for taken in range(SPARES + 2):  # the more were taken, the more are kept ready
        until(lambda taken=taken: maker.parts() == min(SPARES, 1 + taken))
        segment = spare.take()
        assert segment is not None
        discard(segment)
    until(lambda: maker.parts() == SPARES)
    spare.close()
    assert maker.parts() == 0


def test_who_needs_the_one_that_is_being_made_waits_for_it(tmp_path: Path) -> None:
    maker, taken = Maker(tmp_path), list[Segment | None]()
    spare = Spare(maker, quiet_s=0.0)
    spare.keep_ready()
    assert maker.begun.acquire(timeout=PATIENCE_S)
    assert spare.take_if_ready() is None
    waiting = threading.Thread(target=lambda: taken.append(spare.take()))
    waiting.start()
    maker.may.release(SPARES + 2)
    waiting.join(PATIENCE_S)
    assert [each.path.name for each in taken if each] == ["n-1.seg"]
    for each in taken:
        assert each is not None
        each.close()
    spare.close()
    assert maker.parts() == 1


def test_a_full_disk_leaves_none_and_the_next_who_asks_has_it_tried_again(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    maker.fails = True
    spare = Spare(maker, quiet_s=0.0)
    spare.keep_ready()
    maker.may.release()
    assert spare.take() is None
    assert maker.begun.acquire(timeout=PATIENCE_S)
    maker.fails = False
    maker.may.release(SPARES + 1)
    again = spare.take()
    assert again is not None
    again.close()
    spare.close()
