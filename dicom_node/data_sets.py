"""Data sets of messages: tolerant reading of what peers ask, plain encoding of what is answered.

Text of a peer is decoded like that of an instance (`charsets`), so a name is found whatever it is
written in; every answer is in ISO_IR 192.

References
----------
DICOM PS3.5 sections 6.2 and 7.1, PS3.3 section C.12.1.1.2.
"""

import base64
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from dicom_node.charsets import CharacterSet, character_set
from dicom_node.dictionary import keyword_of, tag_of, vr_of
from dicom_node.errors import DataSetUnreadable
from dicom_node.uids import EXPLICIT_BIG, IMPLICIT_LITTLE

CHARACTER_SET = 0x00080005
UTF_8 = "ISO_IR 192"
_LONG_VRS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
# How binary numbers are laid out; as text they are what `int` or `float` reads.
_NUMBERS = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
}
_REAL = frozenset("fd")
# What is no text is kept as text that says so.
_BYTES = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_AS_TEXT = "base64:"
_TAG = re.compile(r"[0-9A-F]{8}")
_MAX_SHORT_VALUE = 0xFFFE
_ONE_VALUE = frozenset({"LT", "ST", "UT"})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_MAX_DEPTH = 8
MAX_PARTS = 100_000
"""Elements, items and values of one message: what names 20 000 instances and says why of each.

Each takes 250 bytes of memory, of the message perhaps one.
"""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a message: its values as text, or its items where it is a sequence."""

    tag: int
    vr: str
    values: tuple[str, ...] = ()
    items: tuple["Attributes", ...] = ()

    @property
    def keyword(self) -> str:
        """The keyword of the data dictionary, empty for a tag that has none."""
        return keyword_of(self.tag)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one data set or item, by tag."""

    by_tag: dict[int, Attribute] = field(default_factory=dict)

    def values(self, keyword: str) -> tuple[str, ...]:
        """Return the values of an attribute, none where it is absent or empty."""
        found = self.by_tag.get(tag_of(keyword))
        return () if found is None else found.values

    def value(self, keyword: str) -> str:
        """Return the one value of an attribute, empty where it has none."""
        return "\\".join(self.values(keyword))

    def items(self, keyword: str) -> tuple["Attributes", ...]:
        """Return the items of a sequence."""
        found = self.by_tag.get(tag_of(keyword))
        return () if found is None else found.items


def attribute(keyword: str, *values: str) -> Attribute:
    """Return an attribute of the data dictionary with these values; empty ones are left out."""
    tag = tag_of(keyword)
    return Attribute(tag, vr_of(tag), tuple(value for value in values if value))


def sequence(keyword: str, *items: Sequence[Attribute]) -> Attribute:
    """Return a sequence of the data dictionary with these items."""
    found = tuple(Attributes({each.tag: each for each in item}) for item in items)
    return Attribute(tag_of(keyword), "SQ", (), found)


def decode(
    data: bytes,
    transfer_syntax_uid: str,
    *,
    default_character_set: str = "",
    most: int = MAX_PARTS,
) -> Attributes:
    """Read the data set of a message.

    Parameters
    ----------
    most
        So many elements, items and values it has at most.

    Raises
    ------
    DataSetUnreadable
        The bytes are none, or sequences lie deeper in each other than any message needs, or there
        are more of them, or of anything else.
    """
    explicit = transfer_syntax_uid != IMPLICIT_LITTLE
    order = ">" if transfer_syntax_uid == EXPLICIT_BIG else "<"
    reader = _Reader(data, explicit, order, most)
    return reader.attributes(0, len(data), character_set([], default=default_character_set), 0)[0]


def encode(attributes: Sequence[Attribute], transfer_syntax_uid: str) -> bytes:
    """Encode attributes in the order of their tags, text in UTF-8.

    The caller says so in (0008,0005) where it uses more than ASCII.
    """
    explicit, order = transfer_syntax_uid != IMPLICIT_LITTLE, "<"
    if transfer_syntax_uid == EXPLICIT_BIG:
        order = ">"
    ordered = sorted(attributes, key=lambda each: each.tag)
    return b"".join(_encoded(each, explicit, order) for each in ordered)


class _Reader:
    """Walks an encoded data set; no length is believed before it is compared with what is there."""

    def __init__(self, data: bytes, explicit: bool, order: str, most: int) -> None:
        self._left = most
        self._data = data
        self._explicit = explicit
        self._order = order

    def attributes(
        self, start: int, end: int, charset: CharacterSet, depth: int, *, open_ended: bool = False
    ) -> tuple[Attributes, int]:
        """Read a data set or item; return it and where it ends."""
        found: dict[int, Attribute] = {}
        position = start
        while position < end:
            tag, vr, length, position = self._head(position, end)
            if open_ended and tag == _ITEM_END:
                return Attributes(found), position
            if vr == "SQ" or length == _UNDEFINED:
                items, position = self._items(position, end, length, charset, depth + 1)
                found[tag] = Attribute(tag, "SQ", (), items)
                continue
            raw = self._data[position : position + length]
            position += length
            self._count(_number_of_values(raw, vr) - 1)
            if tag == CHARACTER_SET:
                charset = _declared(raw)
            found[tag] = Attribute(tag, vr, _values(raw, vr, charset, self._order))
        if open_ended:
            raise _cut_short()
        return Attributes(found), position

    def _items(
        self, start: int, end: int, length: int, charset: CharacterSet, depth: int
    ) -> tuple[tuple[Attributes, ...], int]:
        if depth > _MAX_DEPTH:
            raise DataSetUnreadable(f"sequences lie more than {_MAX_DEPTH} deep in each other")
        until = end if length == _UNDEFINED else start + length
        items: list[Attributes] = []
        position = start
        while position < until:
            tag, _, item_length, position = self._head(position, until)
            if tag == _SEQUENCE_END:
                return tuple(items), position
            if tag != _ITEM:
                raise DataSetUnreadable("a sequence has something else than items")
            whole = item_length != _UNDEFINED
            item_end = position + item_length if whole else until
            item, position = self.attributes(
                position, item_end, charset, depth, open_ended=not whole
            )
            items.append(item)
        if length == _UNDEFINED:
            raise _cut_short()
        return tuple(items), position

    def _head(self, position: int, end: int) -> tuple[int, str, int, int]:
        """Return tag, VR and length of the element at a position, and where its value begins."""
        if position + 8 > end:
            raise _cut_short()
        self._count(1)
        group, element = struct.unpack_from(f"{self._order}HH", self._data, position)
        tag = group << 16 | element
        if not self._explicit or group == _ITEM >> 16:
            (length,) = struct.unpack_from(f"{self._order}I", self._data, position + 4)
            vr, value = _vr(tag), position + 8
        else:
            vr = self._data[position + 4 : position + 6].decode("ascii", "replace")
            (length,) = struct.unpack_from(f"{self._order}H", self._data, position + 6)
            value = position + 8
            if vr in _LONG_VRS:
                if position + 12 > end:
                    raise _cut_short()
                (length,) = struct.unpack_from(f"{self._order}I", self._data, position + 8)
                value = position + 12
            vr = _known(tag) if vr == "UN" else vr
        if length != _UNDEFINED and length > end - value:
            raise _cut_short()
        return tag, vr, length, value

    def _count(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise DataSetUnreadable("the message has more attributes, items or values than any may")


def _number_of_values(raw: bytes, vr: str) -> int:
    """Return how many values an element has, or somewhat more; 1 where it has none."""
    if vr in _BYTES or vr in _ONE_VALUE:
        return 1
    if vr == "AT":
        return max(1, len(raw) // 4)
    if vr in _NUMBERS:
        return max(1, len(raw) // struct.calcsize(f"={_NUMBERS[vr]}"))
    return raw.count(b"\\") + 1


def _cut_short() -> DataSetUnreadable:
    return DataSetUnreadable("the data set of the message is cut short")


def _declared(raw: bytes) -> CharacterSet:
    terms = [term.strip("\0 ") for term in raw.decode("ascii", "replace").split("\\")]
    return character_set(terms, default="")


def _vr(tag: int) -> str:
    try:
        return vr_of(tag)
    except KeyError:
        return "UN"


def _known(tag: int) -> str:
    """Return the VR of what was told as UN: its text is read by the dictionary (PS3.5 6.2.2)."""
    vr = _vr(tag)
    return "UN" if vr in _NUMBERS or vr in ("SQ", "AT") or " or " in vr else vr


def _values(raw: bytes, vr: str, charset: CharacterSet, order: str) -> tuple[str, ...]:
    if vr in _BYTES:
        return (_AS_TEXT + base64.b64encode(raw).decode("ascii"),) if raw else ()
    if vr == "AT":
        whole = raw[: len(raw) & ~3]
        return tuple(f"{g:04X}{e:04X}" for g, e in struct.iter_unpack(f"{order}HH", whole))
    if vr in _NUMBERS:
        layout = struct.Struct(f"{order}{_NUMBERS[vr]}")
        whole = raw[: len(raw) - len(raw) % layout.size]
        return tuple(str(each[0]) for each in layout.iter_unpack(whole))
    text = charset.decode(raw)
    parts = [text] if vr in _ONE_VALUE else text.split("\\")
    values = tuple(part.strip("\0 ") for part in parts)
    return values if any(values) else ()


def _encoded(each: Attribute, explicit: bool, order: str) -> bytes:
    value = _value(each, explicit, order)
    group, element = each.tag >> 16, each.tag & 0xFFFF
    if not explicit:
        return struct.pack(f"{order}HHI", group, element, len(value)) + value
    if each.vr in _LONG_VRS or len(value) > _MAX_SHORT_VALUE:
        # A list of a thousand UIDs outgrows the length of its VR: it is told as UN (PS3.5 6.2.2).
        vr = each.vr if each.vr in _LONG_VRS else "UN"
        return struct.pack(f"{order}HH2sHI", group, element, vr.encode(), 0, len(value)) + value
    return struct.pack(f"{order}HH2sH", group, element, each.vr.encode(), len(value)) + value


def _value(each: Attribute, explicit: bool, order: str) -> bytes:
    if each.vr == "SQ":
        return b"".join(_item(item, explicit, order) for item in each.items)
    if each.vr in _NUMBERS:
        return b"".join(_number(value, _NUMBERS[each.vr], order) for value in each.values)
    if each.vr == "AT":
        return b"".join(_tag(value, order) for value in each.values)
    if each.vr in _BYTES and each.values and each.values[0].startswith(_AS_TEXT):
        return base64.b64decode(each.values[0].removeprefix(_AS_TEXT))
    raw = "\\".join(each.values).encode("utf-8", "replace")
    return raw + (b"\0" if each.vr == "UI" else b" ") * (len(raw) % 2)


def _tag(value: str, order: str) -> bytes:
    tag = int(value, 16) if _TAG.fullmatch(value) else 0
    return struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)


def _number(value: str, layout: str, order: str) -> bytes:
    if layout in _REAL:
        return struct.pack(f"{order}{layout}", float(value))
    fitting = int(value) & (1 << 8 * struct.calcsize(f"={layout}")) - 1
    return struct.pack(f"{order}{layout.upper()}", fitting)


def _item(item: Attributes, explicit: bool, order: str) -> bytes:
    ordered = sorted(item.by_tag.values(), key=lambda each: each.tag)
    body = b"".join(_encoded(each, explicit, order) for each in ordered)
    return struct.pack(f"{order}HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(body)) + body
