"""Do what is due on a folder, and be killed where a function is entered or returns.

python -m tests.dicom_node.victim FOLDER arrears|readmission MODULE:QUALIFIED.NAME call|return
"""

import sys
import threading
from pathlib import Path

from dicom_node.arrears import Arrears
from dicom_node.readmitting import Readmission
from storage.archive import Archive
from storage.engine import Database
from storage.journal import Journal
from storage.objects import LocalObjects
from storage.work import DueWork
from tests.flows.kill_at import kill_at


def arrears(folder: Path, database: Database, objects: LocalObjects) -> DueWork:
    """Return what reads what an earlier version did not note."""
    journal = Journal(folder / "journal", node="test", segment_bytes=4 << 20)
    (due,) = Arrears(Archive(database, journal, objects), objects, at_once=2).due_work()
    return due


def readmission(_: Path, database: Database, objects: LocalObjects) -> DueWork:
    """Return what admits what was kept aside."""
    (due,) = Readmission(database, objects, node="test").due_work()
    return due


WORK = {"arrears": arrears, "readmission": readmission}


def do(folder: Path, work: str) -> None:
    """Do all that is due, as the relay does."""
    database = Database(f"sqlite:///{folder / 'telerad.db'}")
    due = WORK[work](folder, database, LocalObjects(folder / "objects"))
    while True:
        with database.reading() as tx:
            ids = due.due(tx)
        if not ids:
            return
        for id in ids:
            due.run(id)


if __name__ == "__main__":
    directory, work, target, when = sys.argv[1:]
    kill_at(*target.split(":"), event=when, nth=1)
    thread = threading.Thread(target=do, args=(Path(directory), work))
    thread.start()
    thread.join()
