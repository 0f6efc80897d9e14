"""Admit what is due on a folder, and be killed where a function is entered or returns.

python -m tests.dicom_node.readmitting_victim FOLDER MODULE:QUALIFIED.NAME call|return
"""

import sys
import threading
from pathlib import Path

from dicom_node.readmitting import Readmission
from storage.engine import Database
from storage.objects import LocalObjects
from tests.flows.kill_at import kill_at


def readmit(folder: Path) -> None:
    """Admit all that is due, as the relay does."""
    database = Database(f"sqlite:///{folder / 'telerad.db'}")
    work = Readmission(database, LocalObjects(folder / "objects"), node="test")
    (due,) = work.due_work()
    with database.reading() as tx:
        ids = due.due(tx)
    for id in ids:
        due.run(id)


if __name__ == "__main__":
    directory, target, when = sys.argv[1:]
    kill_at(*target.split(":"), event=when, nth=1)
    thread = threading.Thread(target=readmit, args=(Path(directory),))
    thread.start()
    thread.join()
