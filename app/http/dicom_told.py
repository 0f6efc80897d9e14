"""Values of metadata in the JSON model: each is stored as it is told, or its data set is refused.

What makes a data set of them cuts 1.5 to a 1 where a whole number stands, passes over characters
that are no base64, and leaves out what it does not know; what a client is told to be stored would
be something else.

References
----------
DICOM PS3.18 sections F.2.2 and F.2.3 (values), PS3.5 section 6.2; RFC 4648 section 3.3.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

from app.http.errors import BodyMalformed

_GROUPS = frozenset({"Alphabetic", "Ideographic", "Phonetic"})
_HELD_IN = ("Value", "BulkDataURI", "InlineBinary")
_WHOLE = re.compile(r" *[+-]?[0-9]+ *")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_SPACE = re.compile(r"[ \t\r\n]+")
_ONE_TEXT = frozenset({"LT", "ST", "UR", "UT"})


def require_plain(model: Mapping[str, Any]) -> None:
    """Check that each value of a data set is one that its VR has.

    Raises
    ------
    BodyMalformed
        One would be stored as something else, or not at all.
    """
    for element in model.values():
        vr = element.get("vr")
        if sum(name in element for name in _HELD_IN) > 1:
            raise BodyMalformed("an attribute has its value in one place")
        if "InlineBinary" in element:
            _require_base64(element["InlineBinary"])
        values = element.get("Value") or []
        if vr == "SQ":
            for item in values:
                require_plain(item or {})
            continue
        is_plain = _PLAIN.get(vr, _is_one_text if vr in _ONE_TEXT else _is_text)
        if not all(value is None or is_plain(value) for value in values):
            raise BodyMalformed(f"a value is none of VR {vr}")


def _require_base64(text: object) -> None:
    """Check for base64 with nothing else in it but the white space that XML is laid out with."""
    if not isinstance(text, str):
        raise BodyMalformed("inline bytes are text")
    try:
        base64.b64decode(_SPACE.sub("", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BodyMalformed("inline bytes are no base64") from error


def _is_whole(value: object) -> bool:
    if isinstance(value, float):
        return value.is_integer()  # some write every number with a point
    if isinstance(value, str):
        return _WHOLE.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: object) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _is_name(value: object) -> bool:
    if isinstance(value, Mapping):
        return value.keys() <= _GROUPS and all(map(_is_text, value.values()))
    return _is_text(value)


def _is_tag(value: object) -> bool:
    return isinstance(value, str) and _TAG.fullmatch(value) is not None


def _is_text(value: object) -> bool:
    """Say whether a value is one text: a backslash would make two of it (PS3.5 section 6.4)."""
    return isinstance(value, str) and "\\" not in value


def _is_one_text(value: object) -> bool:
    return isinstance(value, str)


_PLAIN: Mapping[object, Callable[[object], bool]] = {
    **dict.fromkeys(("IS", "SL", "SS", "SV", "UL", "US", "UV"), _is_whole),
    **dict.fromkeys(("DS", "FD", "FL"), _is_real),
    "AT": _is_tag,
    "PN": _is_name,
}
