"""Moments and stretches of time as people read them; stored in UTC, shown in a zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


def zone_of(name: str | None) -> ZoneInfo:
    """Return a zone by its IANA name, UTC where there is none of it on this machine."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def moment(at: datetime | None, zone: ZoneInfo) -> str:
    """Return a moment to the minute, without its zone, which the page names once."""
    return "" if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def moment_s(at: datetime | None, zone: ZoneInfo) -> str:
    """Return a moment to the second."""
    return "" if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def machine(at: datetime) -> str:
    """Return a moment for the ``datetime`` attribute of HTML."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stretch(length: timedelta) -> str:
    """Return a stretch of time in its two largest units, never rounded up."""
    seconds = int(abs(length).total_seconds())
    days, hours = seconds // 86400, seconds // 3600 % 24
    minutes = seconds // 60 % 60
    if abs(length) >= _DAY:
        return f"{days} d {hours} h"
    if abs(length) >= _HOUR:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min" if seconds >= 60 else f"{seconds} s"


def left(until: datetime | None, at: datetime) -> str:
    """Return how long there is until a moment, or by how much it has passed."""
    if until is None:
        return ""
    return f"{stretch(until - at)} left" if until > at else f"{stretch(at - until)} over"
