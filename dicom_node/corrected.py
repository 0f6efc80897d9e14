"""Corrections applied on the way out: other attributes, the same pixels, and a note of what was.

The archived bytes are never touched.  A copy that leaves carries the corrected attributes and an
item of the Original Attributes Sequence with what the sender had written.

References
----------
DICOM PS3.3 section C.12.1.1.9 (Original Attributes Sequence), PS3.5 sections 6.2.2 and 7.1.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from dicom_node.charsets import character_set
from dicom_node.data_sets import CHARACTER_SET, UTF_8
from dicom_node.deflated import inflated
from dicom_node.dictionary import vr_of
from dicom_node.elements import (
    MAX_HEADER_LENGTH,
    HeadTooShort,
    Span,
    item_spans,
    spans,
    spans_at_hand,
    too_long,
)
from dicom_node.encoding import Encoding, element, item
from dicom_node.errors import CorrectionNotShown, Unreadable
from dicom_node.part10 import file_head, split
from dicom_node.right_values import ACCESSION, REQUESTS, wanted
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE
from storage.shown import Shown

MODIFYING_SYSTEM = "TELERAD"
FIRST_HEAD = 64 << 10
_ORIGINAL_ATTRIBUTES = 0x04000561
_MODIFIED_ATTRIBUTES = 0x04000550
_MODIFIED_AT, _MODIFYING_SYSTEM = 0x04000562, 0x04000563
_SOURCE_OF_PREVIOUS, _WHY_MODIFIED = 0x04000564, 0x04000565
_ACCESSION_KEY = f"{ACCESSION:08X}"
_META = 0x0002  # in order it would lie in the head of the file
_PIXELS = 0x7FDFFFFF
_UN = b"UN"
_BINARY = frozenset({b"AT", b"FD", b"FL", b"SL", b"SS", b"UL", b"US"})


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A corrected file: its new beginning, and where in the original its rest begins (bytes)."""

    head: bytes
    tail: int


class _NotInCharacterSet(Exception):
    """The character set of the data set lacks a letter of the right value."""


def corrected(file: bytes, shown: Shown) -> bytes:
    """Return a Part 10 file as it is handed out.

    Raises
    ------
    CorrectionNotShown
        Its data set cannot be rewritten: it is not handed out rather than under a wrong name.
    """
    if split(file).transfer_syntax_uid == DEFLATED_LITTLE:
        return _deflated(corrected(inflated(file), shown), file)
    try:
        made = _rewritten(file, len(file), shown)
    except Unreadable as error:
        raise CorrectionNotShown(error.sentence) from error
    return made.head + file[made.tail :]


def rewritten(read: Callable[[int], bytes], length: int, shown: Shown) -> Rewritten:
    """Return the beginning of a corrected file, however long the file is.

    Parameters
    ----------
    read
        Returns so many bytes of the file from its beginning.

    Raises
    ------
    CorrectionNotShown
        The data set cannot be rewritten.
    """
    size = FIRST_HEAD
    while True:
        try:
            return _rewritten(read(size), length, shown)
        except HeadTooShort:
            if size >= MAX_HEADER_LENGTH:
                raise CorrectionNotShown(too_long().sentence) from None
            size *= 4
        except Unreadable as error:
            raise CorrectionNotShown(error.sentence) from error


def corrected_model(model: Mapping[str, Any], shown: Shown) -> dict[str, Any]:
    """Return the metadata of an instance, in the DICOM JSON model, as they are handed out."""
    changed = dict(model)
    noted_at = f"{_ORIGINAL_ATTRIBUTES:08X}"
    before = list(changed.get(noted_at, {}).get("Value", ()))
    place = f"{noted_at}/{len(before) + 1}/{_MODIFIED_ATTRIBUTES:08X}/1"
    original: dict[str, Any] = {}
    for key, right in _right_of(model, shown).items():
        if changed.get(key) == right or (key not in changed and not _has_value(right)):
            continue
        if key in changed:
            original[key] = _placed(changed[key], place)
        if right is None:
            changed.pop(key, None)
        else:
            changed[key] = right
    if changed == model:
        return changed
    noted = {
        _MODIFIED_ATTRIBUTES: {"vr": "SQ", "Value": [original]},
        _MODIFIED_AT: {"vr": "DT", "Value": [_moment(shown)]},
        _MODIFYING_SYSTEM: {"vr": "LO", "Value": [MODIFYING_SYSTEM]},
        _SOURCE_OF_PREVIOUS: {"vr": "LO"},
        _WHY_MODIFIED: {"vr": "CS", "Value": ["CORRECT"]},
    }
    changed[noted_at] = {
        "vr": "SQ",
        "Value": [*before, {f"{tag:08X}": each for tag, each in noted.items()}],
    }
    return dict(sorted(changed.items()))


def _right_of(model: Mapping[str, Any], shown: Shown) -> dict[str, Any]:
    """Return the right attributes by key; None where one may not stay."""
    said = wanted(shown)
    right = {
        f"{tag:08X}": None if value is None else _json(tag, value) for tag, value in said.items()
    }
    number = said.get(ACCESSION)
    if number is not None:
        for tag in REQUESTS - said.keys():
            key = f"{tag:08X}"
            if model.get(key, {}).get("Value"):
                right[key] = _renumbered_model(model, model[key], number)
    return right


def _has_value(attribute: Any) -> bool:
    return attribute is not None and "Value" in attribute


def _renumbered_model(
    model: Mapping[str, Any], requests: Mapping[str, Any], number: str
) -> dict[str, Any]:
    """Return requests with the right accession number in the items that are meant."""
    items = requests["Value"]
    own = _number_in(model)
    right = _json(ACCESSION, number)
    meant = [_is_meant(_number_in(each), own, len(items)) for each in items]
    renumbered = [
        {**each, _ACCESSION_KEY: right} if is_meant else each
        for each, is_meant in zip(items, meant, strict=True)
    ]
    return {**requests, "Value": renumbered}


def _number_in(model: Mapping[str, Any]) -> str:
    values = model.get(_ACCESSION_KEY, {}).get("Value") or [""]
    return str(values[0] or "").strip()


def _is_meant(number: str, own: str, requests: int) -> bool:
    """Say whether a request is the one whose number was wrong.

    It has the number that the instance itself has, or is the only one where the instance has none.
    """
    return bool(number) and (number == own or (not own and requests == 1))


def _placed(attribute: Any, place: str) -> Any:
    """Return an attribute whose bulk data are named by the path at which they now lie."""
    if isinstance(attribute, list):
        return [_placed(each, place) for each in attribute]
    if not isinstance(attribute, dict):
        return attribute
    found = {key: _placed(value, place) for key, value in attribute.items()}
    if "BulkDataURI" in found:
        found["BulkDataURI"] = found["BulkDataURI"].replace("/bulkdata/", f"/bulkdata/{place}/", 1)
    return found


def _json(tag: int, value: str) -> dict[str, Any]:
    vr = vr_of(tag)
    if not value:
        return {"vr": vr}
    if vr != "PN":
        return {"vr": vr, "Value": [value]}
    groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.split("="), strict=False)
    return {"vr": vr, "Value": [{name: group for name, group in groups if group}]}


def _rewritten(head: bytes, length: int, shown: Shown) -> Rewritten:
    file = split(head)
    begin, syntax = file.data_set_offset, file.transfer_syntax_uid
    body = memoryview(head)[begin:]
    found, rest = _before(_ORIGINAL_ATTRIBUTES, body, syntax, whole=length - begin)
    try:
        made = _spliced(bytes(body[:rest]), found, _encoding(syntax), shown)
    except _NotInCharacterSet:
        return _in_utf_8(head, length, shown)
    return Rewritten(head[:begin] + made, begin + rest)


def _before(last: int, body: memoryview, syntax: str, *, whole: int) -> tuple[list[Span], int]:
    """Return the elements up to a tag, and where the rest begins.

    Some devices write elements out of their order (PS3.5 section 7.1): what is to be corrected
    may stand behind what ought to follow it.  Then all that is at hand is put in order.
    """
    found, rest = spans(body, syntax, last=last, whole=whole)
    others, end = spans_at_hand(body, syntax, start=rest, whole=whole)
    if any(span.tag <= last for span in others):
        found, rest = found + others, end
    if any(span.tag >> 16 == _META for span in found):
        raise CorrectionNotShown("file meta information stands within the data set")
    return found, rest


def _spliced(body: bytes, found: Sequence[Span], encoding: Encoding, shown: Shown) -> bytes:
    """Return the elements in the order of their tags, those that were wrong replaced."""
    by_tag = {span.tag: span for span in found}
    terms = _terms(body, by_tag.get(CHARACTER_SET))
    kept = {span.tag: body[span.start : span.end] for span in found}
    received, original = dict(kept), dict[int, Span]()
    for tag, value in wanted(shown).items():
        held = by_tag.get(tag)
        raw = None if value is None else _text(value, tag, terms)
        if held is None and not raw:
            continue
        if held is not None:
            if body[held.value : held.end] == raw:
                continue
            original[tag] = held
            del kept[tag]
        if raw is not None:
            kept[tag] = element(tag, vr_of(tag), raw, encoding)
    for tag, requests in _renumbered(body, by_tag, encoding, shown).items():
        original[tag], kept[tag] = by_tag[tag], requests
    if kept == received:
        return b"".join(kept[tag] for tag in sorted(kept))
    kept[_ORIGINAL_ATTRIBUTES] = _noted(
        body, by_tag.get(_ORIGINAL_ATTRIBUTES), original, encoding, shown
    )
    return b"".join(kept[tag] for tag in sorted(kept))


def _renumbered(
    body: bytes, by_tag: Mapping[int, Span], encoding: Encoding, shown: Shown
) -> dict[int, bytes]:
    """Return the sequences that name the request, with the right accession number in them."""
    number, found = shown.accession, dict[int, bytes]()
    if number is None or shown.another_person:
        return found
    terms = _terms(body, by_tag.get(CHARACTER_SET))
    own = _number(body, by_tag.get(ACCESSION))
    for tag in REQUESTS & by_tag.keys():
        held = by_tag[tag]
        in_un = held.vr == _UN
        inside = Encoding("<", explicit=False) if in_un else encoding
        value = body[held.value : held.end]
        items = item_spans(value, order=inside.order, explicit=inside.explicit)
        numbers = [_number(value, _numbered(spans)) for spans in items]
        meant = [_is_meant(each, own, len(items)) for each in numbers]
        if any(meant) and own != number:
            if not number.isascii() and any(map(_declares, items)):
                raise _NotInCharacterSet  # an item has a character set of its own
            right = element(ACCESSION, "SH", _text(number, ACCESSION, terms), inside)
            made = [
                item(_with(value, spans, right if is_meant else b""), inside)
                for spans, is_meant in zip(items, meant, strict=True)
            ]
            found[tag] = element(tag, "UN" if in_un else "SQ", b"".join(made), encoding)
    return found


def _declares(found: Sequence[Span]) -> bool:
    return any(span.tag == CHARACTER_SET for span in found)


def _numbered(found: Sequence[Span]) -> Span | None:
    return next((span for span in found if span.tag == ACCESSION), None)


def _number(body: bytes, span: Span | None) -> str:
    return "" if span is None else body[span.value : span.end].decode("latin-1").strip(" \0")


def _with(value: bytes, found: Sequence[Span], right: bytes) -> bytes:
    """Return the elements of an item, the accession number among them replaced by another."""
    return b"".join(
        right if right and span.tag == ACCESSION else value[span.start : span.end] for span in found
    )


def _noted(
    body: bytes, held: Span | None, original: Mapping[int, Span], encoding: Encoding, shown: Shown
) -> bytes:
    """Return the Original Attributes Sequence with one item more.

    A sequence that was sent as UN is implicit little endian inside (PS3.5 section 6.2.2); what
    was is then told there without what would need to be encoded anew, such as its sequences.
    """
    before, vr, inside = b"", "SQ", encoding
    if held is not None:
        before = body[held.value : held.end - 8 if held.undefined else held.end]
        if held.vr == _UN:
            vr, inside = "UN", Encoding("<", explicit=False)
    was = b"".join(_again(body, original[tag], encoding, inside) for tag in sorted(original))
    made = item(
        b"".join(
            (
                element(_MODIFIED_ATTRIBUTES, "SQ", item(was, inside), inside),
                element(_MODIFIED_AT, "DT", _even(_moment(shown).encode()), inside),
                element(_MODIFYING_SYSTEM, "LO", _even(MODIFYING_SYSTEM.encode()), inside),
                element(_SOURCE_OF_PREVIOUS, "LO", b"", inside),
                element(_WHY_MODIFIED, "CS", _even(b"CORRECT"), inside),
            )
        ),
        inside,
    )
    return element(_ORIGINAL_ATTRIBUTES, vr, before + made, encoding)


def _again(body: bytes, was: Span, encoding: Encoding, inside: Encoding) -> bytes:
    """Return an element in another encoding, nothing where its value would be another there."""
    if inside == encoding:
        return body[was.start : was.end]
    is_text = encoding.order == inside.order or was.vr not in _BINARY
    if was.undefined or was.vr == b"SQ" or not is_text:
        return b""
    return element(was.tag, was.vr.decode(), body[was.value : was.end], inside)


def _in_utf_8(head: bytes, length: int, shown: Shown) -> Rewritten:
    """Write all text before the pixels in UTF-8, because the declared set lacks a letter."""
    from pydicom import dcmread, dcmwrite  # much memory, for what is seldom needed

    file = split(head)
    body = memoryview(head)[file.data_set_offset :]
    whole = length - file.data_set_offset
    found, rest = _before(_PIXELS, body, file.transfer_syntax_uid, whole=whole)
    until = file.data_set_offset + rest
    try:
        data_set = dcmread(BytesIO(head[:until]), force=True)
        if data_set.keys() != {span.tag for span in found}:
            raise ValueError("its elements can be read in two ways")
        data_set.decode()
        for each in data_set.iterall():
            if each.VR == "SQ":
                for inner in each.value:
                    if "SpecificCharacterSet" in inner:
                        del inner.SpecificCharacterSet
        data_set.SpecificCharacterSet = UTF_8
        out = BytesIO()
        dcmwrite(out, data_set, enforce_file_format=False)
    except Exception as error:
        raise CorrectionNotShown(
            f"the text of the instance cannot be brought to UTF-8: {type(error).__name__}"
        ) from error
    again = out.getvalue()
    made = _rewritten(again, len(again), shown)
    return Rewritten(made.head + again[made.tail :], until)


def _deflated(file: bytes, original: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    body = packer.compress(file[split(file).data_set_offset :]) + packer.flush()
    named = split(original)
    head = file_head(
        sop_class_uid=named.sop_class_uid,
        sop_instance_uid=named.sop_instance_uid,
        transfer_syntax_uid=DEFLATED_LITTLE,
    )
    return head + body + b"\0" * (len(body) % 2)


def _encoding(syntax: str) -> Encoding:
    return Encoding(">" if syntax == EXPLICIT_BIG else "<", explicit=syntax != IMPLICIT_LITTLE)


def _terms(body: bytes, span: Span | None) -> list[str]:
    raw = b"" if span is None else body[span.value : span.end]
    return [term.strip("\0 ") for term in raw.decode("ascii", "replace").split("\\")]


def _text(value: str, tag: int, terms: Sequence[str]) -> bytes:
    """Encode a value in the first character set that is declared (PS3.3 C.12.1.1.2)."""
    if value.isascii():
        return _even(value.encode("ascii"))
    codec = character_set(terms, default="").codecs[0] if any(terms) else ""
    if not codec or vr_of(tag) in {"CS", "DA"}:
        raise _NotInCharacterSet
    try:
        raw = value.encode(codec)
    except UnicodeEncodeError:
        raise _NotInCharacterSet from None
    if b"\x1b" in raw:
        raise _NotInCharacterSet
    return _even(raw)


def _even(raw: bytes) -> bytes:
    return raw + b" " * (len(raw) % 2)


def _moment(shown: Shown) -> str:
    return shown.at.strftime("%Y%m%d%H%M%S.%f%z")
