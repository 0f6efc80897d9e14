"""The limits of a request body, and a body that is read within them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from app.http.errors import BodyTooLarge, UploadStalled
from kernel.clock import monotonic_s


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request and of each part of it (bytes), and of its slowness.

    After `grace` the whole must have come at `pace` (bytes/s) at least: a sender who dribbles is
    never silent, and holds a place all the same.
    """

    whole: int
    part: int
    idle: timedelta
    grace: timedelta = timedelta(minutes=10)
    pace: int = 128


async def within(stream: AsyncIterator[bytes], limits: Limits) -> AsyncIterator[bytes]:
    """Yield the pieces of a body while it keeps within its bounds.

    Raises
    ------
    BodyTooLarge, UploadStalled
        It is too long, or its sender fell silent or is too slow.
    """
    chunks, began, received = aiter(stream), monotonic_s(), 0
    while True:
        try:
            async with asyncio.timeout(limits.idle.total_seconds()):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise UploadStalled("the sender fell silent; nothing was stored") from error
        received += len(chunk)
        if received > limits.whole:
            raise BodyTooLarge(f"one request has at most {limits.whole} bytes")
        _require_pace(received, monotonic_s() - began, limits)
        if chunk:
            yield chunk


def _require_pace(received: int, elapsed_s: float, limits: Limits) -> None:
    is_slow = received < limits.pace * elapsed_s
    if is_slow and elapsed_s > limits.grace.total_seconds():
        raise UploadStalled("the sender is too slow to come to an end; nothing was stored")
