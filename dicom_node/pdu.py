"""Upper layer protocol data units: bounded decoding, plain encoding.

References
----------
DICOM PS3.8 section 9.3.  Unknown items are passed over, as section 9.3.1 asks; every length is
checked against what is there before anything is read by it.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from dicom_node.contexts import Answered, Proposed
from dicom_node.errors import ProtocolBroken
from kernel.ids import derived_uid

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS_UID = derived_uid("implementation", "telerad")
IMPLEMENTATION_VERSION = "TELERAD"
HEADER_LENGTH = 6
MAX_ASSOCIATE_LENGTH = 1 << 20
MAX_CONTEXTS = 128
MAX_PDU = 131_072
"""Bytes of the longest P-DATA-TF that we take or send: what DCMTK and most modalities can."""
_ASSOCIATE_FIXED = 68
_PDV_OVERHEAD = 6
_MIN_FRAGMENT = 64  # nobody means a smaller one
COMMAND_FRAGMENT, LAST_FRAGMENT = 1, 2
"""Bits of the message control header of a presentation data value (PS3.8 section E.2)."""
_DATA_HEAD = struct.Struct(">BBIIBB")
AT_ONCE_PARTS = 512
"""So many parts are given to the kernel at once; it takes 1024."""


class PduType(IntEnum):
    """PDU types (PS3.8 table 9-11 and following)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class AbortReason(IntEnum):
    """Reasons of an abort by the service-provider (PS3.8 section 9.3.8)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNISED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class _Item(IntEnum):
    APPLICATION_CONTEXT = 0x10
    CONTEXT_RQ = 0x20
    CONTEXT_AC = 0x21
    ABSTRACT_SYNTAX = 0x30
    TRANSFER_SYNTAX = 0x40
    USER_INFORMATION = 0x50
    MAX_LENGTH = 0x51
    IMPLEMENTATION_CLASS = 0x52
    ROLE_SELECTION = 0x54
    IMPLEMENTATION_VERSION = 0x55
    EXTENDED_NEGOTIATION = 0x56


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an association is not accepted (PS3.8 section 9.3.4)."""

    result: int
    source: int
    reason: int
    why: str


NO_SUCH_PROTOCOL = Rejection(1, 2, 2, "protocol version not supported")
OTHER_APPLICATION = Rejection(1, 1, 2, "application context name not supported")
CALLING_UNKNOWN = Rejection(1, 1, 3, "calling AE title not recognised")
CALLED_UNKNOWN = Rejection(1, 1, 7, "called AE title not recognised")
CONGESTED = Rejection(2, 3, 1, "temporary congestion")
LIMIT_REACHED = Rejection(2, 3, 2, "local limit exceeded")


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """In which roles the requestor of an association wants to use a class (PS3.7 D.3.3.4)."""

    sop_class_uid: str
    as_user: bool
    as_provider: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """What a service class negotiates for itself: one byte a question (PS3.7 D.3.3.5)."""

    sop_class_uid: str
    information: bytes

    def asks_for(self, position: int) -> bool:
        """Say whether the question at a byte position is answered with yes."""
        return self.information[position : position + 1] == b"\1"


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """An A-ASSOCIATE-RQ as far as this node looks at it."""

    protocol_version: int
    called: str
    calling: str
    application_context: str
    contexts: tuple[Proposed, ...]
    max_pdu: int
    implementation_class: str
    implementation_version: str
    role_selections: tuple[RoleSelection, ...]
    extended: tuple[ExtendedNegotiation, ...]
    titles: bytes


def parse_associate_request(body: bytes | bytearray | memoryview) -> AssociateRequest:
    """Parse the body of an A-ASSOCIATE-RQ.

    Raises
    ------
    ProtocolBroken
        A length leads out of the PDU, a context id is even or named twice, or a title is empty.
    """
    body = bytes(body)
    if len(body) < _ASSOCIATE_FIXED:
        raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "A-ASSOCIATE-RQ is cut short")
    version, _, called, calling = struct.unpack_from(">HH16s16s", body)
    application, contexts, user = "", [], b""
    for kind, value in _items(body, _ASSOCIATE_FIXED):
        if kind == _Item.APPLICATION_CONTEXT:
            application = _text(value)
        elif kind == _Item.CONTEXT_RQ:
            contexts.append(_proposed(value))
        elif kind == _Item.USER_INFORMATION:
            user = value
    if len(contexts) > MAX_CONTEXTS or len({c.id for c in contexts}) < len(contexts):
        raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "presentation context ids repeat")
    told = _user_information(user)
    return AssociateRequest(
        protocol_version=version,
        called=_title(called),
        calling=_title(calling),
        application_context=application,
        contexts=tuple(contexts),
        max_pdu=told.max_pdu,
        implementation_class=told.implementation_class,
        implementation_version=told.implementation_version,
        role_selections=told.role_selections,
        extended=told.extended,
        titles=body[4:_ASSOCIATE_FIXED],
    )


def associate_accept(
    request: AssociateRequest,
    answers: Sequence[Answered],
    *,
    max_pdu: int,
    roles: Sequence[RoleSelection] = (),
    extended: Sequence[ExtendedNegotiation] = (),
) -> bytes:
    """Encode an A-ASSOCIATE-AC; titles and reserved bytes are given back as they came."""
    items = [_item(_Item.APPLICATION_CONTEXT, APPLICATION_CONTEXT.encode())]
    for context in answers:
        chosen = _item(_Item.TRANSFER_SYNTAX, context.transfer_syntax.encode())
        items.append(
            _item(_Item.CONTEXT_AC, struct.pack(">BBBB", context.id, 0, context.result, 0) + chosen)
        )
    user = _item(_Item.MAX_LENGTH, struct.pack(">I", max_pdu))
    user += _item(_Item.IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode())
    user += b"".join(_item(_Item.ROLE_SELECTION, _role(role)) for role in roles)
    user += _item(_Item.IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION.encode())
    user += b"".join(
        _item(_Item.EXTENDED_NEGOTIATION, _prefixed(item.sop_class_uid) + item.information)
        for item in extended
    )
    items.append(_item(_Item.USER_INFORMATION, user))
    body = struct.pack(">HH", 1, 0) + request.titles + b"".join(items)
    return struct.pack(">BBI", PduType.ASSOCIATE_AC, 0, len(body)) + body


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """What a peer accepted: the transfer syntax by context id, and its longest PDU."""

    accepted: dict[int, str]
    max_pdu: int


def associate_request(
    contexts: Sequence[Proposed], *, called: str, calling: str, max_pdu: int
) -> bytes:
    """Encode an A-ASSOCIATE-RQ of ours."""
    items = [_item(_Item.APPLICATION_CONTEXT, APPLICATION_CONTEXT.encode())]
    for context in contexts:
        inner = _item(_Item.ABSTRACT_SYNTAX, context.abstract_syntax.encode())
        inner += b"".join(
            _item(_Item.TRANSFER_SYNTAX, each.encode()) for each in context.transfer_syntaxes
        )
        items.append(_item(_Item.CONTEXT_RQ, struct.pack(">B3x", context.id) + inner))
    user = _item(_Item.MAX_LENGTH, struct.pack(">I", max_pdu))
    user += _item(_Item.IMPLEMENTATION_CLASS, IMPLEMENTATION_CLASS_UID.encode())
    user += _item(_Item.IMPLEMENTATION_VERSION, IMPLEMENTATION_VERSION.encode())
    items.append(_item(_Item.USER_INFORMATION, user))
    titles = called.ljust(16).encode("ascii") + calling.ljust(16).encode("ascii")
    body = struct.pack(">HH", 1, 0) + titles + bytes(32) + b"".join(items)
    return struct.pack(">BBI", PduType.ASSOCIATE_RQ, 0, len(body)) + body


def parse_associate_accept(body: bytes | bytearray | memoryview) -> AssociateAccept:
    """Parse the body of an A-ASSOCIATE-AC.

    Raises
    ------
    ProtocolBroken
        A length leads out of the PDU.
    """
    body = bytes(body)
    accepted: dict[int, str] = {}
    user = b""
    for kind, value in _items(body, _ASSOCIATE_FIXED):
        if kind == _Item.CONTEXT_AC and len(value) >= 4 and value[2] == 0:
            syntaxes = [_text(v) for k, v in _items(value, 4) if k == _Item.TRANSFER_SYNTAX]
            accepted[value[0]] = syntaxes[0] if syntaxes else ""
        elif kind == _Item.USER_INFORMATION:
            user = value
    return AssociateAccept(accepted, _user_information(user).max_pdu)


class Fragments:
    """Encodes data sets as P-DATA-TF PDUs that are no longer than the peer takes.

    Parameters
    ----------
    max_pdu
        In bytes; a fragment has an even number of them (PS3.8 Annex E.2).
    """

    def __init__(self, context_id: int, max_pdu: int) -> None:
        self._context_id = context_id
        self._size = max(max_pdu - _PDV_OVERHEAD, _MIN_FRAGMENT) & ~1
        self._full = self._head(self._size, 0)

    def of(self, data: bytes | memoryview, *, last: bool) -> Iterator[list[bytes | memoryview]]:
        """Yield heads and parts of `data` in turn, at most `AT_ONCE_PARTS` at a time.

        `last` says that the data set ends with it.
        """
        view, size = memoryview(data), self._size
        end = max(0, len(view) - 1) // size * size
        at_once = AT_ONCE_PARTS // 2 * size
        for first in range(0, end, at_once):
            starts = range(first, min(first + at_once, end), size)
            parts: list[bytes | memoryview] = [self._full] * (2 * len(starts))
            parts[1::2] = [view[start : start + size] for start in starts]
            yield parts
        if len(view):
            head = self._head(len(view) - end, LAST_FRAGMENT if last else 0)
            yield [head, view[end:]]

    def _head(self, length: int, control: int) -> bytes:
        return _DATA_HEAD.pack(PduType.P_DATA, 0, length + 6, length + 2, self._context_id, control)


def release_request() -> bytes:
    """Encode an A-RELEASE-RQ."""
    return struct.pack(">BBII", PduType.RELEASE_RQ, 0, 4, 0)


def associate_reject(rejection: Rejection) -> bytes:
    """Encode an A-ASSOCIATE-RJ."""
    return struct.pack(
        ">BBIBBBB",
        PduType.ASSOCIATE_RJ,
        0,
        4,
        0,
        rejection.result,
        rejection.source,
        rejection.reason,
    )


def release_response() -> bytes:
    """Encode an A-RELEASE-RP."""
    return struct.pack(">BBII", PduType.RELEASE_RP, 0, 4, 0)


def abort(reason: int) -> bytes:
    """Encode an A-ABORT of the service-provider."""
    return struct.pack(">BBIBBBB", PduType.ABORT, 0, 4, 0, 0, 2, reason)


def command_data(context_id: int, command: bytes) -> bytes:
    """Encode a P-DATA-TF with one whole command set."""
    return (
        struct.pack(">BBIIBB", PduType.P_DATA, 0, len(command) + 6, len(command) + 2, context_id, 3)
        + command
    )


@dataclass(frozen=True, slots=True)
class _UserInformation:
    max_pdu: int = 0
    implementation_class: str = ""
    implementation_version: str = ""
    role_selections: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()


def _user_information(body: bytes) -> _UserInformation:
    found: dict[int, bytes] = {}
    roles: list[RoleSelection] = []
    extended: list[ExtendedNegotiation] = []
    for kind, value in _items(body, 0):
        found[kind] = value
        if kind == _Item.ROLE_SELECTION:
            uid, rest = _split_prefixed(value)
            roles.append(RoleSelection(uid, rest[:1] == b"\1", rest[1:2] == b"\1"))
        elif kind == _Item.EXTENDED_NEGOTIATION:
            extended.append(ExtendedNegotiation(*_split_prefixed(value)))
    return _UserInformation(
        max_pdu=int.from_bytes(found.get(_Item.MAX_LENGTH, b"")[:4], "big"),
        implementation_class=_text(found.get(_Item.IMPLEMENTATION_CLASS, b"")),
        implementation_version=_text(found.get(_Item.IMPLEMENTATION_VERSION, b"")),
        role_selections=tuple(roles),
        extended=tuple(extended),
    )


def _split_prefixed(value: bytes) -> tuple[str, bytes]:
    length = int.from_bytes(value[:2], "big")
    return _text(value[2 : 2 + length]), value[2 + length :]


def _prefixed(uid: str) -> bytes:
    return struct.pack(">H", len(uid)) + uid.encode()


def _role(role: RoleSelection) -> bytes:
    return _prefixed(role.sop_class_uid) + bytes((role.as_user, role.as_provider))


def _proposed(body: bytes) -> Proposed:
    if len(body) < 4 or body[0] % 2 == 0:
        raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "a context id must be odd")
    abstract, syntaxes = "", []
    for kind, value in _items(body, 4):
        if kind == _Item.ABSTRACT_SYNTAX:
            abstract = _text(value)
        elif kind == _Item.TRANSFER_SYNTAX:
            syntaxes.append(_text(value))
    return Proposed(body[0], abstract, tuple(syntaxes))


def _items(body: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    position = start
    while position < len(body):
        if position + 4 > len(body):
            raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "an item header is cut short")
        kind, length = struct.unpack_from(">BxH", body, position)
        position += 4
        if position + length > len(body):
            raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "an item leads out of its PDU")
        yield kind, body[position : position + length]
        position += length


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _title(raw: bytes) -> str:
    title = _text(raw)
    if not title:
        raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "an AE title is empty")
    return title


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace").strip("\0 ")
