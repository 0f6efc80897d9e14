"""Sending instances to a device or archive: C-STORE as user, with an account for each instance.

References
----------
DICOM PS3.4 Annex B, PS3.7 section 9.1.1.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dicom_node import data_sets, part10
from dicom_node.calling import Call
from dicom_node.data_sets import Attribute
from dicom_node.errors import AssociationRefused, PeerGone, PeerUnreachable, Unreadable
from dicom_node.messages import Pieces, nothing
from dicom_node.outgoing import Leaving
from dicom_node.pdu import MAX_CONTEXTS, MAX_PDU
from dicom_node.peers import Peer
from dicom_node.statuses import WARNINGS
from dicom_node.tls import Secure, context_for
from dicom_node.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, VERIFICATION
from dicom_node.uncompressed import TARGETS, data_set_in
from kernel.errors import EngineError
from storage.series_queries import Held

if TYPE_CHECKING:  # a process that calls nobody does without the toolkit
    from pynetdicom import AE, evt
    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation

_PAUSE_S = 0.0005


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One instance to send: its UID and its whole Part 10 file."""

    instance_uid: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the receiver answered for one instance; `status` is None if it never came to that."""

    instance_uid: str
    status: int | None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether the receiver has it: success, or a warning (PS3.4 section B.2.3)."""
        return self.status == 0 or self.status in WARNINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSettings:
    """How the node calls others."""

    ae_title: str
    """Our own title."""

    connect: timedelta = timedelta(seconds=15)
    """Time for the connection and the negotiation, each."""

    answer: timedelta = timedelta(seconds=120)
    """A receiver may write to slow disks before it answers."""

    secure: Secure | None = None
    """How peers are called that are called over TLS."""


@dataclass(frozen=True, slots=True)
class _Part:
    instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    data_set: memoryview | Pieces

    @classmethod
    def of(cls, item: Outgoing, accounts: dict[str, Delivered]) -> "_Part | None":
        try:
            file = part10.split(item.data)
        except Unreadable as refusal:
            accounts[item.instance_uid] = Delivered(item.instance_uid, None, refusal.sentence)
            return None
        return cls(
            item.instance_uid,
            file.sop_class_uid,
            file.transfer_syntax_uid,
            memoryview(item.data)[file.data_set_offset :],
        )

    @property
    def context(self) -> tuple[str, str]:
        return self.sop_class_uid, self.transfer_syntax_uid


def send(
    instances: Sequence[Outgoing], peer: Peer, settings: SendSettings
) -> tuple[Delivered, ...]:
    """Send instances verbatim, in their own transfer syntaxes; return one account for each.

    An instance that the receiver takes in no transfer syntax, or that is not a Part 10 file, is
    in the account with its reason; it does not stop the others.

    Raises
    ------
    PeerUnreachable
        No connection, or it broke before anything was answered.
    AssociationRefused
        The receiver refused the association.
    """
    accounts: dict[str, Delivered] = {}
    sendable = [_Part.of(item, accounts) for item in instances]
    for group in _groups([part for part in sendable if part is not None]):
        call = _call({part.context for part in group}, peer, settings)
        try:
            for part in group:
                accounts[part.instance_uid] = _store(call, part)
        finally:
            call.close()
    return tuple(accounts[item.instance_uid] for item in instances)


@dataclass(frozen=True, slots=True)
class Originator:
    """Who asked for what is sent: the C-MOVE that a C-STORE belongs to (PS3.7 section 9.1.1)."""

    ae_title: str
    message_id: int
    priority: int = 0


class Sender:
    """One association with a receiver, for instances that come one at a time.

    Each goes in its own transfer syntax where the receiver takes it, else uncompressed.

    Parameters
    ----------
    contexts
        Pairs of SOP class and transfer syntax that will come, at most `MAX_PAIRS`.
    called_off
        See `Call`.

    Raises
    ------
    PeerUnreachable, AssociationRefused
        On entering: there is no association to be had.
    """

    MAX_PAIRS = MAX_CONTEXTS // (1 + len(TARGETS))

    def __init__(
        self,
        contexts: Iterable[tuple[str, str]],
        peer: Peer,
        settings: SendSettings,
        called_off: Callable[[], bool] | None = None,
    ) -> None:
        self._contexts = set(contexts)
        self._called_off = called_off
        self._peer = peer
        self._settings = settings
        self._call: Call | None = None
        self.aborted_by_us = False
        """Whether an instance could not be read to its end: others need another association."""

    def __enter__(self) -> "Sender":
        classes = {sop_class for sop_class, _ in self._contexts}
        plain = {(sop_class, syntax) for sop_class in classes for syntax in TARGETS}
        contexts = self._contexts | plain
        self._call = _call(contexts, self._peer, self._settings, self._called_off)
        return self

    def __exit__(self, *_: object) -> None:
        if self._call is not None:
            self._call.close()

    def store(
        self,
        held: Held,
        leaving: Leaving,
        originator: Originator | None = None,
        meanwhile: Callable[[], None] = nothing,
    ) -> Delivered:
        """Send one instance and return its account."""
        assert self._call is not None
        was_open = self._call.is_open
        try:
            part = _as_taken(self._call, held, leaving)
            return _store(self._call, part, originator, meanwhile)
        except EngineError as error:
            self.aborted_by_us = was_open and not self._call.is_open
            return Delivered(held.instance_uid, None, error.sentence)


def _as_taken(call: Call, held: Held, leaving: Leaving) -> _Part:
    """Return the instance in a transfer syntax that the receiver takes, if there is one."""
    asked = (held.transfer_syntax_uid, *TARGETS)
    taken = [each for each in asked if (held.sop_class_uid, each) in call.accepted]
    # What is taken in none is not sent, with that as its reason: it stands as it is stored.
    syntax, data_set = data_set_in(taken or asked[:1], held, leaving)
    return _Part(held.instance_uid, held.sop_class_uid, syntax, data_set)


class Reporter:
    """An association on which a peer is told of events, one after the other."""

    def __init__(self, association: "Association", peer: Peer) -> None:
        self._association = association
        self._peer = peer
        self._message_id = 0

    def tell(
        self,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        event_type: int,
        attributes: Sequence[Attribute],
    ) -> None:
        """Tell of one event (N-EVENT-REPORT); return once the peer has taken it.

        Raises
        ------
        PeerUnreachable
            It cannot be told now.
        """
        from pynetdicom.dimse_primitives import N_EVENT_REPORT

        context = self._association.accepted_contexts[0]
        self._message_id = self._message_id % 0xFFFF + 1
        request = N_EVENT_REPORT()
        request.MessageID = self._message_id
        request.AffectedSOPClassUID = sop_class_uid
        request.AffectedSOPInstanceUID = sop_instance_uid
        request.EventTypeID = event_type
        request.EventInformation = BytesIO(
            data_sets.encode(attributes, str(context.transfer_syntax[0]))
        )
        answer = _exchanged(self._association, request, context.context_id or 0)
        if answer is None or answer.Status is None or answer.Status != 0:
            raise PeerUnreachable("the peer did not take the report", ae_title=self._peer.ae_title)


@contextlib.contextmanager
def reporting(peer: Peer, settings: SendSettings, abstract_syntax: str) -> Iterator[Reporter]:
    """Open an association with a peer as the provider of a service that it uses.

    Raises
    ------
    PeerUnreachable, AssociationRefused
        There is none to be had, or the peer does not take reports of this service.
    """
    from pynetdicom import build_role

    entity = _entity(settings)
    entity.add_requested_context(abstract_syntax, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
    association = _opened(entity, peer, settings, build_role(abstract_syntax, scp_role=True))
    try:
        if not association.accepted_contexts:
            raise AssociationRefused(
                "the peer does not take reports of this service", ae_title=peer.ae_title
            )
        yield Reporter(association, peer)
    finally:
        _close(association)


def report_event(
    peer: Peer,
    settings: SendSettings,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    event_type: int,
    attributes: Sequence[Attribute],
) -> None:
    """Tell a peer of one event on an association of its own.

    Raises
    ------
    PeerUnreachable, AssociationRefused
        It cannot be told now.
    """
    with reporting(peer, settings, sop_class_uid) as reporter:
        reporter.tell(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            event_type=event_type,
            attributes=attributes,
        )


def echo(peer: Peer, settings: SendSettings) -> None:
    """Ask a peer whether it is there (C-ECHO).

    Raises
    ------
    PeerUnreachable, AssociationRefused
        It is not, or it does not want us.
    """
    entity = _entity(settings)
    entity.add_requested_context(VERIFICATION)
    association = _opened(entity, peer, settings)
    try:
        status = association.send_c_echo()
        if "Status" not in status or status.Status != 0:
            raise PeerUnreachable("the peer did not answer C-ECHO", ae_title=peer.ae_title)
    finally:
        _close(association)


def _groups(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Split what needs more presentation contexts than one association can have."""
    order = sorted({part.context for part in parts})
    number = {context: at // MAX_CONTEXTS for at, context in enumerate(order)}
    ordered = sorted(parts, key=lambda part: number[part.context])
    for _, group in groupby(ordered, key=lambda part: number[part.context]):
        yield list(group)


def _call(
    contexts: Iterable[tuple[str, str]],
    peer: Peer,
    settings: SendSettings,
    called_off: Callable[[], bool] | None = None,
) -> Call:
    return Call(
        contexts,
        peer,
        calling=settings.ae_title,
        connect=settings.connect,
        answer=settings.answer,
        secure=settings.secure,
        called_off=called_off,
    )


def _entity(settings: SendSettings) -> "AE":
    from pynetdicom import AE

    entity = AE(ae_title=settings.ae_title)
    entity.connection_timeout = settings.connect.total_seconds()
    entity.acse_timeout = settings.connect.total_seconds()
    entity.dimse_timeout = settings.answer.total_seconds()
    entity.network_timeout = settings.answer.total_seconds()
    return entity


def _opened(
    entity: "AE",
    peer: Peer,
    settings: SendSettings,
    *negotiated: "SCP_SCU_RoleSelectionNegotiation",
) -> "Association":
    from pynetdicom import evt

    association = entity.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        max_pdu=MAX_PDU,
        ext_neg=list(negotiated),
        evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay)],
        tls_args=_tls_args(peer, settings),
    )
    if association.is_established:
        return association
    if association.is_rejected:
        raise AssociationRefused("the peer refused the association", ae_title=peer.ae_title)
    raise PeerUnreachable("no association with the peer could be had", ae_title=peer.ae_title)


def _tls_args(peer: Peer, settings: SendSettings) -> tuple[ssl.SSLContext, str] | None:
    if not peer.tls:
        return None
    try:
        return context_for(peer, settings.secure), peer.host
    except PeerGone as error:
        raise PeerUnreachable(str(error), ae_title=peer.ae_title) from error


def _without_delay(event: "evt.Event") -> None:
    # Without it each message waits for the peer's delayed acknowledgement, some 40 ms.
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _store(
    call: Call,
    part: _Part,
    originator: Originator | None = None,
    meanwhile: Callable[[], None] = nothing,
) -> Delivered:
    if part.context not in call.accepted:
        reason = "the receiver takes this SOP class in another transfer syntax only, or not at all"
        return Delivered(part.instance_uid, None, reason)
    if not call.is_open:
        return Delivered(part.instance_uid, None, "the association was lost before")
    origin = (originator.ae_title, originator.message_id) if originator else None
    priority = originator.priority if originator else 0
    answer = call.store(part.context, part.instance_uid, part.data_set, origin, priority, meanwhile)
    if answer is None:
        return Delivered(part.instance_uid, None, "the receiver did not answer")
    return Delivered(part.instance_uid, answer.status, answer.comment)


def _exchanged(association: "Association", request: Any, context_id: int) -> Any:
    """Send a request whose data set is encoded already; return the answer, None if none came."""
    with _reactor_paused(association):
        association.dimse.send_msg(request, context_id)
        _, answer = association.dimse.get_msg(block=True)
    return answer


class _reactor_paused:  # noqa: N801 - reads as a phrase where it is used
    """Keep pynetdicom's own loop from taking the answer that we wait for.

    Its `send_c_store` does the same, but encodes the data set anew, and we send it verbatim.
    """

    def __init__(self, association: "Association") -> None:
        self._association = association

    def __enter__(self) -> None:
        self._association._reactor_checkpoint.clear()
        while not self._association._is_paused and self._association.is_alive():
            time.sleep(_PAUSE_S)

    def __exit__(self, *_: object) -> None:
        self._association._reactor_checkpoint.set()


def _close(association: "Association") -> None:
    if association.is_established:
        association.release()
