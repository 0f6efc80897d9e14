"""The order in which requests wait."""

from collections.abc import Iterable
from datetime import datetime

from worklist.case import Case
from worklist.request import Form


def rank(form: Form) -> int:
    """Return 0 for a threat to life and 1 for all else: the class comes before the due moment."""
    return 0 if form is Form.EMERGENT else 1


def place(case: Case) -> tuple[int, datetime, int]:
    """Return the place of a case in its profile's order; the smallest is read next.

    The due moment is clock start plus the target of the form, so within one form and target this
    is first in, first out (KZ §23); between forms it lets no planned case starve, as a strict
    urgent-first would.  Ties go by arrival.
    """
    return rank(case.form), case.due, case.arrival_number


def in_line(cases: Iterable[Case]) -> list[Case]:
    """Return the cases in the order in which they are to be read."""
    return sorted(cases, key=place)
