"""What the floor does when it hears a fact."""

from collections.abc import Callable, Sequence

from health_record.commands import schedule
from kernel.facts import CaseSigned, Fact
from storage.engine import Transaction
from storage.work import Reactions

CONSUMER = "health_record.schedule"


Further = Callable[[Transaction, CaseSigned], Sequence[str]]
"""Gives the destinations of one signed case beside those of all."""


def _none(_tx: Transaction, _fact: CaseSigned) -> Sequence[str]:
    return ()


def reactions(destinations: Sequence[str], further: Further = _none) -> Reactions:
    """Return the reactions; a signed case goes to `destinations` and what `further` says."""

    def schedule_signed(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, CaseSigned)
        schedule(tx, fact, (*destinations, *further(tx, fact)))

    return {CONSUMER: {CaseSigned: schedule_signed}}
