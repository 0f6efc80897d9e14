"""Queries answered: a match at a time as they are found, to their end or to where it has to be.

References
----------
DICOM PS3.4 sections C.4.1, K.4.1 and CC.2.8.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from dicom_node.data_sets import Attribute
from dicom_node.exchange import Exchange
from dicom_node.statuses import Status
from dicom_node.trace import Trace, noted
from kernel.facts import Plain
from storage import audit
from storage.engine import Database


class Match(NamedTuple):
    """What is told of a match, and the status with which: whether all keys were seen to."""

    told: Sequence[Attribute]
    pending: Status = Status.PENDING


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers the queries of one service.

    `action` is what the audit chain calls one; a query that matches more than `max_matches` is
    ended there, and says so.
    """

    database: Database
    action: str
    max_matches: int

    def answer(
        self,
        exchange: Exchange,
        matches: Iterable[Match],
        **detail: Plain,
    ) -> None:
        """Answer with each match and then with how it ended; put on record what was told by then.

        Parameters
        ----------
        matches
            The next is looked for when the one before it was told.
        """
        status, comment = Status.SUCCESS, ""
        with noted(exchange, partial(self._note, exchange, detail)) as trace:
            for match in matches:
                if exchange.should_stop():
                    status = ended_early(exchange)
                    break
                if trace.matches == self.max_matches:
                    status = Status.OUT_OF_RESOURCES
                    comment = f"more than {self.max_matches} match: ask for less"
                    break
                exchange.answer(match.pending, attributes=match.told)
                trace.matches += 1
        exchange.answer(status, comment=comment)

    def _note(self, exchange: Exchange, detail: dict[str, Plain], trace: Trace) -> None:
        actor = exchange.terms.peer.actor
        with self.database.transaction() as tx:
            audit.record(
                tx,
                actor=actor,
                action=self.action,
                subject=actor.ref,
                outcome=trace.outcome,
                detail={**detail, "matches": trace.matches},
            )


def ended_early(exchange: Exchange) -> Status:
    """Return the final status of an operation that did not come to its end."""
    return Status.CANCELLED if exchange.cancelled else Status.OUT_OF_RESOURCES
