"""Re-reading what is kept against its digests, slowly, for ever: a disk tells late that it forgot.

The position is durable, so a restart goes on where the last one ended.  Nothing is ever deleted
or mended: what does not match is noted, alarms once, and is noted as whole again when it is, or as
gone once it is kept no more.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update

from kernel.errors import Corrupt, EngineError, NotFound, Transient
from kernel.people import ENGINE
from storage import audit
from storage.archive import Archive
from storage.engine import Database, Transaction
from storage.insertion import insert_into
from storage.like import begins
from storage.objects import ObjectStore
from storage.packs import ReadingStopped, pack_problem
from storage.tables.archive import INSTANCES, PACKS
from storage.tables.scrub import DAMAGES, SCRUBS

AT_ONCE = 100
_STRUCK_OFF_AT_ONCE = 1000
_PACK, _INSTANCE, STUDY, RECORD = "1 pack ", "2 instance ", "3 study ", "4 record "
"""Packs come before instances of the journal, by the order of the names; a study is noted by who
cannot pack it, a record of the journal by who cannot index it."""
_LOOK_AGAIN_S = 0.5


class Pace:
    """How fast to read: so many bytes a second, and not at all while others need the disk.

    Parameters
    ----------
    busy
        Says whether associations are open.
    """

    def __init__(self, bytes_per_s: float, busy: Callable[[], bool], stop: threading.Event) -> None:
        self._bytes_per_s = bytes_per_s
        self._busy = busy
        self._stop = stop

    def go(self, length: int) -> bool:
        """Wait until so many bytes may be read; False if it is time to stop."""
        while self._busy() and not self._stop.is_set():
            self._stop.wait(_LOOK_AGAIN_S)
        return not self._stop.wait(length / self._bytes_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """How far a node is; `ended_at` is of its last whole pass, `bytes` were read in this one."""

    node: str
    position: str
    began_at: datetime
    ended_at: datetime | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Damage:
    """What was found not to be what was stored."""

    name: str
    node: str
    sentence: str
    found_at: datetime


class Scrub:
    """Re-reads the packs that a node made and the instances in its journal.

    Parameters
    ----------
    stored
        The object store itself, not what is at hand of it.
    """

    def __init__(
        self, database: Database, archive: Archive, stored: ObjectStore, *, period: timedelta
    ) -> None:
        self._database = database
        self._archive = archive
        self._stored = stored
        self._node = archive.journal.node
        self._period = period

    def step(self, pace: Pace) -> bool:
        """Read a few things on; False if the pass is over and the next is not due, or at a stop."""
        with self._database.transaction() as tx:
            held = _begun(tx, self._node, self._period)
        if held is None:
            return False
        with self._database.reading() as tx:
            names = list(_names(tx, self._node, held.position))
        for name, length in names:
            if not self._read(name, length, pace):
                return False
        if not names:
            self._end()
        return bool(names)

    def _read(self, name: str, length: int, pace: Pace) -> bool:
        try:
            problem = self._problem(name, length, pace)
        except ReadingStopped:
            return False
        with self._database.transaction() as tx:
            note(tx, self._node, name, problem)
            tx.execute(
                update(SCRUBS)
                .where(SCRUBS.c.node == self._node)
                .values(position=name, bytes=SCRUBS.c.bytes + length)
            )
        return True

    def _problem(self, name: str, length: int, pace: Pace) -> str | None:
        """Return what is wrong; a store that does not answer is no damage and is raised."""
        if name.startswith(_PACK):
            with self._database.reading() as tx:
                row = tx.execute(
                    select(PACKS).where(PACKS.c.pack_key == name.removeprefix(_PACK))
                ).first()
            if row is None:
                return None
            return pack_problem(self._stored, row.pack_key, row.digest, row.length, go=pace.go)
        if not pace.go(length):
            raise ReadingStopped("the reading was told to end")
        try:
            self._archive.read_kept(name.removeprefix(_INSTANCE))
        except (Corrupt, NotFound) as error:
            return error.sentence
        return None

    def _end(self) -> None:
        with self._database.transaction() as tx:
            _strike_off(tx, self._node)
            tx.execute(
                update(SCRUBS)
                .where(SCRUBS.c.node == self._node)
                .values(position="", ended_at=tx.at)
            )


def passes(tx: Transaction) -> list[Pass]:
    """Return how far each node is."""
    found = tx.execute(select(SCRUBS).order_by(SCRUBS.c.node)).mappings()
    return [Pass(**row) for row in found]


def damages(tx: Transaction, *, limit: int = 100) -> list[Damage]:
    """Return what is not what was stored, the oldest first."""
    found = tx.execute(select(DAMAGES).order_by(DAMAGES.c.found_at).limit(limit)).mappings()
    return [Damage(**row) for row in found]


def count_damages(tx: Transaction) -> int:
    """Return how many things are not what was stored."""
    return int(tx.execute(select(func.count()).select_from(DAMAGES)).scalar_one())


def keep_on(
    scrub: Scrub, pace: Pace, stop: threading.Event, *, told: Callable[[EngineError], None]
) -> None:
    """Read on until the end; what cannot be read now is tried again later."""
    while not stop.is_set():
        try:
            while scrub.step(pace):
                pass
        except Transient as error:
            told(error)
        stop.wait(_REST_S)


_REST_S = 30.0


def _begun(tx: Transaction, node: str, period: timedelta) -> Pass | None:
    """Return the pass under way, begun if it is due; None if the last one is not long ago."""
    first = {"node": node, "position": "", "began_at": tx.at, "ended_at": None, "bytes": 0}
    tx.execute(insert_into(tx, SCRUBS).values(**first).on_conflict_do_nothing())
    row = tx.execute(select(SCRUBS).where(SCRUBS.c.node == node)).mappings().one()
    held = Pass(**row)
    over = held.ended_at is not None and not held.position and held.ended_at >= held.began_at
    if not over:
        return held
    assert held.ended_at is not None
    if held.began_at + period > tx.at:
        return None
    tx.execute(update(SCRUBS).where(SCRUBS.c.node == node).values(began_at=tx.at, bytes=0))
    return Pass(node=node, position="", began_at=tx.at, ended_at=held.ended_at, bytes=0)


def _names(tx: Transaction, node: str, after: str) -> Iterator[tuple[str, int]]:
    """Yield what comes next, with its length in bytes."""
    if not after.startswith(_INSTANCE):
        packs = tx.execute(
            select(PACKS.c.pack_key, PACKS.c.length)
            .where(PACKS.c.node == node, PACKS.c.pack_key > after.removeprefix(_PACK))
            .order_by(PACKS.c.pack_key)
            .limit(AT_ONCE)
        ).all()
        yield from ((f"{_PACK}{row.pack_key}", row.length) for row in packs)
        if packs:
            return
    uid = after.removeprefix(_INSTANCE) if after.startswith(_INSTANCE) else ""
    instances = tx.execute(
        select(INSTANCES.c.instance_uid, INSTANCES.c.length)
        .where(
            *begins(INSTANCES.c.segment, f"{node}-", tx.dialect),
            INSTANCES.c.instance_uid > uid,
        )
        .order_by(INSTANCES.c.instance_uid)
        .limit(AT_ONCE)
    )
    yield from ((f"{_INSTANCE}{row.instance_uid}", row.length) for row in instances)


def note(tx: Transaction, node: str, name: str, problem: str | None) -> None:
    """Note what is wrong with what a name stands for, or that nothing is any more."""
    known = tx.execute(select(DAMAGES.c.name).where(DAMAGES.c.name == name)).first() is not None
    if known == (problem is not None):
        return
    if problem is None:
        tx.execute(delete(DAMAGES).where(DAMAGES.c.name == name))
    else:
        values = {"name": name, "node": node, "sentence": problem[:300], "found_at": tx.at}
        tx.execute(insert_into(tx, DAMAGES).values(**values).on_conflict_do_nothing())
    _tell(tx, node, name, "storage.damaged" if problem else "storage.whole_again")


def _strike_off(tx: Transaction, node: str) -> None:
    """Strike off damage of what is kept no more: packed since, or purged."""
    named = select(DAMAGES.c.name).where(DAMAGES.c.node == node).order_by(DAMAGES.c.found_at)
    for name in tx.execute(named.limit(_STRUCK_OFF_AT_ONCE)).scalars().all():
        if not _is_kept(tx, node, name):
            tx.execute(delete(DAMAGES).where(DAMAGES.c.name == name))
            _tell(tx, node, name, "storage.damage_gone")


def _is_kept(tx: Transaction, node: str, name: str) -> bool:
    if name.startswith(RECORD):
        return True  # its segment is not freed before it has its row
    key = name.removeprefix(_PACK).removeprefix(_INSTANCE).removeprefix(STUDY)
    if name.startswith(_PACK):
        pack = select(PACKS.c.pack_key).where(PACKS.c.pack_key == key)
        return tx.execute(pack).first() is not None
    named = INSTANCES.c.study_uid if name.startswith(STUDY) else INSTANCES.c.instance_uid
    lying = begins(INSTANCES.c.segment, f"{node}-", tx.dialect)
    return tx.execute(select(named).where(named == key, *lying).limit(1)).first() is not None


def _tell(tx: Transaction, node: str, name: str, action: str) -> None:
    audit.record(
        tx,
        actor=ENGINE,
        action=action,
        subject=name.split(" ", 1)[1].replace(" ", ":", 1),
        outcome=audit.Outcome.FAILED if action == "storage.damaged" else audit.Outcome.SUCCESS,
        detail={"node": node},
    )
