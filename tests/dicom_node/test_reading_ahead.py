"""The next instance is read while one is on its way: all, in order, and no more than that."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from dicom_node.outgoing import Leaving
from dicom_node.reading_ahead import PATIENCE_S, Opened, ReadAhead
from kernel.errors import Corrupt
from storage.objects import FAR_BYTES, NEAR_BYTES, ObjectStoreUnavailable
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


def all_of(files: ReadAhead) -> Iterator[Opened]:
    while found := files.taken():
        yield found


@pytest.mark.parametrize(
    ("number", "length"), [(0, 1), (1, 10 * NEAR_BYTES), (50, NEAR_BYTES // 3), (500, 1000)]
)
def test_all_come_in_order(number: int, length: int) -> None:
    wanted = [held(n, length) for n in range(number)]

    assert [each for each, _ in all_of(ReadAhead(wanted, opened))] == wanted


def test_memory_serves_again_once_an_instance_is_sent() -> None:
    rooms: list[int] = []

    def filled(batch: Sequence[Held], room: memoryview) -> Iterator[Opened]:
        rooms.append(id(room))
        for place, each in enumerate(batch):
            room[place : place + 1] = bytes([int(each.number)])
            yield each, Leaving(each.length, iter((room[place : place + 1],)))

    files = ReadAhead([held(n, NEAR_BYTES // 3) for n in range(60)], filled)
    sent = []
    for _, leaving in all_of(files):
        assert isinstance(leaving, Leaving)
        sent.append(leaving.whole()[0])
        files.look()  # while its answer is waited for

    assert sent == list(range(60))
    assert (len(rooms), len(set(rooms))) == (20, 1)


def test_what_reading_raises_is_raised_when_the_one_before_is_answered() -> None:
    def broken(batch: Sequence[Held], room: memoryview) -> Iterator[Opened]:
        if batch[0].number == "2":
            raise Damaged("it is damaged")
        return opened(batch, room)

    files = ReadAhead([held(n, NEAR_BYTES) for n in range(5)], broken)
    sent = []
    with pytest.raises(Damaged):
        for each, _ in all_of(files):
            sent.append(each.number)
            files.look()
            files.look()
    assert sent == ["0", "1"]


def test_no_more_is_read_than_the_next() -> None:
    batches: list[str] = []

    def counted(batch: Sequence[Held], room: memoryview) -> Iterator[Opened]:
        batches.append(batch[0].number)
        return opened(batch, room)

    files = ReadAhead([held(n, NEAR_BYTES) for n in range(50)], counted)
    assert batches == []
    files.taken()
    assert batches == ["0"]
    files.look()
    files.look()
    assert batches == ["0", "1"]


def test_so_much_is_read_at_once_as_where_it_lies_asks_for() -> None:
    batches: list[int] = []

    def counted(batch: Sequence[Held], room: memoryview) -> Iterator[Opened]:
        batches.append(len(batch))
        assert sum(each.length for each in batch) <= len(room)
        return opened(batch, room)

    def at_once(_held: Held) -> int:
        return FAR_BYTES if batches else NEAR_BYTES  # that it is far is known once it was asked

    wanted = [held(n, FAR_BYTES // 8) for n in range(20)]
    assert [each for each, _ in all_of(ReadAhead(wanted, counted, at_once))] == wanted
    assert batches == [1, 8, 8, 3]


def test_a_store_that_was_silent_for_long_is_not_asked_for_the_rest_of_a_pack() -> None:
    now, asked = 0.0, []

    def silent(batch: Sequence[Held], _room: memoryview) -> Iterator[Opened]:
        nonlocal now
        for each in batch:
            asked.append(each.number)
            if each.pack_key == "silent":
                now += PATIENCE_S + 1
            yield each, ObjectStoreUnavailable(f"asked for {each.number}")

    there = [held(n, NEAR_BYTES // 3) for n in range(30)]
    wanted = [*(replace(each, pack_key="silent") for each in there[:20]), *there[20:]]
    files = ReadAhead(wanted, silent, clock=lambda: now)
    told = [str(failure) for _, failure in all_of(files)]

    assert told == ["asked for 0"] * 20 + [f"asked for {n}" for n in range(20, 30)]
    assert asked == ["0", *(str(n) for n in range(20, 30))]
