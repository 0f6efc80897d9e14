"""Which workitems match what is asked, and what is answered.  Pure.

References
----------
DICOM PS3.4 sections CC.2.8 and C.2.2.2.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from dicom_node import matching
from dicom_node.data_sets import UTF_8, Attribute, Attributes, attribute
from dicom_node.dictionary import tag_of
from dicom_node.workitems.errors import ValueInvalid

NOT_KEYS = frozenset({"SpecificCharacterSet", "TimezoneOffsetFromUTC", "TransactionUID"})
_ALWAYS = ("SOPClassUID", "SOPInstanceUID")
_ZONE, _GREENWICH = "TimezoneOffsetFromUTC", "+0000"
_IN_USE = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
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
    told_in = _offset(held, _GREENWICH)
    return _all_match(keys, held, (_offset(keys, told_in), told_in))


def _offset(of: Attributes, otherwise: str) -> str:
    """Return the offset of moments that name none; who asks names none where it is local."""
    told = of.value(_ZONE)
    return told if _IN_USE.fullmatch(told) else otherwise


def _all_match(keys: Attributes, held: Attributes, zones: tuple[str, str]) -> bool:
    return all(
        _matches(key, held.by_tag.get(tag), zones)
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
    return list(explained(asked | own, held).values())


def explained(told: Mapping[int, Attribute], held: Attributes) -> dict[int, Attribute]:
    """Return what is told of a workitem with what it takes to read it: letters, and local time.

    References
    ----------
    DICOM PS3.3 section C.12.1 (SOP common: 0008,0005 and 0008,0201).
    """
    letters, zone = attribute("SpecificCharacterSet", UTF_8), held.by_tag.get(tag_of(_ZONE))
    return {**told, letters.tag: letters} | ({zone.tag: zone} if zone is not None else {})


def moments(value: str, zone: str = _GREENWICH) -> tuple[str, str]:
    """Return the first and the last moment of a DT key, in UTC, as digits to the second.

    Parameters
    ----------
    zone
        The offset of what names none.

    Raises
    ------
    ValueInvalid
        It is no moment and no range of two.
    """
    first, last = _ends(value)
    return (
        _utc(first, _EARLIEST, zone) if first else _EARLIEST,
        _utc(last, _LATEST, zone) if last else _LATEST,
    )


def _matches(key: Attribute, held: Attribute | None, zones: tuple[str, str]) -> bool:
    if key.vr == "SQ":
        if not key.items or not key.items[0].by_tag:
            return True
        wanted = key.items[0]
        return held is not None and any(_all_match(wanted, item, zones) for item in held.items)
    if matching.is_universal(key.values):
        return True
    if held is None:
        return False
    if key.vr == "DT":
        return _within(key.values, held.values, zones)
    matcher = matching.matcher(key.vr, key.values)
    return matcher is None or matcher(held.values)


def _within(wanted: Sequence[str], held: Sequence[str], zones: tuple[str, str]) -> bool:
    asked, spans = (
        [span for value in filter(None, values) if (span := _span(value, zone)) is not None]
        for values, zone in zip((wanted, held), zones, strict=True)
    )
    return any(first <= ends and begins <= last for first, last in asked for begins, ends in spans)


def _span(value: str, zone: str) -> tuple[str, str] | None:
    try:
        return moments(value, zone)
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


def _utc(text: str, filling: str, zone: str) -> str:
    digits = _OFFSET.sub("", text).split(".")[0]
    offset = text[-5:] if _OFFSET.search(text) else zone
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
