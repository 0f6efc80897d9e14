"""kill -9 while instances come in, over and over: what was acknowledged is there, whole, once."""

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import kill
from pathlib import Path

import pytest
from sqlalchemy import text

from dicom_node.uids import EXPLICIT_LITTLE
from storage.archive import Archive
from storage.engine import Database
from storage.journal import Journal
from storage.objects import LocalObjects
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.wire.conftest import recovered
from tests.wire.speaker import Speaker, until
from tests.wire.victims import Victims, victims

KILLS = 100
SENDERS = 2
MOST = 12  # instances that a node may acknowledge before it is killed


@dataclass
class Nodes:
    """Where nodes come from, and which instances (round, number) they acknowledged."""

    victims: Victims
    acknowledged: list[tuple[int, int]] = field(default_factory=list)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with victims(tmp_path) as started:
        yield Nodes(started)


def sent(round_: int, number: int):  # type: ignore[no-untyped-def]
    return as_sent(as_file(a_slice(number, study=100 + round_, side=96)))


def test_nothing_acknowledged_is_lost_in_a_hundred_kills(nodes: Nodes, tmp_path: Path) -> None:
    chance = random.Random(9)
    for round_ in range(KILLS):
        kill_after(nodes, round_, acknowledged=chance.randrange(MOST))

    recovered(tmp_path)
    assert recovered(tmp_path) == 0
    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    journal = Journal(tmp_path / "journal", node="test")
    archive = Archive(database, journal, LocalObjects(tmp_path / "objects"))
    for round_, number in nodes.acknowledged:
        announced, data = sent(round_, number)
        assert archive.read(announced.sop_instance_uid).endswith(data)
    assert list(archive.verify()) == []
    with database.reading() as tx:
        uids = tx.execute(text("SELECT instance_uid FROM arrivals WHERE outcome = 'stored'"))
        assert max(Counter(row.instance_uid for row in uids).values()) == 1  # never double
    journal.close()
    database.dispose()


def kill_after(nodes: Nodes, round_: int, *, acknowledged: int) -> None:
    """Kill a node once it acknowledged so many; let it have anything in hand."""
    port, pid = nodes.victims.start()
    wanted = len(nodes.acknowledged) + acknowledged
    threads = [
        threading.Thread(target=send, args=(nodes, port, round_, part)) for part in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(nodes.acknowledged) >= wanted)
    kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()


def send(nodes: Nodes, port: int, round_: int, part: int) -> None:
    """Send until the node is gone."""
    try:
        with Speaker(port) as speaker:
            speaker.associate((CT, EXPLICIT_LITTLE))
            for number in range(part, 1000, SENDERS):
                assert speaker.store(*sent(round_, number)) == 0
                nodes.acknowledged.append((round_, number))
    except (OSError, AssertionError):
        return
