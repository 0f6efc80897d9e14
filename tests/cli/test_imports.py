"""``telerad import``, and the same by HTTP, whose process is killed wherever it is."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from app import node
from app.bootstrap import Parts
from app.cli.entries import BY
from app.imports import import_file
from dicom_node.errors import FileRefused
from storage import archive, audit
from storage.audit import Entry
from tests.cli.command import PATIENCE_S, ROOT, listed, opened, refused, telerad
from tests.dicom_node.pictures_of import encoded
from tests.flows.deployment import KillPoint, one_machine
from tests.wire.odd import ROWS

NETWORK = """
[[organisation]]
id = "east"
name = "East"
kind = "requesting"
"""
ORDER = {"accession": "A-1", "patient_id": "P-1", "modality": "XC", "organisation": "east"}
BEFORE_ROW = "dicom_node.group_commit:GroupCommit._commit"
KILLS = [
    (BEFORE_ROW, "call"),
    ("dicom_node.admission:admit", "return"),
    ("app.imports:_record", "call"),
    ("app.imports:_record", "return"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a site that has asked for one reading."""
    folder = tmp_path_factory.mktemp("imports")
    data, network = folder / "data", folder / "network.toml"
    network.write_text(NETWORK)
    for arguments in (("migrate",), ("network", "load", network), ("order", "add", "-")):
        done = telerad(*arguments, "--data", data, given=json.dumps(ORDER))
        assert done.returncode == 0, done.stderr
    return data


@pytest.fixture(scope="module")
def request_id(data: Path) -> str:
    return str(listed("order", "list", "--data", data)[0]["id"])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture that no other test has."""
    file = tmp_path / "wound.png"
    file.write_bytes(encoded("PNG", np.random.default_rng().integers(0, 256, (8, 8), np.uint8)))
    return file


@pytest.fixture
def arguments(data: Path, request_id: str, picture: Path) -> list[str]:
    """Of the command that imports it."""
    return ["import", str(picture), "--data", str(data), "--request", request_id]


def told_of(parts: Parts, action: str) -> list[Entry]:
    with parts.database.reading() as tx:
        assert list(audit.verify(tx)) == []
        return [each for each in audit.latest(tx, limit=1000) if each.action == action]


def holds_once(data: Path, instance_uid: str) -> None:
    """Check that an object is here once, whole, and on record."""
    with opened(data) as parts:
        node.recover(parts)
        with parts.database.reading() as tx:
            assert archive.quarantined(tx) == []
        assert list(parts.archive.verify()) == []
        assert parts.archive.read(instance_uid)
        subjects = [each.subject for each in told_of(parts, "instance.imported")]
        assert subjects.count(f"instance:{instance_uid}") == 1


@pytest.mark.parametrize(("target", "when"), KILLS)
def test_an_import_that_was_killed_is_done_by_the_next(
    data: Path, arguments: list[str], target: str, when: str
) -> None:
    killed = subprocess.run(
        [sys.executable, "-m", "tests.cli.import_victim", target, when, *arguments],
        cwd=ROOT,
        start_new_session=True,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout == b""

    told = listed(*arguments)

    holds_once(data, told["instance_uid"])
    with opened(data) as parts:
        last = told_of(parts, "file.imported")[0]
    assert last.detail["outcome"] == ("duplicate" if told["duplicate"] else "stored")


def test_what_only_the_journal_has_is_on_record_once_it_is_recovered(
    data: Path, arguments: list[str]
) -> None:
    command = [sys.executable, "-m", "tests.cli.import_victim", BEFORE_ROW, "call"]
    subprocess.run([*command, *arguments], cwd=ROOT, start_new_session=True, check=False)

    with opened(data) as parts:
        before = told_of(parts, "file.imported")
        assert node.recover(parts) == 1
        entry = told_of(parts, "instance.imported")[0]
        assert told_of(parts, "file.imported") == before

    assert entry.actor == "client:cli"
    holds_once(data, entry.subject.removeprefix("instance:"))


def test_a_file_that_was_sent_to_a_server_that_was_killed_is_sent_again(
    data: Path, request_id: str, picture: Path
) -> None:
    token = telerad("token", "add", "--data", data, "--scopes", "dicomweb:write").stdout.split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    path, file = f"/api/requests/{request_id}/files", picture.read_bytes()
    deployment = one_machine(data)
    up = deployment.doing("serve")
    try:
        up.start(KillPoint("app.imports", "_record", "call"))
        with pytest.raises(httpx.TransportError):
            httpx.post(deployment.web + path, content=file, headers=headers, timeout=PATIENCE_S)
        up.kill()
        up.start()
        again = httpx.post(deployment.web + path, content=file, headers=headers, timeout=PATIENCE_S)
    finally:
        deployment.stop()

    assert again.status_code == httpx.codes.OK
    assert again.json()["duplicate"]
    holds_once(data, again.json()["instance_uid"])


def test_a_file_whose_object_cannot_be_read_now_is_to_be_tried_later(
    arguments: list[str],
) -> None:
    assert telerad(*arguments).returncode == 0
    elsewhere = {"TELERAD_NODE": "another"}

    assert "journal of another node" in refused(*arguments, environment=elsewhere)
    assert telerad(*arguments).returncode == 0


@pytest.mark.shared
@pytest.mark.skipif(not ROWS, reason="the odd files are not here")
def test_odd_dicom_is_refused_under_any_name_and_leaves_nothing(
    data: Path, request_id: str
) -> None:
    with opened(data) as parts:
        engine, before = parts.engine(), len(list(parts.journal.scan()))
        for row in ROWS:
            for name in (row.name, "wound.png", "letter.pdf", ""):
                with pytest.raises(FileRefused):
                    import_file(engine, request_id, row.data, name=name, account="cli", by=BY)

        assert len(list(parts.journal.scan())) == before
