"""Modality Worklist: the open requests of a site, as its modalities ask for them.

A key whose attribute an item lacks matches: a request that names no station is for every station
of its site.

References
----------
DICOM PS3.4 Annex K, table K.6-1; IHE Scheduled Workflow.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, tzinfo

from dicom_node import matching, store
from dicom_node.answering import Answering, Match
from dicom_node.data_sets import UTF_8, Attribute, Attributes, attribute
from dicom_node.dictionary import tag_of
from dicom_node.exchange import Exchange
from dicom_node.orders import ScheduledStep, StepsWanted, requested_study_uid
from dicom_node.statuses import Status
from kernel.ids import UNIDENTIFIED
from storage import archive_find
from storage.engine import Database
from storage.patients import Patient, is_stated

STEP_SEQUENCE = "ScheduledProcedureStepSequence"
_START = ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
_DAY = timedelta(days=1)
_MAX_SHORT = 16
_DATE_DIGITS = 8
_NO_KEYS = frozenset({"SpecificCharacterSet", "TimezoneOffsetFromUTC"})
_PRIORITIES = {"emergent": "STAT", "urgent": "HIGH", "planned": "ROUTINE"}


@dataclass(frozen=True, slots=True)
class Item:
    """One scheduled step with its patient, and its time where the site is."""

    step: ScheduledStep
    patient: Patient
    start: datetime | None

    @property
    def short_id(self) -> str:
        """An id of at most 16 characters (VR SH): the accession number where it fits."""
        if 0 < len(self.step.accession) <= _MAX_SHORT:
            return self.step.accession
        return hashlib.sha256(self.step.request_id.encode()).hexdigest()[:_MAX_SHORT]

    @property
    def study_uid(self) -> str:
        """The study that the modality shall make; the same each time it asks."""
        return self.step.study_uid or requested_study_uid(self.step.request_id)

    def for_station(self, ae_title: str) -> "Item":
        """Return the item as a station is told of it: what is for every station is for this one.

        The title is type 1 of an answer (table K.6-1), and modalities pass over items without it.
        """
        if self.step.station_ae_title:
            return self
        return replace(self, step=replace(self.step, station_ae_title=ae_title))


Values = Callable[[Item], str]


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked worklist query."""

    keys: Attributes
    step_keys: Attributes

    @property
    def all_supported(self) -> bool:
        """Whether each key that has a value is one that is matched."""
        wanted = [
            *((each, KEYS) for each in self.keys.by_tag.values()),
            *((each, STEP_KEYS) for each in self.step_keys.by_tag.values()),
        ]
        return all(
            each.keyword in known
            or each.keyword in _NO_KEYS
            or not each.tag & 0xFFFF  # a group length
            or matching.is_universal(each.values)
            for each, known in wanted
        )

    def wanted(self, organisation_id: str) -> StepsWanted:
        """Return what the index can sort out beforehand."""
        first, last = "", ""
        dates = self.step_keys.values("ScheduledProcedureStepStartDate")
        if len(dates) == 1 and not matching.is_universal(dates):
            first, last = matching.date_range(dates[0])
        return StepsWanted(
            organisation_id=organisation_id,
            accession=_plain(self.keys.values("AccessionNumber")),
            station_ae_title=_plain(self.step_keys.values("ScheduledStationAETitle")),
            scheduled_from=_day(first, -_DAY),
            scheduled_until=_day(last, 2 * _DAY),
        )

    def matches(self) -> Callable[[Item], bool]:
        """Return what says whether an item matches."""
        at_once = self._period()
        apart = [
            each for each in self.step_keys.by_tag.values() if not (at_once and _tells_start(each))
        ]
        rules = [*_rules(self.keys.by_tag.values(), KEYS), *_rules(apart, STEP_KEYS)]

        def match(item: Item) -> bool:
            return (at_once is None or item.start is None or at_once(item.start)) and all(
                not held or matcher((held,)) for matcher, held in ((m, v(item)) for m, v in rules)
            )

        return match

    def _period(self) -> Callable[[datetime], bool] | None:
        """Return what says whether a step starts in the period asked for, if one is.

        A range of dates and one of times are one period, from the first time of the first day to
        the last of the last (table K.6-1, Scheduled Procedure Step Start Time).
        """
        days, times = (self.step_keys.value(keyword) for keyword in _START)
        if "-" not in days or "-" not in times:
            return None
        within = matching.combined((days,), (times,))
        return lambda start: within(f"{start:%Y%m%d}", f"{start:%H%M%S}")

    def answer(self, item: Item) -> list[Attribute]:
        """Return the item with each attribute that was asked for, empty where we have none."""
        given = [
            _given(each, KEYS, item)
            for each in self.keys.by_tag.values()
            if each.keyword not in (*_NO_KEYS, STEP_SEQUENCE) and each.tag & 0xFFFF
        ]
        given.append(attribute("SpecificCharacterSet", UTF_8))
        if item.start is not None and tag_of("TimezoneOffsetFromUTC") in self.keys.by_tag:
            given.append(attribute("TimezoneOffsetFromUTC", f"{item.start:%z}"))
        if tag_of(STEP_SEQUENCE) in self.keys.by_tag:
            given.append(self._step(item))
        return given

    def _step(self, item: Item) -> Attribute:
        asked = self.step_keys.by_tag.values()
        given = [_given(each, STEP_KEYS, item) for each in asked if each.tag & 0xFFFF]
        if not given:  # an empty sequence asks for all of it
            given = [attribute(keyword, values(item)) for keyword, values in STEP_KEYS.items()]
        inner = Attributes({each.tag: each for each in given})
        return Attribute(tag_of(STEP_SEQUENCE), "SQ", (), (inner,))


def read(identifier: Attributes) -> Asked:
    """Return what an identifier asks."""
    steps = identifier.items(STEP_SEQUENCE)
    return Asked(identifier, steps[0] if steps else Attributes())


class Worklist:
    """Serves C-FIND on the modality worklist.

    Parameters
    ----------
    zone_of
        The time of a site, by its organisation: worklist times are local (PS3.3 section C.4.10).
    """

    def __init__(
        self, database: Database, *, zone_of: Callable[[str], tzinfo], max_matches: int
    ) -> None:
        self._database = database
        self._zone_of = zone_of
        self._answering = Answering(database, "worklist.queried", max_matches)

    def find(self, exchange: Exchange) -> None:
        """Answer one C-FIND with the open steps of the peer's own site.

        Raises
        ------
        DataSetUnreadable
            The identifier is none; the answer is A900.
        """
        asked, peer = read(exchange.identifier()), exchange.terms.peer
        pending = Status.PENDING if asked.all_supported else Status.PENDING_KEYS_NOT_SUPPORTED
        items = self.matches(asked, peer.organisation_id)
        told = (asked.answer(item.for_station(peer.ae_title)) for item in items)
        self._answering.answer(exchange, (Match(each, pending) for each in told))

    def matches(self, asked: Asked, organisation_id: str) -> Iterator[Item]:
        """Yield what matches, a page at a time."""
        wanted, matches = asked.wanted(organisation_id), asked.matches()
        zone = self._zone_of(organisation_id)
        after = ""
        while True:
            with self._database.reading() as tx:
                steps = store.open_steps(tx, wanted, after=after)
                refs = sorted({step.patient_ref for step in steps})
                patients = archive_find.patients_by_ref(tx, refs)
            items = (_item(step, patients, zone) for step in steps)
            yield from (item for item in items if item is not None and matches(item))
            if len(steps) < store.STEPS_PAGE:
                return
            after = steps[-1].request_id


def _item(step: ScheduledStep, patients: Mapping[str, Patient], zone: tzinfo) -> Item | None:
    patient = patients.get(step.patient_ref)
    if patient is None:
        return None
    return Item(step, patient, step.scheduled_at.astimezone(zone) if step.scheduled_at else None)


def _tells_start(each: Attribute) -> bool:
    return each.keyword in _START


def _rules(
    asked: Iterable[Attribute], known: Mapping[str, Values]
) -> Iterator[tuple[matching.Matcher, Values]]:
    for each in asked:
        found = matching.matcher(each.vr, each.values)
        if each.keyword in known and found is not None:
            yield found, known[each.keyword]


def _given(asked: Attribute, known: Mapping[str, Values], item: Item) -> Attribute:
    if asked.keyword in known:
        return attribute(asked.keyword, known[asked.keyword](item))
    return Attribute(asked.tag, asked.vr)


def _plain(values: tuple[str, ...]) -> str:
    if len(values) != 1 or set(values[0]) & {"*", "?"}:
        return ""
    return values[0]


def _day(digits: str, leeway: timedelta) -> datetime | None:
    """Return a moment that is before, or after, the day everywhere on earth."""
    if len(digits) != _DATE_DIGITS or not digits.isdecimal():
        return None
    try:
        day = datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
        return day + leeway
    except (ValueError, OverflowError):
        return None


def _issuer(item: Item) -> str:
    issuer = item.patient.issuer
    return issuer if issuer != UNIDENTIFIED and is_stated(issuer) else ""


def _birth_date(item: Item) -> str:
    born = item.patient.birth_date
    return f"{datetime.combine(born, time()):%Y%m%d}" if born else ""


KEYS: Mapping[str, Values] = {
    "AccessionNumber": lambda item: item.step.accession,
    "PatientName": lambda item: item.patient.name,
    "PatientID": lambda item: item.patient.patient_id,
    "IssuerOfPatientID": _issuer,
    "PatientBirthDate": _birth_date,
    "PatientSex": lambda item: item.patient.sex,
    "StudyInstanceUID": lambda item: item.study_uid,
    "RequestedProcedureID": lambda item: item.short_id,
    "RequestedProcedureDescription": lambda item: item.step.procedure[:64],
    "RequestedProcedurePriority": lambda item: _PRIORITIES.get(item.step.form, ""),
}
STEP_KEYS: Mapping[str, Values] = {
    "ScheduledStationAETitle": lambda item: item.step.station_ae_title,
    "ScheduledProcedureStepStartDate": lambda item: f"{item.start:%Y%m%d}" if item.start else "",
    "ScheduledProcedureStepStartTime": lambda item: f"{item.start:%H%M%S}" if item.start else "",
    "Modality": lambda item: item.step.modality,
    "ScheduledProcedureStepDescription": lambda item: item.step.procedure[:64],
    "ScheduledProcedureStepID": lambda item: item.short_id,
    "ScheduledProcedureStepStatus": lambda item: item.step.progress or "SCHEDULED",
}
