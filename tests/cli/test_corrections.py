"""``telerad patient``, ``study`` and ``correction`` as a person uses them."""

import json
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from app.bootstrap import Parts
from app.settings import load
from dicom_node.part10 import split
from tests.cli.command import refused, telerad
from tests.dicom_node.samples import ROOT, a_slice, a_source, as_file, as_sent
from tests.services.migrated import migrate


@pytest.fixture
def data(tmp_path: Path) -> Path:
    parts = Parts(load(tmp_path / "data"))
    parts.settings.data.mkdir()
    migrate(parts.database)
    for study in (1, 2):
        announced, body = as_sent(as_file(a_slice(study=study)))
        assert parts.intake.store(announced, a_source(), body).reason == ""
    parts.journal.close()
    parts.database.dispose()
    return parts.settings.data


def exported(data: Path, folder: Path, *more: str) -> bytes:
    done = telerad("study", "export", f"{ROOT}.1", "--to", folder, "--data", data, *more)
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    return file.read_bytes()


def test_a_study_is_moved_exported_both_ways_and_moved_back(data: Path, tmp_path: Path) -> None:
    done = telerad(
        "study", "correct", f"{ROOT}.1", "--patient", "P2^^^hospital-1",
        "--reason", "wrong line", "--data", data, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    number = json.loads(done.stdout)["number"]
    assert dcmread(BytesIO(exported(data, tmp_path / "as-shown"))).PatientID == "P2"
    original = exported(data, tmp_path / "verbatim", "--original")
    sent = as_file(a_slice(study=1))
    assert original[split(original).data_set_offset :] == sent[split(sent).data_set_offset :]
    listed = telerad("correction", "list", "--data", data)
    assert "wrong line" in listed.stdout
    undone = telerad("correction", "undo", number, "--reason", "was right", "--data", data)
    assert undone.stdout == f"Correction {number} is withdrawn.\n"
    assert exported(data, tmp_path / "again") == original


def test_patients_are_merged_by_id_and_never_in_a_circle(data: Path) -> None:
    merged = telerad("patient", "merge", "P1", "P2", "--reason", "two cards", "--data", data)
    assert merged.stdout.startswith("Correction 1 is in force")
    told = json.loads(telerad("patient", "find", "P1", "--data", data, "--json").stdout)
    assert told[0]["merged_into"] != ""
    said = refused("patient", "merge", "P2", "P1", "--reason", "again", "--data", data)
    assert "is, by a merge in force, this one" in said
    assert "no patient has this id" in refused(
        "patient", "merge", "P9", "P1", "--reason", "who", "--data", data
    )


def test_a_study_is_withdrawn_held_listed_and_brought_back(data: Path, tmp_path: Path) -> None:
    study = f"{ROOT}.1"

    def run(*arguments: str) -> str:
        done = telerad("study", *arguments, "--data", data)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "113037" in refused("study", "withdraw", study, "--reason", "why", "--data", data)
    run("hold", study, "--reason", "court order")
    assert "hold" in refused("study", "withdraw", study, "--reason", "113001", "--data", data)
    run("release", study, "--reason", "it is over")
    assert "out of sight" in run("withdraw", study, "--reason", "113001")
    assert "no such study" in refused("study", "show", study, "--data", data)
    assert "Quality" in run("withdrawn")
    assert "shown again" in run("restore", study)
    assert study in run("show", study)
    assert exported(data, tmp_path / "again")
