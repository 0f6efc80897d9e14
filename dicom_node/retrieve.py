"""C-MOVE and C-GET served: instances sent as they were received, with an account of each.

References
----------
DICOM PS3.4 sections C.4.2 (C-MOVE) and C.4.3 (C-GET).
"""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from dicom_node import commands, outgoing, part10, views
from dicom_node import query as queries
from dicom_node.data_sets import Attribute, Attributes, attribute, tag_of
from dicom_node.dimse import Element
from dicom_node.errors import AssociationRefused, PeerUnreachable, PictureRefused, QueryRefused
from dicom_node.exchange import Exchange
from dicom_node.finding import Finder, ended_early
from dicom_node.peers import Peer
from dicom_node.query import LEVELS, UNIQUE, Root
from dicom_node.send import Delivered, Originator, Outgoing, Sender, SendSettings
from dicom_node.statuses import Status
from dicom_node.uncompressed import TARGETS, to_uncompressed
from dicom_node.views import Views
from kernel.errors import EngineError
from kernel.people import Actor, Role
from storage import audit
from storage.archive import Archive
from storage.archive_find import Level, Row
from storage.corrections import Shown
from storage.journal import NoSuchPlace, Place, SegmentElsewhere

RELATIONAL = 0
_MAX_COUNT = 0xFFFF

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One instance that is to be sent."""

    study_uid: str
    instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    place: Place | None = None
    """Where it lies in the journal; None once it is packed."""

    @property
    def context(self) -> tuple[str, str]:
        """What has to be agreed on to send it as it is."""
        return self.sop_class_uid, self.transfer_syntax_uid


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

    def deliver(self, wanted: Wanted, file: bytes) -> Delivered:
        """Send one instance and return its account; nothing that fails is raised."""
        ...


class Retriever:
    """Serves C-MOVE and C-GET.

    Parameters
    ----------
    finder
        Finds what the identifiers name; what a peer may not see it cannot retrieve.
    """

    def __init__(
        self, archive: Archive, finder: Finder, *, views: Views, send: SendSettings
    ) -> None:
        self._archive = archive
        self._finder = finder
        self._views = views
        self._send = send

    def move(self, exchange: Exchange, root: Root) -> None:
        """Send what a C-MOVE names to a registered peer.

        Raises
        ------
        QueryRefused, DataSetUnreadable
            The identifier names nothing; the answer is A900.
        """
        title = exchange.request.move_destination
        with self._archive.database.reading() as tx:
            destination = commands.find_peer(tx, title)
        if destination is None:
            exchange.answer(
                Status.DESTINATION_UNKNOWN, comment="the move destination is not registered"
            )
            return
        wanted = sorted(self._selected(exchange, root), key=lambda each: each.context)
        originator = Originator(exchange.terms.peer.ae_title, exchange.request.message_id)
        with _ToPeer(destination, self._send, originator, wanted) as way:
            self._retrieve(exchange, wanted, way, destination.ae_title)

    def get(self, exchange: Exchange, root: Root) -> None:
        """Send what a C-GET names back on the same association.

        Raises
        ------
        QueryRefused, DataSetUnreadable
            The identifier names nothing; the answer is A900.
        """
        wanted = list(self._selected(exchange, root))
        self._retrieve(exchange, wanted, _Back(exchange), exchange.terms.peer.ae_title)

    def _retrieve(
        self, exchange: Exchange, wanted: Sequence[Wanted], way: Way, destination: str
    ) -> None:
        tally = Tally(len(wanted))
        sent: Counter[str] = Counter()
        status: Status | None = None
        with closing(self._files(wanted)) as files:
            for each, file in files:
                if exchange.should_stop():
                    status = ended_early(exchange)
                    break
                delivered = _delivered(each, file, way)
                tally.note(delivered)
                sent[each.study_uid] += delivered.ok
                if tally.remaining:
                    exchange.answer(Status.PENDING, counts=tally.counts(final=False))
        failed = [attribute("FailedSOPInstanceUIDList", *tally.failed)] if tally.failed else []
        exchange.answer(
            status if status is not None else tally.status(),
            attributes=failed,
            counts=tally.counts(final=True),
        )
        self._note(exchange, sent, destination)

    def _files(
        self, wanted: Sequence[Wanted]
    ) -> Generator[tuple[Wanted, bytes | EngineError], None, None]:
        """Yield each instance with its bytes; the next one is read while one is on its way."""
        studies = {each.study_uid for each in wanted}
        shown = {uid: outgoing.shown_of(self._archive, uid) for uid in sorted(studies)}

        def read(each: Wanted) -> bytes | EngineError:
            return self._read(each, shown[each.study_uid])

        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = reader.submit(read, wanted[0]) if wanted else None
            for at, each in enumerate(wanted):
                assert ahead is not None
                file = ahead.result()
                if at + 1 < len(wanted):
                    ahead = reader.submit(read, wanted[at + 1])
                yield each, file

    def _read(self, wanted: Wanted, shown: Shown | None) -> bytes | EngineError:
        try:
            return outgoing.as_shown(self._stored(wanted), shown)
        except EngineError as error:
            return error

    def _stored(self, wanted: Wanted) -> bytes:
        if wanted.place is not None:
            # The row is at hand; most retrievals are of what came lately.
            with suppress(NoSuchPlace, SegmentElsewhere):
                return self._archive.journal.read(wanted.place)
        return self._archive.read(wanted.instance_uid)

    def _selected(self, exchange: Exchange, root: Root) -> Iterator[Wanted]:
        relational = exchange.terms.agreed(exchange.context.abstract_syntax, RELATIONAL)
        unique = selection(exchange.identifier(), root, relational=relational)
        query = queries.read(unique, Root.STUDY, relational=True)
        scope = views.scope_of(exchange.terms.peer, self._views)
        for found in self._finder.matches(query, scope):
            row = found.row
            yield Wanted(
                row["study_uid"],
                row["instance_uid"],
                row["sop_class_uid"],
                row["transfer_syntax_uid"],
                _place(row),
            )

    def _note(self, exchange: Exchange, sent: Counter[str], destination: str) -> None:
        peer = exchange.terms.peer
        actor = Actor(f"ae:{peer.ae_title}", Role.DEVICE, peer.organisation_id or None)
        with self._archive.database.transaction() as tx:
            for study_uid, instances in sorted(sent.items()):
                audit.record(
                    tx,
                    actor=actor,
                    action="study.retrieved",
                    subject=f"study:{study_uid}",
                    outcome="success" if instances else "failed",
                    detail={"destination": destination, "instances": instances},
                )


def _place(row: Row) -> Place | None:
    if row["segment"] is None:
        return None
    return Place(row["segment"], row["offset"], row["length"], row["sha256"])


def _delivered(wanted: Wanted, file: bytes | EngineError, way: Way) -> Delivered:
    """Send one instance; what cannot be read or is not taken becomes an account and a log line."""
    if isinstance(file, EngineError):
        log.error("retrieve.unreadable", instance_uid=wanted.instance_uid, code=file.code)
        return Delivered(wanted.instance_uid, None, file.sentence)
    delivered = way.deliver(wanted, file)
    if not delivered.ok:
        log.warning(
            "retrieve.failed",
            instance_uid=wanted.instance_uid,
            status=delivered.status,
            reason=delivered.reason,
        )
    return delivered


def selection(asked: Attributes, root: Root, *, relational: bool = False) -> Attributes:
    """Return the query at instance level for what a retrieve identifier names.

    Raises
    ------
    QueryRefused
        It has no level of this model, lacks the unique key of a level above, or names nothing
        at its own (C.4.2.1.4).
    """
    level = queries.read(asked, root, relational=relational).level
    if not any(asked.values(UNIQUE[level])):
        raise QueryRefused(f"a retrieval names what it wants by {UNIQUE[level]}")
    unique: dict[int, Attribute] = {}
    for each in LEVELS[Root.PATIENT]:
        tag = tag_of(UNIQUE[each])
        if tag in asked.by_tag:
            unique[tag] = asked.by_tag[tag]
        if set("".join(asked.values(UNIQUE[each]))) & {"*", "?"}:
            raise QueryRefused("a retrieval names its unique keys without wild cards")
        if each is level:
            break
    told = attribute("QueryRetrieveLevel", Level.IMAGE.value)
    return Attributes({told.tag: told, **unique})


class _ToPeer:
    """C-STORE to the move destination, on as many associations as the SOP classes need."""

    def __init__(
        self,
        destination: Peer,
        settings: SendSettings,
        originator: Originator,
        wanted: Sequence[Wanted],
    ) -> None:
        self._destination = destination
        self._settings = settings
        self._originator = originator
        self._groups = _groups(wanted)
        self._open = ExitStack()
        self._sender: Sender | None = None
        self._covered: frozenset[tuple[str, str]] = frozenset()
        self._failure = ""

    def __enter__(self) -> "_ToPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def deliver(self, wanted: Wanted, file: bytes) -> Delivered:
        """Send one instance; a destination that cannot be reached fails all of its group."""
        if wanted.context not in self._covered:
            self._associate(wanted.context)
        if self._sender is None:
            return Delivered(wanted.instance_uid, None, self._failure)
        return self._sender.store(Outgoing(wanted.instance_uid, file), self._originator)

    def _associate(self, context: tuple[str, str]) -> None:
        self._open.close()
        self._sender = None
        self._covered = next(group for group in self._groups if context in group)
        try:
            self._sender = self._open.enter_context(
                Sender(self._covered, self._destination, self._settings)
            )
        except (PeerUnreachable, AssociationRefused) as error:
            self._failure = error.sentence


class _Back:
    """C-STORE sub-operations on the association of the C-GET."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def deliver(self, wanted: Wanted, file: bytes) -> Delivered:
        """Send one instance, in its own transfer syntax or uncompressed."""
        given = self._given(wanted)
        if given is None:
            reason = "the peer takes this SOP class back in no transfer syntax that we can give"
            return Delivered(wanted.instance_uid, None, reason)
        context_id, syntax = given
        try:
            if syntax != wanted.transfer_syntax_uid:
                file = to_uncompressed(file, syntax)
            data = memoryview(file)[part10.split(file).data_set_offset :]
        except PictureRefused as refusal:
            return Delivered(wanted.instance_uid, None, refusal.sentence)
        answer = self._exchange.store(context_id, wanted.sop_class_uid, wanted.instance_uid, data)
        return Delivered(wanted.instance_uid, answer.status, answer.comment)

    def _given(self, wanted: Wanted) -> tuple[int, str] | None:
        """Return the context to use, and its transfer syntax."""
        if wanted.sop_class_uid not in self._exchange.terms.gives:
            return None
        taken = {
            each.transfer_syntax: each.id
            for each in self._exchange.accepted.values()
            if each.abstract_syntax == wanted.sop_class_uid
        }
        for syntax in (wanted.transfer_syntax_uid, *TARGETS):
            if syntax in taken:
                return taken[syntax], syntax
        return None


def _groups(wanted: Sequence[Wanted]) -> list[frozenset[tuple[str, str]]]:
    pairs = sorted({each.context for each in wanted})
    size = Sender.MAX_PAIRS
    return [frozenset(pairs[at : at + size]) for at in range(0, len(pairs), size)]
