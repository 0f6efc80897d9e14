"""Data sets of messages: tolerant reading of what peers ask, plain encoding of what is answered.

Text of a peer is decoded like that of an instance (`charsets`), so a name is found whatever it is
written in; every answer is in ISO_IR 192.

References
----------
DICOM PS3.5 sections 6.2 and 7.1, PS3.3 section C.12.1.1.2.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence as Items

from dicom_node.charsets import CharacterSet, character_set
from dicom_node.contexts import EXPLICIT_BIG, IMPLICIT_LITTLE
from dicom_node.errors import DataSetUnreadable

CHARACTER_SET = 0x00080005
UTF_8 = "ISO_IR 192"
_LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_SHORT_INTEGERS = frozenset({"US", "SS"})
_MAX_SHORT_VALUE = 0xFFFE
_ITEM = 0xFFFEE000


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
        return str(keyword_for_tag(self.tag))


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


def tag_of(keyword: str) -> int:
    """Return the tag of a keyword of the data dictionary.

    Raises
    ------
    KeyError
        There is no such keyword.
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return int(tag)


def attribute(keyword: str, *values: str) -> Attribute:
    """Return an attribute of the data dictionary with these values; empty ones are left out."""
    tag = tag_of(keyword)
    return Attribute(tag, dictionary_VR(tag), tuple(value for value in values if value))


def sequence(keyword: str, *items: Sequence[Attribute]) -> Attribute:
    """Return a sequence of the data dictionary with these items."""
    found = tuple(Attributes({each.tag: each for each in item}) for item in items)
    return Attribute(tag_of(keyword), "SQ", (), found)


def decode(data: bytes, transfer_syntax_uid: str, *, default_character_set: str = "") -> Attributes:
    """Read the data set of a message.

    Raises
    ------
    DataSetUnreadable
        The bytes are none.
    """
    implicit, little = transfer_syntax_uid == IMPLICIT_LITTLE, transfer_syntax_uid != EXPLICIT_BIG
    try:
        found = read_dataset(BytesIO(data), implicit, little, bytelength=len(data))
        return _attributes(found, character_set([], default=default_character_set), default=True)
    except Exception as error:  # pydicom raises what it likes at bytes that are no data set
        raise DataSetUnreadable("the data set of the message cannot be read") from error


def encode(attributes: Sequence[Attribute], transfer_syntax_uid: str) -> bytes:
    """Encode attributes in the order of their tags, text in UTF-8.

    The caller says so in (0008,0005) where it uses more than ASCII.
    """
    explicit, order = transfer_syntax_uid != IMPLICIT_LITTLE, "<"
    if transfer_syntax_uid == EXPLICIT_BIG:
        order = ">"
    ordered = sorted(attributes, key=lambda each: each.tag)
    return b"".join(_encoded(each, explicit, order) for each in ordered)


def _attributes(found: Dataset, charset: CharacterSet, *, default: bool) -> Attributes:
    if CHARACTER_SET in found:
        raw = _raw(found.get_item(CHARACTER_SET))
        terms = [term.strip("\0 ") for term in raw.decode("ascii", "replace").split("\\")]
        charset = character_set(terms, default=charset.codecs[0] if default else "")
    attributes = {}
    for tag in found.keys():  # noqa: SIM118 - iterating the data set itself would convert each
        element = found.get_item(tag)
        attributes[int(tag)] = _attribute(element, charset)
    return Attributes(attributes)


def _attribute(element: object, charset: CharacterSet) -> Attribute:
    tag = int(element.tag)  # type: ignore[attr-defined]
    vr = _vr(element, tag)
    value = element.value  # type: ignore[attr-defined]
    if vr == "SQ":
        items = value if isinstance(value, Items) else _items_of(element)
        return Attribute(
            tag, vr, (), tuple(_attributes(each, charset, default=False) for each in items)
        )
    return Attribute(tag, vr, _values(_raw(element), vr, charset))


def _vr(element: object, tag: int) -> str:
    vr = getattr(element, "VR", None)
    if vr and vr != "UN":
        return str(vr)
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _items_of(element: object) -> Items:
    """Convert the raw bytes of a sequence of defined length."""
    from pydicom.dataelem import convert_raw_data_element

    assert isinstance(element, RawDataElement)
    value = convert_raw_data_element(element).value
    return value if isinstance(value, Items) else Items()


def _raw(element: object) -> bytes:
    value = getattr(element, "value", None)
    return value if isinstance(value, bytes) else b""


def _values(raw: bytes, vr: str, charset: CharacterSet) -> tuple[str, ...]:
    if vr in _SHORT_INTEGERS:
        return tuple(str(each[0]) for each in struct.iter_unpack("<H", raw[: len(raw) & ~1]))
    text = charset.decode(raw)
    values = [each.strip("\0 ") for each in ([text] if vr in {"LT", "ST", "UT"} else text.split("\\"))]
    return tuple(values) if any(values) else ()


def _encoded(each: Attribute, explicit: bool, order: str) -> bytes:
    value = _value(each, explicit, order)
    group, element = each.tag >> 16, each.tag & 0xFFFF
    if not explicit:
        return struct.pack(f"{order}HHI", group, element, len(value)) + value
    if each.vr in _LONG_VRS:
        head = struct.pack(f"{order}HH2sHI", group, element, each.vr.encode(), 0, len(value))
        return head + value
    value = value[:_MAX_SHORT_VALUE]
    return struct.pack(f"{order}HH2sH", group, element, each.vr.encode(), len(value)) + value


def _value(each: Attribute, explicit: bool, order: str) -> bytes:
    if each.vr == "SQ":
        return b"".join(_item(item, explicit, order) for item in each.items)
    if each.vr in _SHORT_INTEGERS:
        return b"".join(struct.pack(f"{order}H", int(value) & 0xFFFF) for value in each.values)
    raw = "\\".join(each.values).encode("utf-8", "replace")
    return raw + (b"\0" if each.vr == "UI" else b" ") * (len(raw) % 2)


def _item(item: Attributes, explicit: bool, order: str) -> bytes:
    ordered = sorted(item.by_tag.values(), key=lambda each: each.tag)
    body = b"".join(_encoded(each, explicit, order) for each in ordered)
    return struct.pack(f"{order}HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(body)) + body
