"""The sub-operations of C-MOVE and C-GET: each instance sent, with an account of all.

References
----------
DICOM PS3.4 sections C.4.2 (C-MOVE) and C.4.3 (C-GET).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from dicom_node.dimse import Element
from dicom_node.errors import AssociationRefused, PeerUnreachable
from dicom_node.exchange import Exchange
from dicom_node.messages import nothing
from dicom_node.outgoing import Leaving
from dicom_node.peers import Peer
from dicom_node.send import Delivered, Originator, Sender, SendSettings
from dicom_node.statuses import Status
from dicom_node.uids import COMPRESSIONS
from dicom_node.uncompressed import TARGETS, data_set_in
from kernel.errors import EngineError
from storage.series_queries import Held

_MAX_COUNT = 0xFFFF

Context = tuple[str, str]
"""SOP class and transfer syntax: what has to be agreed on to send an instance as it is."""


@dataclass(slots=True)
class Tally:
    """The account of the sub-operations."""

    remaining: int
    completed: int = 0
    warnings: int = 0
    failed: list[str] = field(default_factory=list)

    def note(self, delivered: Delivered) -> None:
        """Count one sub-operation."""
        self.remaining -= 1
        if not delivered.ok:
            self.failed.append(delivered.instance_uid)
        elif delivered.status:
            self.warnings += 1
        else:
            self.completed += 1

    def counts(self, *, final: bool) -> Mapping[Element, int]:
        """Return the numbers of a response; only a cancelled operation ends with some remaining."""
        numbers = {
            Element.REMAINING: self.remaining,
            Element.COMPLETED: self.completed,
            Element.FAILED: len(self.failed),
            Element.WARNING: self.warnings,
        }
        if final and not self.remaining:
            del numbers[Element.REMAINING]
        return {element: min(number, _MAX_COUNT) for element, number in numbers.items()}

    def status(self) -> Status:
        """Return the final status of an operation that came to its end (tables C.4-2, C.4-3)."""
        if not self.failed:
            return Status.SUB_OPERATIONS_FAILED if self.warnings else Status.SUCCESS
        if self.completed or self.warnings:
            return Status.SUB_OPERATIONS_FAILED
        return Status.CANNOT_PERFORM_SUB_OPERATIONS


class Way(Protocol):
    """How instances go out."""

    def deliver(
        self, held: Held, leaving: Leaving, meanwhile: Callable[[], None] = nothing
    ) -> Delivered:
        """Send one instance and return its account.

        `meanwhile` is called once it is sent, before its answer is waited for; it raises nothing.
        What cannot be sent is told there and not raised; an association that cannot go on is.
        """
        ...


def context_of(held: Held) -> Context:
    """Return what has to be agreed on to send an instance as it is stored."""
    return held.sop_class_uid, held.transfer_syntax_uid


class ToPeer:
    """C-STORE to a peer, on as many associations as the SOP classes need.

    `originator` is the C-MOVE that it belongs to, None where it belongs to none; a destination that
    hangs is given up soon once `called_off` says so.
    """

    def __init__(
        self,
        destination: Peer,
        settings: SendSettings,
        originator: Originator | None,
        wanted: Sequence[Held],
        called_off: Callable[[], bool] | None = None,
    ) -> None:
        self._destination = destination
        self._called_off = called_off
        self._settings = settings
        self._originator = originator
        self._groups = _groups(wanted)
        self._open = ExitStack()
        self._sender: Sender | None = None
        self._covered: frozenset[Context] = frozenset()
        self._failure = ""

    def __enter__(self) -> "ToPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def deliver(
        self, held: Held, leaving: Leaving, meanwhile: Callable[[], None] = nothing
    ) -> Delivered:
        """Send one instance; a destination that cannot be reached fails all of its group."""
        context = context_of(held)
        aborted = self._sender is not None and self._sender.aborted_by_us
        if context not in self._covered or aborted:
            self._associate(context)
        if self._sender is None:
            return Delivered(held.instance_uid, None, self._failure)
        return self._sender.store(held, leaving, self._originator, meanwhile)

    def _associate(self, context: Context) -> None:
        self._open.close()
        self._sender = None
        self._covered = next(group for group in self._groups if context in group)
        try:
            self._sender = self._open.enter_context(
                Sender(self._covered, self._destination, self._settings, self._called_off)
            )
        except (PeerUnreachable, AssociationRefused) as error:
            self._failure = error.sentence


class Back:
    """C-STORE sub-operations on the association of the C-GET."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._taken = {
            (each.abstract_syntax, each.transfer_syntax): each.id
            for each in exchange.accepted.values()
            if each.abstract_syntax in exchange.terms.gives
        }

    def deliver(
        self, held: Held, leaving: Leaving, meanwhile: Callable[[], None] = nothing
    ) -> Delivered:
        """Send one instance: as it is stored, uncompressed, or in a lossless compression."""
        syntaxes = self._syntaxes(held)
        if not syntaxes:
            reason = "the peer takes this SOP class back in no transfer syntax that we can give"
            return Delivered(held.instance_uid, None, reason)
        try:
            syntax, data = data_set_in(syntaxes, held, leaving)
        except EngineError as error:  # it is damaged, or cannot be given so
            return Delivered(held.instance_uid, None, error.sentence)
        context_id = self._taken[held.sop_class_uid, syntax]
        answer = self._exchange.store(
            context_id, held.sop_class_uid, held.instance_uid, data, meanwhile
        )
        return Delivered(held.instance_uid, answer.status, answer.comment)

    def _syntaxes(self, held: Held) -> list[str]:
        made = TARGETS if held.rows is None else (*TARGETS, *COMPRESSIONS)
        asked = (held.transfer_syntax_uid, *made)
        return [each for each in asked if (held.sop_class_uid, each) in self._taken]


def _groups(wanted: Sequence[Held]) -> list[frozenset[Context]]:
    pairs = sorted({context_of(each) for each in wanted})
    size = Sender.MAX_PAIRS
    return [frozenset(pairs[at : at + size]) for at in range(0, len(pairs), size)]
