"""Sending instances to a device or archive: C-STORE as user, with an account for each instance.

References
----------
DICOM PS3.4 Annex B, PS3.7 section 9.1.1.
"""

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from itertools import groupby

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from dicom_node import part10
from dicom_node.contexts import VERIFICATION
from dicom_node.errors import AssociationRefused, PeerUnreachable, Unreadable
from dicom_node.pdu import MAX_CONTEXTS
from dicom_node.peers import Peer

_MAX_PDU = 131_072
_PAUSE_S = 0.0005
_WARNINGS = range(0xB000, 0xC000)


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
        return self.status == 0 or self.status in _WARNINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSettings:
    """How the node calls others."""

    ae_title: str
    """Our own title."""

    connect: timedelta = timedelta(seconds=15)
    """Time for the connection and the negotiation, each."""

    answer: timedelta = timedelta(seconds=120)
    """A receiver may write to slow disks before it answers."""


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
        association = _associate(group, peer, settings)
        try:
            for part in group:
                accounts[part.instance_uid] = _store(association, part)
        finally:
            _close(association)
    return tuple(accounts[item.instance_uid] for item in instances)


def echo(peer: Peer, settings: SendSettings) -> None:
    """Ask a peer whether it is there (C-ECHO).

    Raises
    ------
    PeerUnreachable, AssociationRefused
        It is not, or it does not want us.
    """
    entity = _entity(settings)
    entity.add_requested_context(VERIFICATION)
    association = _opened(entity, peer)
    try:
        status = association.send_c_echo()
        if "Status" not in status or status.Status != 0:
            raise PeerUnreachable("the peer did not answer C-ECHO", ae_title=peer.ae_title)
    finally:
        _close(association)


@dataclass(frozen=True, slots=True)
class _Part:
    instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    data_set: memoryview

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


def _groups(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Split what needs more presentation contexts than one association can have."""
    order = sorted({part.context for part in parts})
    number = {context: at // MAX_CONTEXTS for at, context in enumerate(order)}
    ordered = sorted(parts, key=lambda part: number[part.context])
    for _, group in groupby(ordered, key=lambda part: number[part.context]):
        yield list(group)


def _associate(parts: Iterable[_Part], peer: Peer, settings: SendSettings) -> Association:
    entity = _entity(settings)
    # One context a pair of class and syntax, so that what was accepted is what we hold.
    for sop_class_uid, transfer_syntax_uid in sorted({part.context for part in parts}):
        entity.add_requested_context(sop_class_uid, transfer_syntax_uid)
    return _opened(entity, peer)


def _entity(settings: SendSettings) -> AE:
    entity = AE(ae_title=settings.ae_title)
    entity.connection_timeout = settings.connect.total_seconds()
    entity.acse_timeout = settings.connect.total_seconds()
    entity.dimse_timeout = settings.answer.total_seconds()
    entity.network_timeout = settings.answer.total_seconds()
    return entity


def _opened(entity: AE, peer: Peer) -> Association:
    association = entity.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        max_pdu=_MAX_PDU,
        evt_handlers=[(evt.EVT_CONN_OPEN, _without_delay)],
    )
    if association.is_established:
        return association
    if association.is_rejected:
        raise AssociationRefused("the peer refused the association", ae_title=peer.ae_title)
    raise PeerUnreachable("no association with the peer could be had", ae_title=peer.ae_title)


def _without_delay(event: evt.Event) -> None:
    # Without it each message waits for the peer's delayed acknowledgement, some 40 ms.
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _store(association: Association, part: _Part) -> Delivered:
    context_id = _context_of(association, part)
    if context_id is None:
        reason = "the receiver takes this SOP class in another transfer syntax only, or not at all"
        return Delivered(part.instance_uid, None, reason)
    if not association.is_established:
        return Delivered(part.instance_uid, None, "the association was lost before")
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = part.sop_class_uid
    request.AffectedSOPInstanceUID = part.instance_uid
    request.Priority = 0
    request.DataSet = BytesIO(part.data_set)
    with _reactor_paused(association):
        association.dimse.send_msg(request, context_id)
        _, answer = association.dimse.get_msg(block=True)
    if answer is None or answer.Status is None:
        association.abort()
        return Delivered(part.instance_uid, None, "the receiver did not answer")
    return Delivered(part.instance_uid, int(answer.Status), str(answer.ErrorComment or ""))


class _reactor_paused:  # noqa: N801 - reads as a phrase where it is used
    """Keep pynetdicom's own loop from taking the answer that we wait for.

    Its `send_c_store` does the same, but encodes the data set anew, and we send it verbatim.
    """

    def __init__(self, association: Association) -> None:
        self._association = association

    def __enter__(self) -> None:
        self._association._reactor_checkpoint.clear()
        while not self._association._is_paused and self._association.is_alive():
            time.sleep(_PAUSE_S)

    def __exit__(self, *_: object) -> None:
        self._association._reactor_checkpoint.set()


def _context_of(association: Association, part: _Part) -> int | None:
    for context in association.accepted_contexts:
        if (context.abstract_syntax, context.transfer_syntax[0]) == part.context:
            found: int | None = context.context_id
            return found
    return None


def _close(association: Association) -> None:
    if association.is_established:
        association.release()
