"""After a crash: every whole record of the journal gets its row, acknowledged or not."""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import structlog

from kernel.errors import EngineError, Misconfigured, Transient
from kernel.pulse import Pulse
from storage import unindexed
from storage.archive import is_indexed
from storage.engine import Database, Transaction
from storage.journal import Journal, Place, Record

Admit = Callable[[Transaction, Mapping[str, str], bytes, Place], None]

log = structlog.get_logger()


def recover(database: Database, journal: Journal, admit: Admit, pulse: Pulse | None = None) -> int:
    """Index the tail of the journal that the database lost; return how many records that were.

    `admit` reads the header of a Part 10 file and admits it as it would have been on arrival.
    A record that is not whole was never acknowledged; its sender still has it.  Processes of one
    node that start at the same time look one after the other, so that none is indexed twice.

    `pulse` beats with each record, and rests while another process is waited for.
    """
    pulse = pulse or Pulse()
    pulse.rest()
    with _alone(journal.directory):
        pulse.beat()
        return _recover(database, journal, admit, pulse)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # let go by the kernel, however the process ends
        yield
    finally:
        os.close(fd)


def _recover(database: Database, journal: Journal, admit: Admit, pulse: Pulse) -> int:
    found = 0
    for segment in journal.segments():
        if journal.is_in_use(segment.name):
            continue  # its process lives and indexes it
        for record in journal.records_of(segment.name):
            pulse.beat()
            found += _recovered(database, journal, record, admit)
    return found


def _recovered(database: Database, journal: Journal, record: Record, admit: Admit) -> bool:
    """Index one record if it has no row.

    One that cannot be indexed keeps no node from starting: it is noted, and tried at the next.
    """
    with database.reading() as tx:
        if is_indexed(tx, record.place):
            return False
    if not journal.is_whole(record.place):
        return False
    node, place = journal.node, record.place
    try:
        data = journal.read(place)

        def index(tx: Transaction) -> None:
            admit(tx, record.note, data, place)
            unindexed.indexed(tx, node, place)

        database.run(index)
    except (Transient, Misconfigured):
        raise
    except Exception as error:
        log.exception("recovery.not_indexed", segment=place.segment, offset=place.offset)
        code = error.code if isinstance(error, EngineError) else _unforeseen(error)
        database.run(lambda tx: unindexed.not_indexed(tx, node, place, code))
        return False
    return True


def _unforeseen(error: Exception) -> str:
    return f"recovery.unforeseen.{type(error).__name__}"
