"""One write at a time goes on behind who asked for it, and none is ever forgotten."""

import threading
from functools import partial

import pytest

from storage.write_behind import WriteBehind


def waited(event: threading.Event) -> None:
    assert event.wait(30)


def test_who_asks_goes_on_while_it_is_written() -> None:
    behind, may_end, done = WriteBehind(), threading.Event(), threading.Event()

    def write() -> None:
        waited(may_end)
        done.set()

    behind.begin(write)
    assert not done.is_set()
    may_end.set()
    behind.wait()
    assert done.is_set()
    behind.close()


def test_writes_come_one_after_the_other_in_their_order() -> None:
    behind, seen, now = WriteBehind(), [], []

    def write(number: int) -> None:
        now.append(number)
        assert now == [number]
        seen.append(number)
        now.remove(number)

    for number in range(200):
        behind.begin(partial(write, number))
    behind.wait()
    assert seen == list(range(200))
    behind.close()


def test_a_failure_is_said_once_and_the_next_write_is_not_begun() -> None:
    behind, begun = WriteBehind(), []

    def fail() -> None:
        raise OSError(5, "the disk failed")

    behind.begin(fail)
    with pytest.raises(OSError, match="the disk failed"):
        behind.begin(lambda: begun.append(1))
    behind.wait()
    assert begun == []
    behind.begin(lambda: begun.append(2))
    behind.wait()
    assert begun == [2]
    behind.close()


def test_to_close_waits_for_what_is_written_and_ends_the_thread() -> None:
    behind, may_end, done = WriteBehind(), threading.Event(), threading.Event()
    thread: list[threading.Thread] = []

    def write() -> None:
        thread.append(threading.current_thread())
        waited(may_end)
        done.set()
        raise OSError(5, "nobody asks any more")

    behind.begin(write)
    closing = threading.Thread(target=behind.close)
    closing.start()
    assert closing.is_alive()
    may_end.set()
    closing.join(30)
    assert done.is_set()
    thread[0].join(30)
    assert not thread[0].is_alive()
    behind.close()  # what is closed may be closed again
