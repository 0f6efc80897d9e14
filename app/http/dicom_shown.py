"""How a rendered picture is asked for: the parameters in its address.

References
----------
DICOM PS3.18 section 8.3.5 (rendering parameters).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.http.errors import BodyMalformed

MAX_SIDE = 4096
_MAX_IMAGE_SIDE = 1 << 32
_DEFAULT_QUALITY = 90
_VIEWPORT_SIZES = range(2, 7)
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
_NOT_MADE = {
    "annotation": "Annotations are not supported.",
    "iccprofile": "ICC profiles are not supported.",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """How a picture is asked for: all that its address says of it."""

    size: tuple[int, int] | None
    region: tuple[int, int, int, int] | None
    window: tuple[float, float] | None
    curve: str
    quality: int


def shown_as(parameters: Mapping[str, str]) -> Shown:
    """Return how a picture is asked for by ``viewport``, ``window`` and ``quality``.

    Raises
    ------
    BodyMalformed
        A parameter is not what PS3.18 section 8.3.5 says it is.
    """
    size, region = _viewport(parameters.get("viewport"))
    window, curve = _window(parameters.get("window"))
    quality = whole_number("quality", parameters.get("quality", str(_DEFAULT_QUALITY)))
    if not 1 <= quality <= 100:
        raise BodyMalformed("quality is a number from 1 to 100")
    return Shown(size, region, window, curve, quality)


def _window(text: str | None) -> tuple[tuple[float, float] | None, str]:
    if text is None:
        return None, "linear"
    *pair, curve = text.split(",")
    if len(pair) != 2 or curve.lower() not in {"linear", "linear-exact", "sigmoid"}:
        raise BodyMalformed("window is a center, a width and linear, linear-exact or sigmoid")
    center, width = (_real(each) for each in pair)
    if width <= 0 or (curve.lower() == "linear" and width < 1):
        raise BodyMalformed("a window has a width above 0, a linear one of at least 1")
    return (center, width), curve.lower()


def _viewport(
    text: str | None,
) -> tuple[tuple[int, int] | None, tuple[int, int, int, int] | None]:
    """Return the size and the region of a viewport; what it leaves open is the whole image."""
    if text is None:
        return None, None
    told = text.split(",")
    if len(told) not in _VIEWPORT_SIZES:
        raise BodyMalformed("viewport is a list of 2 to 6 numbers")
    width, height = (whole_number("viewport", each) for each in told[:2])
    if not all(1 <= side <= MAX_SIDE for side in (width, height)):
        raise BodyMalformed(f"a viewport has sides of 1 to {MAX_SIDE} pixels")
    if not any(told[2:]):
        return (width, height), None
    defaults = (0, 0, _MAX_IMAGE_SIDE, _MAX_IMAGE_SIDE)
    given = (*told[2:], "", "", "", "")
    left, top, across, down = (
        whole_number("viewport", each) if each else default
        for each, default in zip(given, defaults, strict=False)
    )
    if min(left, top) < 0 or min(across, down) < 1:
        raise BodyMalformed("the region of a viewport lies within the image")
    return (width, height), (left, top, across, down)


def whole_number(name: str, text: str) -> int:
    """Return a parameter that is a whole number, in plain digits.

    Raises
    ------
    BodyMalformed
        It is none.
    """
    if _WHOLE.fullmatch(text) is None:
        raise BodyMalformed(f"{name} has something else than whole numbers")
    return int(text)


def remarks_on(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the header that says without what a picture is given that was asked for.

    References
    ----------
    DICOM PS3.18 sections 8.3.5.1.1 (annotation) and 8.3.5.1.5 (ICC profile).
    """
    asked = (name for name in _NOT_MADE if parameters.get(name, "").lower() not in {"", "no"})
    said = ", ".join(f'299 telerad "{_NOT_MADE[name]}"' for name in asked)
    return {"Warning": said} if said else {}


def _real(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise BodyMalformed("a rendering parameter is not a number") from error
    if not math.isfinite(value):
        raise BodyMalformed("a rendering parameter is not a finite number")
    return value
