"""A real Orthanc is followed: whatever dies on either side, nothing is lost and nothing doubled."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app import orthancs
from dicom_node import orthanc_store as store
from dicom_node.completeness import CompletenessPolicy
from dicom_node.followers import Followers
from dicom_node.following import IN_MEMORY, PATIENCE, Following, FollowSettings
from dicom_node.intake import Intake
from dicom_node.orthanc import Bounds
from dicom_node.orthancs import Orthanc, Progress
from dicom_node.tasks import Settling
from kernel.clock import monotonic_s
from kernel.people import ENGINE
from storage import archive
from storage.archive import Archive
from storage.engine import Database
from storage.journal import Journal
from storage.objects import LocalObjects
from tests.dicom_node.samples import a_slice, as_file, as_sent
from tests.services.migrated import migrate
from tests.services.missing import required
from tests.services.orthanc import Orthanc as Server
from tests.services.orthanc import RestartableOrthanc, restartable
from tests.services.ports import free_port

pytestmark = pytest.mark.service
ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
QUICK = timedelta(milliseconds=50)
BOUNDS = Bounds(connect=timedelta(seconds=2), silence=timedelta(seconds=2))
USER, PASSWORD = "telerad", "told apart"


@pytest.fixture
def server() -> Iterator[RestartableOrthanc]:
    with required(), restartable() as orthanc:
        yield orthanc


class Node:
    """An intake that follows, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(f"sqlite:///{folder / 'telerad.db'}")
        migrate(self.database)
        self.journal = Journal(folder / "journal", node="test", segment_bytes=4 << 20)
        self.intake = Intake(self.database, self.journal)
        self.archive = Archive(self.database, self.journal, LocalObjects(folder / "objects"))
        self.stop = threading.Event()

    def following(self, node: str = "test") -> Following:
        return Following(
            self.database,
            self.intake,
            FollowSettings(node=node, poll=QUICK, bounds=BOUNDS),
            password_of=lambda name: orthancs.password_of(self.folder / "keys", name),
            stopping=self.stop.is_set,
        )

    def register(self, server: Server, name: str = "east", *, username: str = "") -> None:
        told = Orthanc(
            name=name,
            url=server.url,
            organisation_id="o-1",
            issuer="site-1",
            username=username,
        )
        with self.database.transaction() as tx:
            orthancs.add(tx, told, by=ENGINE)

    def progress(self, name: str = "east") -> Progress:
        with self.database.reading() as tx:
            return {each.name: far for each, far in store.listed(tx)}[name]

    def held(self) -> set[str]:
        """Return the UIDs of every instance in the archive."""
        with self.database.reading() as tx:
            studies = list(archive.unsettled(tx, arrived_before=tx.at + timedelta(days=1)))
        return {uid for study in studies for uid in self.archive.instances_of(study.study_uid)}

    def quarantined(self) -> list[str]:
        with self.database.reading() as tx:
            return [each.code for each in archive.quarantined(tx)]

    def close(self) -> None:
        self.journal.close()
        self.database.dispose()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.close()


@contextmanager
def followed(node: Node) -> Iterator[None]:
    """Follow in threads, as a node does, for the time of a block."""
    stop = threading.Event()
    node.stop = stop
    followers = Followers(node.database, node.following, stop)
    followers.start()
    try:
        yield
    finally:
        followers.stop()


def until(happened: Callable[[], bool], told: Callable[[], object] = lambda: "") -> None:
    deadline = monotonic_s() + PATIENCE_S
    while not happened():
        if monotonic_s() > deadline:
            raise AssertionError(f"it did not happen: {told()}")
        time.sleep(0.05)


def uid(number: int, study: int) -> str:
    return str(a_slice(number, study=study).SOPInstanceUID)


def fill(server: Server, study: int, numbers: range, *, side: int = 16) -> set[str]:
    """Put slices of a study into an Orthanc; return their UIDs."""
    for number in numbers:
        server.upload(as_file(a_slice(number, study=study, side=side)))
    return {uid(number, study) for number in numbers}


def all_seen(node: Node, name: str = "east") -> bool:
    far = node.progress(name)
    return bool(far.last_change) and not far.backlog and not far.failures


def test_a_stable_study_is_pulled_with_identical_bytes(
    node: Node, server: RestartableOrthanc
) -> None:
    sent = fill(server.server, 1, range(1, 6))
    node.register(server.server)
    with followed(node):
        until(lambda: node.held() == sent, node.progress)
        until(lambda: all_seen(node), node.progress)

    for number in range(1, 6):
        _, data_set = as_sent(as_file(a_slice(number, study=1)))
        assert node.archive.read(uid(number, 1)).endswith(data_set)
    with node.database.reading() as tx:
        assert store.sources_of(tx, str(a_slice(study=1).StudyInstanceUID)) == ["east"]
    assert node.progress().trouble is None


def test_a_study_that_is_not_stable_yet_waits(node: Node, server: RestartableOrthanc) -> None:
    fill(server.server, 2, range(1, 3))
    node.register(server.server)
    following = node.following()
    following.look("east")
    changes = server.server.ask("GET", "/changes?since=0&limit=100")["Changes"]
    stable = any(each["ChangeType"] == "StableStudy" for each in changes)
    assert stable or node.held() == set()


def test_a_late_image_is_pulled_alone(node: Node, server: RestartableOrthanc) -> None:
    sent = fill(server.server, 3, range(1, 4))
    node.register(server.server)
    with followed(node):
        until(lambda: node.held() == sent and all_seen(node), node.progress)
        before = records(node)
        late = fill(server.server, 3, range(4, 5))
        until(lambda: node.held() == sent | late, node.progress)
        until(
            lambda: (
                all_seen(node)
                and "StableStudy" in kinds_behind(server.server, node.progress().last_change - 4)
            ),
            node.progress,
        )

    assert records(node) - before == 1


def test_an_overwritten_instance_is_kept_aside_with_its_reason(
    node: Node, server: RestartableOrthanc
) -> None:
    sent = fill(server.server, 4, range(1, 2))
    node.register(server.server)
    with followed(node):
        until(lambda: node.held() == sent, node.progress)
        server.server.upload(as_file(a_slice(1, study=4, seed=9)))
        until(lambda: node.quarantined() == ["archive.uid_conflict"], node.progress)

    _, first = as_sent(as_file(a_slice(1, study=4)))
    assert node.archive.read(uid(1, 4)).endswith(first)


def test_an_orthanc_that_is_killed_half_way_is_gone_on_with(
    node: Node, server: RestartableOrthanc
) -> None:
    sent = fill(server.server, 5, range(1, 200), side=64)
    node.register(server.server)
    with followed(node):
        until(lambda: len(node.held()) > 5, node.progress)
        server.kill9()
        until(lambda: node.progress().failures > 0, node.progress)
        part = node.held()
        server.start()
        until(lambda: node.held() == sent and all_seen(node), node.progress)

    assert part < sent
    trouble = node.progress().trouble
    assert trouble is not None
    assert trouble.code == "dicom_node.orthanc_unreachable"
    assert records(node) - len(sent) <= 1


def test_a_node_that_is_killed_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path, server: RestartableOrthanc
) -> None:
    sent = fill(server.server, 6, range(1, 150), side=64)
    node = Node(tmp_path)
    node.register(server.server)
    node.close()
    kills = 0
    for portion in (10, 40, 70, 100):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.wire.follower", str(tmp_path), str(portion)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        kills += line.strip() == "there"
    assert kills == 4

    from dicom_node.recovery import admit_record
    from storage import recovery

    node = Node(tmp_path)
    recovery.recover(node.database, node.journal, admit_record)
    with followed(node):
        until(lambda: node.held() == sent and all_seen(node), node.progress)
    assert node.quarantined() == []
    assert list(node.archive.verify()) == []
    assert records(node) - len(sent) <= kills
    node.close()


def test_a_study_does_not_settle_while_it_is_pulled(node: Node, server: RestartableOrthanc) -> None:
    sent = fill(server.server, 7, range(1, 3))
    study_uid = str(a_slice(study=7).StudyInstanceUID)
    node.register(server.server)
    settling = Settling(node.database, CompletenessPolicy(quiet=timedelta()))
    with followed(node):
        until(lambda: node.held() == sent and all_seen(node), node.progress)
    with node.database.transaction() as tx:
        store.note_study(tx, "east", study_uid, pulling=True)
    settling.settle_study(study_uid)
    with node.database.reading() as tx:
        assert archive.unsettled_study(tx, study_uid) is not None
    with node.database.transaction() as tx:
        store.note_study(tx, "east", study_uid, pulling=False)
    settling.settle_study(study_uid)
    with node.database.reading() as tx:
        assert archive.unsettled_study(tx, study_uid) is None


def test_an_orthanc_whose_database_is_new_is_read_from_its_first_change(
    node: Node, server: RestartableOrthanc
) -> None:
    first = fill(server.server, 8, range(1, 6))
    node.register(server.server)
    with followed(node):
        until(lambda: node.held() == first and all_seen(node), node.progress)
        server.kill9()
        server.forget()
        server.start()
        second = fill(server.server, 9, range(1, 2))
        until(lambda: node.held() == first | second, node.progress)
    assert "made anew" in node.progress().started_over_why


def test_recycled_change_numbers_are_noticed_even_where_they_are_higher(
    node: Node, server: RestartableOrthanc
) -> None:
    first = fill(server.server, 10, range(1, 2))
    node.register(server.server)
    with followed(node):
        until(lambda: node.held() == first and all_seen(node), node.progress)
    seen = node.progress().last_change
    server.kill9()
    server.forget()
    server.start()
    second = fill(server.server, 11, range(1, 30))
    assert server.server.ask("GET", "/changes?last")["Last"] > seen
    with followed(node):
        until(lambda: node.held() == first | second, node.progress)
    assert "is not the one that we had read" in node.progress().started_over_why


def test_two_orthancs_are_followed_and_a_dead_one_delays_nothing(
    node: Node, server: RestartableOrthanc
) -> None:
    with required(), restartable() as other, silent() as mute:
        for number in range(8):
            node.register(replace_port(server.server, mute), f"mute-{number}")
        node.register(replace_port(server.server, free_port()), "nobody")
        node.register(server.server, "east")
        node.register(other.server, "west")
        with followed(node):
            until(lambda: node.progress("mute-0").failures > 0, node.progress)
            sent = fill(server.server, 12, range(1, 4)) | fill(other.server, 13, range(1, 4))
            until(lambda: node.held() == sent, node.progress)
        assert node.progress("nobody").trouble is not None


def test_a_wrong_password_is_told_and_mended(tmp_path: Path, node: Node) -> None:
    with required(), restartable(users={USER: PASSWORD}) as server:
        sent = fill(server.server, 14, range(1, 3))
        node.register(server.server, username=USER)
        keys = tmp_path / "keys"
        orthancs.keep_password(keys, "east", "wrong")
        with followed(node):
            until(lambda: node.progress().failures > 1, node.progress)
            trouble = node.progress().trouble
            assert trouble is not None
            assert trouble.code == "dicom_node.orthanc_denies_access"
            assert "wrong" not in trouble.sentence
            orthancs.keep_password(keys, "east", PASSWORD)
            until(lambda: node.held() == sent, node.progress)
        assert orthancs.password_file(keys, "east").stat().st_mode & 0o077 == 0


def test_a_large_instance_goes_through_in_pieces(node: Node, server: RestartableOrthanc) -> None:
    large = a_slice(1, study=15, side=16)
    large.Rows, large.Columns = 4200, 4200
    large.PixelData = bytes(4200 * 4200 * 2)
    file = as_file(large)
    assert len(file) > IN_MEMORY
    server.server.upload(file)
    node.register(server.server)
    with followed(node):
        until(lambda: node.held() == {uid(1, 15)}, node.progress)
    _, data_set = as_sent(file)
    assert node.archive.read(uid(1, 15)).endswith(data_set)


def test_somebody_may_have_everything_looked_through_again(
    node: Node, server: RestartableOrthanc
) -> None:
    sent = fill(server.server, 16, range(1, 4))
    node.register(server.server)
    with followed(node):
        until(lambda: node.held() == sent and all_seen(node), node.progress)
        before = records(node)
        with node.database.transaction() as tx:
            orthancs.start_over(tx, "east", by=ENGINE)
        until(lambda: all_seen(node), node.progress)
    assert records(node) == before


def test_an_orthanc_that_is_removed_is_not_asked_any_more(
    node: Node, server: RestartableOrthanc
) -> None:
    node.register(server.server)
    with followed(node):
        until(lambda: node.progress().seen_at is not None, node.progress)
        with node.database.transaction() as tx:
            orthancs.remove(tx, "east", by=ENGINE)
        with node.database.reading() as tx:
            assert store.listed(tx) == []


def test_two_nodes_never_follow_one_orthanc_at_once(node: Node, server: RestartableOrthanc) -> None:
    node.register(server.server)
    with node.database.transaction() as tx:
        until_then = tx.at + timedelta(minutes=1)
        assert store.hold(tx, "east", "a", until=until_then) is not None
        assert store.hold(tx, "east", "b", until=until_then) is None
        assert store.hold(tx, "east", "a", until=until_then) is not None
        assert not store.note_progress(tx, "east", "b", Progress(last_change=5))
    node.following("b").look("east")
    assert node.progress().seen_at is None


# What answers at a registered address but is no Orthanc, or a mischievous one


class _Evil(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answers: dict[str, tuple[int, bytes, dict[str, str]]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path = self.path.split("&")[0]
        status, body, headers = self.answers.get(path, (404, b"{}", {}))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Answers = dict[str, tuple[int, bytes, dict[str, str]]]


@contextmanager
def evil(answers: Answers) -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (_Evil,), {"answers": answers, "asked": asked})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield httpd.server_address[1], asked
    finally:
        httpd.shutdown()
        httpd.server_close()


def change(id: str, kind: str = "StableStudy", number: int = 1) -> bytes:
    told = {"ChangeType": kind, "Date": "20260101T000000", "ID": id, "Seq": number}
    return json.dumps({"Changes": [told], "Done": True, "Last": number}).encode()


LAST = {"/changes?last": (200, b'{"Changes": [], "Done": true, "Last": 1}', {})}
GOOD_ID = "-".join(["0123abcd"] * 5)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({"/changes?last": (200, b"<html>", {})}, "dicom_node.orthanc_answers_badly"),
        ({"/changes?last": (200, b"[" * 100_000, {})}, "dicom_node.orthanc_answers_badly"),
        ({"/changes?last": (200, b'{"Last": -1}', {})}, "dicom_node.orthanc_answers_badly"),
        ({"/changes?last": (500, b"x" * 1000, {})}, "dicom_node.orthanc_answers_badly"),
        (
            {"/changes?last": (200, b"{}", {"Content-Length": "9"})},
            "dicom_node.orthanc_unreachable",
        ),
        (
            {**LAST, "/changes?since=0": (200, change("//127.0.0.1:1/evil"), {})},
            "dicom_node.orthanc_answers_badly",
        ),
        (
            {**LAST, "/changes?since=0": (200, change("../../tools/shutdown"), {})},
            "dicom_node.orthanc_answers_badly",
        ),
        (
            {**LAST, "/changes?since=0": (200, b'{"Changes": [{"Seq": "1"}]}', {})},
            "dicom_node.orthanc_answers_badly",
        ),
        (
            {**LAST, "/changes?since=0": (200, b" " * (9 << 20), {})},
            "dicom_node.orthanc_refuses",
        ),
    ],
)
def test_what_is_no_orthanc_is_told_and_does_no_harm(
    node: Node, answers: Answers, code: str
) -> None:
    with evil(answers) as (port, asked):
        node.register(replace_port(Server(http_port=0, dicom_port=None, ae_title="E"), port))
        settings = FollowSettings(node="test", poll=QUICK, bounds=replace(BOUNDS, answer=8 << 20))
        Following(node.database, node.intake, settings, password_of=lambda _: "").look("east")
    trouble = node.progress().trouble
    assert trouble is not None
    assert trouble.code == code
    assert node.progress().last_change == 0
    assert all(path.startswith("/changes?") for path in asked)


def test_a_redirect_is_not_followed(node: Node) -> None:
    with evil({"/": (200, b"", {})}) as (elsewhere, reached):
        target = {"Location": f"http://127.0.0.1:{elsewhere}/changes?last"}
        with evil({"/changes?last": (307, b"", target)}) as (port, _):
            node.register(replace_port(Server(http_port=0, dicom_port=None, ae_title="E"), port))
            node.following().look("east")
    assert reached == []
    trouble = node.progress().trouble
    assert trouble is not None
    assert "elsewhere" in trouble.sentence


def test_one_instance_that_cannot_be_had_is_set_aside_and_holds_nothing_up(node: Node) -> None:
    study = {"ID": GOOD_ID, "Series": [GOOD_ID], "MainDicomTags": {"StudyInstanceUID": "1.2.3"}}
    instance = {
        "ID": GOOD_ID,
        "FileUuid": "u",
        "FileSize": 9,
        "MainDicomTags": {"SOPInstanceUID": "1.2.3.4"},
    }
    answers: Answers = {
        **LAST,
        "/changes?since=0": (200, change(GOOD_ID), {}),
        f"/studies/{GOOD_ID}": (200, json.dumps(study).encode(), {}),
        f"/series/{GOOD_ID}/instances": (200, json.dumps([instance]).encode(), {}),
        f"/instances/{GOOD_ID}/file": (500, b"", {}),
    }
    with evil(answers) as (port, _):
        node.register(replace_port(Server(http_port=0, dicom_port=None, ae_title="E"), port))
        following = node.following()
        until(lambda: following.look("east") or node.progress().last_change == 1, node.progress)
    far = node.progress()
    assert far.failures == 0
    assert far.trouble is not None
    assert "set aside" in far.trouble.sentence
    assert PATIENCE > 0


def the_study() -> bytes:
    tags = {"StudyInstanceUID": str(a_slice(study=21).StudyInstanceUID)}
    return json.dumps({"ID": GOOD_ID, "Series": [GOOD_ID], "MainDicomTags": tags}).encode()


def pulls(node: Node) -> int:
    with node.database.reading() as tx:
        return store.pulls_under_way(tx, str(a_slice(study=21).StudyInstanceUID))


@pytest.mark.parametrize(
    ("failing", "answer"),
    [
        (f"/studies/{GOOD_ID}", (500, b"", {})),
        (f"/series/{GOOD_ID}/instances", (500, b"", {})),
        (f"/series/{GOOD_ID}/instances", (200, b" " * (9 << 20), {})),
    ],
    ids=["no study", "no list", "an endless list"],
)
def test_a_study_that_cannot_be_had_is_set_aside_and_holds_nothing_up(
    node: Node, failing: str, answer: tuple[int, bytes, dict[str, str]]
) -> None:
    answers: Answers = {
        **LAST,
        "/changes?since=0": (200, change(GOOD_ID), {}),
        f"/studies/{GOOD_ID}": (200, the_study(), {}),
        failing: answer,
    }
    with evil(answers) as (port, _):
        node.register(replace_port(Server(http_port=0, dicom_port=None, ae_title="E"), port))
        following = node.following()
        until(lambda: following.look("east") or node.progress().last_change == 1, node.progress)
    far = node.progress()
    assert far.trouble is not None
    assert "a study was set aside" in far.trouble.sentence
    assert (far.failures, pulls(node)) == (0, 0)


def test_a_study_that_is_deleted_in_the_middle_of_a_pull_is_not_waited_for(node: Node) -> None:
    answers: Answers = {
        **LAST,
        "/changes?since=0": (200, change(GOOD_ID), {}),
        f"/studies/{GOOD_ID}": (200, the_study(), {}),
        f"/series/{GOOD_ID}/instances": (500, b"", {}),
    }
    with evil(answers) as (port, _):
        node.register(replace_port(Server(http_port=0, dicom_port=None, ae_title="E"), port))
        following = node.following()
        following.look("east")
        assert (node.progress().failures, pulls(node)) == (1, 1)
        del answers[f"/studies/{GOOD_ID}"]
        until(lambda: following.look("east") or node.progress().last_change == 1, node.progress)
    assert pulls(node) == 0


def test_bytes_that_are_not_those_that_orthanc_took_in_are_kept_aside(node: Node) -> None:
    study = {"ID": GOOD_ID, "Series": [GOOD_ID], "MainDicomTags": {"StudyInstanceUID": "1.2.3"}}
    instance = {"ID": GOOD_ID, "FileUuid": "u", "FileSize": 9, "MainDicomTags": {}}
    answers: Answers = {
        **LAST,
        "/changes?since=0": (200, change(GOOD_ID), {}),
        f"/studies/{GOOD_ID}": (200, json.dumps(study).encode(), {}),
        f"/series/{GOOD_ID}/instances": (200, json.dumps([instance]).encode(), {}),
        f"/instances/{GOOD_ID}/file": (200, as_file(a_slice(1, study=20)), {}),
        f"/instances/{GOOD_ID}/attachments/dicom/md5": (200, b"0" * 32, {}),
    }
    with evil(answers) as (port, _):
        node.register(replace_port(Server(http_port=0, dicom_port=None, ae_title="E"), port))
        node.following().look("east")
    assert node.quarantined() == ["dicom_node.unreadable.damaged"]
    assert node.held() == set()
    assert node.progress().last_change == 1


def kinds_behind(server: Server, since: int) -> list[str]:
    told = server.ask("GET", f"/changes?since={max(0, since)}&limit=100")["Changes"]
    return [each["ChangeType"] for each in told]


def records(node: Node) -> int:
    """Return how many records came into the journal."""
    return sum(1 for _ in node.journal.scan())


def replace_port(server: Server, port: int) -> Server:
    return replace(server, http_port=port)


@contextmanager
def silent() -> Iterator[int]:
    """Listen and never say a word."""
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield listening.getsockname()[1]
