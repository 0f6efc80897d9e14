"""Finding elements in an encoded data set without building it.

One pass over the top level, which keeps the bytes of the wanted elements and steps over all else:
sequences of undefined length by walking their items with a stack of our own, so depth costs
memory by the byte and never a recursion; values by their length, so no size is ever believed
before it is compared with what is there.

References
----------
DICOM PS3.5 sections 7.1, 7.5 and A.4.
"""

import struct
import zlib
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass

from dicom_node.errors import Unreadable, UnreadableReason
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE

Bytes = bytes | bytearray | memoryview

MAX_HEADER_LENGTH = 32 << 20
MAX_VALUE_LENGTH = 65_536
MAX_ITEM_ELEMENTS = 20_000
"""Of a sequence that is taken apart; a request has a dozen."""

_FIRST_INFLATED = 256 << 10
_USUAL_HEAD = 4096
_UNDEFINED = 0xFFFFFFFF
_HIGHEST = 0xFFFFFFFF
_WITHOUT_END = 1 << 62
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_VRS = frozenset(
    {
        b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV",
    }
)  # fmt: skip
_SHORT_VRS = frozenset(
    {
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN",
        b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    }
)  # fmt: skip


class HeadTooShort(Exception):
    """The bytes at hand end before the header does; come again with more of them."""


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How heads of elements are read: (group, element, VR, length), with 32 bits for the length."""

    order: str
    explicit: bool
    short_head: struct.Struct
    plain_head: struct.Struct
    long_length: struct.Struct


def _encoded(order: str, *, explicit: bool) -> _Encoding:
    formats = ("HH2sH", "HHI", "I")
    return _Encoding(order, explicit, *(struct.Struct(order + each) for each in formats))


_LITTLE_EXPLICIT = _encoded("<", explicit=True)
_LITTLE_IMPLICIT = _encoded("<", explicit=False)
_BIG_EXPLICIT = _encoded(">", explicit=True)


def find(
    data: Bytes, transfer_syntax_uid: str, wanted: Set[int], *, last: int, total: int | None = None
) -> dict[int, bytes]:
    """Return the bytes of the wanted top-level elements that a data set has.

    Parameters
    ----------
    data
        The encoded data set, or its beginning.
    last
        The highest wanted tag; behind it the lengths alone are checked.
    total
        The length of the whole data set, where `data` is its beginning only and the whole is
        known; None where `data` is the whole.

    Raises
    ------
    Unreadable
        The bytes are not a data set in this transfer syntax, or end too early.
    HeadTooShort
        `total` is greater than what is there, and the header goes on.
    """
    whole = len(data) if total is None else total
    if transfer_syntax_uid == DEFLATED_LITTLE:
        return _find_deflated(data, wanted, last, complete=whole == len(data))
    return _scan(data, _encoding(transfer_syntax_uid), wanted, last, whole)


@dataclass(frozen=True, slots=True)
class Span:
    """Where one element lies: its head, its value, and what follows begin at these offsets."""

    tag: int
    vr: bytes
    start: int
    value: int
    end: int
    undefined: bool


def spans(
    data: Bytes, transfer_syntax_uid: str, *, last: int, whole: int
) -> tuple[list[Span], int]:
    """Return the top-level elements up to a tag, and where the first one behind them begins.

    Parameters
    ----------
    data
        The encoded data set, not deflated, or its beginning.
    whole
        The length of the whole data set.

    Raises
    ------
    Unreadable
        The bytes are not a data set in this transfer syntax.
    HeadTooShort
        The elements go on behind the bytes at hand.
    """
    encoding = _encoding(transfer_syntax_uid)
    found: list[Span] = []
    position = 0
    while position < whole:
        if position + 12 > len(data) and len(data) < whole:
            raise HeadTooShort
        span = _span(data, position, encoding, whole, last)
        if span is None:
            break
        found.append(span)
        position = span.end
    return found, position


def spans_at_hand(
    data: Bytes, transfer_syntax_uid: str, *, start: int, whole: int
) -> tuple[list[Span], int]:
    """Return the top-level elements from `start` on that are at hand, and where they end.

    They end where the bytes are none: at zeros that fill a file up, or where its last sequence is
    not ended, which some senders forget.

    Parameters
    ----------
    data, whole
        As `spans` takes them.
    """
    encoding = _encoding(transfer_syntax_uid)
    found: list[Span] = []
    position = start
    with suppress(HeadTooShort, Unreadable):
        while position < whole:
            span = _span(data, position, encoding, whole, _HIGHEST)
            if span is None or not span.tag:
                break
            found.append(span)
            position = span.end
    return found, position


def item_spans(data: Bytes, *, order: str, explicit: bool) -> list[list[Span]]:
    """Return the elements of each item of a sequence, of which `data` is the whole value.

    Raises
    ------
    Unreadable
        The bytes are no items in this encoding.
    """
    encoding, position, held = _encoded(order, explicit=explicit), 0, 0
    found: list[list[Span]] = []
    while position + 8 <= len(data):
        group, element, length = struct.unpack_from(f"{order}HHI", data, position)
        tag, position = group << 16 | element, position + 8
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM:
            raise _no_item(group, element)
        end = len(data) if length == _UNDEFINED else position + length
        if end > len(data):
            raise _cut_short("an item")
        inside, position = _of_item(data, position, encoding, end)
        found.append(inside)
        held += 1 + len(inside)
        if held > MAX_ITEM_ELEMENTS:
            raise Unreadable(
                UnreadableReason.HEADER_TOO_LONG,
                f"a sequence that is taken apart has more than {MAX_ITEM_ELEMENTS} elements",
            )
    return found


def _of_item(data: Bytes, position: int, encoding: _Encoding, end: int) -> tuple[list[Span], int]:
    """Return the elements of one item, and where the next begins."""
    found: list[Span] = []
    while position < end:
        span = _span(data, position, encoding, end, _ITEM_END - 1)
        if span is None:
            return found, position + 8  # behind the delimiter
        found.append(span)
        position = span.end
        if len(found) > MAX_ITEM_ELEMENTS:
            break  # the caller refuses them
    return found, end


def _span(data: Bytes, position: int, encoding: _Encoding, whole: int, last: int) -> Span | None:
    if position + 8 > len(data):
        raise _cut_short("the last one")
    group, element, length = struct.unpack_from(f"{encoding.order}HHI", data, position)
    tag, value, vr = group << 16 | element, position + 8, b""
    if tag > last:
        return None
    if encoding.explicit:
        vr = bytes(data[position + 4 : position + 6])
        if vr in _LONG_VRS:
            if value + 4 > len(data):
                raise _cut_short(f"({group:04X},{element:04X})")
            (length,) = struct.unpack_from(f"{encoding.order}I", data, value)
            value += 4
        elif b"AA" <= vr <= b"ZZ":
            (length,) = struct.unpack_from(f"{encoding.order}H", data, position + 6)
        else:
            vr = b""
    undefined = length == _UNDEFINED
    if undefined:
        inside = encoding if vr != b"UN" else _LITTLE_IMPLICIT
        end = _behind_sequence(data, value, inside, whole, may_lack_end=False)
    else:
        end = value + length
    if end > whole:
        raise _cut_short(f"({group:04X},{element:04X})")
    if end > len(data):
        raise HeadTooShort
    return Span(tag, vr, position, value, end, undefined)


def too_long() -> Unreadable:
    """Return the refusal of a header that ends beyond `MAX_HEADER_LENGTH`."""
    return Unreadable(
        UnreadableReason.HEADER_TOO_LONG,
        f"the identifying elements do not lie in the first {MAX_HEADER_LENGTH >> 20} MiB",
    )


def is_big_endian(transfer_syntax_uid: str) -> bool:
    """Say whether binary values are stored with the most significant byte first."""
    return transfer_syntax_uid == EXPLICIT_BIG


def _encoding(transfer_syntax_uid: str) -> _Encoding:
    if transfer_syntax_uid == IMPLICIT_LITTLE:
        return _LITTLE_IMPLICIT
    return _BIG_EXPLICIT if is_big_endian(transfer_syntax_uid) else _LITTLE_EXPLICIT


def _find_deflated(data: Bytes, wanted: Set[int], last: int, *, complete: bool) -> dict[int, bytes]:
    """Inflate as much as the header needs; the output, not the input, is what is bounded."""
    bound = _FIRST_INFLATED
    while True:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            head = inflater.decompress(data, bound)
        except zlib.error as error:
            raise Unreadable(
                UnreadableReason.NOT_INFLATABLE, "the deflated data set cannot be inflated"
            ) from error
        more_could_come = not inflater.eof
        if more_could_come and complete and len(head) < bound:
            raise _cut_short("the last one")
        try:
            whole = _WITHOUT_END if more_could_come else len(head)
            return _scan(head, _LITTLE_EXPLICIT, wanted, last, whole)
        except HeadTooShort:
            if len(head) < bound:
                raise
            if bound >= MAX_HEADER_LENGTH:
                raise too_long() from None
            bound *= 4


def _scan(
    data: Bytes, encoding: _Encoding, wanted: Set[int], last: int, whole: int
) -> dict[int, bytes]:
    explicit = encoding.explicit
    short_head = encoding.short_head.unpack_from
    implicit_head = encoding.plain_head.unpack_from
    long_length = encoding.long_length.unpack_from
    found: dict[int, bytes] = {}
    position, end = 0, len(data)
    head = bytes(data[:_USUAL_HEAD])  # values are taken out of bytes faster than out of a view
    while position + 8 <= end:
        start, vr = position + 8, b""
        if explicit:
            group, element, vr, length = short_head(data, position)
            if vr in _SHORT_VRS:
                pass  # most elements: its length is read already
            elif vr in _LONG_VRS:
                if start + 4 > end:
                    break
                length, start = long_length(data, start)[0], start + 4
            elif not b"AA" <= vr <= b"ZZ":  # some writers fall back to implicit for an element
                length = long_length(data, position + 4)[0]
        else:
            group, element, length = implicit_head(data, position)
        tag = group << 16 | element
        if length == _UNDEFINED:
            if tag > last and whole > end:
                return found  # the rest is still to come and holds nothing that is wanted
            inside = encoding if vr != b"UN" else _LITTLE_IMPLICIT
            position = _behind_sequence(data, start, inside, whole, may_lack_end=tag > last)
            continue
        position = start + length
        if position > whole:
            raise _cut_short(f"({group:04X},{element:04X})")
        if tag > last and whole > end:
            return found
        if position > end:
            raise HeadTooShort
        if tag in wanted:
            if position <= _USUAL_HEAD:
                found[tag] = head[start:position]
            else:
                found[tag] = bytes(data[start : start + min(length, MAX_VALUE_LENGTH)])
    if whole > end:
        raise HeadTooShort
    if any(data[position:end]):
        raise _cut_short("the last one")
    return found


# Where the walk through nested items stands, one byte a level: between the items of a sequence or
# among the elements of an item, and whether those elements name their VR.
_BETWEEN, _AMONG, _EXPLICIT = 0, 1, 2


def _behind_sequence(
    data: Bytes, position: int, encoding: _Encoding, whole: int, *, may_lack_end: bool
) -> int:
    """Return the position behind a sequence, or encapsulated pixels, of undefined length."""
    short_head = encoding.short_head.unpack_from
    plain_head = encoding.plain_head.unpack_from
    end = len(data)
    stack = bytearray([_BETWEEN | (_EXPLICIT if encoding.explicit else 0)])
    while stack:
        if position + 8 > end:
            if whole > end:
                raise HeadTooShort
            if may_lack_end and len(stack) == 1 and position == end:
                return end  # encapsulated pixels whose last delimiter the sender forgot
            raise _cut_short("a sequence")
        level = stack[-1]
        group, element, length = plain_head(data, position)
        tag, start = group << 16 | element, position + 8
        if not level & _AMONG:
            if tag == _SEQUENCE_END:
                stack.pop()
            elif tag != _ITEM:
                raise _no_item(group, element)
            elif length == _UNDEFINED:
                stack.append(level | _AMONG)
            else:
                start += length
        elif tag == _ITEM_END:
            stack.pop()
        else:
            vr = b""
            if level & _EXPLICIT:
                _, _, vr, short = short_head(data, position)
                if vr in _LONG_VRS:
                    if start + 4 > end:
                        position = end
                        continue
                    length = int.from_bytes(
                        data[start : start + 4], "little" if encoding.order == "<" else "big"
                    )
                    start += 4
                elif b"AA" <= vr <= b"ZZ":
                    length = short
            if length == _UNDEFINED:
                stack.append(level & _EXPLICIT if vr != b"UN" else _BETWEEN)
            else:
                start += length
        if start > whole:
            raise _cut_short(f"({group:04X},{element:04X}) in a sequence")
        position = start
    return position


def _no_item(group: int, element: int) -> Unreadable:
    return Unreadable(
        UnreadableReason.NOT_A_DATA_SET,
        f"({group:04X},{element:04X}) stands where an item should begin",
    )


def _cut_short(what: str) -> Unreadable:
    return Unreadable(UnreadableReason.CUT_SHORT, f"the data set ends before element {what} does")
