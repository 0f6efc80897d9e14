"""Command sets: bounded decoding of requests, encoding of responses.

References
----------
DICOM PS3.7 section 6.3 (command sets are implicit VR little endian), 9.3 and Annex E.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from dicom_node.errors import ProtocolBroken
from dicom_node.pdu import AbortReason
from dicom_node.statuses import Status

MAX_COMMAND_LENGTH = 65_536
NO_DATA_SET = 0x0101
_RESPONSE = 0x8000
_MAX_TEXT = 64


class Command(IntEnum):
    """Command fields that this node tells apart (PS3.7 table E.1-1)."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF


class Element(IntEnum):
    """Elements of group 0000 (PS3.7 table E.1-1)."""

    GROUP_LENGTH = 0x0000
    AFFECTED_SOP_CLASS = 0x0002
    REQUESTED_SOP_CLASS = 0x0003
    COMMAND_FIELD = 0x0100
    MESSAGE_ID = 0x0110
    RESPONDED_TO = 0x0120
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_SOP_INSTANCE = 0x1000


@dataclass(frozen=True, slots=True)
class Request:
    """A request message as far as this node looks at it."""

    command: int
    message_id: int
    has_data_set: bool
    sop_class_uid: str
    sop_instance_uid: str


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
    return Request(
        command=command,
        message_id=_number(elements, Element.MESSAGE_ID) if command != Command.C_CANCEL_RQ else 0,
        has_data_set=_number(elements, Element.DATA_SET_TYPE) != NO_DATA_SET,
        sop_class_uid=_uid(elements, Element.AFFECTED_SOP_CLASS)
        or _uid(elements, Element.REQUESTED_SOP_CLASS),
        sop_instance_uid=_uid(elements, Element.AFFECTED_SOP_INSTANCE),
    )


def response(request: Request, status: Status, *, comment: str = "") -> bytes:
    """Encode the response to a request; it never has a data set."""
    parts = [
        _text_element(Element.AFFECTED_SOP_CLASS, request.sop_class_uid, b"\0"),
        _number_element(Element.COMMAND_FIELD, request.command | _RESPONSE),
        _number_element(Element.RESPONDED_TO, request.message_id),
        _number_element(Element.DATA_SET_TYPE, NO_DATA_SET),
        _number_element(Element.STATUS, status),
    ]
    if comment:
        parts.append(_text_element(Element.ERROR_COMMENT, comment, b" "))
    if request.sop_instance_uid:
        parts.append(_text_element(Element.AFFECTED_SOP_INSTANCE, request.sop_instance_uid, b"\0"))
    body = b"".join(parts)
    return _element(Element.GROUP_LENGTH, struct.pack("<I", len(body))) + body


def _elements(data: bytes) -> dict[int, bytes]:
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if position + 8 > len(data):
            raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "a command set is cut short")
        group, element, length = struct.unpack_from("<HHI", data, position)
        position += 8
        if group != 0 or length > len(data) - position:
            raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "a command set leads out of itself")
        elements[element] = data[position : position + length]
        position += length
    return elements


def _number(elements: Mapping[int, bytes], element: Element) -> int:
    raw = elements.get(element, b"")
    if len(raw) != 2:
        raise ProtocolBroken(
            AbortReason.INVALID_PARAMETER, f"a command set has no usable {element.name.lower()}"
        )
    return int.from_bytes(raw, "little")


def _uid(elements: Mapping[int, bytes], element: Element) -> str:
    return elements.get(element, b"").decode("ascii", "replace").strip("\0 ")


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _number_element(element: int, value: int) -> bytes:
    return _element(element, struct.pack("<H", value))


def _text_element(element: int, text: str, padding: bytes) -> bytes:
    raw = text.encode("ascii", "replace")[:_MAX_TEXT]
    return _element(element, raw + padding * (len(raw) % 2))
