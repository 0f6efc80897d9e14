"""Read what is due on a folder, and be killed where a function is entered or returns.

python -m tests.dicom_node.arrears_victim FOLDER MODULE:QUALIFIED.NAME call|return
"""

import sys
import threading
from pathlib import Path

from dicom_node.arrears import Arrears
from storage.archive import Archive
from storage.engine import Database
from storage.journal import Journal
from storage.objects import LocalObjects
from tests.flows.kill_at import kill_at


def read(folder: Path) -> None:
    """Read all that is due, as the relay does."""
    database = Database(f"sqlite:///{folder / 'telerad.db'}")
    objects = LocalObjects(folder / "objects")
    journal = Journal(folder / "journal", node="test", segment_bytes=4 << 20)
    (due,) = Arrears(Archive(database, journal, objects), objects, at_once=2).due_work()
    while True:
        with database.reading() as tx:
            ids = due.due(tx)
        if not ids:
            return
        due.run(ids[0])


if __name__ == "__main__":
    directory, target, when = sys.argv[1:]
    kill_at(*target.split(":"), event=when, nth=1)
    thread = threading.Thread(target=read, args=(Path(directory),))
    thread.start()
    thread.join()
