"""What two transactions that lock each other up come to: one is made anew, and nobody is refused.

Rows are locked in one order wherever that can be: patients, studies, instances, each by its key,
and the head of the audit chain last.  PostgreSQL also takes locks that no statement names, such as
those of a row that a foreign key points to, so that it may end a transaction all the same; it has
then taken all of it back.

References
----------
PostgreSQL, Appendix A: SQLSTATE 40001 (serialization_failure) and 40P01 (deadlock_detected).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from kernel.errors import Transient

ATTEMPTS = 6
"""So often in all; each lock-up takes the database a second to find (`deadlock_timeout`)."""

SQLSTATES = frozenset({"40001", "40P01"})

_Opened = TypeVar("_Opened")
_Found = TypeVar("_Found")


class Contended(Transient):
    """Other transactions locked this one up; the database has taken all of it back."""

    code = "storage.contended"


def made_anew(
    transaction: Callable[[], AbstractContextManager[_Opened]], act: Callable[[_Opened], _Found]
) -> _Found:
    """Return what `act` does in a transaction; make a new one where it was locked up.

    Raises
    ------
    Contended
        It was locked up each time.
    """

    def once() -> _Found:
        with transaction() as tx:
            return act(tx)

    for _ in range(ATTEMPTS - 1):
        try:
            return once()
        except Contended:
            continue
    return once()
