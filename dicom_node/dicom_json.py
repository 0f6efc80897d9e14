"""An instance without its bulk, in the DICOM JSON model, straight from its encoded bytes.

No object is built for an attribute on the way: a series has hundreds of thousands of them.

References
----------
DICOM PS3.18 section F.2 (the model) and section 10.4.1.1.2 (metadata resources), PS3.5 section 7.1
(encoding) and table 6.2-1 (value representations).
"""

import base64
import struct
from collections.abc import Callable
from io import BytesIO
from typing import IO, Any

from dicom_node.charsets import CharacterSet, character_set
from dicom_node.deflated import head_of, inflated
from dicom_node.dictionary import is_registered, vr_of
from dicom_node.elements import MAX_HEADER_LENGTH
from dicom_node.errors import Unreadable, UnreadableReason
from dicom_node.json_number import tellable
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE

MAX_INLINE_BYTES = 1024
MAX_DEPTH = 60
_FIRST_HEAD = 32 << 10
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_CHARACTER_SET, _PIXEL_REPRESENTATION = 0x00080005, 0x00280103
_PIXELS = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}
_LONG = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_TEXT = frozenset({"LO", "SH", "UC"})
_ONE_TEXT = frozenset({"LT", "ST", "UT"})
_PLAIN = frozenset({"AE", "AS", "CS", "DA", "DT", "TM", "UI"})
_BINARY = {
    "US": ("H", 2), "SS": ("h", 2), "UL": ("I", 4), "SL": ("i", 4), "FL": ("f", 4),
    "FD": ("d", 8), "SV": ("q", 8), "UV": ("Q", 8), "AT": ("HH", 4),
}  # fmt: skip
_KNOWN_VRS = _BULK | _TEXT | _ONE_TEXT | _PLAIN | set(_BINARY) | {"DS", "IS", "PN", "SQ", "UR"}
_SWAPPED = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")

Model = dict[str, Any]


class _TooShort(Exception):
    """The head at hand ends before the attributes do."""


def metadata_of(file: IO[bytes], *, bulk: str) -> Model:
    """Return the attributes of an instance; long binary values stand as the address of theirs.

    Parameters
    ----------
    file
        A Part 10 file; no more of it is read than the attributes before the pixels.
    bulk
        Address under which bulk data resolve, by the path of tags and item numbers.

    Raises
    ------
    Unreadable
        The data set cannot be read.
    """
    syntax, _ = head_of(file)
    if syntax == DEFLATED_LITTLE:
        file.seek(0)
        return metadata_of(BytesIO(inflated(file.read())), bulk=bulk)
    size = _FIRST_HEAD
    head = file.read(size)
    while True:
        whole = len(head) < size
        try:
            return _Encoder(head, syntax, bulk, whole=whole).model()
        except _TooShort:
            if size >= MAX_HEADER_LENGTH:
                raise _refusal("the attributes before the pixels are too long") from None
            size *= 8
            head += file.read(size - len(head))
        except (struct.error, ValueError, IndexError) as error:
            raise _refusal("the data set cannot be read") from error


def bulk_of(part10: bytes, path: str) -> bytes:
    """Return the bulk data at a path of tags and item numbers, little endian.

    Raises
    ------
    KeyError
        There is no binary value at this path.
    Unreadable
        The data set cannot be read.
    """
    plain = inflated(part10)
    syntax, offset = head_of(BytesIO(plain))
    encoder = _Encoder(plain[offset:], syntax, "", whole=True, wanted=path)
    try:
        encoder.model()
    except (_TooShort, struct.error, ValueError, IndexError) as error:
        if encoder.found is None:
            raise _refusal("the data set cannot be read") from error
    if encoder.found is None:
        raise KeyError(path)
    return encoder.found


def _refusal(sentence: str) -> Unreadable:
    return Unreadable(UnreadableReason.NOT_A_DATA_SET, sentence)


class _Encoder:
    """Walks one encoded data set; no length is believed before it is compared with the bytes."""

    def __init__(
        self, data: bytes, syntax: str, bulk: str, *, whole: bool, wanted: str = ""
    ) -> None:
        self._data = data
        # Some writers name an explicit syntax and write the implicit one.
        self._explicit = syntax != IMPLICIT_LITTLE and data[4:6].decode("latin-1") in _KNOWN_VRS
        self._order = ">" if syntax == EXPLICIT_BIG else "<"
        self._head = struct.Struct(f"{self._order}HH2sH")
        self._plain_head = struct.Struct(f"{self._order}HHI")
        self._length = struct.Struct(f"{self._order}I")
        self._bulk = bulk
        self._whole = whole
        self._wanted = wanted
        self._signed = False
        self.found: bytes | None = None

    def model(self) -> Model:
        """Return the model of the whole."""
        charset = character_set([], default="")
        model, _ = self._attributes(0, len(self._data), charset, "", 0, self._explicit)
        if "00080005" in model:  # the model is UTF-8, whatever the bytes were
            model["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        return model

    def _attributes(
        self, start: int, end: int, charset: CharacterSet, path: str, depth: int, explicit: bool
    ) -> tuple[Model, int]:
        """Read a data set or item that ends at `end` or, where that is open, with its delimiter."""
        if depth > MAX_DEPTH:
            raise _refusal(f"sequences lie more than {MAX_DEPTH} deep in each other")
        found: Model = {}
        data, at = self._data, start
        while at < end:
            tag, vr, length, at = self._next(at, explicit)
            if tag == _ITEM_END:
                return found, at
            if not depth and tag in _PIXELS:
                self._pixels(found, tag, vr, at, length)
                return found, end
            name = f"{tag:08X}"
            inner = explicit and vr != "UN"
            if vr == "UN" and is_registered(tag):
                vr = self._known(tag)
            if vr == "SQ" or (length == _UNDEFINED and vr == "UN"):
                items, at = self._items(at, length, charset, f"{path}{name}/", depth, inner)
                found[name] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
                continue
            if length == _UNDEFINED:  # pixels of an icon, in fragments
                at = self._skip_fragments(at)
                found[name] = {"vr": vr, "BulkDataURI": f"{self._bulk}/{path}{name}"}
                continue
            if at + length > len(data):
                raise _TooShort
            raw = data[at : at + length]
            at += length
            if tag & 0xFFFF == 0:
                continue  # group lengths have no place in the model
            if tag == _CHARACTER_SET:
                terms = raw.decode("ascii", "replace").split("\\")
                charset = character_set([term.strip("\0 ") for term in terms], default="")
            elif tag == _PIXEL_REPRESENTATION:
                self._signed = raw[:1] == b"\1" or raw[1:2] == b"\1"
            found[name] = self._element(vr, raw, charset, path, name)
        return found, at

    def _next(self, at: int, explicit: bool) -> tuple[int, str, int, int]:
        """Return tag, VR, length and the place of the value of the element at `at`."""
        data = self._data
        if at + 8 > len(data):
            raise _TooShort
        if explicit:
            group, element, code, length = self._head.unpack_from(data, at)
            tag = group << 16 | element
            if group != 0xFFFE:
                vr = code.decode("ascii", "replace")
                if code in _LONG:
                    if at + 12 > len(data):
                        raise _TooShort
                    return tag, vr, self._length.unpack_from(data, at + 8)[0], at + 12
                if vr not in _KNOWN_VRS:
                    raise _refusal("an element has no value representation of the standard")
                return tag, vr, length, at + 8
        group, element, length = self._plain_head.unpack_from(data, at)
        tag = group << 16 | element
        return tag, "" if group == 0xFFFE else self._known(tag), length, at + 8

    def _items(
        self, at: int, length: int, charset: CharacterSet, path: str, depth: int, explicit: bool
    ) -> tuple[list[Model], int]:
        size = len(self._data)
        until = size if length == _UNDEFINED else at + length
        if until > size:
            raise _TooShort
        items: list[Model] = []
        while at < until:
            tag, _, item_length, at = self._next(at, explicit)
            if tag == _SEQUENCE_END:
                return items, at
            if tag != _ITEM:
                raise _refusal("a sequence has something else than items")
            end = until if item_length == _UNDEFINED else at + item_length
            if end > size:
                raise _TooShort
            inner = f"{path}{len(items) + 1}/"
            item, at = self._attributes(at, end, charset, inner, depth + 1, explicit)
            items.append(item)
        if length == _UNDEFINED:
            raise _TooShort
        return items, at

    def _skip_fragments(self, at: int) -> int:
        while True:
            if at + 8 > len(self._data):
                raise _TooShort
            group, element, length = self._plain_head.unpack_from(self._data, at)
            at += 8
            if group << 16 | element == _SEQUENCE_END:
                return at
            if group << 16 | element != _ITEM or at + length > len(self._data):
                raise _TooShort
            at += length

    def _pixels(self, found: Model, tag: int, vr: str, at: int, length: int) -> None:
        name = f"{tag:08X}"
        if vr not in _BULK:
            vr = _PIXELS[tag]
        found[name] = {"vr": vr}
        if length:
            found[name]["BulkDataURI"] = f"{self._bulk}/{name}"
        if self._wanted == name and length != _UNDEFINED and at + length <= len(self._data):
            self.found = self._little(vr, self._data[at : at + length])

    def _element(self, vr: str, raw: bytes, charset: CharacterSet, path: str, name: str) -> Model:
        if vr in _BULK:
            if self._wanted and self._wanted == path + name:
                self.found = self._little(vr, raw)
            if len(raw) > MAX_INLINE_BYTES:
                return {"vr": vr, "BulkDataURI": f"{self._bulk}/{path}{name}"}
            if not raw:
                return {"vr": vr}
            return {"vr": vr, "InlineBinary": base64.b64encode(self._little(vr, raw)).decode()}
        values = self._numbers(vr, raw) if vr in _BINARY else _texts(vr, raw, charset)
        return {"vr": vr, "Value": values} if values else {"vr": vr}

    def _numbers(self, vr: str, raw: bytes) -> list[Any]:
        form, size = _BINARY[vr]
        whole = raw if len(raw) % size == 0 else raw[: len(raw) - len(raw) % size]
        if vr == "AT":
            return [
                f"{group:04X}{element:04X}"
                for group, element in struct.iter_unpack(f"{self._order}HH", whole)
            ]
        values: list[Any] = list(struct.unpack(f"{self._order}{len(whole) // size}{form}", whole))
        return [tellable(value, str(value)) for value in values] if vr in {"FL", "FD"} else values

    def _little(self, vr: str, raw: bytes) -> bytes:
        size = _SWAPPED.get(vr, 1)
        if self._order == "<" or size == 1:
            return raw
        whole = raw[: len(raw) - len(raw) % size]
        return b"".join(whole[at : at + size][::-1] for at in range(0, len(whole), size))

    def _known(self, tag: int) -> str:
        """Return the VR of the data dictionary (PS3.5 section 6.2.2, for UN and implicit VR)."""
        try:
            vr = vr_of(tag)
        except KeyError:
            # Of private tags only those are known that reserve a block (PS3.5 section 7.8.1).
            return "LO" if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF else "UN"
        if " " not in vr:
            return vr if vr in _KNOWN_VRS else "UN"
        if vr == "US or SS":
            return "SS" if self._signed else "US"
        return "OW"


def _texts(vr: str, raw: bytes, charset: CharacterSet) -> list[Any]:
    if vr in _PLAIN:
        text = raw.decode("latin-1").strip("\0 ")
        return [part.strip(" ") or None for part in text.split("\\")] if text else []
    if vr in _ONE_TEXT or vr == "UR":
        text = charset.decode(raw) if vr != "UR" else raw.decode("latin-1")
        text = text.rstrip("\0 ")
        return [text] if text else []
    if vr in _TEXT:
        parts = [part.strip("\0 ") for part in charset.decode(raw).split("\\")]
        return [part or None for part in parts] if any(parts) else []
    if vr == "PN":
        names = [name.strip("\0 ") for name in charset.decode(raw).split("\\")]
        return [_person(name) for name in names] if any(names) else []
    text = raw.decode("latin-1").strip("\0 ")
    read: Callable[[str], Any] = int if vr == "IS" else float
    return [_number(part.strip(), read) for part in text.split("\\")] if text else []


def _person(name: str) -> Model | None:
    groups = {key: group for key, group in zip(_GROUPS, name.split("="), strict=False) if group}
    return groups or None


def _number(text: str, read: Callable[[str], Any]) -> Any:
    """Return a number; as it is written if it is none, which the model allows for IS and DS."""
    if not text:
        return None
    try:
        return tellable(read(text), text)
    except ValueError:
        return text
