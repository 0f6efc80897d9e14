"""Instances are read ahead of their sending: all, in order, within a bound, until one leaves."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from dicom_node.outgoing import Leaving
from dicom_node.reading_ahead import BATCH_BYTES, MAX_AHEAD, Opened, read_ahead
from kernel.errors import Corrupt
from storage.series_queries import Held


class Damaged(Corrupt):
    """What is read is not what was written."""

    code = "test.damaged"


def held(number: int, length: int) -> Held:
    return Held(
        instance_uid=f"1.2.{number}",
        series_uid="1.2",
        study_uid="1",
        sop_class_uid="1.3",
        transfer_syntax_uid="1.4",
        number=str(number),
        rows=None,
        columns=None,
        frames=None,
        digest="",
        length=length,
        segment=None,
        pack_key="pack",
        offset=0,
    )


def opened(batch: Sequence[Held], room: memoryview) -> Iterator[Opened]:
    for each in batch:
        yield each, Leaving(each.length, iter((bytes(1),)))


@pytest.mark.parametrize(
    ("number", "length"), [(0, 1), (1, 10 * BATCH_BYTES), (50, BATCH_BYTES // 3), (500, 1000)]
)
def test_all_come_in_order(number: int, length: int) -> None:
    wanted = [held(n, length) for n in range(number)]

    assert [each for each, _ in read_ahead(wanted, opened)] == wanted


def test_memory_serves_again_once_its_instances_are_done_with() -> None:
    rooms: dict[int, int] = {}

    def filled(batch: Sequence[Held], room: memoryview) -> Iterator[Opened]:
        at = id(room)
        rooms[at] = rooms.get(at, 0) + 1
        for place, each in enumerate(batch):
            room[place : place + 1] = bytes([int(each.number)])
            yield each, Leaving(each.length, iter((room[place : place + 1],)))

    wanted = [held(n, BATCH_BYTES // 3) for n in range(60)]
    sent = [
        leaving.whole()[0]
        for _, leaving in read_ahead(wanted, filled)
        if isinstance(leaving, Leaving)
    ]

    assert sent == list(range(60))
    assert len(rooms) == MAX_AHEAD + 1
    assert sum(rooms.values()) == 20


def test_what_reading_raises_is_raised_where_they_are_sent() -> None:
    def broken(batch: Sequence[Held], room: memoryview) -> Iterator[Opened]:
        if batch[0].number == "2":
            raise Damaged("it is damaged")
        return opened(batch, room)

    sent = []
    with pytest.raises(Damaged):
        for each, _ in read_ahead([held(n, BATCH_BYTES) for n in range(5)], broken):
            sent.append(each.number)
    assert sent == ["0", "1"]


def test_no_more_is_read_than_there_is_room_for_and_nothing_once_one_leaves() -> None:
    batches: list[str] = []
    full = threading.Event()

    def counted(batch: Sequence[Held], room: memoryview) -> Iterator[Opened]:
        batches.append(batch[0].number)
        if len(batches) == MAX_AHEAD + 1:
            full.set()
        return opened(batch, room)

    with closing(read_ahead([held(n, BATCH_BYTES) for n in range(50)], counted)) as files:
        next(files)
        assert full.wait(30)

    assert len(batches) == MAX_AHEAD + 1
    assert not any(thread.name == "reading-ahead" for thread in threading.enumerate())
