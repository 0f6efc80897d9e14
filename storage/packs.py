"""Packs: a finished study as one plain ZIP of its Part 10 files, each reachable by byte range.

A pack is built the same way from the same instances, byte for byte, so that building it twice, or
being killed half way, ends in the same object.  Only when the stored pack was read back and every
instance in it has its digest does the index point to it, and only then is journal space freed.
"""

import zipfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
from sqlalchemy import not_, select, update

from kernel.digest import digest_of_value
from kernel.errors import Corrupt, Transient
from storage.archive import Admission
from storage.digests import digest_of_file, hashing, spelled
from storage.engine import Database, Transaction
from storage.insertion import insert_into
from storage.journal import Journal, NoSuchPlace, Place, PlaceLost
from storage.like import begins
from storage.objects import (
    ObjectDiffers,
    ObjectMissing,
    ObjectStore,
    ObjectUnreadable,
    unavailable,
)
from storage.tables.archive import ARRIVALS, INSTANCES, PACKS, STUDIES
from storage.tables.withdrawals import WITHDRAWALS

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP can name
_LOCAL_HEADER_BYTES = 30
_DUE_LIMIT = 50
_VERIFIED_AT_ONCE = 16 << 20
_PIECE_BYTES = 4 << 20
_READ_AT_ONCE = 1 << 20
_NOT_KEPT = (ObjectDiffers, ObjectUnreadable)

log = structlog.get_logger()


class PackDamaged(Corrupt):
    """A pack does not hold what was put into it."""

    code = "storage.pack_damaged"


class ReadingStopped(Transient):
    """A pack was not read to its end because its reader was told to end."""

    code = "storage.reading_stopped"


@dataclass(frozen=True, slots=True)
class Member:
    """An instance that a pack is to hold, and where its bytes lie now."""

    instance_uid: str
    place: Place


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack that is stored and was read back; `length` and `offsets` are in bytes."""

    key: str
    digest: str
    length: int
    members: tuple[Member, ...]
    offsets: tuple[int, ...]

    def row(self, study_uid: str, node: str, at: datetime) -> dict[str, Any]:
        """Return its row."""
        return {
            "pack_key": self.key,
            "study_uid": study_uid,
            "node": node,
            "digest": self.digest,
            "length": self.length,
            "instances": len(self.members),
            "packed_at": at,
        }


class Packer:
    """Packs the studies whose bytes lie in the journal of this node.

    Parameters
    ----------
    objects
        Where packs are put.
    scratch
        Where they are built.
    stored
        What is read back to verify them: the store itself, where `objects` keeps copies at hand.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        objects: ObjectStore,
        scratch: Path,
        *,
        stored: ObjectStore | None = None,
    ) -> None:
        self._database = database
        self._journal = journal
        self._objects = objects
        self._stored = stored or objects
        self._scratch = scratch
        self._lost: set[Place] = set()
        scratch.mkdir(parents=True, exist_ok=True)

    def due(self, tx: Transaction, *, besides: Collection[str] = ()) -> list[str]:
        """Return settled studies that have instances in this node's journal, but for some."""
        mine = begins(INSTANCES.c.segment, f"{self._journal.node}-", tx.dialect)
        return list(
            tx.execute(
                select(INSTANCES.c.study_uid)
                .join(STUDIES, STUDIES.c.study_uid == INSTANCES.c.study_uid)
                .where(
                    INSTANCES.c.segment.is_not(None),
                    *mine,
                    not_(STUDIES.c.unsettled),
                    INSTANCES.c.study_uid.not_in(besides),
                )
                .distinct()
                .limit(_DUE_LIMIT)
            ).scalars()
        )

    def pack(self, study_uid: str) -> None:
        """Pack one study; the journal space is freed by `free_segments`.

        Raises
        ------
        ObjectStoreUnavailable
            Try later; the journal still holds everything.
        PackDamaged
            The stored pack is not what was put; the journal keeps its bytes.
        PlaceLost, NoSuchPlace
            The journal does not have what the index says.
        """
        members = self._members(study_uid)
        if not members:
            return
        try:
            packed = self.put(study_uid, members, self._pieces)
        except NoSuchPlace:
            if self._members(study_uid) == members:
                raise
            return  # another run packed it and freed the segment
        self._point(study_uid, packed)

    @property
    def node(self) -> str:
        """The node whose journal is packed."""
        return self._journal.node

    def put(
        self,
        study_uid: str,
        members: Sequence[Member],
        pieces: Callable[[Place], Iterable[bytes]],
        *,
        begun: Callable[[str], None] = lambda _key: None,
    ) -> Packed:
        """Store a pack of some instances and read it back; no row points to it yet.

        Parameters
        ----------
        pieces
            Gives the bytes of an instance.
        begun
            Told the key before anything is stored under it.

        Raises
        ------
        PackDamaged
            The stored pack is not what was put, nor was it when it was put once more.
        ObjectStoreUnavailable
            The disk has no room to build it, or the store does not answer.
        """
        with TemporaryDirectory(dir=self._scratch) as scratch:
            path = Path(scratch) / "pack.zip"
            try:
                offsets = _build(path, members, pieces)
            except OSError as error:
                raise unavailable(error) from error
            digest, length = digest_of_file(path), path.stat().st_size
            key = f"packs/{digest_of_value(study_uid)[:32]}/{digest}.zip"
            begun(key)
            try:
                self._objects.put(key, path, digest)
                self._verify(key, path, members, offsets)
            except (*_NOT_KEPT, PackDamaged) as damage:
                # Its key is its digest: whoever relied on what lies there gets what it was.
                log.warning("pack.stored_again", key=key, code=damage.code)
                self._objects.replace(key, path, digest)
                self._verify(key, path, members, offsets)
        return Packed(key, digest, length, tuple(members), tuple(offsets))

    def free_segments(self) -> list[str]:
        """Free every segment all of whose records are packed, duplicates or moved quarantine."""
        freed = []
        for path in self._journal.segments():
            if not self._journal.is_in_use(path.name) and self._is_spent(path.name):
                self._journal.free(path.name)
                freed.append(path.name)
        return freed

    def move_quarantine(self) -> None:
        """Move quarantined bytes of this node's journal to the object store, where they stay."""
        with self._database.reading() as tx:
            mine = ARRIVALS.c.segment.startswith(f"{self._journal.node}-", autoescape=True)
            rows = tx.execute(
                select(ARRIVALS)
                .where(
                    ARRIVALS.c.outcome == Admission.QUARANTINED.value,
                    ARRIVALS.c.object_key.is_(None),
                    mine,
                )
                .order_by(ARRIVALS.c.received_at)
                .limit(_DUE_LIMIT + len(self._lost))
            ).all()
        for row in rows:
            place = Place(row.segment, row.offset, row.length, row.digest)
            if place not in self._lost:
                self._move_quarantined(place)

    def _move_quarantined(self, place: Place) -> None:
        """Move one; bytes that are lost are said to be once, and keep no others."""
        try:
            body = self._journal.read(place)
        except (PlaceLost, NoSuchPlace) as error:
            self._lost.add(place)
            log.error("quarantine.not_moved", segment=place.segment, code=error.code)
            return
        key = f"quarantine/{place.digest}"
        try:
            self._objects.put(key, body, place.digest)
        except _NOT_KEPT as damage:  # its key is its digest, as that of a pack is
            log.warning("quarantine.stored_again", key=key, code=damage.code)
            self._objects.replace(key, body, place.digest)
        with self._database.transaction() as tx:
            tx.execute(
                update(ARRIVALS)
                .where(ARRIVALS.c.segment == place.segment, ARRIVALS.c.offset == place.offset)
                .values(object_key=key)
            )

    def _members(self, study_uid: str) -> list[Member]:
        mine = INSTANCES.c.segment.startswith(f"{self._journal.node}-", autoescape=True)
        with self._database.reading() as tx:
            rows = tx.execute(
                select(INSTANCES)
                .where(INSTANCES.c.study_uid == study_uid, mine)
                # As they came: so the journal is read from front to back, and a series, which
                # devices send in its order, can be read from the pack the same way.
                .order_by(INSTANCES.c.segment, INSTANCES.c.offset)
            ).all()
        return [
            Member(row.instance_uid, Place(row.segment, row.offset, row.length, row.digest))
            for row in rows
        ]

    def _pieces(self, place: Place) -> Iterable[bytes]:
        """Yield an instance; a large one is never in memory as a whole."""
        if place.length <= _PIECE_BYTES:
            yield self._journal.read(place)
            return
        hasher = hashing(place.digest)
        for start in range(0, place.length, _PIECE_BYTES):
            piece = self._journal.read(place, start=start, length=_PIECE_BYTES)
            hasher.update(piece)
            yield piece
        if spelled(hasher) != place.digest:
            raise PlaceLost("journal bytes do not match their digest", segment=place.segment)

    def _verify(
        self, key: str, path: Path, members: Sequence[Member], offsets: Sequence[int]
    ) -> None:
        """Read the stored pack once, in long ranges: a request an instance takes minutes.

        It is what was built, to the last byte, and what was built holds what was received.
        """
        waiting = list(zip(members, offsets, strict=True))
        hasher = hashing(members[0].place.digest)
        for start, built in _long_pieces(path):
            piece = self._stored.get(key, start=start, length=len(built))
            if piece != built:
                raise _damaged(key)
            while waiting and waiting[0][1] < start + len(piece):
                member, offset = waiting[0]
                end = offset + member.place.length
                hasher.update(piece[max(0, offset - start) : max(0, end - start)])
                if end > start + len(piece):
                    break  # it goes on in the next piece
                if spelled(hasher) != member.place.digest:
                    raise _damaged(key)
                waiting.pop(0)
                if waiting:
                    hasher = hashing(waiting[0][0].place.digest)
        if waiting:
            raise _damaged(key)

    def _point(self, study_uid: str, packed: Packed) -> None:
        with self._database.transaction() as tx:
            # Before its instances: who takes some of them away locks the study first, too.
            study = select(STUDIES.c.study_uid).where(STUDIES.c.study_uid == study_uid)
            tx.execute(study.with_for_update(read=True, key_share=True))
            row = packed.row(study_uid, self._journal.node, tx.at)
            tx.execute(insert_into(tx, PACKS).on_conflict_do_nothing(), row)
            for member, offset in zip(packed.members, packed.offsets, strict=True):
                tx.execute(
                    update(INSTANCES)
                    .where(
                        INSTANCES.c.instance_uid == member.instance_uid,
                        INSTANCES.c.segment == member.place.segment,
                        INSTANCES.c.offset == member.place.offset,
                    )
                    .values(segment=None, pack_key=packed.key, offset=offset)
                )
            _purge_again(tx, study_uid, {each.instance_uid for each in packed.members})

    def _is_spent(self, segment: str) -> bool:
        records = self._journal.records_of(segment)
        with self._database.reading() as tx:
            in_use = tx.execute(
                select(INSTANCES.c.instance_uid).where(INSTANCES.c.segment == segment).limit(1)
            ).first()
            rows = tx.execute(
                select(ARRIVALS.c.offset, ARRIVALS.c.outcome, ARRIVALS.c.object_key).where(
                    ARRIVALS.c.segment == segment
                )
            ).all()
        kept = {
            row.offset
            for row in rows
            if row.outcome != Admission.QUARANTINED.value or row.object_key is not None
        }
        return in_use is None and all(
            record.place.offset in kept or not self._journal.is_whole(record.place)
            for record in records
        )


def verify_packs(database: Database, objects: ObjectStore) -> Iterable[str]:
    """Re-read every pack; yield one sentence for each that is missing or not what was stored."""
    with database.reading() as tx:
        rows = tx.execute(select(PACKS.c.pack_key, PACKS.c.digest, PACKS.c.length)).all()
    for row in rows:
        problem = pack_problem(objects, row.pack_key, row.digest, row.length)
        if problem is not None:
            yield problem


def pack_problem(
    objects: ObjectStore,
    key: str,
    digest: str,
    length: int,
    *,
    go: Callable[[int], bool] = lambda _length: True,
) -> str | None:
    """Re-read a pack, in pieces; return what is wrong with it, None if nothing is.

    Parameters
    ----------
    go
        Asked before so many bytes are read; False ends the reading.

    Raises
    ------
    ReadingStopped
        `go` said so.
    """
    size = objects.size(key)
    if size is None:
        return f"pack {key} is missing"
    hasher = hashing(digest)
    try:
        for start in range(0, size, _READ_AT_ONCE):
            if not go(min(_READ_AT_ONCE, size - start)):
                raise ReadingStopped("the reading was told to end")
            hasher.update(objects.get(key, start=start, length=_READ_AT_ONCE))
    except ObjectMissing:
        return f"pack {key} is missing"
    except ObjectUnreadable:
        return f"pack {key} cannot be read"
    whole = size == length and spelled(hasher) == digest
    return None if whole else f"pack {key} is not what was stored"


def _build(
    path: Path, members: Sequence[Member], pieces: Callable[[Place], Iterable[bytes]]
) -> list[int]:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as pack:
        for member in members:
            entry = zipfile.ZipInfo(f"{member.instance_uid}.dcm", _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.file_size = member.place.length  # as `writestr` does: the same bytes again
            with pack.open(entry, "w") as file:
                for piece in pieces(member.place):
                    file.write(piece)
        infos = pack.infolist()
    return [_data_offset(path, info) for info in infos]


def _purge_again(tx: Transaction, study_uid: str, packed: set[str]) -> None:
    """Have a purge look again that ended while what it removed was being packed."""
    gone = tx.execute(
        select(INSTANCES.c.instance_uid, INSTANCES.c.withdrawn).where(
            INSTANCES.c.study_uid == study_uid,
            INSTANCES.c.withdrawn.is_not(None),
            INSTANCES.c.segment.is_(None),
            INSTANCES.c.pack_key.is_(None),
        )
    ).all()
    numbers = {row.withdrawn for row in gone if row.instance_uid in packed}
    if numbers:
        again = update(WITHDRAWALS).where(WITHDRAWALS.c.number.in_(numbers))
        tx.execute(again.values(purged_at=None, purge_at=tx.at))


def _long_pieces(path: Path) -> Iterable[tuple[int, bytes]]:
    """Yield a file in long pieces, each with where it begins."""
    start = 0
    with path.open("rb") as file:
        while piece := file.read(_VERIFIED_AT_ONCE):
            yield start, piece
            start += len(piece)


def _damaged(key: str) -> PackDamaged:
    return PackDamaged("a stored pack does not hold what was put into it", key=key)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a stored member's bytes begin: APPNOTE 4.3.7, behind name and extra field."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER_BYTES)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return info.header_offset + _LOCAL_HEADER_BYTES + name + extra
