"""Command sets: bounded decoding of requests, encoding of responses.

References
----------
DICOM PS3.7 section 6.3 (command sets are implicit VR little endian), 9.3 and Annex E.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from dicom_node.errors import ProtocolBroken
from dicom_node.pdu import AbortReason
from dicom_node.statuses import Status

MAX_COMMAND_LENGTH = 65_536
NO_DATA_SET = 0x0101
_DATA_SET = 0x0001
_RESPONSE = 0x8000
_MAX_TEXT = 64
_HEAD = struct.Struct("<HHI")
_NUMBER = struct.Struct("<HHIH")
_LONG = struct.Struct("<HHII")


class Command(IntEnum):
    """Command fields that this node tells apart (PS3.7 table E.1-1)."""

    C_STORE_RQ = 0x0001
    C_GET_RQ = 0x0010
    C_FIND_RQ = 0x0020
    C_MOVE_RQ = 0x0021
    C_ECHO_RQ = 0x0030
    N_EVENT_REPORT_RQ = 0x0100
    N_GET_RQ = 0x0110
    N_SET_RQ = 0x0120
    N_ACTION_RQ = 0x0130
    N_CREATE_RQ = 0x0140
    C_CANCEL_RQ = 0x0FFF


class Element(IntEnum):
    """Elements of group 0000 (PS3.7 table E.1-1)."""

    GROUP_LENGTH = 0x0000
    AFFECTED_SOP_CLASS = 0x0002
    REQUESTED_SOP_CLASS = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    RESPONDED_TO = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    OFFENDING_ELEMENT = 0x0901
    ERROR_COMMENT = 0x0902
    ERROR_ID = 0x0903
    AFFECTED_SOP_INSTANCE = 0x1000
    REQUESTED_SOP_INSTANCE = 0x1001
    EVENT_TYPE = 0x1002
    ATTRIBUTE_IDENTIFIERS = 0x1005
    ACTION_TYPE = 0x1008
    REMAINING = 0x1020
    COMPLETED = 0x1021
    FAILED = 0x1022
    WARNING = 0x1023
    MOVE_ORIGINATOR = 0x1030
    MOVE_ORIGINATOR_MESSAGE = 0x1031


class Request(NamedTuple):
    """A request message as far as this node looks at it.

    `responded_to` is the message that a C-CANCEL names; 0 in every other command.
    `attribute_tags` are those that an N-GET asks for; none means all.
    """

    command: int
    message_id: int
    has_data_set: bool
    sop_class_uid: str
    sop_instance_uid: str
    responded_to: int = 0
    move_destination: str = ""
    action_type: int = 0
    event_type: int = 0
    attribute_tags: tuple[int, ...] = ()
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """A response message as far as this node looks at it; `counts` are those of sub-operations."""

    responded_to: int
    has_data_set: bool
    status: int
    comment: str
    counts: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request of ours other than C-STORE; what is empty or 0 is left out."""

    command: Command
    sop_class_uid: str
    sop_instance_uid: str = ""
    move_destination: str = ""
    action_type: int = 0

    def encoded(self, message_id: int, *, has_data_set: bool = True) -> bytes:
        """Return the command set; one on an instance that exists names it as requested."""
        on_existing = self.command in _ON_EXISTING
        sop_class = Element.REQUESTED_SOP_CLASS if on_existing else Element.AFFECTED_SOP_CLASS
        instance = Element.REQUESTED_SOP_INSTANCE if on_existing else Element.AFFECTED_SOP_INSTANCE
        parts = [
            _text_element(sop_class, self.sop_class_uid, b"\0"),
            _number_element(Element.COMMAND_FIELD, self.command),
            _number_element(Element.MESSAGE_ID, message_id),
        ]
        if self.move_destination:
            parts.append(_text_element(Element.MOVE_DESTINATION, self.move_destination, b" "))
        if self.command in _WITH_PRIORITY:
            parts.append(_number_element(Element.PRIORITY, 0))
        parts.append(
            _number_element(Element.DATA_SET_TYPE, _DATA_SET if has_data_set else NO_DATA_SET)
        )
        if self.sop_instance_uid:
            parts.append(_text_element(instance, self.sop_instance_uid, b"\0"))
        if self.action_type:
            parts.append(_number_element(Element.ACTION_TYPE, self.action_type))
        return _command_set(parts)


_ON_EXISTING = frozenset({Command.N_GET_RQ, Command.N_SET_RQ, Command.N_ACTION_RQ})
_WITH_PRIORITY = frozenset({Command.C_FIND_RQ, Command.C_GET_RQ, Command.C_MOVE_RQ})
_COUNTS = (Element.REMAINING, Element.COMPLETED, Element.FAILED, Element.WARNING)


def parse_request(data: bytes | bytearray) -> Request:
    """Parse a command set.

    Raises
    ------
    ProtocolBroken
        It is not a command set, or it is a response, which nobody asked for.
    """
    elements = _elements(bytes(data))
    command = _number(elements, Element.COMMAND_FIELD)
    if command & _RESPONSE:
        raise ProtocolBroken(AbortReason.UNEXPECTED_PARAMETER, "a response came without a request")
    message_id = _number(elements, Element.MESSAGE_ID) if command != Command.C_CANCEL_RQ else 0
    has_data_set = _number(elements, Element.DATA_SET_TYPE) != NO_DATA_SET
    sop_class = _uid(elements, Element.AFFECTED_SOP_CLASS)
    instance = _uid(elements, Element.AFFECTED_SOP_INSTANCE)
    if command == Command.C_STORE_RQ and sop_class and instance:  # the rest is of other requests
        return Request(command, message_id, has_data_set, sop_class, instance)
    return Request(
        command=command,
        message_id=message_id,
        has_data_set=has_data_set,
        sop_class_uid=sop_class or _uid(elements, Element.REQUESTED_SOP_CLASS),
        sop_instance_uid=instance or _uid(elements, Element.REQUESTED_SOP_INSTANCE),
        responded_to=_number_if_told(elements, Element.RESPONDED_TO),
        move_destination=elements.get(Element.MOVE_DESTINATION, b"")
        .decode("ascii", "replace")
        .strip("\0 "),
        action_type=_number_if_told(elements, Element.ACTION_TYPE),
        event_type=_number_if_told(elements, Element.EVENT_TYPE),
        attribute_tags=_tags(elements.get(Element.ATTRIBUTE_IDENTIFIERS, b"")),
        priority=_number_if_told(elements, Element.PRIORITY),
    )


def parse_response(data: bytes | bytearray) -> Response:
    """Parse the command set of an answer to a request of ours.

    Raises
    ------
    ProtocolBroken
        It is not a command set, or no response.
    """
    elements = _elements(bytes(data))
    if not _number(elements, Element.COMMAND_FIELD) & _RESPONSE:
        raise ProtocolBroken(
            AbortReason.UNEXPECTED_PARAMETER, "a request came while an answer was awaited"
        )
    return Response(
        responded_to=_number(elements, Element.RESPONDED_TO),
        has_data_set=_number(elements, Element.DATA_SET_TYPE) != NO_DATA_SET,
        status=_number(elements, Element.STATUS),
        comment=elements.get(Element.ERROR_COMMENT, b"").decode("ascii", "replace").strip("\0 "),
        counts={each: _number(elements, each) for each in _COUNTS if each in elements},
    )


def store_request(
    sop_class_uid: str,
    sop_instance_uid: str,
    *,
    message_id: int,
    originator: tuple[str, int] | None = None,
    priority: int = 0,
) -> bytes:
    """Encode a C-STORE request of ours; its data set follows.

    Parameters
    ----------
    originator
        AE title and message id of the C-MOVE that it belongs to.
    priority
        That of the C-MOVE or C-GET that it belongs to (PS3.4 section C.4.2.1.2); else medium.
    """
    parts = [
        _text_element(Element.AFFECTED_SOP_CLASS, sop_class_uid, b"\0"),
        _number_element(Element.COMMAND_FIELD, Command.C_STORE_RQ),
        _number_element(Element.MESSAGE_ID, message_id),
        _number_element(Element.PRIORITY, priority),
        _number_element(Element.DATA_SET_TYPE, _DATA_SET),
        _text_element(Element.AFFECTED_SOP_INSTANCE, sop_instance_uid, b"\0"),
    ]
    if originator is not None:
        parts.append(_text_element(Element.MOVE_ORIGINATOR, originator[0], b" "))
        parts.append(_number_element(Element.MOVE_ORIGINATOR_MESSAGE, originator[1]))
    return _command_set(parts)


def response(
    request: Request,
    status: Status,
    *,
    comment: str = "",
    has_data_set: bool = False,
    counts: Mapping[Element, int] | None = None,
    sop_instance_uid: str = "",
    offending: int = 0,
) -> bytes:
    """Encode the response to a request.

    Parameters
    ----------
    counts
        Numbers of sub-operations, for C-GET and C-MOVE; the error id of an N service.
    sop_instance_uid
        The UID that was given to what an N-CREATE without one has created; else the request's.
    offending
        The tag of the attribute for which the request is refused (PS3.7 section C.5); 0 for none.
    """
    instance = sop_instance_uid or request.sop_instance_uid
    parts = [
        _text_element(Element.AFFECTED_SOP_CLASS, request.sop_class_uid, b"\0"),
        _number_element(Element.COMMAND_FIELD, request.command | _RESPONSE),
        _number_element(Element.RESPONDED_TO, request.message_id),
        _number_element(Element.DATA_SET_TYPE, _DATA_SET if has_data_set else NO_DATA_SET),
        _number_element(Element.STATUS, status),
    ]
    if offending:
        parts.append(_tag_element(Element.OFFENDING_ELEMENT, offending))
    if comment:
        parts.append(_text_element(Element.ERROR_COMMENT, comment, b" "))
    numbers = counts or {}
    if Element.ERROR_ID in numbers:  # before those below, as all elements of a command set
        parts.append(_number_element(Element.ERROR_ID, numbers[Element.ERROR_ID]))
    if instance:
        parts.append(_text_element(Element.AFFECTED_SOP_INSTANCE, instance, b"\0"))
    if request.action_type:
        parts.append(_number_element(Element.ACTION_TYPE, request.action_type))
    parts += [
        _number_element(element, number)
        for element, number in numbers.items()
        if element is not Element.ERROR_ID
    ]
    return _command_set(parts)


def _command_set(parts: list[bytes]) -> bytes:
    body = b"".join(parts)
    return _LONG.pack(0, Element.GROUP_LENGTH, 4, len(body)) + body


def _elements(data: bytes) -> dict[int, bytes]:
    elements: dict[int, bytes] = {}
    position, end, head = 0, len(data), _HEAD.unpack_from
    while position < end:
        if position + 8 > end:
            raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "a command set is cut short")
        group, element, length = head(data, position)
        start = position + 8
        position = start + length
        if group != 0 or position > end:
            raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "a command set leads out of itself")
        elements[element] = data[start:position]
    return elements


def _number(elements: Mapping[int, bytes], element: Element) -> int:
    raw = elements.get(element, b"")
    if len(raw) != 2:
        raise ProtocolBroken(
            AbortReason.INVALID_PARAMETER, f"a command set has no usable {element.name.lower()}"
        )
    return int.from_bytes(raw, "little")


def _number_if_told(elements: Mapping[int, bytes], element: Element) -> int:
    return int.from_bytes(elements.get(element, b"")[:2], "little")


def _tags(raw: bytes) -> tuple[int, ...]:
    whole = raw[: len(raw) & ~3]
    return tuple(group << 16 | element for group, element in struct.iter_unpack("<HH", whole))


def _uid(elements: Mapping[int, bytes], element: Element) -> str:
    return elements.get(element, b"").decode("ascii", "replace").strip("\0 ")


def _number_element(element: int, value: int) -> bytes:
    return _NUMBER.pack(0, element, 2, value)


def _tag_element(element: int, tag: int) -> bytes:
    return _HEAD.pack(0, element, 4) + struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def _text_element(element: int, text: str, padding: bytes) -> bytes:
    raw = text.encode("ascii", "replace")[:_MAX_TEXT]
    if len(raw) % 2:
        raw += padding
    return _HEAD.pack(0, element, len(raw)) + raw
