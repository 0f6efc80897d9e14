"""The data dictionary of the standard: VR and keyword of every attribute, by tag.

The table beside this module is written from that of pydicom (``python -m tools.make_registry``).
The toolkit itself takes sixty megabytes and most of a second to import, and a node that is asked
for what it holds needs nothing else of it.

References
----------
DICOM PS3.6 sections 6 to 8, PS3.7 Annex E; PS3.5 section 7.6 for repeating groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pkgutil import get_data
from sys import intern
from typing import NamedTuple

_TABLE = "dictionary.txt"
_KEPT = 4096  # peers may ask for any tag
_ANY = "x"
_PRIVATE = 1 << 16  # private groups have odd numbers


class _Entry(NamedTuple):
    """What the standard says of an attribute; few retired ones have no keyword."""

    vr: str
    keyword: str


@dataclass(frozen=True, slots=True)
class _Repeating:
    """An entry for many tags: `fixed` are the bits that must be as in `tag`."""

    tag: int
    fixed: int
    entry: _Entry


@dataclass(frozen=True, slots=True)
class _Dictionary:
    by_tag: Mapping[int, _Entry]
    by_keyword: Mapping[str, int]
    repeating: tuple[_Repeating, ...]


@cache
def tag_of(keyword: str) -> int:
    """Return the tag of a keyword; that of a repeating group has many, and none is found.

    Raises
    ------
    KeyError
        There is no such keyword.
    """
    return _dictionary().by_keyword[keyword]


@lru_cache(maxsize=_KEPT)
def vr_of(tag: int) -> str:
    """Return the VR of a tag, such as ``PN`` or ``US or SS``.

    Raises
    ------
    KeyError
        The standard has no such tag, as every private one.
    """
    found = _entry(tag)
    if found is None:
        raise KeyError(tag)
    return found.vr


def is_registered(tag: int) -> bool:
    """Say whether the standard names this very tag, and not only its repeating group."""
    return tag in _dictionary().by_tag


@lru_cache(maxsize=_KEPT)
def keyword_of(tag: int) -> str:
    """Return the keyword of a tag, empty where it has none."""
    found = _entry(tag)
    return "" if found is None else found.keyword


def _entry(tag: int) -> _Entry | None:
    known = _dictionary()
    found = known.by_tag.get(tag)
    if found is not None or tag & _PRIVATE:
        return found
    fitting = (each.entry for each in known.repeating if (tag ^ each.tag) & each.fixed == 0)
    return next(fitting, None)


@cache
def _dictionary() -> _Dictionary:
    """Read the table: a line a tag, with its VR and its keyword."""
    by_tag: dict[int, _Entry] = {}
    repeating: list[_Repeating] = []
    table = get_data(__package__, _TABLE)
    assert table is not None  # a loader without data files: none that this is installed with
    for line in table.decode("ascii").splitlines():
        tag, vr, keyword = line.split("\t")
        entry = _Entry(intern(vr), keyword)
        if _ANY in tag:
            fixed = "".join("0" if digit == _ANY else "f" for digit in tag)
            repeating.append(_Repeating(int(tag.replace(_ANY, "0"), 16), int(fixed, 16), entry))
        else:
            by_tag[int(tag, 16)] = entry
    by_keyword = {entry.keyword: tag for tag, entry in by_tag.items() if entry.keyword}
    return _Dictionary(by_tag, by_keyword, tuple(repeating))
