"""Large requests are worked on a few at a time."""

from datetime import timedelta

import pytest

from dicom_node.errors import NodeBusy
from dicom_node.large_requests import LARGE, LargeRequests

AT_ONCE = 2


def test_as_many_as_may_be_are_worked_on_and_one_that_ends_makes_room() -> None:
    large = LargeRequests(AT_ONCE, timedelta(0))
    with large.place(LARGE):
        with large.place(LARGE), pytest.raises(NodeBusy), large.place(LARGE):
            pass
        with large.place(LARGE):
            pass


def test_small_ones_always_have_room() -> None:
    large = LargeRequests(AT_ONCE, timedelta(0))
    with large.place(LARGE), large.place(LARGE), large.place(LARGE - 1), large.place(0):
        pass


def test_one_that_fails_gives_its_place_back() -> None:
    large = LargeRequests(1, timedelta(0))
    with pytest.raises(ZeroDivisionError), large.place(LARGE):
        raise ZeroDivisionError
    with large.place(LARGE):
        pass
