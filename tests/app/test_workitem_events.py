"""The event channel, with a WebSocket client of its own, and the states against the model."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from app.bootstrap import Parts
from app.http.application import create_app
from app.settings import AiSettings, Settings
from dicom_node.workitems import store
from dicom_node.workitems.subscriber import GLOBAL
from kernel.clock import monotonic_s
from tests.app.clinic import Clinic
from tests.app.test_workitems import change, created, send, update, warning
from tests.app.web_server import WebServer
from tests.wire.performer import discontinued, performed
from tests.wire.ups_machine import UpsMachine

ROOT = Path(__file__).parents[2]
LOCK = "1.2.3.77"
_SERVES = re.compile(r"serves (http\S+) (.+)\s*")
PATIENCE = 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    made = Clinic(tmp_path_factory.mktemp("events") / "data")
    yield made
    made.close()


@pytest.fixture(scope="module")
def program(shared: Clinic) -> httpx.Client:
    return shared.program("dicomweb:read dicomweb:write")


def channel(client: httpx.Client, title: str) -> ClientConnection:
    address = str(client.base_url).replace("http", "ws", 1).rstrip("/")
    token = client.headers["authorization"]
    return connect(f"{address}/ws/subscribers/{title}", additional_headers={"Authorization": token})


def events(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    return [json.loads(socket.recv(timeout=PATIENCE)) for _ in range(count)]


def waiting(clinic: Clinic, subscriber_id: str) -> list[store.Report]:
    with clinic.parts.database.reading() as tx:
        return store.waiting(tx, subscriber_id)


def until(holds: Callable[[], bool]) -> None:
    deadline = monotonic_s() + PATIENCE
    while not holds():
        assert monotonic_s() < deadline
        threading.Event().wait(0.02)


def told(event: dict[str, Any]) -> tuple[str, int, str]:
    state = event.get("00741000", {}).get("Value", [""])[0]
    return event["00001000"]["Value"][0], event["00001002"]["Value"][0], state


def test_events_come_in_order_whether_the_channel_was_open_or_not(program: httpx.Client) -> None:
    uid = created(program)
    assert send(program, "POST", f"/workitems/{uid}/subscribers/ORDER").status_code == 201
    change(program, uid, "IN PROGRESS", LOCK)
    with channel(program, "ORDER") as socket:
        before = events(socket, 2)
        update(program, uid, dict(performed().to_json_dict()), LOCK)
        change(program, uid, "COMPLETED", LOCK)
        after = events(socket, 1)

    assert [told(each) for each in before + after] == [
        (uid, 1, "SCHEDULED"),
        (uid, 1, "IN PROGRESS"),
        (uid, 1, "COMPLETED"),
    ]
    assert before[0]["00000002"]["Value"] == ["1.2.840.10008.5.1.4.34.6.4"]


def test_what_may_be_lost_with_a_connection_is_told_again_under_its_message_id(
    program: httpx.Client,
) -> None:
    uid = created(program)
    send(program, "POST", f"/workitems/{uid}/subscribers/LOSSY")
    with channel(program, "LOSSY") as socket:
        first = events(socket, 1)
        socket.socket.close()  # no goodbye
    with channel(program, "LOSSY") as socket:
        again = events(socket, 1)

    assert again == first


def test_a_channel_opened_anew_takes_over(program: httpx.Client) -> None:
    uid = created(program)
    send(program, "POST", f"/workitems/{uid}/subscribers/TWICE")
    with channel(program, "TWICE") as one:
        events(one, 1)
        with channel(program, "TWICE") as other:
            assert [told(each) for each in events(other, 1)] == [(uid, 1, "SCHEDULED")]
            with pytest.raises(ConnectionClosed):
                one.recv(timeout=PATIENCE)
            change(program, uid, "IN PROGRESS", LOCK)
            assert [told(each) for each in events(other, 1)] == [(uid, 1, "IN PROGRESS")]


def test_what_was_surely_told_is_forgotten(shared: Clinic, program: httpx.Client) -> None:
    uid = created(program)
    send(program, "POST", f"/workitems/{uid}/subscribers/SURE")
    with channel(program, "SURE") as socket:
        events(socket, 1)
        until(lambda: not waiting(shared, "web:SURE"))
    # What an older connection is sure of says nothing of what the newer one was sent.
    for channel_id, kept in (("older", [uid]), ("newer", [])):
        with shared.parts.database.transaction() as tx:
            store.open_channel(tx, "web:SURE", "newer")
            assert [each.uid for each in store.take(tx, "web:SURE", "newer") or []] == [uid]
            assert store.take(tx, "web:SURE", "older") is None
        with shared.parts.database.transaction() as tx:
            store.surely_told(tx, "web:SURE", channel_id, before=tx.at)
            store.open_channel(tx, "web:SURE", "newer")
            assert [each.uid for each in store.waiting(tx, "web:SURE")] == kept


def test_a_cancel_request_reaches_the_performer_who_listens(program: httpx.Client) -> None:
    uid = created(program)
    change(program, uid, "IN PROGRESS", LOCK)
    send(program, "POST", f"/workitems/{GLOBAL}/subscribers/PERFORMER")
    asked = send(
        program,
        "POST",
        f"/workitems/{uid}/cancelrequest/DESK",
        {"00741238": {"vr": "LT", "Value": ["wrong patient"]}},
    )
    assert asked.status_code == 202, asked.text
    with channel(program, "PERFORMER") as socket:
        (event,) = events(socket, 1)
    send(program, "DELETE", f"/workitems/{GLOBAL}/subscribers/PERFORMER")

    assert told(event)[:2] == (uid, 2)
    assert event["00741236"]["Value"] == ["DESK"]
    assert event["00741238"]["Value"] == ["wrong patient"]


def test_what_was_answered_before_a_kill_is_told_after_it_in_order(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.app.victim", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    found = (_SERVES.fullmatch(line) for line in process.stdout)
    url, token = next(match.groups() for match in found if match)
    drain = threading.Thread(target=process.stdout.read, daemon=True)
    drain.start()
    answered: list[tuple[str, int, str]] = []
    try:
        with httpx.Client(base_url=url, headers={"Authorization": token}) as client:
            for _ in range(3):
                uid = created(client)
                send(client, "POST", f"/workitems/{uid}/subscribers/KILLED")
                assert change(client, uid, "IN PROGRESS", LOCK).status_code == 200
                answered += [(uid, 1, "SCHEDULED"), (uid, 1, "IN PROGRESS")]
            with channel(client, "KILLED") as socket:
                assert [told(each) for each in events(socket, 2)] == answered[:2]
                process.send_signal(signal.SIGKILL)
                process.wait()
    finally:
        process.kill()
        process.wait()
        drain.join()
        process.stdout.close()

    parts = Parts(Settings(data=tmp_path, ai=AiSettings(enabled=False)))
    server = WebServer(create_app(parts.engine()))
    headers = {"Authorization": token}
    with (
        httpx.Client(base_url=server.url, headers=headers) as client,
        channel(client, "KILLED") as socket,
    ):
        again = [told(each) for each in events(socket, len(answered))]
    server.close()
    parts.journal.close()
    parts.database.dispose()

    assert again == answered


def test_a_channel_is_for_who_subscribed(shared: Clinic, program: httpx.Client) -> None:
    uid = created(program)
    send(program, "POST", f"/workitems/{uid}/subscribers/MINE")
    address = str(program.base_url).replace("http", "ws", 1).rstrip("/") + "/ws/subscribers/"

    def refused(client: httpx.Client | None, title: str) -> int:
        headers = {"Authorization": client.headers["authorization"]} if client else {}
        with pytest.raises(InvalidStatus) as refusal:
            connect(address + title, additional_headers=headers)
        return refusal.value.response.status_code

    assert refused(None, "MINE") == 401
    assert refused(shared.program("dicomweb:read"), "MINE") == 403
    assert refused(shared.program("fhir:read"), "MINE") == 403
    assert refused(program, "NOBODY") == 404


def test_a_page_of_another_site_opens_no_channel_with_a_persons_cookies(shared: Clinic) -> None:
    browser = shared.browser("one")
    title, token = "DESKTOP", browser.token
    answer = browser.client.post(
        f"/dicomweb/workitems/{GLOBAL}/subscribers/{title}", headers={"X-Form-Token": token}
    )
    assert answer.status_code == 201, answer.text
    base = str(browser.client.base_url).rstrip("/")
    address = f"{base.replace('http', 'ws', 1)}/ws/subscribers/{title}"
    cookies = "; ".join(f"{c.name}={c.value}" for c in browser.client.cookies.jar)
    headers = {"Cookie": cookies}

    with pytest.raises(InvalidStatus):
        connect(address, additional_headers=headers, origin="https://elsewhere.example")
    with pytest.raises(InvalidStatus):
        connect(address, additional_headers=headers)
    with connect(address, additional_headers=headers, origin=base):
        pass


class Web:
    """The machine's client, over UPS-RS; words of DIMSE stand for statuses with their warnings."""

    def __init__(self, client: httpx.Client, socket: ClientConnection) -> None:
        self._client = client
        self._socket = socket
        self._heard: list[tuple[str, str]] = []

    def create(self) -> str:
        return created(self._client)

    def change(self, uid: str, state: str, lock: str) -> int:
        expected = {
            "workitems.never_scheduled_again": 0xC303,
            "workitems.already_in_progress": 0xC302,
        }
        return self._word(change(self._client, uid, state, lock), expected)

    def perform(self, uid: str, lock: str) -> int:
        return self._word(update(self._client, uid, dict(performed().to_json_dict()), lock))

    def explain(self, uid: str, lock: str) -> int:
        return self._word(update(self._client, uid, dict(discontinued().to_json_dict()), lock))

    def ask_cancel(self, uid: str) -> int:
        return self._word(send(self._client, "POST", f"/workitems/{uid}/cancelrequest/MACHINE"))

    def state(self, uid: str) -> str:
        (found,) = send(self._client, "GET", f"/workitems/{uid}").json()
        return str(found["00741000"]["Value"][0])

    def watch(self, uid: str) -> None:
        answer = send(self._client, "POST", f"/workitems/{uid}/subscribers/MACHINE")
        assert answer.status_code == 201

    def heard(self, uid: str) -> list[str]:
        # What is told is told in order: one more event behind it says that all of it came.
        last = self.create()
        self.watch(last)
        while (last, "SCHEDULED") not in self._heard:
            known, kind, state = told(json.loads(self._socket.recv(timeout=PATIENCE)))
            if kind == 1:
                self._heard.append((known, state))
        return [state for known, state in self._heard if known == uid]

    def _word(self, answer: httpx.Response, more: dict[str, int] | None = None) -> int:
        if answer.is_success:
            word = warning(answer)
            if word.endswith("CANCELED."):
                return 0xB304
            return 0xB306 if word.endswith("COMPLETED.") else 0
        words = {
            "workitems.ended": 0xC300,
            "workitems.transaction_missing": 0xC301,
            "workitems.transaction_wrong": 0xC301,
            "workitems.final_state_unmet": 0xC304,
            "workitems.not_in_progress": 0xC310,
            "workitems.already_completed": 0xC311,
            "workitems.performer_unreachable": 0xC312,
            **(more or {}),
        }
        return words[answer.json()["code"]]


def test_the_states_over_the_web_are_those_of_the_table(program: httpx.Client) -> None:
    send(program, "POST", f"/workitems/{created(program)}/subscribers/MACHINE")

    class Machine(UpsMachine):
        pass

    with channel(program, "MACHINE") as socket:
        Machine.driver = Web(program, socket)
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=12,
                stateful_step_count=14,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
