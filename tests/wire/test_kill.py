"""kill -9 while instances come in: what was acknowledged is there, whole, once."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.contexts import EXPLICIT_LITTLE
from dicom_node.recovery import admit_record
from storage.archive import Archive
from storage.engine import Database
from storage.journal import Journal
from storage.objects import LocalObjects
from storage.recovery import recover
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.wire.speaker import Speaker, until

ROOT = Path(__file__).parents[2]
SENT = [as_sent(as_file(a_slice(number, study=60, side=128))) for number in range(400)]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.wire.victim", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    port = next(m for line in process.stdout if (m := re.fullmatch(r"port (\d+)\s*", line)))
    threading.Thread(target=process.stdout.read, daemon=True).start()
    yield process, int(port[1])
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("after", [1, 17, 60])
def test_nothing_acknowledged_is_lost_to_a_kill(
    victim: tuple[subprocess.Popen[str], int], tmp_path: Path, after: int
) -> None:
    process, port = victim
    acknowledged: list[int] = []

    def send(part: int) -> None:
        try:
            with Speaker(port) as speaker:
                speaker.associate((CT, EXPLICIT_LITTLE))
                for number in range(part, len(SENT), 2):
                    assert speaker.store(*SENT[number]) == 0
                    acknowledged.append(number)
        except (OSError, AssertionError):
            return  # the node is gone

    threads = [threading.Thread(target=send, args=(part,)) for part in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) >= after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for thread in threads:
        thread.join()

    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    journal = Journal(tmp_path / "journal", node="test")
    recover(database, journal, admit_record)
    archive = Archive(database, journal, LocalObjects(tmp_path / "objects"))
    for number in acknowledged:
        announced, data = SENT[number]
        assert archive.read(announced.sop_instance_uid).endswith(data)
    assert recover(database, journal, admit_record) == 0
    assert list(archive.verify()) == []
    database.dispose()
