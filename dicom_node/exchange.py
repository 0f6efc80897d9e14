"""One request of a service other than storage: its data set, its answers, its cancel.

References
----------
DICOM PS3.7 sections 7.5, 9.3 and 10.3, PS3.8 Annex E.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

import structlog

from dicom_node import data_sets
from dicom_node.contexts import Answered
from dicom_node.data_sets import Attribute, Attributes
from dicom_node.dictionary import tag_of
from dicom_node.dimse import (
    MAX_COMMAND_LENGTH,
    Command,
    Element,
    Request,
    Response,
    parse_request,
    parse_response,
    response,
    store_request,
)
from dicom_node.errors import ProtocolBroken, QueryRefused
from dicom_node.in_flight import InFlight
from dicom_node.intake import Answer, Intake
from dicom_node.large_requests import LargeRequests
from dicom_node.messages import Pieces, nothing, send_message
from dicom_node.pdu import (
    COMMAND_FRAGMENT,
    LAST_FRAGMENT,
    MAX_PDU,
    AbortReason,
    ExtendedNegotiation,
)
from dicom_node.peers import Peer
from dicom_node.receive import Agreed, ReceiveLimits, StorageAssociation
from dicom_node.statuses import Status
from dicom_node.transport import Transport
from kernel.errors import EngineError, Refused

MAX_IDENTIFIER_LENGTH = 4 << 20
_NO_TIME = timedelta(0)
_NORMALISED = 0x0100  # the bit in which N differ from C services (PS3.7 section E.1)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What was agreed on beside the presentation contexts.

    `gives` names the storage classes whose instances the peer takes back on this association.
    """

    peer: Peer
    max_pdu: int
    gives: frozenset[str] = frozenset()
    extended: Mapping[str, ExtendedNegotiation] = field(default_factory=dict)

    def agreed(self, sop_class_uid: str, position: int) -> bool:
        """Say whether a question of the extended negotiation was answered with yes."""
        found = self.extended.get(sop_class_uid)
        return found is not None and found.asks_for(position)


class Exchange:
    """What an operation is given: one request, and the association to answer it on."""

    def __init__(
        self,
        association: "ServiceAssociation",
        context: Answered,
        request: Request,
        data: bytes,
        *,
        give_back: Callable[[], None],
    ) -> None:
        self._association = association
        self._data = data
        self._give_back = give_back
        self.context = context
        self.request = request
        self.cancelled = False

    @property
    def terms(self) -> Terms:
        """What was agreed on for this association."""
        return self._association.terms

    @property
    def accepted(self) -> Mapping[int, Answered]:
        """The accepted presentation contexts by their ids."""
        return self._association.accepted

    def identifier(self) -> Attributes:
        """Return the data set of the request.

        Raises
        ------
        DataSetUnreadable
            It is none.
        """
        syntax, default = self.context.transfer_syntax, self.terms.peer.character_set
        return data_sets.decode(self._data, syntax, default_character_set=default)

    def let_go(self) -> None:
        """Need the data set no more: what is left to do may take hours, and takes little memory."""
        self._data = b""
        self._give_back()

    def answer(
        self,
        status: Status,
        *,
        comment: str = "",
        attributes: Sequence[Attribute] = (),
        counts: Mapping[Element, int] | None = None,
        sop_instance_uid: str = "",
        offending: int = 0,
    ) -> None:
        """Send one response, pending or final."""
        data = data_sets.encode(attributes, self.context.transfer_syntax)
        command = response(
            self.request,
            status,
            comment=comment,
            has_data_set=bool(data),
            counts=counts,
            sop_instance_uid=sop_instance_uid,
            offending=offending,
        )
        self._association.send_message(self.context.id, command, data)

    def should_stop(self) -> bool:
        """Say whether to end early: the peer cancelled the operation, or this node is stopping.

        Raises
        ------
        ProtocolBroken
            The peer sent something else while its operation was going on.
        """
        while not self.cancelled and self._association.has_more_to_read():
            self.cancelled = self._association.read_cancel(self.request.message_id)
        return self.cancelled or self._association.is_stopping

    def is_interrupted(self) -> bool:
        """Say whether the peer said something meanwhile, without reading it.

        Whatever that is, a cancel, a release or an end, the operation does not go on.
        """
        return self.cancelled or self._association.has_more_to_read()

    def store(
        self,
        context_id: int,
        sop_class_uid: str,
        sop_instance_uid: str,
        data: Pieces,
        meanwhile: Callable[[], None] = nothing,
    ) -> Response:
        """Send one instance back on this association (C-STORE sub-operation of a C-GET).

        Raises
        ------
        ProtocolBroken
            The instance could not be read to its end, or is damaged: the association is aborted, so
            that the peer does not take what it got for the whole.
        """
        message_id = self._association.next_message_id()
        priority = self.request.priority
        command = store_request(
            sop_class_uid, sop_instance_uid, message_id=message_id, priority=priority
        )
        try:
            self._association.send_message(context_id, command, data)
        except EngineError as error:
            raise ProtocolBroken(AbortReason.NOT_SPECIFIED, error.sentence) from error
        meanwhile()
        while True:
            found = self._association.read_response(self.request.message_id)
            if found is None:
                self.cancelled = True
            elif found.responded_to == message_id:
                return found
            else:
                raise ProtocolBroken(
                    AbortReason.UNEXPECTED_PARAMETER, "an answer came to what was never asked"
                )


Operation = Callable[[Exchange], None]


@dataclass(frozen=True, slots=True)
class Offer:
    """A service: the command that its SOP class takes, and who performs it.

    `questions` are the byte positions of the extended negotiation that are answered with yes;
    `besides` are the further commands of a SOP class that takes several.
    """

    command: Command
    perform: Operation
    questions: tuple[int, ...] = ()
    besides: Mapping[Command, Operation] = field(default_factory=dict)

    def operation(self, command: int) -> Operation | None:
        """Return who performs a command, None if the SOP class does not take it."""
        if command == self.command:
            return self.perform
        return next((each for taken, each in self.besides.items() if taken == command), None)


class ServiceAssociation(StorageAssociation):
    """Serves storage and verification, and beside them the services that were agreed on."""

    takes_in_alone: ClassVar = False

    def __init__(
        self,
        transport: Transport,
        agreed: Agreed,
        intake: Intake,
        in_flight: InFlight,
        limits: ReceiveLimits,
        *,
        terms: Terms,
        offers: Mapping[str, Offer],
        large: LargeRequests,
    ) -> None:
        super().__init__(transport, agreed, intake, in_flight, limits)
        self._large = large
        self.terms = terms
        self.accepted = agreed.contexts
        self._offers = offers
        self._longest = min(terms.max_pdu or MAX_PDU, MAX_PDU)
        self._last_message_id = 0

    @property
    def is_stopping(self) -> bool:
        """Whether this node is about to end."""
        return self._stopping

    def _perform(self, context: Answered, request: Request) -> Answer | None:
        offer = self._offers.get(context.abstract_syntax)
        operation = offer.operation(request.command) if offer is not None else None
        if operation is None:
            return super()._perform(context, request)
        data = self._read_data(context) if request.has_data_set else b""
        place = ExitStack()
        exchange = Exchange(self, context, request, data, give_back=place.close)
        try:
            with place:
                place.enter_context(self._large.place(len(data)))
                operation(exchange)
        except EngineError as error:
            log.warning("service.failed", association=self._agreed.id, code=error.code)
            named = error.attribute if isinstance(error, QueryRefused) else ""
            exchange.answer(
                _word_for(error, request),
                comment=error.sentence,
                offending=tag_of(named) if named else 0,
            )
        return None

    def send_message(self, context_id: int, command: bytes, data: bytes | Pieces) -> None:
        """Send a command set, and the data set behind it if there is one."""
        send_message(self._transport, context_id, command, data, max_pdu=self._longest)

    def next_message_id(self) -> int:
        """Return the message id of our next request on this association."""
        self._last_message_id = self._last_message_id % 0xFFFF + 1
        return self._last_message_id

    def has_more_to_read(self) -> bool:
        """Say whether the peer has sent something, without waiting."""
        return self._transport.has_more(_NO_TIME)

    def read_cancel(self, message_id: int) -> bool:
        """Read one message, which must be a C-CANCEL; say whether it is for this operation."""
        _, command = self._next_command()
        request = parse_request(command)
        if request.command != Command.C_CANCEL_RQ:
            raise ProtocolBroken(
                AbortReason.UNEXPECTED_PARAMETER, "a request came before the last was answered"
            )
        return request.responded_to == message_id

    def read_response(self, message_id: int) -> Response | None:
        """Read one message: the answer to a request of ours, or None for a C-CANCEL."""
        while True:
            context, command = self._next_command()
            try:
                found = parse_response(command)
            except ProtocolBroken:  # a request: rare, and so looked for last
                if _command_of(command) != Command.C_CANCEL_RQ:
                    raise
                if parse_request(command).responded_to == message_id:
                    return None
                continue
            if found.has_data_set:
                self._pass_over(context)
            return found

    def _read_data(self, context: Answered) -> bytes:
        data, room = bytearray(), self._whole_frame().body[: self._limits.max_pdu]
        last = False
        while not last:
            size, last = self._take(context, room)
            if len(data) + size > MAX_IDENTIFIER_LENGTH:
                raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "an identifier has no end")
            data += room[:size]
        return bytes(data)

    def _next_command(self) -> tuple[Answered, bytearray]:
        command = bytearray()
        while True:
            context_id, control, part = self._transport.read_pdv(limit=self._limits.max_pdu)
            context = self._agreed.contexts.get(context_id)
            if context is None or not control & COMMAND_FRAGMENT:
                raise ProtocolBroken(AbortReason.UNEXPECTED_PARAMETER, "no command set came")
            if len(command) + len(part) > MAX_COMMAND_LENGTH:
                raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "a command set is too long")
            command += part
            if control & LAST_FRAGMENT:
                return context, command


def _command_of(command: bytes | bytearray) -> int:
    """Return the command field of a command set, 0 where it has none that can be read."""
    marker = struct.pack("<HHI", 0, Element.COMMAND_FIELD, 2)
    at = bytes(command).find(marker)
    return int.from_bytes(command[at + 8 : at + 10], "little") if at >= 0 else 0


def _word_for(error: EngineError, request: Request) -> Status:
    if isinstance(error, Refused):
        return Status.DATA_SET_DOES_NOT_MATCH
    normalised = request.command & _NORMALISED
    return Status.RESOURCE_LIMITATION if normalised else Status.OUT_OF_RESOURCES
