"""Matching of one attribute against what a query asks: pure rules.

References
----------
DICOM PS3.4 section C.2.2.2: single value, list of UID, universal, wild card and range matching.
"""

from collections.abc import Callable, Sequence

from kernel import name_key

Matcher = Callable[[Sequence[str]], bool]

_LAST_TIME = "235959.999999"
_EARLIEST, _LATEST = "", "9" * 20
_DATE_DIGITS = 8


def matcher(vr: str, values: Sequence[str]) -> Matcher | None:
    """Return what says whether the values of an attribute match; None where all do.

    An attribute with several values matches if one of them does; a key with several values, if
    the attribute matches one of these.

    Parameters
    ----------
    values
        The key, by value; none means universal matching (C.2.2.2.3).
    """
    if is_universal(values):
        return None
    ways = [_one(vr, value) for value in values if value]
    return lambda held: any(way(each) for way in ways for each in held)


def is_universal(values: Sequence[str]) -> bool:
    """Say whether a key asks for nothing: no value, or wild cards alone."""
    return not any(values) or any(value and not value.strip("*") for value in values)


def combined(dates: Sequence[str], times: Sequence[str]) -> Callable[[str, str], bool]:
    """Match a date and a time as one moment between two moments (C.2.2.2.5, if negotiated)."""
    first_day, last_day = date_range("\\".join(dates))
    first_time, last_time = _time_range("\\".join(times))
    lower, upper = first_day + first_time, last_day + last_time

    def match(day: str, time: str) -> bool:
        return bool(day and time) and lower <= day + _time(time) <= upper

    return match


def words(values: Sequence[str]) -> Matcher:
    """Match names of which a word begins with each word that is looked for, in whatever order.

    References
    ----------
    DICOM PS3.18 section 8.3.4.2 (fuzzymatching).
    """
    wanted = name_words(values)

    def match(name: str) -> bool:
        keys = name_key.words_of(name)
        return all(any(glob(pattern, key) for pattern in each for key in keys) for each in wanted)

    return lambda held: any(match(name) for name in held)


def name_words(values: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return for each word of the values of a key the patterns of what it is the beginning of."""
    found = name_key.words_of_pattern(" ".join(values))
    return tuple(tuple(f"{key}*" for key in keys) for keys in found)


def name_patterns(values: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns of keys of the names that one of these values matches."""
    found = {name_key.plain(each) for each in values}
    found.update(key for each in values for key in name_key.folded_pattern(each))
    return tuple(sorted(found - {""}))


def date_range(value: str) -> tuple[str, str]:
    """Return the first and the last day of a key, as eight digits; an open end is an extreme."""
    text = value.replace(".", "").replace(" ", "")
    if "-" not in text:
        return text, text
    first, _, last = text.partition("-")
    return first or _EARLIEST, last or "9" * _DATE_DIGITS


def glob(pattern: str, text: str) -> bool:
    """Match a pattern with ``*`` and ``?`` in time of pattern times text, whatever the pattern."""
    at = star = mark = 0
    position, star = 0, -1
    while position < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[position]):
            at += 1
            position += 1
        elif star >= 0:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")


def _one(vr: str, value: str) -> Callable[[str], bool]:
    match vr:
        case "UI":
            return lambda held: held == value
        case "DA":
            first, last = date_range(value)
            return lambda held: bool(held) and first <= held.replace(".", "") <= last
        case "TM":
            earliest, latest = _time_range(value)
            return lambda held: bool(held) and earliest <= _time(held) <= latest
        case "IS" | "US" | "DS":
            return lambda held: _same_number(held, value)
        case "PN":
            return _name(value)
        case _:
            return _text(value)


def _text(value: str) -> Callable[[str], bool]:
    if "*" in value or "?" in value:
        return lambda held: bool(held) and glob(value, held.strip())
    return lambda held: held.strip() == value


def _name(value: str) -> Callable[[str], bool]:
    """Match the whole name, or one of its component groups (PS3.5 section 6.2.1).

    A name matches as it is written, without regard to case, or as its folded key is.
    """
    wanted = name_patterns([value])

    def match(held: str) -> bool:
        keys = name_key.keys_of(held)
        return any(glob(pattern, key) for pattern in wanted for key in keys)

    return match


def _same_number(held: str, value: str) -> bool:
    try:
        return float(held) == float(value)
    except ValueError:
        return held == value


def _time_range(value: str) -> tuple[str, str]:
    """Return the first and last moment of the day that a key means.

    A time with fewer digits means all moments that begin with them.
    """
    text = value.replace(":", "").replace(" ", "")
    first, dash, last = text.partition("-")
    until = last if dash else first
    return _time(first), until + _LAST_TIME[len(until) :]


def _time(text: str) -> str:
    digits = text.replace(":", "").strip()
    return digits + "000000.000000"[len(digits) :]
