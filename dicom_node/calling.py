"""An association that we open, to send instances or to ask: one blocking socket, no polling.

References
----------
DICOM PS3.7 section 9.1.1 (C-STORE), PS3.8 sections 7.1, 7.2 and 9.3.
"""

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from dicom_node import pdu
from dicom_node.contexts import Proposed
from dicom_node.dimse import (
    MAX_COMMAND_LENGTH,
    Question,
    Request,
    Response,
    parse_request,
    parse_response,
    response,
    store_request,
)
from dicom_node.errors import AssociationRefused, PeerGone, PeerUnreachable, ProtocolBroken
from dicom_node.messages import Pieces, nothing, send_message
from dicom_node.pdu import (
    COMMAND_FRAGMENT,
    LAST_FRAGMENT,
    MAX_PDU,
    AbortReason,
    PduType,
    command_data,
)
from dicom_node.peers import Peer
from dicom_node.statuses import PENDING, Status
from dicom_node.tls import Secure, called, context_for
from dicom_node.transport import Released, Transport
from kernel.errors import EngineError

MAX_ANSWER_LENGTH = 4 << 20
"""Bytes of the longest data set of an answer that is read."""

_LOOK_EVERY = timedelta(seconds=0.25)
_AFTER_CALLED_OFF = timedelta(seconds=0.75)
"""So long the answer to what is under way is still waited for: a peer that is well gives it."""


class Call:
    """An association as its requestor.

    Parameters
    ----------
    contexts
        Pairs of SOP class and transfer syntax; each is proposed by itself, so that what is
        accepted is what we hold.
    called_off
        Says whether what the association is for is called off; asked while an answer is waited for.

    Raises
    ------
    PeerUnreachable
        No connection, no answer, or no TLS session where the peer is called over TLS.
    AssociationRefused
        The peer refused.
    """

    def __init__(
        self,
        contexts: Iterable[tuple[str, str]],
        peer: Peer,
        *,
        calling: str,
        connect: timedelta,
        answer: timedelta,
        secure: Secure | None = None,
        called_off: Callable[[], bool] | None = None,
    ) -> None:
        self._peer = peer
        self._called_off = called_off
        self._last_message_id = self._last_context = 0
        proposed = [
            Proposed(2 * at + 1, sop_class, (syntax,))
            for at, (sop_class, syntax) in enumerate(sorted(set(contexts)))
        ]
        try:
            sock = socket.create_connection((peer.host, peer.port), connect.total_seconds())
        except OSError as error:
            raise self._unreachable("no connection with the peer could be had") from error
        self._transport = self._secured(sock, connect, answer, secure)
        try:
            self._patience = connect
            self._transport.be_patient(connect)
            accept = self._negotiated(proposed, calling)
            self._patience = answer
            self._transport.be_patient(answer)
        except (PeerGone, ProtocolBroken) as error:
            self._transport.sock.close()
            raise self._unreachable("no association with the peer could be had") from error
        except AssociationRefused:
            self._transport.sock.close()
            raise
        self._max_pdu = min(accept.max_pdu or MAX_PDU, MAX_PDU)
        self.accepted = {
            (each.abstract_syntax, each.transfer_syntaxes[0]): each.id
            for each in proposed
            if accept.accepted.get(each.id) == each.transfer_syntaxes[0]
        }
        """Context id by pair of SOP class and transfer syntax."""
        self.is_open = True

    def store(
        self,
        context: tuple[str, str],
        instance_uid: str,
        data: memoryview | Pieces,
        originator: tuple[str, int] | None = None,
        priority: int = 0,
        meanwhile: Callable[[], None] = nothing,
    ) -> Response | None:
        """Send one instance on an accepted context; None once the association is lost.

        Parameters
        ----------
        meanwhile
            Called once it is sent, before its answer is waited for; raises nothing.

        Raises
        ------
        EngineError
            The instance could not be read to its end, or is damaged: the association is aborted, so
            that the peer does not take what it got for the whole.
        """
        if not self.is_open:
            return None
        self._last_message_id = self._last_message_id % 0xFFFF + 1
        command = store_request(
            context[0],
            instance_uid,
            message_id=self._last_message_id,
            originator=originator,
            priority=priority,
        )
        try:
            send_message(
                self._transport, self.accepted[context], command, data, max_pdu=self._max_pdu
            )
            meanwhile()
            self._wait()
            return self._response()
        except (PeerGone, Released):
            self.is_open = False
        except ProtocolBroken as broken:
            self._transport.abort(broken.reason)
            self.is_open = False
        except EngineError:
            self._transport.abort(AbortReason.NOT_SPECIFIED)
            self.is_open = False
            raise
        return None

    def context_of(self, sop_class_uid: str) -> tuple[str, str] | None:
        """Return an accepted pair of a SOP class, None if the peer does not serve it."""
        return next((pair for pair in self.accepted if pair[0] == sop_class_uid), None)

    def ask(
        self, question: Question, context: tuple[str, str], data: bytes = b""
    ) -> Iterator[tuple[Response, bytes]]:
        """Send a request and yield each answer with its data set; the last one is final.

        Raises
        ------
        PeerUnreachable
            The association is lost, or the peer broke the protocol.
        """
        self._last_message_id = self._last_message_id % 0xFFFF + 1
        command = question.encoded(self._last_message_id, has_data_set=bool(data))
        try:
            send_message(
                self._transport, self.accepted[context], command, data, max_pdu=self._max_pdu
            )
            pending = True
            while pending:
                answer, told = self._answer()
                pending = answer.status in PENDING
                yield answer, told
        except (PeerGone, Released) as error:
            self.is_open = False
            raise self._unreachable("the association with the peer was lost") from error
        except ProtocolBroken as broken:
            self.abort(broken.reason)
            raise self._unreachable("the peer broke the protocol") from broken

    def hear(self, patience: timedelta) -> tuple[int, Request, bytes] | None:
        """Wait for a request of the peer; return its context id, command and data set.

        None if it asks nothing in time, or ends the association.
        """
        if not self.is_open or not self._transport.has_more(patience):
            return None
        try:
            request = parse_request(self._parts(COMMAND_FRAGMENT, MAX_COMMAND_LENGTH))
            return (
                self._last_context,
                request,
                self._parts(0, MAX_ANSWER_LENGTH) if request.has_data_set else b"",
            )
        except (PeerGone, Released):
            self.is_open = False
        except ProtocolBroken as broken:
            self.abort(broken.reason)
        return None

    def reply(self, context_id: int, request: Request, status: Status) -> None:
        """Answer a request of the peer; an association that is lost meanwhile is no matter."""
        with contextlib.suppress(PeerGone):
            self._transport.send(command_data(context_id, response(request, status)))

    def abort(self, reason: AbortReason | int = AbortReason.NOT_SPECIFIED) -> None:
        """End the association at once, whatever is under way."""
        if self.is_open:
            self.is_open = False
            self._transport.abort(reason)

    def close(self) -> None:
        """Release the association."""
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(PeerGone, ProtocolBroken):
                self._transport.send(pdu.release_request())
                self._transport.read_pdu(limit=pdu.MAX_ASSOCIATE_LENGTH)
        self._transport.sock.close()

    def _secured(
        self, sock: socket.socket, connect: timedelta, answer: timedelta, secure: Secure | None
    ) -> Transport:
        if not self._peer.tls:
            return Transport(sock, silence=answer, idle=answer)
        try:
            return called(sock, context_for(self._peer, secure), connect=connect, answer=answer)
        except PeerGone as error:
            sock.close()
            raise self._unreachable(str(error)) from error

    def _negotiated(self, proposed: list[Proposed], calling: str) -> pdu.AssociateAccept:
        request = pdu.associate_request(
            proposed, called=self._peer.ae_title, calling=calling, max_pdu=MAX_PDU
        )
        self._transport.send(request)
        self._wait()
        kind, body = self._transport.read_pdu(limit=pdu.MAX_ASSOCIATE_LENGTH)
        if kind == PduType.ASSOCIATE_RJ:
            raise AssociationRefused(
                "the peer refused the association", ae_title=self._peer.ae_title
            )
        if kind != PduType.ASSOCIATE_AC:
            raise ProtocolBroken(AbortReason.UNEXPECTED_PDU, "the peer answered no negotiation")
        return pdu.parse_associate_accept(body)

    def _wait(self) -> None:
        """Wait until the peer says something, for all its time unless this is called off.

        Raises
        ------
        PeerGone
            It said nothing: the association is aborted.
        """
        if self._called_off is None:
            return
        for _ in range(self._patience // _LOOK_EVERY):
            if self._transport.has_more(_LOOK_EVERY):
                return
            if self._called_off():
                break
        if not self._transport.has_more(_AFTER_CALLED_OFF):
            self._transport.be_patient(_AFTER_CALLED_OFF)
            self._transport.abort(AbortReason.NOT_SPECIFIED)
            raise PeerGone("the peer gave no answer")

    def _response(self) -> Response:
        return self._answer()[0]

    def _answer(self) -> tuple[Response, bytes]:
        found = parse_response(self._parts(COMMAND_FRAGMENT, MAX_COMMAND_LENGTH))
        if found.responded_to != self._last_message_id:
            raise ProtocolBroken(
                AbortReason.UNEXPECTED_PARAMETER, "an answer came to what was never asked"
            )
        return found, self._parts(0, MAX_ANSWER_LENGTH) if found.has_data_set else b""

    def _parts(self, kind: int, longest: int) -> bytes:
        """Read a command set or a data set to its last fragment."""
        whole = bytearray()
        while True:
            self._last_context, control, part = self._transport.read_pdv(limit=MAX_PDU)
            if control & COMMAND_FRAGMENT != kind or len(whole) + len(part) > longest:
                raise ProtocolBroken(AbortReason.UNEXPECTED_PARAMETER, "no answer came")
            whole += part
            if control & LAST_FRAGMENT:
                return bytes(whole)

    def _unreachable(self, sentence: str) -> PeerUnreachable:
        return PeerUnreachable(sentence, ae_title=self._peer.ae_title)
