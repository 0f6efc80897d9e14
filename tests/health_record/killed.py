"""A worker process that is killed with -9 at a named moment of its attempt.

Run as ``python -m tests.health_record.killed DATABASE_URL FOLDER MOMENT``.
"""

import os
import signal
import sys
from pathlib import Path

from health_record.adapters.folder import FolderRecord
from health_record.port import Form, OutgoingDocument, Receipt, Rejected
from health_record.tasks import Deliveries
from storage.engine import Database
from storage.objects import LocalObjects
from tests.health_record.samples import Hands, an_evidence, collecting

MOMENTS = ("before submitting", "while writing", "after the receipt")


def killed() -> None:
    """End as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


class FatalRecord:
    """A folder whose worker dies at one moment."""

    form = Form.DOCUMENT

    def __init__(self, root: Path, moment: str) -> None:
        self._moment = moment
        self._folder = FolderRecord(root, self._seal)

    def submit(self, document: OutgoingDocument) -> Receipt | Rejected:
        """See `RecordAdapter.submit`."""
        if self._moment == "before submitting":
            killed()
        receipt = self._folder.submit(document)
        killed()
        return receipt

    def _seal(self, content: bytes) -> bytes:
        if self._moment == "while writing":
            killed()
        return b"seal"


def main(url: str, folder: Path, moment: str) -> None:
    """Attempt every delivery that is due."""
    deliveries = Deliveries(
        Database(url, clock=Hands()),
        LocalObjects(folder / "objects"),
        {"record": FatalRecord(folder / "record", moment)},
        collect=collecting(an_evidence()),
    )
    with Database(url, clock=Hands()).reading() as tx:
        due = deliveries.due_deliveries(tx)
    for one in due:
        deliveries.attempt(one)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
