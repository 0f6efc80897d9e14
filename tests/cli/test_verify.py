"""``telerad verify`` is silent about a sound directory and names every lie."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from app.bootstrap import Parts
from app.settings import load
from dicom_node.admission import Announced, Route, Source
from dicom_node.headers import Defaults
from dicom_node.part10 import split
from tests.cli.command import telerad
from tests.flows.actors import Study


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with completed cases in packs, and one film still in the journal."""
    data = tmp_path_factory.mktemp("verify") / "sound"
    done = telerad("demo", "--keep", data, "--json")
    assert done.returncode == 0, done.stderr
    _store_in_journal(data)
    return data


@pytest.fixture
def data(sound: Path, tmp_path: Path) -> Path:
    """A copy to lie in."""
    return Path(shutil.copytree(sound, tmp_path / "copy"))


def _store_in_journal(data: Path) -> None:
    parts = Parts(load(data))
    part10 = Study().part10()
    found = split(part10)
    source = Source(Route.DIMSE, "VAN1", "van1", Defaults("DEMO-REGION"))
    announced = Announced(found.sop_class_uid, found.sop_instance_uid, found.transfer_syntax_uid)
    answer = parts.intake.store(announced, source, part10[found.data_set_offset :])
    assert answer.reason == ""
    parts.journal.close()
    parts.database.dispose()


def verified(data: Path) -> tuple[int, dict[str, list[str]]]:
    done = telerad("verify", "--data", data, "--json")
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is (done.returncode == 0)
    return done.returncode, told["problems"]


def change(file: Path, at: int) -> None:
    """Turn over one bit of a file."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)


def run(data: Path, statement: str) -> None:
    """Change a row behind the engine's back."""
    with sqlite3.connect(data / "telerad.db") as connection:
        changed = connection.execute(statement).rowcount
    connection.close()
    assert changed >= 1


def one(data: Path, query: str) -> tuple[str, ...]:
    connection = sqlite3.connect(data / "telerad.db")
    (row,) = connection.execute(query).fetchmany(1)
    connection.close()
    return tuple(row)


def test_a_sound_directory(sound: Path) -> None:
    assert verified(sound) == (0, {})
    told = telerad("verify", "--data", sound)
    assert told.returncode == 0
    assert told.stdout.splitlines() == [
        "ok   audit",
        "ok   manifests",
        "ok   purged",
        "ok   journal",
        "ok   packs",
        "ok   signatures",
    ]


@pytest.mark.parametrize(
    ("statement", "kind", "said"),
    [
        ("UPDATE audit SET actor = 'nobody' WHERE seq = 7", "audit", "entry 7 was changed"),
        ("UPDATE audit SET detail = '{}' WHERE seq = (SELECT max(seq) FROM audit)", "audit", "was"),
        ("DELETE FROM audit WHERE seq = 9", "audit", "entry 9 is missing"),
        ("DELETE FROM audit WHERE seq > 20", "audit", "the audit chain ends at entry 20"),
        ("UPDATE manifests SET body = '[]'", "manifests", "was changed after it was frozen"),
        ("UPDATE instances SET digest = hex(zeroblob(32))", "manifests", "is not as it was"),
    ],
)
def test_a_row_that_was_changed(data: Path, statement: str, kind: str, said: str) -> None:
    run(data, statement)

    status, problems = verified(data)

    assert status == 1
    assert any(said in problem for problem in problems[kind]), problems


def test_a_byte_of_the_journal(data: Path) -> None:
    uid, segment, offset, length = one(
        data,
        'SELECT instance_uid, segment, "offset", length FROM instances WHERE pack_key IS NULL',
    )
    change(data / "journal" / segment, int(offset) + int(length) // 2)

    status, problems = verified(data)

    assert status == 1
    assert any(uid in problem for problem in problems["journal"]), problems


def test_a_byte_of_a_pack(data: Path) -> None:
    (key,) = one(data, "SELECT pack_key FROM packs")
    change(data / "objects" / key, -100)

    status, problems = verified(data)

    assert status == 1
    assert any(key in problem for problem in problems["packs"]), problems


def test_a_pack_that_is_gone(data: Path) -> None:
    (key,) = one(data, "SELECT pack_key FROM packs")
    (data / "objects" / key).unlink()

    status, problems = verified(data)

    assert status == 1
    assert f"pack {key} is missing" in problems["packs"]


@pytest.mark.parametrize(("name", "said"), [("report.pdf", "signed PDF"), ("report.dcm", "SR")])
def test_a_byte_of_a_signed_document(data: Path, name: str, said: str) -> None:
    document = next((data / "objects" / "documents").rglob(name))
    change(document, -1000)

    status, problems = verified(data)

    assert status == 1
    (problem,) = problems["signatures"]
    assert f"the stored {said} was changed" in problem
    assert document.relative_to(data / "objects" / "documents").parts[0] in problem


def test_for_people_the_lie_stands_below_its_kind(data: Path) -> None:
    run(data, "UPDATE audit SET actor = 'nobody' WHERE seq = 7")

    told = telerad("verify", "--data", data)

    assert told.returncode == 1
    lines = told.stdout.splitlines()
    assert lines[0] == "FAIL audit"
    assert "entry 7 was changed" in lines[1]
