"""What an operation leaves in the audit chain, also where the peer breaks it off.

A device that takes all the answers and then aborts has seen them: the trace does not hang on
whether it waits for the last one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dicom_node.exchange import Exchange
from storage.audit import Outcome


@dataclass(slots=True)
class Trace:
    """How an operation ends, and how many matches were told by then."""

    matches: int = 0
    outcome: Outcome = Outcome.BROKEN_OFF


@contextmanager
def noted(exchange: Exchange, note: Callable[[Trace], None]) -> Iterator[Trace]:
    """Have what is done within noted, whichever way it ends.

    The last answer follows behind it: what cannot be put on record does not end well.
    """
    trace = Trace()
    try:
        yield trace
        trace.outcome = Outcome.CANCELLED if exchange.cancelled else Outcome.SUCCESS
    finally:
        note(trace)
