"""How many failed attempts are too many; pure.

Three counts in one window: of one login from one address, so that guessing one person's password
is slow; of one address, so that trying one password on many logins is slow; of one login from
anywhere, far higher, so that a stranger cannot easily shut a doctor out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Limits:
    """Failures within the window after which the next attempt is not even tried."""

    same_login_and_source: int = 5
    same_source: int = 30
    same_login: int = 60


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt of the window, seen from an attempt that is being made now."""

    at: datetime
    same_login: bool
    same_source: bool


def pause(failures: list[Failure], limits: Limits, *, at: datetime) -> timedelta | None:
    """Return how long to wait before the next attempt, None if it may be made now."""
    recent = [failure for failure in failures if at - failure.at < WINDOW]
    counts = (
        (limits.same_login_and_source, [f.at for f in recent if f.same_login and f.same_source]),
        (limits.same_source, [f.at for f in recent if f.same_source]),
        (limits.same_login, [f.at for f in recent if f.same_login]),
    )
    waits = [
        sorted(moments)[-limit] + WINDOW - at for limit, moments in counts if len(moments) >= limit
    ]
    return max(waits, default=None)
