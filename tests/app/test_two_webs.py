"""Two web processes on one database: each event channel is told everything once, wherever it is."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.app.clinic import Clinic
from tests.app.test_workitem_events import LOCK, PATIENCE, ROOT, channel, told
from tests.app.test_workitems import change, created, send

Event = tuple[str, int, str]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def webs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[httpx.Client]]:
    """Clients of two processes that serve the same."""
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else ""
    clinic = Clinic(tmp_path / "data", url)
    here = clinic.program("dicomweb:read dicomweb:write")
    command = [sys.executable, "-m", "tests.app.web_beside", str(tmp_path / "data"), url]
    beside = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert beside.stdout is not None
    drain = threading.Thread(target=beside.stdout.read)
    try:
        address = next(line.split()[1] for line in beside.stdout if line.startswith("serves"))
        drain.start()
        with httpx.Client(base_url=address, headers=here.headers, timeout=60) as there:
            yield [here, there]
    finally:
        beside.kill()
        beside.wait()
        drain.join()
        beside.stdout.close()
        clinic.close()


def heard_until(socket: ClientConnection, last: Event) -> list[Event]:
    """Return what comes over a channel, to the event that is known to be the last."""
    heard: list[Event] = []
    while last not in heard:
        heard.append(told(json.loads(socket.recv(timeout=PATIENCE))))
    return heard


def heard_to_its_end(socket: ClientConnection) -> list[Event]:
    heard: list[Event] = []
    try:
        while True:
            heard.append(told(json.loads(socket.recv(timeout=PATIENCE))))
    except ConnectionClosed:
        return heard


def workitem(web: httpx.Client, title: str) -> str:
    """Make a workitem that a title is subscribed to."""
    uid = created(web)
    assert send(web, "POST", f"/workitems/{uid}/subscribers/{title}").status_code == 201
    return uid


def test_channels_at_two_processes_are_each_told_everything_once_and_in_order(
    webs: list[httpx.Client],
) -> None:
    titles = ("EAST", "WEST")
    for web, title in zip(webs, titles, strict=True):
        workitem(web, title)  # only a title that is subscribed has a channel
    with channel(webs[0], titles[0]) as east, channel(webs[1], titles[1]) as west:
        for each in (east, west):
            each.recv(timeout=PATIENCE)
        expected: list[Event] = []
        for number in range(6):
            web, other = webs[number % 2], webs[1 - number % 2]
            uid = workitem(web, titles[0])
            send(other, "POST", f"/workitems/{uid}/subscribers/{titles[1]}")
            assert change(other, uid, "IN PROGRESS", LOCK).status_code == 200
            expected += [(uid, 1, "SCHEDULED"), (uid, 1, "IN PROGRESS")]
        assert heard_until(east, expected[-1]) == expected
        assert heard_until(west, expected[-1]) == expected


def test_a_channel_that_is_opened_at_another_process_moves_there_whole(
    webs: list[httpx.Client],
) -> None:
    first, second = webs
    expected: list[Event] = [(workitem(first, "READER"), 1, "SCHEDULED")]
    opened = threading.Event()

    def work() -> None:
        while not opened.is_set() or len(expected) < 30:
            expected.append((workitem(first, "READER"), 1, "SCHEDULED"))
        expected.append((workitem(second, "READER"), 1, "SCHEDULED"))

    with channel(first, "READER") as before:
        worker = threading.Thread(target=work)
        worker.start()
        early = [told(json.loads(before.recv(timeout=PATIENCE))) for _ in range(3)]
        with channel(second, "READER") as after:
            opened.set()
            early += heard_to_its_end(before)
            worker.join()
            heard = heard_until(after, expected[-1])

    for each in (early, heard):
        assert len(set(each)) == len(each)
        assert [event for event in expected if event in each] == each
    assert set(early) | set(heard) == set(expected)
    assert heard[-1] == expected[-1]
