"""Days as digits, as the standard writes them.

References
----------
DICOM PS3.5 table 6.2-1, VR DA.
"""

from datetime import date


def digits_of(day: date) -> str:
    """Return YYYYMMDD; `strftime` writes years before 1000 with fewer digits."""
    return day.isoformat().replace("-", "")
