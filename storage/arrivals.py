"""Arrivals: how instances whose bytes are durable get their rows in the archive index.

An instance is admitted once.  The same UID with the same bytes again is the same answer.  What
contradicts the index is quarantined and alarms: a known UID with other bytes, and an instance of
a study that is another patient's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Table, bindparam, exists, func, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from kernel.ids import InstanceUID, PatientRef, SeriesUID, StudyUID
from storage.digests import are_alike
from storage.engine import Transaction
from storage.journal import Place
from storage.patients import may_be_one
from storage.prepared import UIDS, Prepared, Row, among
from storage.tables.archive import ARRIVALS, INSTANCE_PATIENTS, INSTANCES, SERIES, STUDIES
from storage.tables.patients import PATIENTS

MAX_KNOWN = 1_000
MAX_REASON = 300
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"


class Admission(StrEnum):
    """What became of an arriving instance."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


class Conflict(StrEnum):
    """Why a readable instance is not admitted; the value is a constant code."""

    OTHER_CONTENT = "archive.uid_conflict"
    OTHER_PATIENT = "archive.patient_conflict"
    WITHDRAWN = "archive.was_withdrawn"

    @property
    def sentence(self) -> str:
        """What a person is told."""
        return _SENTENCES[self]


_SENTENCES = {
    Conflict.OTHER_CONTENT: "an instance with this UID and other bytes was received before; "
    "it is kept",
    Conflict.OTHER_PATIENT: "the study was received before for another patient; "
    "reports never mix the two",
    Conflict.WITHDRAWN: "this instance was withdrawn and does not come back by being sent again; "
    "'study restore' undoes a withdrawal",
}


@dataclass(frozen=True, slots=True)
class Admitted:
    """What became of an arriving instance; `conflict` says why one is quarantined."""

    admission: Admission
    conflict: Conflict | None = None


class NewInstance(NamedTuple):
    """What the index keeps of one instance; dates, times and numbers as the sender wrote them.

    `sender_organisation` is of a sender that is no registered device: those carry their
    organisation themselves.  A tuple, for one is made and read for each instance that comes.
    """

    instance_uid: InstanceUID
    series_uid: SeriesUID
    study_uid: StudyUID
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    patient_ref: PatientRef
    accession: str
    study_description: str
    study_date: str
    study_time: str
    series_number: str
    series_description: str
    instance_number: str
    body_part: str
    station_ae_title: str
    rows: int | None
    columns: int | None
    frames: int | None
    received_at: datetime
    source: str
    study_id: str = ""
    referring_physician: str = ""
    sender_organisation: str = ""


Arrived = tuple[NewInstance, Place]
DigestLike = Callable[[Place, str], str]
"""Reads the bytes of a place; returns their digest by the algorithm of another one."""


def not_alike(place: Place, other: str) -> str:
    """Read nothing: where all digests that come together are of one algorithm."""
    raise ValueError(f"{place.digest} and {other} are not of one algorithm, and nobody reads again")


class Known:
    """Studies and series that have rows; it only saves asking, and nothing depends on it.

    What a transaction finds or makes is kept once `confirm` is told of its commit, so that one
    rolled back leaves nothing here.  Rows of both tables are never deleted, and a study never
    changes its patient.  Used by one thread at a time.
    """

    def __init__(self) -> None:
        self.patients: dict[str, str] = {}
        self.series: set[str] = set()
        self._patients: dict[str, str] = {}
        self._series: set[str] = set()

    def owner(self, study_uid: str) -> str:
        """Return the patient reference of a study that is known or was noted."""
        return self.patients.get(study_uid) or self._patients[study_uid]

    def begin(self) -> None:
        """Forget what an earlier transaction told and did not confirm."""
        self._patients, self._series = {}, set()

    def note(self, *, patients: Mapping[str, str], series: Iterable[str]) -> None:
        """Note the patient reference of studies, and series, that have rows in a transaction."""
        self._patients.update(patients)
        self._series.update(series)

    def confirm(self) -> None:
        """Keep what was noted: its transaction is committed."""
        if len(self.patients) > MAX_KNOWN or len(self.series) > MAX_KNOWN:
            self.patients.clear()
            self.series.clear()
        self.patients.update(self._patients)
        self.series.update(self._series)
        self.begin()


def admit(
    tx: Transaction, row: NewInstance, place: Place, *, digest_like: DigestLike = not_alike
) -> Admission:
    """Admit one instance whose bytes are durable at `place`."""
    return admit_many(tx, [(row, place)], digest_like=digest_like)[0].admission


def admit_many(
    tx: Transaction,
    arrivals: Sequence[Arrived],
    *,
    digest_like: DigestLike = not_alike,
    known: Known | None = None,
    newcomers: Set[str] = frozenset(),
) -> list[Admitted]:
    """Admit instances whose bytes are durable; a few statements whatever their number.

    Parameters
    ----------
    digest_like
        Asked where an instance was stored before that is known by a digest of another algorithm.
    newcomers
        Patients who were registered in this transaction: nothing can have been corrected of them.

    Returns
    -------
    What became of each, in order.
    """
    known = known or Known()
    known.begin()
    begun = _with_studies(tx, arrivals, known, newcomers)
    _in_order(tx, arrivals)
    others = _naming_others(arrivals, known)
    misfiled = _misfiled(tx, others, known) if others else others
    fitting = [each for each in arrivals if each[0] not in misfiled] if misfiled else arrivals
    stored = _stored(tx, fitting, known, digest_like) if fitting else []
    if misfiled:
        rest = iter(stored)
        stored = [_REFUSED_PATIENT if row in misfiled else next(rest) for row, _ in arrivals]
    if named := _named(arrivals, stored, others) if others else []:
        _insert_missing(tx, INSTANCE_PATIENTS, named)
    _insert_missing(
        tx,
        ARRIVALS,
        [_arrival(row, place, each) for (row, place), each in zip(arrivals, stored, strict=True)],
    )
    _mark_grown(tx, arrivals, stored, begun)
    return stored


def quarantine(
    tx: Transaction,
    place: Place,
    *,
    source: str,
    code: str,
    reason: str,
    received_at: datetime,
    instance_uid: str | None = None,
) -> None:
    """Keep an arrival that cannot be admitted, with its reason, for a person to look at."""
    outcome = (Admission.QUARANTINED.value, code, reason[:MAX_REASON])
    _insert_missing(tx, ARRIVALS, [_arrival_row(place, instance_uid, source, received_at, outcome)])


def is_indexed(tx: Transaction, place: Place) -> bool:
    """Say whether a journal record has its row."""
    found = tx.execute(
        select(ARRIVALS.c.segment).where(
            ARRIVALS.c.segment == place.segment, ARRIVALS.c.offset == place.offset
        )
    )
    return found.first() is not None


_STORED = Admitted(Admission.STORED)
_DUPLICATE = Admitted(Admission.DUPLICATE)
_OTHER_CONTENT = Admitted(Admission.QUARANTINED, Conflict.OTHER_CONTENT)
_WITHDRAWN = Admitted(Admission.QUARANTINED, Conflict.WITHDRAWN)
_REFUSED_PATIENT = Admitted(Admission.QUARANTINED, Conflict.OTHER_PATIENT)

# The columns of what is inserted, in the order of the tuples that are made below.
_COLUMNS: Mapping[Table, tuple[str, ...]] = {
    STUDIES: (
        "study_uid",
        "patient_ref",
        "accession",
        "description",
        "study_date",
        "study_time",
        "study_id",
        "referring_physician",
        "station_ae_title",
        "sender_organisation",
        "first_arrival_at",
        "last_arrival_at",
        "unsettled",
        "manifest_version",
    ),
    SERIES: ("series_uid", "study_uid", "modality", "number", "description", "body_part"),
    INSTANCES: (
        "instance_uid",
        "series_uid",
        "study_uid",
        "sop_class_uid",
        "transfer_syntax_uid",
        "number",
        "rows",
        "columns",
        "frames",
        "digest",
        "length",
        "segment",
        "offset",
        "received_at",
    ),
    INSTANCE_PATIENTS: ("instance_uid", "study_uid", "patient_ref"),
    ARRIVALS: (
        "segment",
        "offset",
        "length",
        "digest",
        "outcome",
        "instance_uid",
        "source",
        "code",
        "reason",
        "received_at",
    ),
}
_INSERT: Mapping[Table, Prepared] = {
    table: Prepared(
        {
            "sqlite": sqlite.insert(table).on_conflict_do_nothing(),
            "postgresql": postgresql.insert(table).on_conflict_do_nothing(),
        },
        columns,
    )
    for table, columns in _COLUMNS.items()
}
# Statements are made once: the database layer then finds them compiled.
# A correction adds whom the next instance may name, and takes nothing away.
_RECEIVED = func.coalesce(STUDIES.c.received_patient_ref, STUDIES.c.patient_ref)
_OWNER = (
    select(
        _RECEIVED.label("patient_ref"),
        (STUDIES.c.patient_ref == _RECEIVED).label("as_received"),
        PATIENTS.c.survivor,
        PATIENTS.c.registered.is_not(None).label("described"),
        STUDIES.c.corrected_at,
    )
    .join(PATIENTS, PATIENTS.c.ref == _RECEIVED)
    .where(STUDIES.c.study_uid == bindparam("uid"))
)
# Shared with other arrivals, and held against a correction that is just being made: it then sees
# the study, or the study sees it.
_OWNER_OF = Prepared(
    {"sqlite": _OWNER, "postgresql": _OWNER.with_for_update(read=True, of=PATIENTS)}, ["uid"]
)
_LOCKED = Prepared(
    {
        "postgresql": select(STUDIES.c.study_uid)
        .where(among(STUDIES.c.study_uid, "postgresql"))
        .order_by(STUDIES.c.study_uid.collate("C"))  # as ours are sorted, whatever the locale
        .with_for_update(key_share=True)
    },
    [UIDS],
)
_WHERE_STORED = select(
    INSTANCES.c.instance_uid,
    INSTANCES.c.segment,
    INSTANCES.c.offset,
    INSTANCES.c.digest,
    INSTANCES.c.withdrawn,
    INSTANCES.c.sop_class_uid,
    INSTANCES.c.pack_key,
).where(INSTANCES.c.instance_uid.in_(bindparam("uids", expanding=True)))
_GREW = update(STUDIES).where(STUDIES.c.study_uid == bindparam("uid"))
# What a study is already is not written again: SQLite would write the index of those that are
# open, too.  PostgreSQL sees that it is the same, and takes the rows in one order this way.
_LATER = _GREW.where(STUDIES.c.unsettled == true()).values(last_arrival_at=bindparam("at"))
_OPENED = _GREW.values(unsettled=True, last_arrival_at=bindparam("at"))
_GROWN = Prepared({"sqlite": _LATER, "postgresql": _OPENED}, ["uid", "at"])
_OPEN_AGAIN = Prepared.on_both(lambda _: _OPENED, ["uid", "at"])
_NOTHING_CAME = (
    update(STUDIES)
    .where(
        STUDIES.c.study_uid == bindparam("uid"),
        ~exists(select(1).where(INSTANCES.c.study_uid == STUDIES.c.study_uid)),
    )
    .values(unsettled=False)
)


def _with_studies(
    tx: Transaction, arrivals: Sequence[Arrived], known: Known, newcomers: Set[str]
) -> Mapping[str, datetime | None]:
    """Make the rows of new studies and note whose each is.

    Returns
    -------
    The studies that were not known, with the last arrival that their row tells if that is new.
    """
    unknown = {
        row.study_uid: row for row, _ in reversed(arrivals) if row.study_uid not in known.patients
    }
    if not unknown:
        return {}
    all_new = _insert_missing(tx, STUDIES, [_study(row) for row in unknown.values()]) == len(
        unknown
    )
    owners: dict[str, str] = {
        uid: row.patient_ref if all_new and row.patient_ref in newcomers else _owner(tx, uid)
        for uid, row in sorted(unknown.items(), key=_patient_first)
    }
    known.note(patients=owners, series=())
    return {uid: row.received_at if all_new else None for uid, row in unknown.items()}


def _in_order(tx: Transaction, arrivals: Sequence[Arrived]) -> None:
    """Lock the studies of a group as corrections do, in the order of their keys.

    Else PostgreSQL locks them one by one as instances come that point to them.
    """
    if tx.dialect == "postgresql" and len(uids := {row.study_uid for row, _ in arrivals}) > 1:
        tx.rows(_LOCKED, (sorted(uids),))


def _owner(tx: Transaction, uid: str) -> str:
    """Return whose a study is, and see to it that it is shown as what its patient became."""
    ((owner, as_received, survivor, described, corrected_at),) = tx.rows(_OWNER_OF, (uid,))
    if (survivor or described) and as_received and corrected_at is None:
        _show_corrected(tx, uid, owner, survivor)
    found: str = owner
    return found


def _naming_others(arrivals: Sequence[Arrived], known: Known) -> frozenset[NewInstance]:
    """Return the instances that name another patient than the first of their study did."""
    return frozenset(row for row, _ in arrivals if known.owner(row.study_uid) != row.patient_ref)


def _misfiled(tx: Transaction, others: Set[NewInstance], known: Known) -> frozenset[NewInstance]:
    """Return those of them whose study is another person's."""
    pairs = {(row.study_uid, row.patient_ref) for row in others}
    apart = {(uid, ref) for uid, ref in pairs if not may_be_of(tx, uid, known.owner(uid), ref)}
    return frozenset(row for row in others if (row.study_uid, row.patient_ref) in apart)


def may_be_of(tx: Transaction, study_uid: str, owner: str, ref: str) -> bool:
    """Say whether an instance that names a patient may be of a study.

    It may if the two do not contradict each other, be it the patient for whom the study was
    received or the one whom a person says it is of.
    """
    if may_be_one(tx, owner, ref):
        return True
    shown_as = select(STUDIES.c.patient_ref).where(STUDIES.c.study_uid == study_uid)
    whose = tx.execute(shown_as).scalar()
    return whose is not None and whose != owner and may_be_one(tx, whose, ref)


def _named(
    arrivals: Sequence[Arrived], stored: Sequence[Admitted], others: Set[NewInstance]
) -> list[Row]:
    """Return whom the instances name that were stored and name another than their study."""
    return [
        (row.instance_uid, row.study_uid, row.patient_ref)
        for (row, _), each in zip(arrivals, stored, strict=True)
        if row in others and each.admission is Admission.STORED
    ]


def _show_corrected(tx: Transaction, study_uid: str, received: str, survivor: str | None) -> None:
    """Show a study that begins under the identity to which its patient was corrected before."""
    tx.execute(
        update(STUDIES)
        .where(STUDIES.c.study_uid == study_uid)
        .values(
            patient_ref=survivor or received,
            received_patient_ref=received,
            received_accession=STUDIES.c.accession,
            corrected_at=tx.at,
        )
    )


def _stored(
    tx: Transaction, arrivals: Sequence[Arrived], known: Known, digest_like: DigestLike
) -> list[Admitted]:
    unknown = {
        row.series_uid: row for row, _ in reversed(arrivals) if row.series_uid not in known.series
    }
    if unknown:
        _insert_missing(tx, SERIES, [_series(row) for row in unknown.values()])
        known.note(patients={}, series=unknown)
    made = _insert_missing(tx, INSTANCES, [_instance(row, place) for row, place in arrivals])
    if made == len(arrivals):
        return [_STORED] * made
    uids = [row.instance_uid for row, _ in arrivals]
    found = {row.instance_uid: row for row in tx.execute(_WHERE_STORED, {"uids": uids})}
    return [_compared(found[row.instance_uid], place, digest_like) for row, place in arrivals]


def _compared(stored: Any, place: Place, digest_like: DigestLike) -> Admitted:
    if (stored.segment, stored.offset) == (place.segment, place.offset):
        return _STORED
    alike = are_alike(stored.digest, place.digest)
    same = stored.digest == (place.digest if alike else digest_like(place, stored.digest))
    if stored.withdrawn is not None:
        # A rejection note goes with what it takes back, and may be told again.
        kept = stored.segment is not None or stored.pack_key is not None
        told_again = same and kept and stored.sop_class_uid == KEY_OBJECT_SELECTION
        return _DUPLICATE if told_again else _WITHDRAWN
    return _DUPLICATE if same else _OTHER_CONTENT


def _mark_grown(
    tx: Transaction,
    arrivals: Sequence[Arrived],
    admitted: Sequence[Admitted],
    begun: Mapping[str, datetime | None],
) -> None:
    """Note when the last instance of each study came, where its row does not tell that yet."""
    grown: dict[str, datetime] = {}
    for (row, _), each in zip(arrivals, admitted, strict=True):
        if each.admission is Admission.STORED:
            grown[row.study_uid] = max(row.received_at, grown.get(row.study_uid, row.received_at))
    later = [(uid, at) for uid, at in sorted(grown.items()) if begun.get(uid) != at]
    if later and tx.run(_GROWN, later) < len(later):
        tx.run(_OPEN_AGAIN, later)
    for uid in sorted(begun.keys() - grown.keys()):
        tx.execute(_NOTHING_CAME, {"uid": uid})


def _insert_missing(tx: Transaction, table: Table, rows: list[Row]) -> int:
    """Insert the rows that are not there; return how many those were."""
    # Sorted, so that two nodes that insert the same keys take their locks in the same order.
    rows.sort(key=_first)
    return tx.run(_INSERT[table], rows)


_first = itemgetter(0)


def _patient_first(item: tuple[str, NewInstance]) -> tuple[str, str]:
    """Order studies as corrections lock their patients."""
    uid, row = item
    return row.patient_ref, uid


def _study(row: NewInstance) -> Row:
    return (
        row.study_uid,
        row.patient_ref,
        row.accession,
        row.study_description,
        row.study_date,
        row.study_time,
        row.study_id,
        row.referring_physician,
        row.station_ae_title,
        row.sender_organisation,
        row.received_at,
        row.received_at,
        True,  # unsettled, unless nothing of it is stored in the end
        0,
    )


def _series(row: NewInstance) -> Row:
    return (
        row.series_uid,
        row.study_uid,
        row.modality,
        row.series_number,
        row.series_description,
        row.body_part,
    )


def _instance(row: NewInstance, place: Place) -> Row:
    return (
        row.instance_uid,
        row.series_uid,
        row.study_uid,
        row.sop_class_uid,
        row.transfer_syntax_uid,
        row.instance_number,
        row.rows,
        row.columns,
        row.frames,
        place.digest,
        place.length,
        place.segment,
        place.offset,
        row.received_at,
    )


def _arrival(row: NewInstance, place: Place, admitted: Admitted) -> Row:
    conflict = admitted.conflict
    said = (None, None) if conflict is None else (conflict.value, conflict.sentence)
    outcome = (admitted.admission.value, *said)
    return _arrival_row(place, row.instance_uid, row.source, row.received_at, outcome)


def _arrival_row(
    place: Place,
    uid: str | None,
    source: str,
    received_at: datetime,
    outcome: tuple[str, str | None, str | None],
) -> Row:
    said, code, reason = outcome
    return (
        place.segment,
        place.offset,
        place.length,
        place.digest,
        said,
        uid,
        source,
        code,
        reason,
        received_at,
    )
