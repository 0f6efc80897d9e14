"""C-FIND on the patient root and study root models: what is asked, what matches, what is answered.

Pure: `finding` brings the rows.

References
----------
DICOM PS3.4 sections C.4.1 (C-FIND), C.6.1 and C.6.2 (patient root, study root), C.2.2.2.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from functools import cached_property

from dicom_node import matching, series_details
from dicom_node.data_sets import CHARACTER_SET, UTF_8, Attribute, Attributes, attribute
from dicom_node.errors import QueryRefused
from dicom_node.headers import MAX_IDENTIFIER, bounded_identifier
from kernel.days import digits_of
from kernel.ids import UNIDENTIFIED
from storage.archive_find import MAX_LISTED, Level, Narrowing, Row
from storage.contents import Contents
from storage.patients import is_stated


class Root(StrEnum):
    """The information models (PS3.4 section C.6)."""

    PATIENT = "patient"
    STUDY = "study"


LEVELS: Mapping[Root, tuple[Level, ...]] = {
    Root.PATIENT: (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE),
    Root.STUDY: (Level.STUDY, Level.SERIES, Level.IMAGE),
}
UNIQUE: Mapping[Level, str] = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.IMAGE: "SOPInstanceUID",
}
# What the index compares by equality.
_BOUNDED = frozenset({"PatientID", "IssuerOfPatientID", "AccessionNumber"})
_EXACT = frozenset(
    {
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "PatientID",
        "AccessionNumber",
        "Modality",
        "ModalitiesInStudy",
    }
)
_MAX_PATTERN = 4096  # of characters: far more than any value has, and fewer than databases compare
_DEPTH = {level: depth for depth, level in enumerate(Level)}
# What says how to ask or where to retrieve, and is no key.
_NO_KEYS = frozenset(
    {
        "QueryRetrieveLevel",
        "SpecificCharacterSet",
        "RetrieveAETitle",
        "InstanceAvailability",
        "TimezoneOffsetFromUTC",
        "QueryRetrieveView",
    }
)


@dataclass(frozen=True, slots=True)
class Found:
    """One row of the index with what was counted for it, by level, and what its series says.

    Parameters
    ----------
    details
        None if they were asked for and could not be read: the row is a match as far as the index
        knows, and no further.
    elsewhere
        Something of it lies in the journal of another node and cannot be retrieved here so far.
    """

    row: Row
    contents: Mapping[Level, Contents]
    details: Attributes | None = field(default_factory=Attributes)
    elsewhere: bool = False

    @property
    def availability(self) -> str:
        """How soon it can be retrieved (PS3.3 C.4.23.1.1)."""
        return "UNAVAILABLE" if self.elsewhere else "ONLINE"


Values = Callable[[Found], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is supported: its level, its values in a row, and whether it needs counting."""

    level: Level
    values: Values
    counted: bool = False


@dataclass(frozen=True, kw_only=True)
class Query:
    """A checked query.

    Parameters
    ----------
    combined_times
        Date and time together are one moment (negotiated).
    fuzzy
        Names match by their words, whatever the order (asked for, PS3.18 section 8.3.4.2).
    """

    root: Root
    level: Level
    asked: Attributes
    combined_times: bool = False
    fuzzy: bool = False

    @cached_property
    def keys(self) -> dict[str, Attribute]:
        """The supported keys that are asked for, by keyword."""
        return {
            each.keyword: _as_indexed(each)
            for each in self.asked.by_tag.values()
            if each.keyword in KEYS and _DEPTH[KEYS[each.keyword].level] <= _DEPTH[self.level]
        }

    @cached_property
    def details(self) -> Attributes:
        """The details of series that are asked for, where there are series to have them."""
        deep = _DEPTH[self.level] >= _DEPTH[Level.SERIES]
        return series_details.asked_of(self.asked) if deep else Attributes()

    @property
    def details_asked(self) -> tuple[str, ...]:
        """Their keywords."""
        return tuple(each.keyword for each in self.details.by_tag.values())

    @cached_property
    def all_supported(self) -> bool:
        """Whether every key that was asked for is supported (else the answers are FF01)."""
        known, details = self.keys, self.details.by_tag
        return all(
            each.keyword in known
            or each.keyword in _NO_KEYS
            or _is_no_attribute(each.tag)
            or (each.tag in details and series_details.is_supported(each))
            for each in self.asked.by_tag.values()
        )

    @property
    def counted(self) -> frozenset[Level]:
        """The levels whose contents have to be counted to match or answer."""
        asked = (KEYS[keyword] for keyword in self.keys)
        return frozenset(key.level for key in asked if key.counted)

    def narrowing(self) -> Narrowing:
        """Return what the index can sort out beforehand."""
        first, last = ("", "")
        dates = self._wanted("StudyDate")
        if len(dates) == 1:
            first, last = matching.date_range(dates[0])
        identifier, accession = self._wanted("PatientID"), self._wanted("AccessionNumber")
        names = self._wanted("PatientName")
        return Narrowing(
            patient_ids=_plain(identifier),
            patient_id_pattern=_single_pattern(identifier),
            name_keys=() if self.fuzzy else matching.name_patterns(names),
            name_words=matching.name_words(names) if self.fuzzy else (),
            accessions=_plain(accession),
            accession_pattern=_single_pattern(accession),
            date_from=first,
            date_until=last,
            modalities_in_study=_plain(self._wanted("ModalitiesInStudy")),
            modalities=_plain(self._wanted("Modality")),
            study_uids=self._wanted("StudyInstanceUID"),
            series_uids=self._wanted("SeriesInstanceUID"),
            instance_uids=self._wanted("SOPInstanceUID"),
        )

    def matches(self, *, counted: bool) -> Callable[[Found], bool]:
        """Return what says whether a row matches.

        Parameters
        ----------
        counted
            By the keys whose values are counted, or by the others.
        """
        matchers: list[Callable[[Found], bool]] = []
        at_once = {"StudyDate", "StudyTime"} if self._asks_for_a_moment() else set()
        for keyword, each in self.keys.items():
            found = self._matcher(each) if KEYS[keyword].counted is counted else None
            if found is not None and keyword not in at_once:
                matchers.append(_applied(KEYS[keyword].values, found))
        if at_once and not counted:
            days, times = self._wanted("StudyDate"), self._wanted("StudyTime")
            match = matching.combined(days, times)
            matchers.append(lambda f: match(f.row["study_date"], f.row["study_time"]))
        return lambda found: all(each(found) for each in matchers)

    @cached_property
    def narrows_by_details(self) -> bool:
        """Whether details of series are matched, and not only answered."""
        return any(map(series_details.narrows, self.details.by_tag.values()))

    @property
    def is_exact(self) -> bool:
        """Whether every row that the index gives matches: it compares as the rules do."""
        if self.narrows_by_details:
            return False
        wanted = {keyword: values for keyword in self.keys if (values := self._wanted(keyword))}
        return all(
            (keyword == "StudyDate" and len(values) == 1)
            or (keyword in _EXACT and len(values) <= MAX_LISTED and _plain(values))
            for keyword, values in wanted.items()
        )

    def answer(self, found: Found, *, ae_title: str) -> list[Attribute]:
        """Return the identifier that answers for one match."""
        given = [
            attribute("SpecificCharacterSet", UTF_8),
            attribute("QueryRetrieveLevel", self.level.value),
            attribute("RetrieveAETitle", ae_title),
            attribute("InstanceAvailability", found.availability),
        ]
        given += [attribute(name, *values(found)) for name, values in self._answered]
        held = {} if found.details is None else found.details.by_tag
        asked = self.details.by_tag.items()
        return given + [held.get(tag, Attribute(tag, key.vr)) for tag, key in asked]

    @cached_property
    def _answered(self) -> list[tuple[str, Values]]:
        levels = LEVELS[self.root]
        names = {UNIQUE[level] for level in levels if _DEPTH[level] <= _DEPTH[self.level]}
        return [(name, KEYS[name].values) for name in sorted(names | self.keys.keys())]

    def _matcher(self, key: Attribute) -> matching.Matcher | None:
        if self.fuzzy and key.vr == "PN" and not matching.is_universal(key.values):
            return matching.words(key.values)
        return matching.matcher(key.vr, key.values)

    def _wanted(self, keyword: str) -> tuple[str, ...]:
        """Return the values of a key, none where it asks for nothing or is not supported here."""
        found = self.keys.get(keyword)
        if found is None or matching.is_universal(found.values):
            return ()
        return tuple(value for value in found.values if value)

    def _asks_for_a_moment(self) -> bool:
        return self.combined_times and bool(self._wanted("StudyDate") and self._wanted("StudyTime"))


def _as_indexed(key: Attribute) -> Attribute:
    """Return a key with identifiers as the index keeps them, patterns as they are."""
    if key.keyword not in _BOUNDED or all(len(each) <= MAX_IDENTIFIER for each in key.values):
        return key
    values = (bounded_identifier(each) if _plain([each]) else each for each in key.values)
    return replace(key, values=tuple(values))


def read(
    asked: Attributes, root: Root, *, relational: bool = False, combined_times: bool = False
) -> Query:
    """Return the query that an identifier asks.

    Parameters
    ----------
    relational
        Relational queries were negotiated: no unique key of a level above is required.
    combined_times
        Combined date and time matching was negotiated.

    Raises
    ------
    QueryRefused
        It has no level of this model, lacks the unique key of a level above (C.4.1.2.1), or has a
        value that no attribute can have.
    """
    told = asked.value("QueryRetrieveLevel")
    level = next((each for each in LEVELS[root] if each.value == told), None)
    if level is None:
        raise QueryRefused(
            f"the {root.value} root model has no query level of this name", "QueryRetrieveLevel"
        )
    if not relational:
        require_unique_keys(asked, root, level)
    for each in asked.by_tag.values():
        if any("\0" in value for value in each.values):
            raise QueryRefused(
                "a value of a key has a NUL, which no text of DICOM has", each.keyword
            )
        if any(len(value) > _MAX_PATTERN and not _plain([value]) for value in each.values):
            raise QueryRefused(
                f"a value with wild cards has at most {_MAX_PATTERN} characters", each.keyword
            )
    return Query(root=root, level=level, asked=asked, combined_times=combined_times)


def require_unique_keys(asked: Attributes, root: Root, level: Level) -> None:
    """Check that each level above has its unique key as one plain value.

    Raises
    ------
    QueryRefused
        One has not.
    """
    for above in LEVELS[root]:
        if above is level:
            return
        values = asked.values(UNIQUE[above])
        if len(values) != 1 or set(values[0]) & {"*", "?"}:
            key = UNIQUE[above]
            raise QueryRefused(f"a hierarchical query needs one value of {key}", key)


def _is_no_attribute(tag: int) -> bool:
    return tag & 0xFFFF == 0 or tag == CHARACTER_SET  # a group length


def _applied(
    values: Callable[[Found], tuple[str, ...]], matches: matching.Matcher
) -> Callable[[Found], bool]:
    return lambda found: matches(values(found))


def _plain(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(values) if not any(set(each) & {"*", "?"} for each in values) else ()


def _single_pattern(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 and not _plain(values) else ""


def _column(name: str) -> Callable[[Found], tuple[str, ...]]:
    def values(found: Found) -> tuple[str, ...]:
        value = found.row[name]
        if value is None or value == "":
            return ()
        return (digits_of(value) if isinstance(value, date) else str(value),)

    return values


def _number(level: Level, name: str) -> Callable[[Found], tuple[str, ...]]:
    return lambda found: (str(getattr(found.contents[level], name)),)


def _several(name: str) -> Callable[[Found], tuple[str, ...]]:
    def values(found: Found) -> tuple[str, ...]:
        held: Iterable[str] = getattr(found.contents[Level.STUDY], name)
        return tuple(sorted(each for each in held if each))

    return values


def _issuer(found: Found) -> tuple[str, ...]:
    issuer = str(found.row["issuer"])
    return (issuer,) if issuer != UNIDENTIFIED and is_stated(issuer) else ()


KEYS: Mapping[str, Key] = {
    "PatientID": Key(Level.PATIENT, _column("patient_id")),
    "IssuerOfPatientID": Key(Level.PATIENT, _issuer),
    "PatientName": Key(Level.PATIENT, _column("name")),
    "PatientSex": Key(Level.PATIENT, _column("sex")),
    "PatientBirthDate": Key(Level.PATIENT, _column("birth_date")),
    "NumberOfPatientRelatedStudies": Key(
        Level.PATIENT, _number(Level.PATIENT, "studies"), counted=True
    ),
    "NumberOfPatientRelatedSeries": Key(
        Level.PATIENT, _number(Level.PATIENT, "series"), counted=True
    ),
    "NumberOfPatientRelatedInstances": Key(
        Level.PATIENT, _number(Level.PATIENT, "instances"), counted=True
    ),
    "StudyInstanceUID": Key(Level.STUDY, _column("study_uid")),
    "StudyDate": Key(Level.STUDY, _column("study_date")),
    "StudyTime": Key(Level.STUDY, _column("study_time")),
    "AccessionNumber": Key(Level.STUDY, _column("accession")),
    "StudyID": Key(Level.STUDY, _column("study_id")),
    "ReferringPhysicianName": Key(Level.STUDY, _column("referring_physician")),
    "StudyDescription": Key(Level.STUDY, _column("study_description")),
    "ModalitiesInStudy": Key(Level.STUDY, _several("modalities"), counted=True),
    "SOPClassesInStudy": Key(Level.STUDY, _several("sop_classes"), counted=True),
    "NumberOfStudyRelatedSeries": Key(Level.STUDY, _number(Level.STUDY, "series"), counted=True),
    "NumberOfStudyRelatedInstances": Key(
        Level.STUDY, _number(Level.STUDY, "instances"), counted=True
    ),
    "SeriesInstanceUID": Key(Level.SERIES, _column("series_uid")),
    "Modality": Key(Level.SERIES, _column("modality")),
    "SeriesNumber": Key(Level.SERIES, _column("series_number")),
    "SeriesDescription": Key(Level.SERIES, _column("series_description")),
    "BodyPartExamined": Key(Level.SERIES, _column("body_part")),
    "NumberOfSeriesRelatedInstances": Key(
        Level.SERIES, _number(Level.SERIES, "instances"), counted=True
    ),
    "SOPInstanceUID": Key(Level.IMAGE, _column("instance_uid")),
    "SOPClassUID": Key(Level.IMAGE, _column("sop_class_uid")),
    "AvailableTransferSyntaxUID": Key(Level.IMAGE, _column("transfer_syntax_uid")),
    "InstanceNumber": Key(Level.IMAGE, _column("instance_number")),
    "Rows": Key(Level.IMAGE, _column("rows")),
    "Columns": Key(Level.IMAGE, _column("columns")),
    "NumberOfFrames": Key(Level.IMAGE, _column("frames")),
}
