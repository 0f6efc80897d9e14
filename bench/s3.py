"""Finished studies to S3: one pack, beside one object an instance as other archives do it."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from bench.row import Demand, Row, compared
from storage.digests import digest_of
from storage.engine import Database
from storage.journal import Journal
from storage.migrate import upgrade
from storage.packs import Packer
from storage.s3 import S3Objects
from tests.services.swift import Swift, swift
from tests.storage.test_archive import new_instance

INSTANCES = 1600
INSTANCE_BYTES = 64 << 10
SINGLE = 100
"""Single objects a round: each takes as long as the next, and 1 600 of them take minutes."""
ROUNDS = 3


def measure(scratch: Path) -> Iterator[Row]:
    """Measure how many instances a second reach the S3 server, durable and verified."""
    with swift() as server:
        ours, theirs = [], []
        for number in range(ROUNDS):
            folder = scratch / f"s3-{number}"
            folder.mkdir()
            ours.append(INSTANCES / _packed(folder, _bucket(server)))
            theirs.append(SINGLE / _one_by_one(_bucket(server)))
        yield compared(
            f"packs to S3, {INSTANCES} instances of 64 KiB",
            ours,
            "an object an instance",
            theirs,
            unit="1/s",
            demand=Demand("least", 10.0),
        )


def _bucket(server: Swift) -> S3Objects:
    made = S3Objects(
        f"http://{server.endpoint}/b{uuid.uuid4().hex}",
        access_key=server.access_key,
        secret_key=server.secret_key,
    )
    made.probe()
    return made


def _packed(folder: Path, objects: S3Objects) -> float:
    """Return the seconds from a settled study in the journal to its verified pack."""
    from storage import archive

    database = Database(f"sqlite:///{folder / 'telerad.db'}")
    upgrade(database)
    journal = Journal(folder / "journal", node="bench")
    with database.transaction() as tx:
        arrived = []
        for number in range(INSTANCES):
            uid = f"1.2.3.1.{number + 1}"
            place = journal.append({"uid": uid}, os.urandom(INSTANCE_BYTES))
            arrived.append((new_instance(tx, uid, "1.2.3"), place))
        archive.admit_many(tx, arrived)
        archive.freeze_manifest(tx, "1.2.3")
    packer = Packer(database, journal, objects, folder / "scratch")
    began = monotonic()
    packer.pack("1.2.3")
    took = monotonic() - began
    journal.close()
    database.dispose()
    return took


def _one_by_one(objects: S3Objects) -> float:
    """Return the seconds to put as many instances as single objects, each checked."""
    instances = [os.urandom(INSTANCE_BYTES) for _ in range(SINGLE)]
    began = monotonic()
    for number, data in enumerate(instances):
        objects.put(f"instances/{number}.dcm", data, digest_of(data))
    return monotonic() - began
