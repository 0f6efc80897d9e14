"""So many ask a remote store at once, some wait, and whoever comes then is told."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.objects import ObjectStoreUnavailable
from storage.places import Places
from tests.wire.speaker import until


def test_whoever_comes_when_all_is_taken_is_told_at_once() -> None:
    places, free, inside = Places(2, 3, patience_s=60), threading.Event(), threading.Semaphore(0)

    def ask() -> bool:
        with places:
            inside.release()
            return free.wait(60)

    with ThreadPoolExecutor(5) as asking:
        asked = [asking.submit(ask) for _ in range(5)]
        for _ in range(2):
            inside.acquire()
        until(lambda: places._queue._value == 0)  # the other three wait
        with pytest.raises(ObjectStoreUnavailable):
            ask()
        free.set()
        assert all(each.result() for each in asked)


def test_who_waits_for_long_is_told() -> None:
    places = Places(1, 1, patience_s=0.01)
    with places:
        for _ in range(2):  # and makes room for the next who waits
            with pytest.raises(ObjectStoreUnavailable), places:
                pass


def test_a_place_is_free_again_however_it_was_left() -> None:
    places = Places(1, 1, patience_s=0.01)
    for _ in range(3):
        with pytest.raises(KeyError), places:
            raise KeyError
    with places:
        pass
