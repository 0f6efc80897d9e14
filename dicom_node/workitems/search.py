"""Which workitems match what is asked, and what is answered.  Pure.

References
----------
DICOM PS3.4 sections CC.2.8 and C.2.2.2.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dicom_node import matching
from dicom_node.data_sets import UTF_8, Attribute, Attributes, attribute
from dicom_node.dictionary import tag_of
from dicom_node.workitems.errors import ValueInvalid

NOT_KEYS = frozenset({"SpecificCharacterSet", "TimezoneOffsetFromUTC", "TransactionUID"})
_ALWAYS = ("SOPClassUID", "SOPInstanceUID")
_OFFSET = re.compile(r"[+-]\d{4}$")
_WEST = re.compile(r"-(0\d|1[0-2])\d\d")
_MOMENT = re.compile(r"\d{4}(\d{2}(\d{2}(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?)?)?")
_DATE, _SECONDS = 8, 14
_EARLIEST, _LATEST = "00010101000000", "99991231235959"


def require_keys(keys: Attributes) -> None:
    """Check that what is asked for can be matched.

    Raises
    ------
    ValueInvalid
        A key asks for a moment that is none.
    """
    for key in keys.by_tag.values():
        for item in key.items:
            require_keys(item)
        if key.vr == "DT" and not matching.is_universal(key.values):
            for value in filter(None, key.values):
                moments(value)


def is_moment(value: str) -> bool:
    """Say whether a value of VR DT is one moment."""
    try:
        return _is_moment(value.strip()) and bool(moments(value))
    except ValueInvalid:
        return False


def matches(keys: Attributes, held: Attributes) -> bool:
    """Say whether a data set has what each key asks for; an empty key asks for nothing.

    A moment that is none matches nothing and is never refused here: one odd workitem would else
    end every query that meets it, and one odd filter would keep every workitem from being made.
    """
    return all(
        _matches(key, held.by_tag.get(tag))
        for tag, key in keys.by_tag.items()
        if key.keyword not in NOT_KEYS and tag & 0xFFFF
    )


def answer(keys: Attributes, held: Attributes) -> list[Attribute]:
    """Return the attributes that were asked for, empty where the workitem has none."""
    asked = {
        tag: held.by_tag.get(tag, Attribute(tag, key.vr))
        for tag, key in keys.by_tag.items()
        if key.keyword not in NOT_KEYS and tag & 0xFFFF
    }
    own = {tag_of(keyword): held.by_tag[tag_of(keyword)] for keyword in _ALWAYS}
    return [*(asked | own).values(), attribute("SpecificCharacterSet", UTF_8)]


def moments(value: str) -> tuple[str, str]:
    """Return the first and the last moment of a DT key, in UTC, as digits to the second.

    Raises
    ------
    ValueInvalid
        It is no moment and no range of two.
    """
    first, last = _ends(value)
    return (
        _utc(first, _EARLIEST) if first else _EARLIEST,
        _utc(last, _LATEST) if last else _LATEST,
    )


def _matches(key: Attribute, held: Attribute | None) -> bool:
    if key.vr == "SQ":
        if not key.items or not key.items[0].by_tag:
            return True
        return held is not None and any(matches(key.items[0], item) for item in held.items)
    if matching.is_universal(key.values):
        return True
    if held is None:
        return False
    if key.vr == "DT":
        return _within(key.values, held.values)
    matcher = matching.matcher(key.vr, key.values)
    return matcher is None or matcher(held.values)


def _within(wanted: Sequence[str], held: Sequence[str]) -> bool:
    spans = [span for value in filter(None, held) if (span := _span(value)) is not None]
    asked = [span for value in filter(None, wanted) if (span := _span(value)) is not None]
    return any(first <= ends and begins <= last for first, last in asked for begins, ends in spans)


def _span(value: str) -> tuple[str, str] | None:
    try:
        return moments(value)
    except ValueInvalid:
        return None


def _ends(value: str) -> tuple[str, str]:
    """Split a range; a hyphen may also begin an offset, and no year that is meant is so early."""
    text = value.strip()
    for at, character in enumerate(text):
        if character != "-" or (at and _WEST.fullmatch(text[at:])):
            continue
        if _is_end(text[:at]) and _is_end(text[at + 1 :]):
            return text[:at], text[at + 1 :]
    if _is_moment(text):
        return text, text
    raise ValueInvalid("a moment is YYYYMMDDHHMMSS with an offset, or a range of two")


def _is_end(text: str) -> bool:
    return not text or _is_moment(text)


def _is_moment(text: str) -> bool:
    return _MOMENT.fullmatch(_OFFSET.sub("", text)) is not None


def _utc(text: str, filling: str) -> str:
    digits = _OFFSET.sub("", text).split(".")[0]
    offset = text[-5:] if _OFFSET.search(text) else "+0000"
    whole = digits + filling[len(digits) :]
    if len(digits) < _DATE and filling == _LATEST:
        whole = _last_day(digits) + filling[_DATE:]
    try:
        at = datetime.strptime(whole + offset, "%Y%m%d%H%M%S%z")
        return f"{at.astimezone(UTC):%Y%m%d%H%M%S}".rjust(_SECONDS, "0")
    except (ValueError, OverflowError):
        raise ValueInvalid("there is no such moment") from None


def _last_day(digits: str) -> str:
    year, month = int(digits[:4]), int(digits[4:6] or 12)
    if not 0 < month <= 12 or not 0 < year < 9999:
        raise ValueInvalid("there is no such moment")
    first = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return f"{first - timedelta(days=1):%Y%m%d}"
