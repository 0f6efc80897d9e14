"""Attributes of a message in the DICOM JSON model, and back.

References
----------
DICOM PS3.18 section F.2.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dicom_node.data_sets import Attribute, Attributes
from dicom_node.dictionary import vr_of
from dicom_node.json_number import tellable
from dicom_node.workitems.errors import WorkitemMalformed

Model = dict[str, Any]

MAX_ATTRIBUTES = 10_000
_MAX_DEPTH = 8
_MAX_TEXT = 65_536
_LONGEST_IS = 12
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_INTEGERS = frozenset({"IS", "US", "SS", "UL", "SL", "UV", "SV"})
_REALS = frozenset({"DS", "FL", "FD"})
_BINARY = {"US": 16, "SS": -16, "UL": 32, "SL": -32, "UV": 64, "SV": -64}
_ONE_VALUE = frozenset({"LT", "ST", "UT", "UR"})
_SINGLE = frozenset({"FL", "FD"})
# Numbers of a fixed length have no form for a value that is not there (PS3.5 section 6.2).
_NEVER_EMPTY = frozenset({*_BINARY, *_SINGLE})
_LARGEST_SINGLE = 3.4028234663852886e38
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def to_model(attributes: Attributes) -> Model:
    """Return attributes in the JSON model, in the order of tags."""
    return {f"{tag:08X}": _element(attributes.by_tag[tag]) for tag in sorted(attributes.by_tag)}


def from_model(model: object) -> Attributes:
    """Return the attributes of a data set in the JSON model.

    Raises
    ------
    WorkitemMalformed
        It is none, or lies deeper or is larger than any message needs.
    """
    return _Reader().data_set(model, 0)


def require_storable(attributes: Attributes) -> None:
    """Check that attributes can be kept and read again, whichever binding brought them.

    Raises
    ------
    WorkitemMalformed
        They are too many, too deep, too long, or hold what no text does.

    References
    ----------
    DICOM PS3.5 section 6.2 (IS: 12 characters at most); what was kept before is read all the same.
    """
    _require_short(from_model(to_model(attributes)))


def _require_short(attributes: Attributes) -> None:
    for each in attributes.by_tag.values():
        if each.vr == "IS" and any(len(value) > _LONGEST_IS for value in each.values):
            raise WorkitemMalformed(f"a value of VR IS has at most {_LONGEST_IS} characters")
        for item in each.items:
            _require_short(item)


def _element(each: Attribute) -> Model:
    if each.vr == "SQ":
        return (
            {"vr": "SQ", "Value": [to_model(i) for i in each.items]} if each.items else _none(each)
        )
    values = [_value(each.vr, value) for value in each.values]
    return {"vr": each.vr, "Value": values} if any(each.values) else _none(each)


def _none(each: Attribute) -> Model:
    return {"vr": each.vr}


def _value(vr: str, value: str) -> Any:
    if not value:
        return None
    if vr == "PN":
        return {
            name: group for name, group in zip(_GROUPS, value.split("="), strict=False) if group
        }
    if vr in _INTEGERS:
        return _number(value, int)
    return _number(value, float) if vr in _REALS else value


def _number(value: str, read: type[int] | type[float]) -> Any:
    try:
        number = read(value)
    except ValueError:
        return value  # the model lets strings stand for numbers that are none
    return tellable(number, value)


class _Reader:
    """Counts what it reads, so that no small body becomes a large data set."""

    def __init__(self) -> None:
        self._read = 0

    def data_set(self, model: object, depth: int) -> Attributes:
        if not isinstance(model, Mapping):
            raise WorkitemMalformed("a data set of the JSON model is an object")
        if depth > _MAX_DEPTH:
            raise WorkitemMalformed(f"sequences lie more than {_MAX_DEPTH} deep in each other")
        return _attributes(self._attribute(name, held, depth) for name, held in model.items())

    def _attribute(self, name: object, held: object, depth: int) -> Attribute:
        self._read += 1
        if self._read > MAX_ATTRIBUTES:
            raise WorkitemMalformed(f"a workitem has at most {MAX_ATTRIBUTES} attributes")
        if not isinstance(name, str) or not _TAG.fullmatch(name) or not isinstance(held, Mapping):
            raise WorkitemMalformed("an attribute of the JSON model is named by its tag")
        tag = int(name, 16)
        vr = _vr(tag, held.get("vr"))
        values = held.get("Value", [])
        if not isinstance(values, list) or len(values) > MAX_ATTRIBUTES:
            raise WorkitemMalformed("the values of an attribute are a list")
        if vr == "SQ":
            items = tuple(self.data_set({} if v is None else v, depth + 1) for v in values)
            return Attribute(tag, "SQ", (), items)
        texts = tuple(_text(vr, value) for value in values)
        if vr in _NEVER_EMPTY and any(texts) and not all(texts):
            raise WorkitemMalformed(f"of several values of VR {vr} none can be left out")
        return Attribute(tag, vr, texts if any(texts) else ())


def _attributes(found: Iterable[Attribute]) -> Attributes:
    by_tag: dict[int, Attribute] = {}
    for each in found:
        if each.tag in by_tag:
            raise WorkitemMalformed("an attribute is given twice")
        by_tag[each.tag] = each
    return Attributes(by_tag)


def _vr(tag: int, told: object) -> str:
    """Return the VR of the dictionary, for a client may be wrong; its own for what is not there."""
    try:
        vr = vr_of(tag)
    except KeyError:
        return "UN"
    if " or " in vr:
        return told if isinstance(told, str) and told in vr.split(" or ") else vr.split(" or ")[0]
    return vr


def _text(vr: str, value: object) -> str:
    if value is None:
        return ""
    if vr == "PN" and isinstance(value, Mapping):
        groups = [value.get(name, "") for name in _GROUPS]
        if not all(isinstance(group, str) for group in groups):
            raise WorkitemMalformed("the name of a person is text")
        return _checked(vr, "=".join(groups).rstrip("="))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise WorkitemMalformed(f"a value of VR {vr} is text or a number")
    text = str(value)
    if vr in _BINARY or vr in _SINGLE:
        return _binary(vr, text)
    if vr == "IS" and isinstance(value, float) and value.is_integer():
        text = str(int(value))
    return _checked(vr, text)


def _binary(vr: str, text: str) -> str:
    try:
        if vr in _SINGLE:
            return _real(vr, float(text))
        number, bits = int(text), _BINARY[vr]
    except ValueError:
        raise WorkitemMalformed(f"a value of VR {vr} is a number") from None
    low, high = (-(1 << -bits - 1), (1 << -bits - 1) - 1) if bits < 0 else (0, (1 << bits) - 1)
    if not low <= number <= high:
        raise WorkitemMalformed(f"a value of VR {vr} lies between {low} and {high}")
    return str(number)


def _real(vr: str, number: float) -> str:
    if vr == "FL" and math.isfinite(number) and abs(number) > _LARGEST_SINGLE:
        raise WorkitemMalformed("a value of VR FL fits in 32 bits")
    return str(number)


def _checked(vr: str, text: str) -> str:
    if len(text) > _MAX_TEXT or _CONTROL.search(text):
        raise WorkitemMalformed("a value is too long, or has a control character")
    if "\\" in text and vr not in _ONE_VALUE:
        raise WorkitemMalformed("a backslash separates values and stands in none")
    return text
