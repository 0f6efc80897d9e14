"""``telerad demo``: the main job once, and an account of every file that was given."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest

from app.demo.outcome import STAGES
from tests.cli.command import ROOT, telerad

SHIPPED = 3
MIXED = ROOT / "../shared/data/dicom/pydicom"
SAMPLES = Path(str(pydicom.data.__file__)).parent / "test_files"


def told_by(*arguments: object, status: int = 0) -> dict[str, Any]:
    """Run the demo; return the object that it prints last."""
    done = telerad("demo", "--json", *arguments)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(told, dict)
    assert told["ok"] is (status == 0)
    assert [stage["name"] for stage in told["stages"]] == list(STAGES)
    return told


def accounted(told: dict[str, Any]) -> Counter[str]:
    """Count how often each file outside of the cases is named; check the sums."""
    named = Counter(file for one in told["explained"] for file in one["files"])
    files = told["files"]
    assert files["explained"] == named.total()
    assert files["all"] == files["in_cases"] + files["explained"] + files["unexplained"]
    return named


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    return folder, told_by("--keep", folder)


def test_every_stage_held_with_its_time_for_a_study_that_ai_looked_at(
    kept: tuple[Path, dict[str, Any]],
) -> None:
    _, told = kept
    stages = {stage["name"]: stage for stage in told["stages"]}

    assert all(stage["ok"] for stage in told["stages"])
    assert all(isinstance(stage["ms"], int) for stage in told["stages"])
    assert all(stage["detail"] for stage in told["stages"])
    order = ("received", "durable", "manifest", "case", "queued", "claimed", "signed", "completed")
    times = [stages[name]["ms"] for name in order]
    assert times == sorted(times)
    assert stages["triage"]["detail"].startswith("settled")
    assert told["cases"] == SHIPPED
    assert told["explained"] == told["unexplained"] == []
    assert told["files"]["in_cases"] == SHIPPED


def test_the_artifacts_are_files_below_the_kept_folder(kept: tuple[Path, dict[str, Any]]) -> None:
    folder, told = kept

    assert len(told["artifacts"]) == SHIPPED
    for one in told["artifacts"]:
        for path in (one["pdf"], one["sr"], one["bundle"], *one["instances"]):
            assert Path(path).is_relative_to(folder / "artifacts")
            assert Path(path).stat().st_size > 0
        bundle = json.loads(Path(one["bundle"]).read_bytes())
        assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "document")
        instances = [pydicom.dcmread(path) for path in one["instances"]]
        assert {instance.StudyInstanceUID for instance in instances} == {one["study"]}
        assert [Path(path).stem for path in one["instances"]] == [
            instance.SOPInstanceUID for instance in instances
        ]


@pytest.mark.skipif(shutil.which("pdfsig") is None, reason="needs poppler-utils")
def test_pdfsig_finds_the_signature_valid(kept: tuple[Path, dict[str, Any]]) -> None:
    for one in kept[1]["artifacts"]:
        done = subprocess.run(["pdfsig", one["pdf"]], capture_output=True, text=True)
        assert "Signature is Valid." in done.stdout, done.stdout
        assert "Total document signed" in done.stdout


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
def test_dciodvfy_passes_the_structured_report(kept: tuple[Path, dict[str, Any]]) -> None:
    for one in kept[1]["artifacts"]:
        done = subprocess.run(["dciodvfy", "-new", one["sr"]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Error" not in done.stdout + done.stderr


def test_what_it_leaves_is_sound_and_a_second_run_in_it_finds_all_done(
    kept: tuple[Path, dict[str, Any]],
) -> None:
    folder, told = kept

    again = told_by("--keep", folder)

    assert {one["case"] for one in again["artifacts"]} == {one["case"] for one in told["artifacts"]}
    verified = telerad("verify", "--data", folder)
    assert verified.returncode == 0, verified.stdout


def test_without_keep_the_artifacts_stay_and_the_scratch_folder_does_not(tmp_path: Path) -> None:
    done = telerad("demo", environment={"TMPDIR": str(tmp_path)})

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[: len(STAGES)]] == [["ok", s] for s in STAGES]
    (folder,) = tmp_path.glob("telerad-*")
    assert lines[-1].endswith(f"lie in {folder}.")
    assert len(list(folder.glob("*/report.pdf"))) == SHIPPED


def test_studies_that_share_an_accession_number_each_become_a_case(tmp_path: Path) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm"):
        data_set = pydicom.dcmread(SAMPLES / name)
        data_set.AccessionNumber = "SHARED"
        data_set.save_as(tmp_path / name)

    told = told_by("--study", tmp_path)

    assert told["cases"] == len(told["artifacts"]) == 2
    assert not accounted(told)


def test_a_single_file_and_its_copy_are_one_case(tmp_path: Path) -> None:
    for name in ("one.dcm", "copy.dcm"):
        shutil.copy(SAMPLES / "CT_small.dcm", tmp_path / name)

    told = told_by("--study", tmp_path)

    assert told["cases"] == 1
    assert told["files"] == {"all": 2, "in_cases": 2, "explained": 0, "unexplained": 0}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("letter.txt", b"not DICOM", "no DICM prefix"),
        ("empty.dcm", b"", "no DICM prefix"),
        ("cut.dcm", (SAMPLES / "CT_small.dcm").read_bytes()[:3000], "the data set ends before"),
    ],
)
def test_a_folder_with_one_unreadable_file_only(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)

    told = told_by("--study", tmp_path, status=1)

    (one,) = told["explained"]
    assert (one["name"], one["files"]) == (name, [name])
    assert reason in one["reason"]
    assert told["artifacts"] == []
    assert not any(stage["ok"] for stage in told["stages"])


def test_an_empty_folder_fails_and_says_so(tmp_path: Path) -> None:
    told = told_by("--study", tmp_path, status=1)

    assert told["files"]["all"] == 0


@pytest.mark.shared
@pytest.mark.skipif(not MIXED.is_dir(), reason="needs the data beside the project")
def test_a_folder_of_mixed_real_files_is_accounted_for_to_the_last_file() -> None:
    told = told_by("--study", MIXED)

    files = {str(file.relative_to(MIXED)) for file in MIXED.rglob("*") if file.is_file()}
    named = accounted(told)
    assert told["files"]["all"] == len(files)
    assert told["files"]["unexplained"] == 0
    assert set(named) <= files
    assert set(named.values()) <= {1}, "a file is explained once"
    names = Counter(one["name"] for one in told["explained"])
    assert set(names.values()) <= {1}
    assert told["cases"] > SHIPPED
    for one in told["explained"]:
        assert one["reason"][-1] != ":"
        assert len(one["reason"].split()) > 3, one


def test_progress_goes_to_standard_error_as_plain_lines(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text("not DICOM")

    done = telerad("demo", "--study", tmp_path)

    assert "reading files: 12 of 12" in done.stderr.splitlines()
    assert "\r" not in done.stderr
    assert "\x1b" not in done.stderr
