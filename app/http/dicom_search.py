"""QIDO-RS: from a query string to a query of the index.

References
----------
DICOM PS3.18 sections 8.3.4 (query parameters), 10.6 (search).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from app.http.dicom_answer import NUMBER, NUMERIC
from app.http.errors import BodyMalformed
from dicom_node import series_details
from dicom_node.data_sets import Attribute, Attributes, attribute, sequence
from dicom_node.dictionary import keyword_of, tag_of, vr_of
from dicom_node.query import KEYS, Query, Root
from kernel.ids import is_uid
from storage.archive_find import Level

MAX_FOUND = 1000
MAX_OFFSET = 1_000_000

ALL = "all"
# Of several values one has to match here, asked for or not (PS3.4 section C.2.2.2.8).
_FLAGS = ("fuzzymatching", "multiplevaluematching", "emptyvaluematching")
_PAGING = frozenset({"limit", "offset", "includefield", "accept", *_FLAGS})
_MAX_VALUE = 4096
_COUNT_DIGITS = 9
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
# U+FFFD stands for what was no UTF-8 (PS3.18 section 8.3.1).
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffd]")
_DAY = r"\d{8}"
_TIME = r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?"
_DATES = re.compile(rf"{_DAY}|{_DAY}-|-{_DAY}|{_DAY}-{_DAY}")
_TIMES = re.compile(rf"{_TIME}|{_TIME}-|-{_TIME}|{_TIME}-{_TIME}")

_STUDY = (
    "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "StudyDescription",
    "ReferringPhysicianName", "StudyID",
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "StudyInstanceUID", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
)  # fmt: skip
_SERIES = (
    "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "BodyPartExamined",
    "NumberOfSeriesRelatedInstances", "StudyInstanceUID",
)  # fmt: skip
_IMAGE = (
    "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "NumberOfFrames",
    "AvailableTransferSyntaxUID", "SeriesInstanceUID", "StudyInstanceUID",
)  # fmt: skip
_GIVEN: Mapping[Level, tuple[str, ...]] = {
    Level.STUDY: _STUDY,
    Level.SERIES: _SERIES,
    Level.IMAGE: _IMAGE,
}
# What is matched beyond the index: of a sequence, attributes of its items.
_OF_SERIES = frozenset(
    {keyword for keyword in series_details.DETAILS if keyword != series_details.REQUEST}
    | {f"{series_details.REQUEST}.{keyword}" for keyword in series_details.OF_REQUEST}
)


class QueryRefused(BodyMalformed):
    """The query cannot be answered as it is asked."""

    code = "dicomweb.query_refused"


@dataclass(frozen=True, slots=True)
class Search:
    """A checked search.

    Parameters
    ----------
    keys
        What has to match, by keyword.
    given
        Keywords of what the answers hold of the index.
    details
        Keywords of what they hold beyond it.
    fuzzy
        Names match by the words that they are made of, whatever the order.
    """

    level: Level
    keys: tuple[Attribute, ...]
    given: frozenset[str]
    limit: int
    offset: int
    fuzzy: bool
    details: frozenset[str] = frozenset()

    def query(self) -> Query:
        """Return what the index is asked."""
        named = self.given | self.details
        asked = {tag_of(keyword): attribute(keyword) for keyword in named}
        asked |= {key.tag: key for key in self.keys}
        return Query(root=Root.PATIENT, level=self.level, asked=Attributes(asked), fuzzy=self.fuzzy)


def parsed(
    parameters: Iterable[tuple[str, str]], level: Level, within: Mapping[str, str] | None = None
) -> Search:
    """Return the search that a query string asks for.

    A key that cannot be matched is refused: leaving it out would give more than was asked for.

    Parameters
    ----------
    within
        UIDs that stand in the address, by keyword.

    Raises
    ------
    QueryRefused
        A key is not one that can be matched here, is given twice, or its value cannot be one.
    """
    within = within or {}
    paging: dict[str, str] = {}
    included: list[str] = []
    keys = {keyword: attribute(keyword, uid) for keyword, uid in within.items()}
    for name, value in parameters:
        if _CONTROL.search(value) or len(value) > _MAX_VALUE:
            raise QueryRefused("a value is too long, no UTF-8 or holds a control character")
        if name == "includefield":
            included += value.split(",")
        elif name in _PAGING:
            if paging.setdefault(name, value) != value:
                raise QueryRefused(f"{name} is given twice")
        else:
            key, path = _key(name, value, level), _path(name)
            if path in keys and not _agrees(keys[path], key):
                raise QueryRefused(f"the key {path} is given twice")
            keys.setdefault(path, key)
    found = _assembled(keys)
    flags = {name: _flag(name, paging.get(name, "false")) for name in _FLAGS}
    if flags["emptyvaluematching"]:
        raise QueryRefused("matching of empty values is not offered here")
    return Search(
        level=level,
        keys=found,
        given=_given(level, within, included) | {key.keyword for key in found} & _known(level),
        details=_details(level, (*included, *(key.keyword for key in found))),
        limit=min(_count(paging, "limit", MAX_FOUND), MAX_FOUND),
        offset=_count(paging, "offset", 0, most=MAX_OFFSET),
        fuzzy=flags["fuzzymatching"],
    )


def _given(level: Level, within: Mapping[str, str], included: Iterable[str]) -> frozenset[str]:
    """Return what answers hold: attributes of the level, and of those that the address leaves open.

    A field to be included that the index does not know is not there (PS3.18 section 8.3.4.3).
    """
    given = set(_GIVEN[level])
    if level is not Level.STUDY and "StudyInstanceUID" not in within:
        given |= set(_STUDY)
    if level is Level.IMAGE and "SeriesInstanceUID" not in within:
        given |= set(_SERIES)
    known = _known(level)
    names = {name.strip() for name in included}
    if ALL in names:
        return known
    return frozenset(given | {_keyword(name) for name in names} & known)


@cache
def _known(level: Level) -> frozenset[str]:
    """Return the attributes that the index knows of a level."""
    return frozenset(keyword for keyword, key in KEYS.items() if _is_at(key.level, level))


def _details(level: Level, names: Iterable[str]) -> frozenset[str]:
    """Return what of a series is asked for beyond the index, by its name or that of an item's."""
    if not _is_at(Level.SERIES, level):
        return frozenset()
    asked = {_path(name.strip()).partition(".")[0] for name in names}
    return frozenset(series_details.DETAILS) & asked


def _assembled(keys: Mapping[str, Attribute]) -> tuple[Attribute, ...]:
    """Return the keys, with those that reach into the items of a sequence together in one item."""
    plain = [key for path, key in keys.items() if "." not in path]
    inner = [key for path, key in keys.items() if "." in path]
    return (*plain, sequence(series_details.REQUEST, inner)) if inner else tuple(plain)


def _path(name: str) -> str:
    return ".".join(map(_keyword, name.split(".", 2)))


def _key(name: str, value: str, level: Level) -> Attribute:
    path = _path(name)
    outer, _, keyword = path.rpartition(".")
    if keyword in KEYS and not outer:
        can_be = _is_at(KEYS[keyword].level, level)
    else:
        can_be = path in _OF_SERIES and _is_at(Level.SERIES, level)
    if not can_be:
        raise QueryRefused(f"{name[:40]!r} cannot be matched in this search")
    tag = tag_of(keyword)
    vr = vr_of(tag)
    values = tuple(each.strip() for each in _split(vr, value))
    for each in values:
        _require(keyword, vr, each)
    return Attribute(tag, vr, tuple(each for each in values if each))


def _is_at(held: Level, level: Level) -> bool:
    order = list(Level)
    return order.index(held) <= order.index(level)


def _agrees(one: Attribute, other: Attribute) -> bool:
    """Say whether a key that stands twice, in the address perhaps, says the same both times."""
    return one.values == other.values


def _keyword(name: str) -> str:
    return keyword_of(int(name, 16)) if _TAG.fullmatch(name) else name


def _split(vr: str, value: str) -> list[str]:
    """Split a list; commas and backslashes are both in use for UIDs, and codes hold neither."""
    return re.split(r"[,\\]", value) if vr in {"UI", "CS"} else value.split("\\")


def _require(keyword: str, vr: str, value: str) -> None:
    if not value or value == "*":
        return
    if vr == "UI" and not is_uid(value):
        raise QueryRefused(f"{keyword} must be a UID or a list of UIDs")
    if vr == "DA" and not _DATES.fullmatch(value):
        raise QueryRefused(f"{keyword} must be YYYYMMDD or a range of two, one end of it open")
    if vr == "TM" and not _TIMES.fullmatch(value):
        raise QueryRefused(f"{keyword} must be HHMMSS or a range of two, one end of it open")
    if vr in NUMERIC and not NUMBER.fullmatch(value):
        raise QueryRefused(f"{keyword} must be a number")


def _flag(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise QueryRefused(f"{name} is true or false")
    return value == "true"


def _count(paging: Mapping[str, str], name: str, default: int, most: int | None = None) -> int:
    value = paging.get(name, str(default))
    if not (value.isascii() and value.isdecimal()) or len(value) > _COUNT_DIGITS:
        raise QueryRefused(f"{name} must be a number")
    if most is not None and int(value) > most:
        raise QueryRefused(f"{name} is at most {most}: ask for less with more keys")
    return int(value)
