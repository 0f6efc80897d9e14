"""Numbers as the JSON model tells them, and the text of those that it cannot tell.

References
----------
DICOM PS3.18 section F.2.3.1 (DS, IS, SV and UV may be told as strings); RFC 8259 section 6.
"""

import math

_LARGEST_WHOLE = (1 << 64) - 1
"""No VR has a whole number beyond; a string of digits may be as long as its sender likes."""


def tellable(number: float, text: str) -> float | str:
    """Return a number; `text`, as it was written, for what is none in JSON or larger than any."""
    if isinstance(number, int):  # `math.isfinite` makes a float of it, which may not hold it
        return number if abs(number) <= _LARGEST_WHOLE else text
    return number if math.isfinite(number) else text
