"""A purge that can be left, or killed, before any of its steps.

    python -m tests.storage.purging FOLDER STEP

kills itself before the step of that number: a call of the object store or a transaction.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from kernel.errors import Transient
from kernel.people import Actor, Role
from storage import withdrawals
from storage.engine import Database, Transaction
from storage.objects import LocalObjects
from storage.packs import Packer
from storage.purge import Purger
from storage.retention import Keeping, Reason, Retention
from storage.withdrawals import Withdrawal
from tests.storage.test_archive import AT, Room

BY = Actor("user:admin", Role.ADMINISTRATOR)
STUDY = "1.2.3"
BODIES = {f"{STUDY}.1.{number}": bytes([number]) * 5000 for number in range(1, 4)}
GONE, *STAYING = BODIES
GRACE = timedelta(days=30)


class Steps:
    """Counts what a purge does to the world, and acts before one step."""

    def __init__(self) -> None:
        self.taken = 0
        self.last = 0
        self.act: Callable[[], None] = lambda: None

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.last:
            self.act()


class Clock:
    """A clock that is asked as each transaction begins."""

    def __init__(self, steps: Steps, now: datetime) -> None:
        self.steps = steps
        self.now = now

    def __call__(self) -> datetime:
        self.steps.step()
        return self.now


class Objects(LocalObjects):
    """The local store, whose calls are steps."""

    def __init__(self, directory: Path, steps: Steps) -> None:
        super().__init__(directory)
        self.steps = steps

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        self.steps.step()
        super().put(key, data, digest)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        self.steps.step()
        return super().get(key, start=start, length=length)

    def delete(self, key: str) -> None:
        self.steps.step()
        super().delete(key)


class Yard:
    """A storage floor with a study of three instances, of which one is withdrawn, and its purge."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.steps = Steps()
        self.clock = Clock(self.steps, AT)
        database.clock = self.clock
        self.room = Room(database, folder)
        self.objects = Objects(folder / "objects", self.steps)
        self.room.objects = self.room.archive.objects = self.objects
        self.room.packer = Packer(database, self.room.journal, self.objects, folder / "scratch")
        self.open_cases: tuple[str, ...] = ()
        self.purger = Purger(
            database,
            self.room.packer,
            self.objects,
            keeping_of=self.keeping,
            derived_of=lambda _tx, _uid, _gone: [],
        )

    def fill(self, *, packed: bool = True) -> None:
        for uid, body in BODIES.items():
            self.room.receive(uid, body)
        self.room.freeze()
        if packed:
            self.room.packer.pack(STUDY)

    def withdraw(self, *uids: str) -> Withdrawal:
        with self.room.database.transaction() as tx:
            return withdrawals.withdraw(
                tx,
                self.keeping(tx, STUDY),
                Reason.QUALITY,
                Retention(grace=GRACE),
                instance_uids=frozenset(uids) or None,
                actor=BY,
            )

    def keeping(self, tx: Transaction, study_uid: str) -> Keeping:
        return Keeping(
            study_uid=study_uid,
            owner="east",
            modalities=("CT",),
            last_arrival_at=AT,
            held=withdrawals.is_held(tx, study_uid),
            open_cases=self.open_cases,
        )

    def due(self) -> list[str]:
        with self.room.database.reading() as tx:
            return self.purger.due(tx)

    def work(self) -> None:
        """Do all that is due, as the relay does."""
        for number in self.due():
            with suppress(Transient):  # the relay comes again
                self.purger.purge(number)
        with self.room.database.reading() as tx:
            keys = self.purger.removable(tx)
        for key in keys:
            self.purger.remove(key)

    def files(self) -> list[Path]:
        return sorted((self.objects._directory).rglob("*.zip"))

    def holds(self, body: bytes) -> bool:
        """Say whether some bytes lie anywhere in the object store."""
        return any(body in path.read_bytes() for path in self.files())


def main(folder: Path, step: int) -> None:
    """Purge and remove what is due a hundred days later, and die before one step."""
    yard = Yard(folder, Database(f"sqlite:///{folder / 'telerad.db'}"))
    for days in (100, 200, 300):
        yard.clock.now = AT + timedelta(days=days)
        if days == 100:
            yard.steps.taken = 0
            yard.steps.last = step
            yard.steps.act = lambda: os.kill(os.getpid(), signal.SIGKILL)
        yard.work()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
