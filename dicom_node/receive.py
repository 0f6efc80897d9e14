"""The C-STORE pump: one thread an association, blocking reads, answers only when durable.

References
----------
DICOM PS3.7 sections 9.1.1 (C-STORE), 9.1.5 (C-ECHO), PS3.8 Annex E (PDV fragmentation).
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import structlog

from dicom_node.admission import Announced, Source
from dicom_node.contexts import Answered, is_storage
from dicom_node.dimse import MAX_COMMAND_LENGTH, Command, Request, parse_request, response
from dicom_node.errors import PeerGone, ProtocolBroken
from dicom_node.in_flight import InFlight
from dicom_node.intake import Answer, Intake
from dicom_node.pdu import (
    COMMAND_FRAGMENT,
    LAST_FRAGMENT,
    MAX_PDU,
    AbortReason,
    command_data,
    release_response,
)
from dicom_node.statuses import Outcome, word_for
from dicom_node.transport import Released, Transport
from dicom_node.uids import VERIFICATION
from storage.frame import Frame
from storage.journal import ALIGNMENT

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveLimits:
    """Bounds of one association."""

    max_pdu: int = MAX_PDU
    """Bytes of the longest P-DATA-TF that we take."""

    buffer_bytes: int = 2 << 20
    """Longer data sets are streamed to the journal in pieces of this size."""

    max_data_set_bytes: int = 16 << 30
    """Nothing real is longer; an endless message ends here."""

    silence: timedelta = timedelta(seconds=60)
    """Time for one PDU: 128 KiB at 20 kbit/s, the poorest link worth serving."""

    idle: timedelta = timedelta(minutes=5)
    """Modalities keep an association open between the images of an examination."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the negotiation ended with."""

    id: str
    source: Source
    contexts: Mapping[int, Answered]


class StorageAssociation:
    """Serves C-STORE and C-ECHO on one accepted association."""

    takes_in_alone: ClassVar = True
    """Whether nothing else is served, so that all of its work is to take in."""

    def __init__(
        self,
        transport: Transport,
        agreed: Agreed,
        intake: Intake,
        in_flight: InFlight,
        limits: ReceiveLimits,
    ) -> None:
        self._transport = transport
        self._agreed = agreed
        self._intake = intake
        self._in_flight = in_flight
        self._limits = limits
        self._frame: Frame | None = None
        self._busy = threading.Lock()
        self._stopping = False
        self.stored = 0

    def serve(self) -> None:
        """Answer requests until the peer releases, leaves, breaks the protocol, or we stop.

        Raises
        ------
        PeerGone, ProtocolBroken
            The association ended other than by release.
        """
        try:
            while not self._stopping:
                context, request = self._next_request()
                with self._busy:
                    answer = self._perform(context, request)
                    if answer is not None:
                        self._reply(context, request, answer)
        except Released:
            self._transport.send(release_response())
            return
        except PeerGone:
            if not self._stopping:
                raise
        finally:
            self._in_flight.ended(self._agreed.id)
        raise ProtocolBroken(AbortReason.NOT_SPECIFIED, "this node is stopping")

    def stop(self) -> None:
        """Finish the request in hand, then end the association (from another thread)."""
        self._stopping = True
        if self._busy.acquire(blocking=False):
            self._transport.stop_reading()
            self._busy.release()

    def _next_request(self) -> tuple[Answered, Request]:
        command = bytearray()
        first = -1
        while True:
            context_id, control, part = self._transport.read_pdv(limit=self._limits.max_pdu)
            if not control & COMMAND_FRAGMENT:
                raise ProtocolBroken(AbortReason.UNEXPECTED_PARAMETER, "a data set came first")
            first = context_id if first < 0 else first
            if context_id != first or len(command) + len(part) > MAX_COMMAND_LENGTH:
                raise ProtocolBroken(
                    AbortReason.INVALID_PARAMETER, "a command set is mixed or too long"
                )
            command += part
            if control & LAST_FRAGMENT:
                break
        context = self._agreed.contexts.get(first)
        if context is None:
            raise ProtocolBroken(
                AbortReason.INVALID_PARAMETER, "a message came on a context never agreed on"
            )
        return context, parse_request(command)

    def _perform(self, context: Answered, request: Request) -> Answer | None:
        if request.command == Command.C_CANCEL_RQ:
            return None  # nothing here takes long enough to be cancelled (PS3.7 section 9.3.2.3)
        if request.command == Command.C_STORE_RQ:
            return self._store(context, request)
        if request.has_data_set:
            self._pass_over(context)
        if request.command == Command.C_ECHO_RQ and context.abstract_syntax == VERIFICATION:
            return Answer(Outcome.STORED)
        return Answer(Outcome.OPERATION_UNKNOWN, "only C-STORE and C-ECHO are served here")

    def _store(self, context: Answered, request: Request) -> Answer:
        if not request.has_data_set:
            return Answer(Outcome.NO_DATA_SET, "the C-STORE has no data set")
        if not is_storage(context.abstract_syntax) or (
            request.sop_class_uid != context.abstract_syntax
        ):
            self._pass_over(context)
            return Answer(
                Outcome.CLASS_NOT_SUPPORTED, "the SOP class is not that of the presentation context"
            )
        announced = Announced(
            request.sop_class_uid, request.sop_instance_uid, context.transfer_syntax
        )
        answer = self._receive(context, announced)
        if answer.header is not None:
            self._in_flight.brought(self._agreed.id, answer.header.study_uid)
        if answer.outcome in (Outcome.STORED, Outcome.DUPLICATE):
            self.stored += 1
        else:
            log.warning(
                "instance.refused",
                association=self._agreed.id,
                outcome=answer.outcome.value,
                reason=answer.reason,
            )
        return answer

    def _receive(self, context: Answered, announced: Announced) -> Answer:
        """Read one data set; what outgrows the frame goes to the journal as it comes."""
        arriving = self._intake.begin(announced, self._agreed.source, self._whole_frame())
        try:
            total, last = 0, False
            while not last:
                size, last = self._take(context, arriving.room(self._limits.max_pdu))
                total += size
                if total > self._limits.max_data_set_bytes:
                    raise ProtocolBroken(AbortReason.NOT_SPECIFIED, "a data set has no end")
                arriving.filled(size)
            return arriving.finish()
        finally:
            arriving.discard()

    def _pass_over(self, context: Answered) -> None:
        room, last = self._whole_frame().body, False
        while not last:
            _, last = self._take(context, room)

    def _take(self, context: Answered, room: memoryview) -> tuple[int, bool]:
        return self._transport.take_fragments(
            room, context_id=context.id, limit=self._limits.max_pdu
        )

    def _whole_frame(self) -> Frame:
        if self._frame is None:
            limits = self._limits
            # One fragment more than is written at once: room for the next is asked for ahead.
            self._frame = Frame(limits.buffer_bytes + limits.max_pdu + ALIGNMENT)
        return self._frame

    def _reply(self, context: Answered, request: Request, answer: Answer) -> None:
        word = word_for(answer.outcome)
        reply = response(request, word, comment=answer.reason if word else "")
        self._transport.send(command_data(context.id, reply))


def ended(error: Exception) -> str:
    """Return why an association ended, for the log."""
    return str(error) if isinstance(error, PeerGone | ProtocolBroken) else type(error).__name__
