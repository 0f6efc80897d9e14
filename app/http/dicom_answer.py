"""What matched a search, as text in the DICOM JSON model.

It is written straight from the rows of the index: to build objects of each attribute, and to walk
through them again to write them, takes longer than to find the rows.

References
----------
DICOM PS3.18 sections 10.6.3 (what an answer holds) and F.2 (JSON model).
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, NamedTuple

from dicom_node.data_sets import Attributes, attribute
from dicom_node.dictionary import tag_of, vr_of
from dicom_node.query import KEYS, Found, Values
from storage.archive_find import Level

if TYPE_CHECKING:
    from app.http.dicom_search import Search

NUMERIC = frozenset({"IS", "US"})
NUMBER = re.compile(r"[+-]?\d{1,12}")

_FRAMES, _AVAILABILITY, _URL = "NumberOfFrames", "InstanceAvailability", "RetrieveURL"
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_KINDS = 256


class _Field(NamedTuple):
    """One attribute of the answers: its beginning as text, and what gives and writes its values."""

    beginning: str
    values: Values
    write: Callable[[str], str]


def written(found: Found, search: "Search", base: str) -> str:
    """Return what matched, in the order of tags.

    Parameters
    ----------
    base
        Address of the service as the client knows it.
    """
    given = search.given
    if _FRAMES in given and found.row["frames"] in {None, 1}:
        given -= {_FRAMES}  # of multi-frame images alone
    if search.details and found.details is not None:
        return _with_details(found, search, base)
    before, behind = _fields(given)
    address = encode_basestring(_address(found, search.level, base))
    url = f'{_beginning(_URL)},"Value":[{address}]}}'
    return "{" + ",".join((*_texts(before, found), url, *_texts(behind, found))) + "}"


def _with_details(found: Found, search: "Search", base: str) -> str:
    """Return what matched with what its series says of itself, in the order of tags."""
    from dicom_node.workitems.model import to_model

    details = found.details or Attributes()
    model = json.loads(written(found, replace(search, details=frozenset()), base))
    for keyword in search.details:
        held = details.by_tag.get(tag_of(keyword), attribute(keyword))
        model |= to_model(Attributes({held.tag: held}))
    return json.dumps(dict(sorted(model.items())), ensure_ascii=False, separators=(",", ":"))


def _texts(fields: tuple[_Field, ...], found: Found) -> list[str]:
    texts = []
    for beginning, values, write in fields:
        held = values(found)
        if len(held) == 1 and held[0]:  # as nearly all are
            texts.append(f'{beginning},"Value":[{write(held[0])}]}}')
        elif any(held):
            several = ",".join([write(value) for value in held if value])
            texts.append(f'{beginning},"Value":[{several}]}}')
        else:
            texts.append(f"{beginning}}}")
    return texts


@lru_cache(maxsize=_KINDS)
def _fields(given: frozenset[str]) -> tuple[tuple[_Field, ...], tuple[_Field, ...]]:
    """Return the fields whose tags lie before and behind the address of what matched."""
    names = sorted({*given, _AVAILABILITY}, key=tag_of)
    before = [name for name in names if tag_of(name) < tag_of(_URL)]
    behind = names[len(before) :]
    return tuple(map(_field, before)), tuple(map(_field, behind))


def _field(name: str) -> _Field:
    write = _WRITTEN.get(vr_of(tag_of(name)), encode_basestring)
    return _Field(_beginning(name), _values_of(name), write)


@lru_cache(maxsize=_KINDS)
def _beginning(name: str) -> str:
    tag = tag_of(name)
    return f'"{tag:08X}":{{"vr":"{vr_of(tag)}"'


def _values_of(name: str) -> Values:
    if name in KEYS:
        return KEYS[name].values
    return lambda found: (found.availability,)


def _name(value: str) -> str:
    groups = zip(_GROUPS, value.split("="), strict=False)
    told = (f'"{name}":{encode_basestring(group)}' for name, group in groups if group)
    return "{" + ",".join(told) + "}"


def _number(value: str) -> str:
    return str(int(value)) if NUMBER.fullmatch(value) else encode_basestring(value)


_WRITTEN: Mapping[str, Callable[[str], str]] = {"PN": _name, **dict.fromkeys(NUMERIC, _number)}


def _address(found: Found, level: Level, base: str) -> str:
    address = f"{base}/studies/{found.row['study_uid']}"
    if level in {Level.SERIES, Level.IMAGE}:
        address += f"/series/{found.row['series_uid']}"
    if level is Level.IMAGE:
        address += f"/instances/{found.row['instance_uid']}"
    return address
