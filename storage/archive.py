"""The archive index: which instances there are, where their bytes lie, what a study held when.

How instances come in is in `storage.arrivals`, whose names are part of this module's face.  A
*manifest* freezes what a study consists of as a list of digests, so that a report can say exactly
what its author saw.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Column, ColumnElement, insert, literal, select, true, tuple_, update

from kernel.digest import digest_of_value
from kernel.errors import Corrupt, NotFound
from kernel.ids import PatientRef, StudyUID
from storage.arrivals import Admission as Admission
from storage.arrivals import Admitted as Admitted
from storage.arrivals import Conflict as Conflict
from storage.arrivals import DigestLike as DigestLike
from storage.arrivals import Known as Known
from storage.arrivals import NewInstance as NewInstance
from storage.arrivals import admit as admit
from storage.arrivals import admit_many as admit_many
from storage.arrivals import is_indexed as is_indexed
from storage.arrivals import quarantine as quarantine
from storage.engine import Database, Transaction
from storage.hidden import INSTANCE_SHOWN
from storage.journal import Journal, NoSuchPlace, Place, SegmentElsewhere
from storage.objects import ObjectDiffers, ObjectMissing, ObjectStore, verified
from storage.series_queries import held
from storage.tables.archive import ARRIVALS, INSTANCES, MANIFESTS, SERIES, STUDIES

# As the index has it, word for word: "IS 1" would go through all studies.
UNSETTLED: ColumnElement[bool] = STUDIES.c.unsettled == true()


class StudyUnknown(NotFound):
    """No such study, or no manifest of it yet."""

    code = "archive.study_unknown"


class InstanceUnknown(NotFound):
    """No such instance."""

    code = "archive.instance_unknown"


class InstanceWithdrawn(InstanceUnknown):
    """The instance was withdrawn."""

    code = "archive.instance_withdrawn"


class InstanceDamaged(Corrupt):
    """The stored bytes of an instance are not those that were received."""

    code = "archive.instance_damaged"


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One instance of a manifest; `digest` and `length` (bytes) are of the whole Part 10 file."""

    instance_uid: str
    series_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    digest: str
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a study consisted of at one moment."""

    study_uid: StudyUID
    version: int
    digest: str
    frozen_at: datetime
    last_received_at: datetime
    patient_ref: PatientRef
    accession: str
    study_description: str
    study_date: str
    study_time: str
    station_ae_title: str
    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    entries: tuple[ManifestEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A study with instances that no manifest holds yet."""

    study_uid: StudyUID
    accession: str
    station_ae_title: str
    manifest_version: int
    first_arrival_at: datetime
    last_arrival_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """An arrival that was kept but not admitted, and why."""

    segment: str
    offset: int
    length: int
    digest: str
    instance_uid: str | None
    source: str
    code: str
    reason: str
    received_at: datetime


def quarantined(tx: Transaction, *, limit: int = 200) -> list[Quarantined]:
    """Return what was kept but not admitted, the newest first."""
    found = tx.execute(
        select(ARRIVALS)
        .where(ARRIVALS.c.outcome == Admission.QUARANTINED.value)
        .order_by(ARRIVALS.c.received_at.desc())
        .limit(limit)
    )
    names = [name for name in Quarantined.__dataclass_fields__ if name not in {"code", "reason"}]
    return [
        Quarantined(
            **{name: row[name] for name in names},
            code=row["code"] or "",
            reason=row["reason"] or "",
        )
        for row in found.mappings()
    ]


def unsettled(tx: Transaction, *, arrived_before: datetime) -> Iterator[Unsettled]:
    """Yield the studies with unfrozen instances, none of which came after `arrived_before`."""
    return chain.from_iterable(pages_of(tx, STUDIES.c.last_arrival_at <= arrived_before))


def pages_of(
    tx: Transaction,
    *such: ColumnElement[bool],
    oldest: Column[datetime] = STUDIES.c.last_arrival_at,
    page: int = 200,
) -> Iterator[list[Unsettled]]:
    """Yield the studies with unfrozen instances that are such, those with the oldest moment first.

    All of them, page by page: many that wait long must not keep a later one from its turn.
    """
    at = (oldest, STUDIES.c.study_uid)
    wanted = select(STUDIES).where(UNSETTLED, *such).order_by(*at).limit(page)
    found = [dict(row) for row in tx.execute(wanted).mappings()]
    while found:
        yield [_unsettled(row) for row in found]
        last = tuple_(*(literal(found[-1][column.name], column.type) for column in at))
        found = [dict(row) for row in tx.execute(wanted.where(tuple_(*at) > last)).mappings()]


UNSETTLED_UIDS = select(STUDIES.c.study_uid).where(UNSETTLED)
"""Of the studies that have instances that no manifest holds yet."""


def unsettled_study(tx: Transaction, study_uid: str) -> Unsettled | None:
    """Lock one study and return it if it has unfrozen instances."""
    row = (
        tx.execute(
            select(STUDIES).where(STUDIES.c.study_uid == study_uid, UNSETTLED).with_for_update()
        )
        .mappings()
        .first()
    )
    return None if row is None else _unsettled(dict(row))


def freeze_manifest(tx: Transaction, study_uid: str) -> Manifest | None:
    """Freeze what the study holds now as its next manifest; None if nothing is new.

    Raises
    ------
    StudyUnknown
        No instance of the study was ever admitted.
    """
    study = (
        tx.execute(select(STUDIES).where(STUDIES.c.study_uid == study_uid).with_for_update())
        .mappings()
        .first()
    )
    if study is None:
        raise StudyUnknown("no instance of this study was ever admitted", study_uid=study_uid)
    if not study["unsettled"]:
        return None
    entries = _entries(tx, study_uid)
    if not entries:  # all that came was withdrawn: there is nothing that could be frozen
        tx.execute(update(STUDIES).where(STUDIES.c.study_uid == study_uid).values(unsettled=False))
        return None
    version = study["manifest_version"] + 1
    body = [list(asdict(entry).values()) for entry in entries]
    tx.execute(
        insert(MANIFESTS).values(
            study_uid=study_uid,
            version=version,
            digest=digest_of_value([study_uid, version, body]),
            body=body,
            frozen_at=tx.at,
            last_received_at=study["last_arrival_at"],
        )
    )
    tx.execute(
        update(STUDIES)
        .where(STUDIES.c.study_uid == study_uid)
        .values(unsettled=False, manifest_version=version)
    )
    return manifest(tx, study_uid, version)


def manifest(tx: Transaction, study_uid: str, version: int | None = None) -> Manifest:
    """Return a manifest of a study, the latest unless `version` names one.

    Raises
    ------
    StudyUnknown
        There is no such study or manifest.
    """
    query = (
        select(MANIFESTS, STUDIES)
        .join(STUDIES, STUDIES.c.study_uid == MANIFESTS.c.study_uid)
        .where(MANIFESTS.c.study_uid == study_uid)
        .order_by(MANIFESTS.c.version.desc())
        .limit(1)
    )
    if version is not None:
        query = query.where(MANIFESTS.c.version == version)
    row = tx.execute(query).mappings().first()
    if row is None:
        what = (
            "this study has no such manifest" if version else "no study with this UID is whole here"
        )
        raise StudyUnknown(what, study_uid=study_uid)
    entries = tuple(ManifestEntry(*entry) for entry in row["body"])
    parts = tx.execute(
        select(SERIES.c.body_part).where(SERIES.c.study_uid == study_uid).distinct()
    ).scalars()
    return Manifest(
        study_uid=StudyUID(study_uid),
        version=row["version"],
        digest=row["digest"],
        frozen_at=row["frozen_at"],
        last_received_at=row["last_received_at"],
        patient_ref=PatientRef(row["patient_ref"]),
        accession=row["accession"],
        study_description=row["description"],
        study_date=row["study_date"],
        study_time=row["study_time"],
        station_ae_title=row["station_ae_title"],
        modalities=_by_frequency(entry.modality for entry in entries),
        body_parts=tuple(sorted(part for part in parts if part)),
        entries=entries,
    )


def latest_version(tx: Transaction, study_uid: str) -> int:
    """Return the number of the last manifest of a study; 0 before the first."""
    query = select(STUDIES.c.manifest_version).where(STUDIES.c.study_uid == study_uid)
    return int(tx.execute(query).scalar() or 0)


def verify_manifests(tx: Transaction) -> Iterable[str]:
    """Yield one sentence for each manifest that is not what was frozen or lost an instance."""
    of_study, known = "", dict[str, str]()
    for row in _all_manifests(tx):
        if row["study_uid"] != of_study:
            of_study, known = row["study_uid"], _digests_of(tx, row["study_uid"])
        name = f"manifest {row['version']} of study {of_study}"
        content = [of_study, row["version"], row["body"]]
        if digest_of_value(content) != row["digest"]:
            yield f"{name} was changed after it was frozen"
        for entry in (ManifestEntry(*parts) for parts in row["body"]):
            if known.get(entry.instance_uid) != entry.digest:
                yield f"{name} names instance {entry.instance_uid}, which is not as it was"


def _all_manifests(tx: Transaction, *, page: int = 100) -> Iterator[Mapping[Any, Any]]:
    """Yield every manifest, those of a study together; a page of them is in memory."""
    key = (MANIFESTS.c.study_uid, MANIFESTS.c.version)
    wanted = select(MANIFESTS).order_by(*key).limit(page)
    found = tx.execute(wanted).mappings().all()
    while found:
        yield from found
        last = tuple_(*(literal(found[-1][column.name], column.type) for column in key))
        found = tx.execute(wanted.where(tuple_(*key) > last)).mappings().all()


def _digests_of(tx: Transaction, study_uid: str) -> dict[str, str]:
    held = select(INSTANCES.c.instance_uid, INSTANCES.c.digest)
    found = tx.execute(held.where(INSTANCES.c.study_uid == study_uid))
    return {row.instance_uid: row.digest for row in found}


class Archive:
    """Reads instances wherever their bytes lie: in this node's journal or in a pack."""

    def __init__(self, database: Database, journal: Journal, objects: ObjectStore) -> None:
        self.database = database
        self.journal = journal
        self.objects = objects

    def read(self, instance_uid: str) -> bytes:
        """Return the Part 10 file of an instance exactly as it was received.

        Raises
        ------
        InstanceUnknown
            No such instance, or it was withdrawn.
        InstanceDamaged
            The stored bytes are not those that were received.
        SegmentElsewhere
            They lie in another node's journal and are not packed yet: try later.
        """
        row = self._row(instance_uid)
        if row["withdrawn"] is not None:
            raise InstanceWithdrawn("this instance was withdrawn", instance_uid=instance_uid)
        return self._found(row)

    def read_kept(self, instance_uid: str) -> bytes | None:
        """Return an instance also if it was withdrawn; None if it was purged."""
        row = self._row(instance_uid)
        return None if _is_tombstone(row) else self._found(row)

    def _found(self, row: Mapping[str, Any]) -> bytes:
        try:
            return self._read(row)
        except (NoSuchPlace, ObjectMissing):  # packed, or its pack rewritten, in between
            return self._read(self._row(row["instance_uid"]))

    def instances_of(self, study_uid: str, series_uid: str | None = None) -> list[str]:
        """Return the instance UIDs of a study, or of one series, in reading order."""
        with self.database.reading() as tx:
            return [each.instance_uid for each in held(tx, study_uid, series_uid)]

    def verify(self) -> Iterable[str]:
        """Re-read every instance and yield one sentence for each that is damaged or missing.

        What lies in the journal of another node is verified there.
        """
        last = ""
        while True:
            with self.database.reading() as tx:
                uids = list(
                    tx.execute(
                        select(INSTANCES.c.instance_uid)
                        .where(INSTANCES.c.instance_uid > last)
                        .order_by(INSTANCES.c.instance_uid)
                        .limit(500)
                    ).scalars()
                )
            if not uids:
                return
            for uid in uids:
                try:
                    self.read_kept(uid)
                except SegmentElsewhere:
                    continue
                except (Corrupt, NotFound) as error:
                    yield f"instance {uid}: {error.sentence}"
            last = uids[-1]

    def _row(self, instance_uid: str) -> Mapping[str, Any]:
        with self.database.reading() as tx:
            row = (
                tx.execute(select(INSTANCES).where(INSTANCES.c.instance_uid == instance_uid))
                .mappings()
                .first()
            )
        if row is None:
            raise InstanceUnknown("no instance has this UID", instance_uid=instance_uid)
        return dict(row)

    def _read(self, row: Mapping[str, Any]) -> bytes:
        if _is_tombstone(row):
            raise InstanceWithdrawn("this instance was withdrawn", instance_uid=row["instance_uid"])
        if row["pack_key"] is None:
            place = Place(row["segment"], row["offset"], row["length"], row["digest"])
            return self.journal.read(place)
        return in_pack(self.objects, row["pack_key"], row["offset"], row["length"], row["digest"])


def in_pack(objects: ObjectStore, key: str, offset: int, length: int, digest: str) -> bytes:
    """Return the bytes of an instance from its pack.

    Raises
    ------
    InstanceDamaged
        They are not those that were received.
    """
    try:
        return verified(objects, key, start=offset, length=length, digest=digest)
    except ObjectDiffers as error:
        raise InstanceDamaged("a pack does not hold the bytes that were received") from error


def _is_tombstone(row: Mapping[str, Any]) -> bool:
    """Say whether only the row of an instance is left, with its digest and why it went."""
    return row["pack_key"] is None and row["segment"] is None


def _unsettled(row: Mapping[str, Any]) -> Unsettled:
    return Unsettled(**{name: row[name] for name in Unsettled.__dataclass_fields__})


def _entries(tx: Transaction, study_uid: str) -> list[ManifestEntry]:
    found = tx.execute(
        select(
            INSTANCES.c.instance_uid,
            INSTANCES.c.series_uid,
            INSTANCES.c.sop_class_uid,
            INSTANCES.c.transfer_syntax_uid,
            SERIES.c.modality,
            INSTANCES.c.digest,
            INSTANCES.c.length,
        )
        .join(SERIES, SERIES.c.series_uid == INSTANCES.c.series_uid)
        .where(INSTANCES.c.study_uid == study_uid, INSTANCE_SHOWN)
        .order_by(INSTANCES.c.instance_uid)
    )
    return [ManifestEntry(*tuple(row)) for row in found]


def _by_frequency(values: Iterable[str]) -> tuple[str, ...]:
    counted = Counter(value for value in values if value)
    return tuple(value for value, _ in sorted(counted.items(), key=lambda kv: (-kv[1], kv[0])))
