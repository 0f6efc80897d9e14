"""Threads that take in share a processor, and no others are held there."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_node.one_processor import OneProcessor

ALLOWED = frozenset(os.sched_getaffinity(0))


def mine() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0))


def test_threads_share_one_processor_and_get_theirs_back() -> None:
    one = OneProcessor()
    met = threading.Barrier(3)

    def taking_in() -> tuple[frozenset[int], frozenset[int]]:
        with one.shared():
            met.wait()  # all have it before one of them gives it back
            during = mine()
            met.wait()
        return during, mine()

    with ThreadPoolExecutor(3) as pool:
        found = [each.result() for each in [pool.submit(taking_in) for _ in range(3)]]

    (during,) = {each for each, _ in found}
    assert len(during) == 1
    assert during <= ALLOWED
    assert {after for _, after in found} == {ALLOWED}


def test_a_thread_that_does_not_share_stays_free() -> None:
    one = OneProcessor()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(mine).result() == ALLOWED
        with one.shared():
            assert len(mine()) == 1
            assert pool.submit(mine).result() == ALLOWED


def test_it_is_chosen_anew_once_nobody_shares_it() -> None:
    if len(ALLOWED) < 2:
        pytest.skip("this machine has one processor")
    one = OneProcessor()
    chosen = []
    for processor in sorted(ALLOWED):
        os.sched_setaffinity(0, {processor})
        try:
            with one.shared():
                chosen.append(mine())
        finally:
            os.sched_setaffinity(0, ALLOWED)

    assert chosen == [frozenset({each}) for each in sorted(ALLOWED)]


def test_what_fails_within_gives_it_back_as_well() -> None:
    one = OneProcessor()
    with pytest.raises(ZeroDivisionError), one.shared():
        raise ZeroDivisionError
    assert mine() == ALLOWED


def test_a_machine_that_forbids_it_is_served_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    with OneProcessor().shared():
        assert mine() == ALLOWED
    assert mine() == ALLOWED
