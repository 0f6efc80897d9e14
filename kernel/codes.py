"""Coded concepts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded concept: value, coding scheme designator, meaning (DICOM PS3.3 section 8)."""

    value: str
    scheme: str
    meaning: str
