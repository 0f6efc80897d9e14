"""Makes what is stored as a version before 0029 stored it: known by its SHA-256."""

import hashlib
import struct
import zlib
from pathlib import Path

from sqlalchemy import Table, select, update

from storage.engine import Database, Transaction
from storage.journal import Journal, Place
from storage.objects import ObjectStore
from storage.tables.archive import ARRIVALS, INSTANCES, PACKS

_HEADER = struct.Struct("<8s16sIQ32sI")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def aged(database: Database, journal: Journal, objects: ObjectStore) -> None:
    """Age all that is stored: the journal, the packs, the quarantine and the index of them."""
    for path in journal.segments():
        for record in journal.records_of(path.name):
            _age_record(path, record.place, sha256(journal.read(record.place)))
    with database.transaction() as tx:
        for row in tx.execute(select(PACKS)).all():
            _age_pack(tx, objects, row.pack_key, objects.get(row.pack_key))
        for row in tx.execute(select(INSTANCES)).all():
            if row.pack_key:
                data = objects.get(row.pack_key, start=row.offset, length=row.length)
            else:
                data = _in_journal(journal, row.segment, row.offset, row.length)
            mine = INSTANCES.c.instance_uid == row.instance_uid
            tx.execute(update(INSTANCES).where(mine).values(digest=sha256(data)))
        for row in tx.execute(select(ARRIVALS)).all():
            _age_arrival(tx, journal, objects, row)


def _age_record(path: Path, place: Place, digest: str) -> None:
    with path.open("r+b") as file:
        begin = _begin_of(file.read(place.offset), place.offset)
        file.seek(begin)
        head = file.read(_HEADER.size)
        _, owner, noted_length, length, _, _ = _HEADER.unpack(head)
        noted = file.read(noted_length)
        old = _HEADER.pack(b"TELERAD1", owner, noted_length, length, bytes.fromhex(digest), 0)
        file.seek(begin)
        file.write(old[:-4] + struct.pack("<I", zlib.crc32(noted, zlib.crc32(old[:-4]))))


def _begin_of(before: bytes, offset: int) -> int:
    begin = before.rfind(b"TELERAD2")
    assert begin >= 0
    assert begin % 4096 == 0
    return begin


def _age_pack(tx: Transaction, objects: ObjectStore, key: str, data: bytes) -> None:
    digest = sha256(data)
    old = f"{key.rsplit('/', 1)[0]}/{digest}.zip"
    objects.put(old, data, digest)
    tx.execute(update(PACKS).where(PACKS.c.pack_key == key).values(pack_key=old, digest=digest))
    _point(tx, INSTANCES, "pack_key", key, old)
    objects.delete(key)


def _age_arrival(tx: Transaction, journal: Journal, objects: ObjectStore, row: object) -> None:
    segment, offset, length, key = row.segment, row.offset, row.length, row.object_key
    digest = "0" * 64  # of one whose bytes lie in a pack by now, nobody asks for it
    if key is not None:
        data = objects.get(key)
        digest = sha256(data)
        objects.put(f"quarantine/{digest}", data, digest)
        _point(tx, ARRIVALS, "object_key", key, f"quarantine/{digest}")
        objects.delete(key)
    elif (journal.directory / segment).exists():
        digest = sha256(_in_journal(journal, segment, offset, length))
    mine = (ARRIVALS.c.segment == segment, ARRIVALS.c.offset == offset)
    tx.execute(update(ARRIVALS).where(*mine).values(digest=digest))


def _point(tx: Transaction, table: Table, column: str, key: str, old: str) -> None:
    tx.execute(update(table).where(table.c[column] == key).values({column: old}))


def _in_journal(journal: Journal, segment: str, offset: int, length: int) -> bytes:
    with (journal.directory / segment).open("rb") as file:
        file.seek(offset)
        return file.read(length)
