"""Wild card patterns as databases compare them."""

from sqlalchemy import ColumnElement

ESCAPE = "\\"
_BEHIND_ALL = "\U0010ffff"


def like(pattern: str) -> str:
    """Return the LIKE pattern, escaped by `ESCAPE`, of one with the wild cards ``*`` and ``?``."""
    return "".join({"*": "%", "?": "_"}.get(each, _literal(each)) for each in pattern)


def bounds(pattern: str) -> tuple[str, str]:
    """Return what all that matches begins with, and what by code points lies behind all of it."""
    first = pattern.replace("?", "*").partition("*")[0]
    return first, behind(first)


def behind(first: str) -> str:
    """Return what by code points lies behind all that begins with a text."""
    return first + _BEHIND_ALL


def begins(column: ColumnElement[str], first: str, dialect: str) -> list[ColumnElement[bool]]:
    """Return the conditions that a column begins with a text, as an index serves them."""
    if dialect == "sqlite":  # compares by code point, and has no index for LIKE with open values
        return [column >= first, column < behind(first)]
    return [column.startswith(first, autoescape=True)]


def _literal(character: str) -> str:
    return f"{ESCAPE}{character}" if character in f"%_{ESCAPE}" else character
