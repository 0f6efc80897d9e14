"""Splitting multipart requests: any bytes, cut into any chunks; a lost end is always noticed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.http.errors import BodyMalformed, BodyTooLarge, UploadStalled
from app.http.limits import Limits
from app.http.multipart import Spool, media_type

LIMITS = Limits(whole=100_000, part=50_000, idle=timedelta(seconds=30))
BOUNDARY = "bo--unds"
contents = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"\r\n", b"--", b"--bo--unds", b"bo--unds", b"\r\n--bo--und", b"x"]),
        max_size=8,
    ).map(b"".join),
).filter(lambda data: b"\r\n--bo--unds" not in b"\r\n" + data + b"\r\n")


def message(parts: list[bytes]) -> bytes:
    body = b"".join(
        b"--bo--unds\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts
    )
    return body + b"--bo--unds--\r\n"


async def taken(chunks: list[bytes], limits: Limits = LIMITS) -> list[tuple[str, bytes]]:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    spool = Spool(BOUNDARY, limits, None)
    try:
        parts = await spool.take(stream())
        return [(part.content_type, spool.read(part)) for part in parts]
    finally:
        spool.close()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@settings(deadline=None)
@given(st.lists(contents, min_size=1, max_size=5), st.lists(st.integers(0, 5000), max_size=8))
def test_parts_come_out_as_they_went_in_however_they_are_cut(parts: list[bytes], places: list[int]):
    found = asyncio.run(taken(cut(message(parts), places)))

    assert found == [("application/dicom", part) for part in parts]


@settings(deadline=None)
@given(st.lists(contents, min_size=1, max_size=3), st.integers(0, 2000))
def test_a_message_without_its_end_is_never_taken(parts: list[bytes], lost: int):
    whole = message(parts)
    end = len(whole) - len(b"--\r\n")  # before the two dashes that close it

    with pytest.raises(BodyMalformed):
        asyncio.run(taken([whole[: max(0, end - lost)]]))


def test_each_byte_alone_gives_the_same_parts():
    whole = b"preamble\r\n" + message([b"one", b"", b"three"]) + b"epilogue"

    found = asyncio.run(taken([bytes([byte]) for byte in whole]))

    assert [data for _, data in found] == [b"one", b"", b"three"]


def test_a_part_without_headers_is_a_part():
    assert asyncio.run(taken([b"--bo--unds\r\n\r\ndata\r\n--bo--unds--"])) == [("", b"data")]


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (message([b"x" * 60_000]), LIMITS),
        (message([b"x" * 400] * 300), LIMITS),
    ],
)
def test_what_is_beyond_its_bounds_is_refused_while_it_comes(data: bytes, limits: Limits):
    with pytest.raises(BodyTooLarge):
        asyncio.run(taken(cut(data, list(range(0, len(data), 4096))), limits))


def test_a_silent_sender_is_given_up():
    async def silent() -> AsyncIterator[bytes]:
        yield message([b"one"])[:20]
        await asyncio.Event().wait()

    async def take() -> None:
        spool = Spool(BOUNDARY, Limits(1000, 1000, timedelta(milliseconds=20)), None)
        try:
            await spool.take(silent())
        finally:
            spool.close()

    with pytest.raises(UploadStalled):
        asyncio.run(take())


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("multipart/related; TYPE=application/dicom; boundary=b",
         ("multipart/related", {"type": "application/dicom", "boundary": "b"})),
        ('Multipart/Related; type="application/dicom"; boundary="a b"',
         ("multipart/related", {"type": "application/dicom", "boundary": "a b"})),
        ("application/dicom", ("application/dicom", {})),
        ("", ("", {})),
    ],
)  # fmt: skip
def test_content_types_are_read(header: str, found: tuple[str, dict[str, str]]):
    assert media_type(header) == found


def test_a_sender_who_dribbles_is_given_up_however_busy():
    slow = replace(LIMITS, grace=timedelta(0), pace=10**12)

    with pytest.raises(UploadStalled, match="too slow"):
        asyncio.run(taken([b"-", b"-", b"b"], slow))


def test_a_part_says_under_which_name_others_know_it():
    async def stream() -> AsyncIterator[bytes]:
        yield b"--b\r\nContent-Location: bulk/1\r\nContent-Type: x/y\r\n\r\nz\r\n--b--"

    async def parts() -> list[tuple[str, str]]:
        spool = Spool("b", LIMITS, None)
        try:
            return [(part.location, part.content_type) for part in await spool.take(stream())]
        finally:
            spool.close()

    assert asyncio.run(parts()) == [("bulk/1", "x/y")]
