"""After a crash: every whole record of the journal gets its row, acknowledged or not."""

from collections.abc import Callable, Mapping

from storage.archive import is_indexed
from storage.engine import Database, Transaction
from storage.journal import Journal, Place

Admit = Callable[[Transaction, Mapping[str, str], bytes, Place], None]


def recover(database: Database, journal: Journal, admit: Admit) -> int:
    """Index the tail of the journal that the database lost; return how many records that were.

    `admit` reads the header of a Part 10 file and admits it as it would have been on arrival.
    A record that is not whole was never acknowledged; its sender still has it.
    """
    found = 0
    for segment in journal.segments():
        if journal.is_in_use(segment.name):
            continue  # its process lives and indexes it
        for record in journal.records_of(segment.name):
            with database.reading() as tx:
                if is_indexed(tx, record.place):
                    continue
            if not journal.is_whole(record.place):
                continue
            with database.transaction() as tx:
                admit(tx, record.note, journal.read(record.place), record.place)
            found += 1
    return found
