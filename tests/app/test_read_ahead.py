"""A body is read ahead of its sending: whole, in order, within a bound; errors stay errors."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from app.http.read_ahead import BATCH_BYTES, MAX_AHEAD, made_ahead, read_ahead
from kernel.errors import Corrupt

QUARTER = BATCH_BYTES // 4


class Damaged(Corrupt):
    """What is read is not what was written."""

    code = "test.damaged"


def pieces(number: int, size: int, *, broken: bool = False) -> Iterator[bytes]:
    for n in range(number):
        yield bytes([n % 251]) * size
    if broken:
        raise Damaged("it is damaged")


async def taken(source: Iterator[bytes]) -> list[bytes]:
    return [batch async for batch in read_ahead(source)]


@pytest.mark.parametrize(
    ("number", "size"), [(0, 1), (1, 1), (1, 0), (3, 10), (400, QUARTER + 7), (3000, 12_345)]
)
def test_all_of_it_comes_in_order(number: int, size: int) -> None:
    batches = asyncio.run(taken(pieces(number, size)))

    assert b"".join(batches) == b"".join(pieces(number, size))
    assert all(len(each) >= BATCH_BYTES for each in batches[:-1])


def test_what_a_piece_raises_breaks_the_body_off() -> None:
    sent = bytearray()

    async def send() -> None:
        async for batch in read_ahead(pieces(40, QUARTER, broken=True)):
            sent.extend(batch)

    with pytest.raises(Damaged):
        asyncio.run(send())
    assert bytes(sent) == b"".join(pieces(40, QUARTER))


def test_batches_are_made_at_the_same_time_and_come_in_their_order() -> None:
    second_began = threading.Event()

    def first() -> bytes:
        assert second_began.wait(30)
        return b"1"

    def second() -> bytes:
        second_began.set()
        return b"2"

    async def all_made() -> list[bytes]:
        return [made async for made in made_ahead(iter([first, second, lambda: b"3"]))]

    assert asyncio.run(all_made()) == [b"1", b"2", b"3"]


def test_what_a_batch_raises_is_raised_behind_those_before_it() -> None:
    sent = []

    def damaged() -> bytes:
        raise Damaged("it is damaged")

    async def send() -> None:
        async for made in made_ahead(iter([lambda: b"1", damaged, lambda: b"3"])):
            sent.append(made)

    with pytest.raises(Damaged):
        asyncio.run(send())
    assert sent == [b"1"]


def test_no_more_is_read_than_the_client_takes() -> None:
    """Nor is a thread kept by a client who takes nothing: what waits is bounded."""
    read: list[int] = []
    enough = threading.Event()

    def counted() -> Iterator[bytes]:
        for n in range(100):
            read.append(n)
            if n == MAX_AHEAD:
                enough.set()
            yield bytes(BATCH_BYTES)

    async def slow() -> int:
        body = read_ahead(counted())
        await anext(body)
        await asyncio.to_thread(enough.wait, 30)
        for _ in range(100):
            await asyncio.sleep(0)
        waiting = len(read)
        await body.aclose()  # type: ignore[attr-defined]
        return waiting

    assert asyncio.run(slow()) == MAX_AHEAD + 1
    assert len(read) == MAX_AHEAD + 1
