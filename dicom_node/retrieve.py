"""C-MOVE and C-GET served: instances sent as they were received, with an account of each.

References
----------
DICOM PS3.4 sections C.4.2 (C-MOVE) and C.4.3 (C-GET).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial

import structlog

from dicom_node import commands, views
from dicom_node import query as queries
from dicom_node.answering import ended_early
from dicom_node.data_sets import Attribute, Attributes, attribute
from dicom_node.dictionary import tag_of
from dicom_node.errors import QueryRefused
from dicom_node.exchange import Exchange
from dicom_node.finding import Finder
from dicom_node.outgoing import Leaving, all_outgoing, shown_of
from dicom_node.query import LEVELS, UNIQUE, Root
from dicom_node.reading_ahead import Opener, ReadAhead
from dicom_node.send import Delivered, Originator, SendSettings
from dicom_node.statuses import Status
from dicom_node.sub_operations import Back, Context, Tally, ToPeer, Way, context_of
from dicom_node.trace import Trace, noted
from dicom_node.views import Views
from kernel.clock import monotonic_s
from kernel.errors import EngineError
from storage import audit
from storage.archive import Archive
from storage.archive_find import Level
from storage.objects import NEAR_BYTES
from storage.series_queries import Held

RELATIONAL = 0
TELL_EVERY_S = 0.1
"""Between pending responses: an account for people, and work for the peer."""

log = structlog.get_logger()


class Retriever:
    """Serves C-MOVE and C-GET.

    Parameters
    ----------
    finder
        Finds what the identifiers name; what a peer may not see it cannot retrieve.
    """

    def __init__(
        self,
        archive: Archive,
        finder: Finder,
        *,
        views: Views,
        send: SendSettings,
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
        wanted = self._selected(exchange, root)
        exchange.let_go()
        request = exchange.request
        originator = Originator(exchange.terms.peer.ae_title, request.message_id, request.priority)
        called_off = exchange.is_interrupted
        with ToPeer(destination, self._send, originator, wanted, called_off) as way:
            self._retrieve(exchange, wanted, way, destination.ae_title)

    def get(self, exchange: Exchange, root: Root) -> None:
        """Send what a C-GET names back on the same association.

        Raises
        ------
        QueryRefused, DataSetUnreadable
            The identifier names nothing; the answer is A900.
        """
        wanted = self._selected(exchange, root)
        exchange.let_go()
        self._retrieve(exchange, wanted, Back(exchange), exchange.terms.peer.ae_title)

    def _retrieve(
        self, exchange: Exchange, wanted: Sequence[Held], way: Way, destination: str
    ) -> None:
        tally = Tally(len(wanted))
        sent: Counter[str] = Counter()
        status: Status | None = None
        told_s = 0.0
        files = ReadAhead(wanted, self._opener(), self._at_once)
        with noted(exchange, partial(self._note, exchange, sent, destination)):
            while opened := files.taken():
                held, leaving = opened
                if exchange.should_stop():
                    status = ended_early(exchange)
                    break
                sent[held.study_uid] += 0  # who breaks off in the midst of it may have it
                delivered = _delivered(held, leaving, way, files.look)
                tally.note(delivered)
                sent[held.study_uid] += delivered.ok
                if not delivered.ok and exchange.should_stop():
                    status = ended_early(exchange)
                    break
                now_s = monotonic_s()
                if tally.remaining and now_s - told_s >= TELL_EVERY_S:
                    exchange.answer(Status.PENDING, counts=tally.counts(final=False))
                    told_s = now_s
        failed = [attribute("FailedSOPInstanceUIDList", *tally.failed)] if tally.failed else []
        exchange.answer(
            status if status is not None else tally.status(),
            attributes=failed,
            counts=tally.counts(final=True),
        )

    def _at_once(self, held: Held) -> int:
        return NEAR_BYTES if held.pack_key is None else self._archive.objects.at_once(held.pack_key)

    def _opener(self) -> Opener:
        shown = cache(partial(shown_of, self._archive))
        return lambda batch, room: all_outgoing(self._archive, batch, shown, room)

    def _selected(self, exchange: Exchange, root: Root) -> list[Held]:
        """Return what an identifier names, as far as the peer may see it, in order of sending."""
        relational = exchange.terms.agreed(exchange.context.abstract_syntax, RELATIONAL)
        unique = selection(exchange.identifier(), root, relational=relational)
        query = queries.read(unique, Root.STUDY, relational=True)
        scope = views.scope_of(exchange.terms.peer, self._views)
        return sorted(self._finder.held(query, scope), key=_order)

    def _note(self, exchange: Exchange, sent: Counter[str], destination: str, trace: Trace) -> None:
        with self._archive.database.transaction() as tx:
            for study_uid, instances in sorted(sent.items()):
                audit.record(
                    tx,
                    actor=exchange.terms.peer.actor,
                    action="study.retrieved",
                    subject=f"study:{study_uid}",
                    outcome=_outcome(trace, instances),
                    detail={"destination": destination, "instances": instances},
                )


def _outcome(trace: Trace, instances: int) -> audit.Outcome:
    if trace.outcome is audit.Outcome.BROKEN_OFF:
        return trace.outcome
    return audit.Outcome.SUCCESS if instances else audit.Outcome.FAILED


def _order(held: Held) -> tuple[Context, str, int]:
    """Keep together what needs one association, and within it what lies side by side."""
    return context_of(held), held.pack_key or held.segment or "", held.offset


def _delivered(
    held: Held, leaving: Leaving | EngineError, way: Way, meanwhile: Callable[[], None]
) -> Delivered:
    """Send one instance; what cannot be read or is not taken becomes an account and a log line."""
    if isinstance(leaving, EngineError):
        log.error("retrieve.unreadable", instance_uid=held.instance_uid, code=leaving.code)
        return Delivered(held.instance_uid, None, leaving.sentence)
    delivered = way.deliver(held, leaving, meanwhile)
    if not delivered.ok:
        log.warning(
            "retrieve.failed",
            instance_uid=held.instance_uid,
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
        raise QueryRefused(f"a retrieval names what it wants by {UNIQUE[level]}", UNIQUE[level])
    unique: dict[int, Attribute] = {}
    for each in LEVELS[Root.PATIENT]:
        tag = tag_of(UNIQUE[each])
        if tag in asked.by_tag:
            unique[tag] = asked.by_tag[tag]
        if set("".join(asked.values(UNIQUE[each]))) & {"*", "?"}:
            raise QueryRefused("a retrieval names its unique keys without wild cards", UNIQUE[each])
        if each is level:
            break
    told = attribute("QueryRetrieveLevel", Level.IMAGE.value)
    return Attributes({told.tag: told, **unique})
