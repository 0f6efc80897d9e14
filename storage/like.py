"""Wild card patterns as databases compare them."""

ESCAPE = "\\"
_BEHIND_ALL = "\U0010ffff"


def like(pattern: str) -> str:
    """Return the LIKE pattern, escaped by `ESCAPE`, of one with the wild cards ``*`` and ``?``."""
    return "".join({"*": "%", "?": "_"}.get(each, _literal(each)) for each in pattern)


def bounds(pattern: str) -> tuple[str, str]:
    """Return what all that matches begins with, and what by code points lies behind all of it."""
    first = pattern.replace("?", "*").partition("*")[0]
    return first, first + _BEHIND_ALL


def _literal(character: str) -> str:
    return f"{ESCAPE}{character}" if character in f"%_{ESCAPE}" else character
