"""What the floor does when it hears a fact."""

from collections.abc import Sequence

from health_record.commands import schedule
from kernel.facts import CaseSigned, Fact
from storage.engine import Transaction
from storage.work import Reactions

CONSUMER = "health_record.schedule"


def reactions(destinations: Sequence[str]) -> Reactions:
    """Return the reactions; a signed case is scheduled for each of `destinations`."""

    def schedule_signed(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, CaseSigned)
        schedule(tx, fact, destinations)

    return {CONSUMER: {CaseSigned: schedule_signed}}
