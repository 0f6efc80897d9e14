"""Purge: after its time of grace the bytes of a withdrawal are removed, and its rows stay.

A pack is never changed.  What is to stay of it is stored as another pack and read back; one
transaction then lets the index point there, turns the rows of what goes into tombstones and lists
the old pack for removal.  Whoever reads meanwhile is served by the old pack or by the new one; a
purge that is killed anywhere is done again from its beginning, with the same result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import delete, select, update

from kernel.errors import Transient
from kernel.people import ENGINE
from storage import audit, claims
from storage.archive import InstanceDamaged
from storage.digests import hashing, spelled
from storage.engine import Database, Transaction
from storage.insertion import insert_into
from storage.journal import Place
from storage.objects import ObjectStore
from storage.packs import Member, Packed, Packer
from storage.retention import Keeping, WithdrawalRefused, require_free
from storage.signs import Sign, due_by
from storage.tables.archive import INSTANCES, PACKS, STUDIES
from storage.tables.withdrawals import REMOVALS, WITHDRAWALS
from storage.work import DueWork

LEASE = timedelta(minutes=10)
"""After so long another may try: whoever had it was killed, or could not do it yet."""
LOOK_AGAIN = timedelta(days=1)
"""So long a purge waits that a hold or an open case forbids."""
READERS_END = timedelta(hours=1)
"""So long a pack stays that nothing points to: who began to read it may end."""
_UNUSED = timedelta(days=1)
_DUE_LIMIT = 20
_PIECE_BYTES = 4 << 20

KeepingOf = Callable[[Transaction, str], Keeping]
DerivedOf = Callable[[Transaction, str, frozenset[str]], Iterable[str]]

log = structlog.get_logger()


class RemovalUnderWay(Transient):
    """A pack that is to be stored again is just being removed."""

    code = "storage.removal_under_way"


@dataclass(frozen=True, slots=True)
class _Pack:
    """A pack with what is to stay of it."""

    key: str
    stays: tuple[Member, ...]


class Purger:
    """Purges withdrawals whose time has come, and removes objects that nothing points to.

    Parameters
    ----------
    keeping_of
        Tells what the rules need to know of a study, cases and reports among it.
    derived_of
        Names the objects that were made from some instances of a study.
    """

    def __init__(
        self,
        database: Database,
        packer: Packer,
        objects: ObjectStore,
        *,
        keeping_of: KeepingOf,
        derived_of: DerivedOf,
    ) -> None:
        self._database = database
        self._packer = packer
        self._objects = objects
        self._keeping_of = keeping_of
        self._derived_of = derived_of

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="storage.purge",
                queue="default",
                due=self.due,
                run=self.purge,
                signs=(Sign(lambda at: select(1).where(_open(), WITHDRAWALS.c.purge_at <= at)),),
            ),
            DueWork(
                name="storage.remove",
                queue="default",
                due=self.removable,
                run=self.remove,
                signs=(due_by(REMOVALS.c.due_at),),
            ),
        ]

    def due(self, tx: Transaction) -> list[str]:
        """Return the numbers of the withdrawals whose grace is over."""
        query = (
            select(WITHDRAWALS.c.number)
            .where(_open(), WITHDRAWALS.c.purge_at <= tx.at)
            .order_by(WITHDRAWALS.c.purge_at)
            .limit(_DUE_LIMIT)
        )
        return [str(number) for number in tx.execute(query).scalars()]

    def removable(self, tx: Transaction) -> list[str]:
        """Return the keys of the objects whose turn to go has come."""
        return claims.due(tx, REMOVALS.c.object_key, limit=_DUE_LIMIT)

    def purge(self, number: str) -> None:
        """Purge one withdrawal if it is due; done twice, it is done once."""
        with self._database.transaction() as tx:
            study_uid = self._claimed(tx, int(number))
        if study_uid is None:
            return
        self._packer.pack(study_uid)
        with self._database.reading() as tx:
            if _in_journal(tx, int(number)):
                return  # of another node, which packs it: due again after the lease
            packs = _packs(tx, study_uid, int(number))
        made = {pack.key: self._rewritten(study_uid, pack) for pack in packs}
        with self._database.transaction() as tx:
            self._swap(tx, study_uid, int(number), made)

    def remove(self, key: str) -> None:
        """Remove an object that nothing points to; done twice, it is done once."""
        listed = REMOVALS.c.object_key == key
        with self._database.transaction() as tx:
            if claims.claim(tx, REMOVALS.c.object_key, key, until=tx.at + LEASE) is None:
                return
            used = tx.execute(select(PACKS.c.pack_key).where(PACKS.c.pack_key == key)).first()
        if used is None:
            self._objects.delete(key)
        with self._database.transaction() as tx:
            tx.execute(delete(REMOVALS).where(listed))

    def _claimed(self, tx: Transaction, number: int) -> str | None:
        """Take a purge for a time; return its study, None if it is not due or forbidden."""
        mine = (WITHDRAWALS.c.number == number, _open(), WITHDRAWALS.c.purge_at <= tx.at)
        study_uid: str | None = tx.execute(select(WITHDRAWALS.c.study_uid).where(*mine)).scalar()
        if study_uid is None:
            return None
        try:
            require_free(self._keeping_of(tx, study_uid))
        except WithdrawalRefused as refusal:
            log.info("purge.waits", withdrawal=number, code=refusal.code)
            tx.execute(update(WITHDRAWALS).where(*mine).values(purge_at=tx.at + LOOK_AGAIN))
            return None
        done = tx.execute(update(WITHDRAWALS).where(*mine).values(purge_at=tx.at + LEASE))
        return study_uid if done.rowcount == 1 else None

    def _rewritten(self, study_uid: str, pack: _Pack) -> Packed | None:
        if not pack.stays:
            return None
        return self._packer.put(study_uid, pack.stays, self._pieces, begun=self._begun)

    def _begun(self, key: str) -> None:
        """List a pack for removal before it is stored: if nothing ever points to it, it goes."""
        with self._database.transaction() as tx:
            _remove_later(tx, [key], _UNUSED)
            listed = REMOVALS.c.object_key == key
            due_at = tx.execute(select(REMOVALS.c.due_at).where(listed)).scalar_one()
            if due_at <= tx.at + LEASE:
                raise RemovalUnderWay("a pack of the same bytes is just being removed")
            tx.execute(update(REMOVALS).where(listed).values(due_at=tx.at + _UNUSED))

    def _pieces(self, place: Place) -> Iterable[bytes]:
        hasher = hashing(place.digest)
        for start in range(0, place.length, _PIECE_BYTES):
            length = min(_PIECE_BYTES, place.length - start)
            piece = self._objects.get(place.segment, start=place.offset + start, length=length)
            hasher.update(piece)
            yield piece
        if spelled(hasher) != place.digest:
            raise InstanceDamaged("a pack does not hold the bytes that were received")

    def _swap(
        self, tx: Transaction, study_uid: str, number: int, made: Mapping[str, Packed | None]
    ) -> None:
        """Let the index point to the new packs, if all is still as it was when they were made."""
        locked = select(STUDIES.c.study_uid).where(STUDIES.c.study_uid == study_uid)
        tx.execute(locked.with_for_update())
        if not _still_open(tx, number) or _in_journal(tx, number):
            return
        try:
            require_free(self._keeping_of(tx, study_uid))
        except WithdrawalRefused:
            return
        if {pack.key: pack.stays for pack in _packs(tx, study_uid, number)} != {
            key: packed.members if packed else () for key, packed in made.items()
        }:
            return  # another run was faster, or more came: due again after the lease
        for key, packed in made.items():
            _point(tx, study_uid, self._packer.node, key, packed)
        self._bury(tx, study_uid, number, list(made))

    def _bury(self, tx: Transaction, study_uid: str, number: int, keys: list[str]) -> None:
        mine = INSTANCES.c.withdrawn == number
        gone = frozenset(tx.execute(select(INSTANCES.c.instance_uid).where(mine)).scalars())
        tx.execute(update(INSTANCES).where(mine).values(segment=None, pack_key=None, offset=0))
        _remove_later(tx, [*keys, *self._derived_of(tx, study_uid, gone)], READERS_END)
        row = tx.execute(select(WITHDRAWALS).where(WITHDRAWALS.c.number == number)).one()
        tx.execute(
            update(WITHDRAWALS).where(WITHDRAWALS.c.number == number).values(purged_at=tx.at)
        )
        audit.record(
            tx,
            actor=ENGINE,
            action="study.purged",
            subject=f"study:{study_uid}",
            detail={
                "withdrawal": number,
                "reason": row.reason,
                "withdrawn_by": row.actor,
                "instances": len(gone),
            },
        )


def verify(tx: Transaction) -> Iterable[str]:
    """Yield one sentence for each instance without bytes that no purge removed."""
    lost = (
        select(INSTANCES.c.instance_uid)
        .join(WITHDRAWALS, WITHDRAWALS.c.number == INSTANCES.c.withdrawn, isouter=True)
        .where(
            INSTANCES.c.segment.is_(None),
            INSTANCES.c.pack_key.is_(None),
            WITHDRAWALS.c.purged_at.is_(None),
        )
    )
    for uid in tx.execute(lost).scalars():
        yield f"instance {uid} has no bytes, and no purge removed them"


def _open() -> Any:
    return WITHDRAWALS.c.purged_at.is_(None) & WITHDRAWALS.c.restored_at.is_(None)


def _still_open(tx: Transaction, number: int) -> bool:
    query = select(WITHDRAWALS.c.number).where(WITHDRAWALS.c.number == number, _open())
    return tx.execute(query.with_for_update()).first() is not None


def _in_journal(tx: Transaction, number: int) -> bool:
    query = select(INSTANCES.c.instance_uid).where(
        INSTANCES.c.withdrawn == number, INSTANCES.c.segment.is_not(None)
    )
    return tx.execute(query.limit(1)).first() is not None


def _packs(tx: Transaction, study_uid: str, number: int) -> list[_Pack]:
    """Return the packs of a study that hold what goes, or what no row points to."""
    held: dict[str, list[Any]] = {}
    rows = select(INSTANCES).where(
        INSTANCES.c.study_uid == study_uid, INSTANCES.c.pack_key.is_not(None)
    )
    for row in tx.execute(rows.order_by(INSTANCES.c.instance_uid)):
        held.setdefault(row.pack_key, []).append(row)
    packs = select(PACKS.c.pack_key, PACKS.c.instances).where(PACKS.c.study_uid == study_uid)
    found = []
    for pack in tx.execute(packs.order_by(PACKS.c.pack_key)):
        inside = held.get(pack.pack_key, [])
        stays = [row for row in inside if row.withdrawn != number]
        if len(stays) != pack.instances:
            found.append(_Pack(pack.pack_key, tuple(_member(row) for row in stays)))
    return found


def _member(row: Any) -> Member:
    return Member(row.instance_uid, Place(row.pack_key, row.offset, row.length, row.digest))


def _point(tx: Transaction, study_uid: str, node: str, key: str, packed: Packed | None) -> None:
    tx.execute(delete(PACKS).where(PACKS.c.pack_key == key))
    if packed is None:
        return
    tx.execute(insert_into(tx, PACKS).on_conflict_do_nothing(), packed.row(study_uid, node, tx.at))
    tx.execute(delete(REMOVALS).where(REMOVALS.c.object_key == packed.key))
    for member, offset in zip(packed.members, packed.offsets, strict=True):
        tx.execute(
            update(INSTANCES)
            .where(INSTANCES.c.instance_uid == member.instance_uid)
            .values(pack_key=packed.key, offset=offset)
        )


def _remove_later(tx: Transaction, keys: Iterable[str], wait: timedelta) -> None:
    rows = [{"object_key": key, "due_at": tx.at + wait} for key in sorted(set(keys))]
    if rows:
        tx.execute(insert_into(tx, REMOVALS).on_conflict_do_nothing(), rows)
