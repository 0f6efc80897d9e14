"""C-FIND served: rows of the index, a page at a time, each matched and answered as it comes.

Each page is read in a transaction of its own, so a slow peer holds neither rows nor the database.

References
----------
DICOM PS3.4 section C.4.1.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from itertools import chain, islice

from dicom_node import details_read, series_details, views
from dicom_node import query as queries
from dicom_node.answering import Answering, Match
from dicom_node.exchange import Exchange
from dicom_node.query import Found, Query, Root
from dicom_node.statuses import Status
from dicom_node.views import Views
from storage import archive_find, contents, shown
from storage.archive import Archive
from storage.archive_find import Level, Row, Scope
from storage.contents import Contents
from storage.elsewhere import held_elsewhere
from storage.engine import Transaction
from storage.patients import Patient
from storage.series_queries import Held

RELATIONAL, COMBINED_TIMES = 0, 1
"""Questions of the extended negotiation (PS3.4 table C.5-1) that are answered with yes."""


class Finder:
    """Serves C-FIND on the query and retrieve models.

    Parameters
    ----------
    ae_title
        From where the matches can be retrieved: this node.
    max_matches
        A query that matches more is ended there, and says so.
    """

    def __init__(self, archive: Archive, *, ae_title: str, views: Views, max_matches: int) -> None:
        self._database = archive.database
        self._node = archive.journal.node
        self._look = details_read.reader(archive)
        self._ae_title = ae_title
        self._views = views
        self._answering = Answering(archive.database, "studies.queried", max_matches)

    def find(self, exchange: Exchange, root: Root) -> None:
        """Answer one C-FIND.

        Raises
        ------
        QueryRefused, DataSetUnreadable
            The identifier is none of this model; the answer is A900.
        Transient
            It cannot be told now what matches; the answer is A700.
        """
        terms, abstract_syntax = exchange.terms, exchange.context.abstract_syntax
        query = queries.read(
            exchange.identifier(),
            root,
            relational=terms.agreed(abstract_syntax, RELATIONAL),
            combined_times=terms.agreed(abstract_syntax, COMBINED_TIMES),
        )
        scope = views.scope_of(terms.peer, self._views)
        self._answering.answer(
            exchange,
            (self._told(query, each) for each in self.matches(query, scope)),
            level=query.level.value,
            keys=sorted([*query.keys, *query.details_asked]),
        )

    def _told(self, query: Query, found: Found) -> Match:
        return Match(query.answer(found, ae_title=self._ae_title), _pending(query, found))

    def matches(
        self, query: Query, scope: Scope | None, *, offset: int = 0, limit: int | None = None
    ) -> Iterator[Found]:
        """Return what matches, one by one, without holding more than a page of it.

        Parameters
        ----------
        offset
            How many of the first matches are left out.
        limit
            How many are taken at most, as far as the asker knows; a small one spares work.
        """
        exact = query.is_exact and not _by_patient(query)
        skipped = offset if exact else 0
        size = min(archive_find.PAGE, limit or archive_find.PAGE) if exact else archive_find.PAGE
        walks = _WALKS if _by_patient(query) else (_Whose.ALL,)
        pages = (
            self._pages(query, scope, whose, size=size, skipped=skipped, exact=exact)
            for whose in walks
        )
        found = chain.from_iterable(chain.from_iterable(pages))
        return self._detailed(query, found, offset - skipped)

    def _detailed(self, query: Query, found: Iterator[Found], left_out: int) -> Iterator[Found]:
        """Leave out the first matches; give the others the details of series that are asked for."""
        if not query.details.by_tag:
            return islice(found, left_out, None)
        narrows = query.narrows_by_details
        look = self._look if narrows else details_read.without_waiting(self._look)
        look = details_read.once_each(look)

        def detailed(each: Found) -> Found:
            return replace(each, details=look(each.row["study_uid"], each.row["series_uid"]))

        if not narrows:
            return map(detailed, islice(found, left_out, None))
        fitting = (each for each in map(detailed, found) if _says_so(query, each))
        return islice(fitting, left_out, None)

    def held(self, query: Query, scope: Scope | None) -> Iterable[Held]:
        """Return the instances that a query at instance level matches, in no order."""
        if not query.is_exact:
            return (_held(found.row) for found in self.matches(query, scope))
        with self._database.reading() as tx:  # what the index finds needs no second look
            found = archive_find.held(tx, query.narrowing(), scope)
            if not _by_patient(query):
                return found
            anothers = shown.anothers(tx, {each.study_uid for each in found})
        others = self._pages(
            query, scope, _Whose.OTHERS, size=archive_find.PAGE, skipped=0, exact=False
        )
        theirs = [each for each in found if each.instance_uid not in anothers]
        return [*theirs, *(_held(each.row) for page in others for each in page)]

    def _pages(
        self,
        query: Query,
        scope: Scope | None,
        whose: "_Whose",
        *,
        size: int,
        skipped: int,
        exact: bool,
    ) -> Iterator[list[Found]]:
        """Yield what matches of each page of the index, read one behind the other."""
        narrowing, last = query.narrowing(), None
        while True:
            with self._database.reading() as tx:
                rows = archive_find.page(
                    tx,
                    query.level,
                    narrowing,
                    scope,
                    after=last,
                    limit=size,
                    offset=skipped if last is None else 0,
                    of_others=whose is _Whose.OTHERS,
                )
                told = _as_retrieved(tx, rows, whose) if query.level is Level.IMAGE else rows
                # What the index finds by comparing as the rules do needs no second look.
                page = (_counted if exact else _matching)(tx, query, told, scope)
                page = self._located(tx, query.level, page)
            yield page
            if len(rows) < size:
                return
            last = rows[-1]

    def _located(self, tx: Transaction, level: Level, page: list[Found]) -> list[Found]:
        """Say of what is found whether some of it cannot be retrieved here so far."""
        if level is Level.PATIENT:  # of studies that the asker may not see, too
            return page
        key = _KEYS[level]
        away = held_elsewhere(tx, key, [each.row[key] for each in page], self._node)
        return [replace(each, elsewhere=each.row[key] in away) for each in page] if away else page


_KEYS = {
    Level.STUDY: "study_uid",
    Level.SERIES: "series_uid",
    Level.IMAGE: "instance_uid",
}
_FIELDS = tuple(Held.__dataclass_fields__)
_NAMES = {"number": "instance_number"}


def _says_so(query: Query, found: Found) -> bool:
    """Say whether details match; those that cannot be read do, as of a key that is not matched."""
    return found.details is None or series_details.matches(query.details, found.details)


def _pending(query: Query, found: Found) -> Status:
    """Return the status of one match, which says for it whether all keys were seen to."""
    if query.all_supported and found.details is not None:
        return Status.PENDING
    return Status.PENDING_KEYS_NOT_SUPPORTED


def _held(row: Row) -> Held:
    return Held(**{name: row[_NAMES.get(name, name)] for name in _FIELDS})


class _Whose(Enum):
    """Which instances are looked for, by whether they are the patient's of their study."""

    ALL = auto()
    OF_STUDY = auto()
    OTHERS = auto()


# The index compares with the patient of the study, and apart from that with whom an instance names.
_WALKS = (_Whose.OF_STUDY, _Whose.OTHERS)


def _by_patient(query: Query) -> bool:
    return query.level is Level.IMAGE and query.narrowing().of_patient


def _as_retrieved(tx: Transaction, rows: Sequence[Row], whose: _Whose) -> Sequence[Row]:
    """Return rows of instances with the patient as whose each of them is retrieved.

    Patients are of the study (PS3.4 section C.6.2.1), but for images of another person, who came
    into it by a merge that was taken back: such an image says so itself, and so does its answer.
    """
    anothers = shown.anothers(tx, {row["study_uid"] for row in rows}) if rows else {}
    told: list[Row] = []
    for row in rows:
        own = anothers.get(row["instance_uid"])
        if own is None and whose is not _Whose.OTHERS:
            told.append(row)
        elif own is not None and whose is not _Whose.OF_STUDY:
            told.append({**row, **_columns_of(own)})
    return told


def _columns_of(patient: Patient) -> Row:
    told = {name: getattr(patient, name) for name in ("patient_id", "issuer", "name", "sex")}
    return {**told, "patient_ref": patient.ref, "birth_date": patient.birth_date}


def _matching(
    tx: Transaction, query: Query, rows: Sequence[Row], scope: Scope | None
) -> list[Found]:
    """Leave out what does not match; only what else matches is counted."""
    matches, counted = query.matches(counted=False), query.matches(counted=True)
    fitting = [row for row in rows if matches(Found(row, _UNCOUNTED))]
    return [each for each in _counted(tx, query, fitting, scope) if counted(each)]


def _counted(
    tx: Transaction, query: Query, rows: Sequence[Row], scope: Scope | None
) -> list[Found]:
    """Count what the query needs to know of each row; a page in a few statements."""
    needed = query.counted if rows else frozenset()
    held: list[tuple[Level, str, Mapping[str, Contents]]] = []
    if Level.STUDY in needed:
        uids = sorted({row["study_uid"] for row in rows})
        held.append((Level.STUDY, "study_uid", contents.of_studies(tx, uids)))
    if Level.SERIES in needed:
        uids = sorted({row["series_uid"] for row in rows})
        numbers = contents.instances_of_series(tx, uids)
        by_series = {uid: Contents(instances=number) for uid, number in numbers.items()}
        held.append((Level.SERIES, "series_uid", by_series))
    if Level.PATIENT in needed:
        refs = sorted({row["patient_ref"] for row in rows})
        held.append((Level.PATIENT, "patient_ref", _of_patients(tx, refs, scope)))
    return [
        Found(row, {level: by_key.get(row[key], _NOTHING) for level, key, by_key in held})
        for row in rows
    ]


_NOTHING = Contents()
_UNCOUNTED: dict[Level, Contents] = {}


def _of_patients(tx: Transaction, refs: Sequence[str], scope: Scope | None) -> dict[str, Contents]:
    """Sum up what a peer may see of each patient."""
    summed: dict[str, Contents] = {}
    for ref, uids in archive_find.studies_of_patients(tx, refs, scope).items():
        held = contents.of_studies(tx, uids)
        summed[ref] = Contents(
            studies=len(uids),
            series=sum(each.series for each in held.values()),
            instances=sum(each.instances for each in held.values()),
        )
    return summed
