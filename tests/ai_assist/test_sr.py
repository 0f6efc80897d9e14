"""The structured report conforms, says that it is unverified, and reads back."""

import shutil
import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from highdicom.sr import srread
from pydicom import Dataset, dcmread

from ai_assist.card import ModelCard
from ai_assist.errors import ResultNotEncoded
from ai_assist.runs import TriageRun, plan
from ai_assist.sr import ScoredImage, build, report_uid
from ai_assist.store import InstanceResult
from tests.ai_assist.films import STUDY, film, noise
from tests.ai_assist.room import START

GOOD = {"chest": 0.99}
BAD = {"chest": 0.99, "inverted": 0.98}
ODD_HEADERS: dict[str, dict[str, object]] = {
    "plain": {},
    "no patient": {"PatientID": "", "PatientName": "", "PatientBirthDate": "", "PatientSex": ""},
    "a crooked date": {"PatientBirthDate": "1980", "StudyDate": "", "StudyTime": "9:00"},
    "a strange sex": {"PatientSex": "U"},
    "a time zone": {"TimezoneOffsetFromUTC": "+0500"},
    "a long accession": {"AccessionNumber": "A" * 40},
}


def a_run(card: ModelCard) -> TriageRun:
    return plan(
        card,
        case_id="case-1",
        study_uid=STUDY,
        manifest_version=3,
        manifest_digest="ab" * 32,
        at=START,
    )


def scored(card: ModelCard, image: Dataset, given: dict[str, float]) -> ScoredImage:
    result = InstanceResult(
        instance_uid=str(image.SOPInstanceUID),
        model_id=card.id,
        model_version=card.version,
        run_id="r",
        instance_digest="0" * 64,
        weights_digest=card.weights_digest,
        refusal=None,
        scores={name: given.get(name, 0.01) for name in card.scores},
        latency_ms=1.0,
        scored_at=START,
    )
    return ScoredImage(image, result)


def dciodvfy_errors(data: bytes, folder: Path) -> list[str]:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed")
    file = folder / "sr.dcm"
    file.write_bytes(data)
    done = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("name", ODD_HEADERS)
def test_the_report_passes_dciodvfy(quality_card: ModelCard, tmp_path: Path, name: str) -> None:
    images = [film(noise(), number=n, **ODD_HEADERS[name]) for n in (1, 2)]
    seen = [scored(quality_card, image, BAD) for image in images]
    assert dciodvfy_errors(build(a_run(quality_card), quality_card, seen), tmp_path) == []


def test_the_report_is_unverified_and_in_its_own_series_of_the_same_study(
    quality_card: ModelCard,
) -> None:
    image, run = film(noise()), a_run(quality_card)
    data = build(run, quality_card, [scored(quality_card, image, GOOD)])
    report = dcmread(BytesIO(data))
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert report.StudyInstanceUID == image.StudyInstanceUID
    assert report.SeriesInstanceUID != image.SeriesInstanceUID
    assert report.SOPInstanceUID == report_uid(run)
    assert (str(report.PatientName), report.PatientID) == ("Иванова^Айгүл", "P-1")


def test_the_report_reads_back(quality_card: ModelCard, tmp_path: Path) -> None:
    run = a_run(quality_card)
    seen = [scored(quality_card, film(noise()), BAD)]
    file = tmp_path / "sr.dcm"
    file.write_bytes(build(run, quality_card, seen))
    groups = srread(file).content.get_image_measurement_groups()
    read_back = {
        group.finding_type.value: (
            float(group.get_measurements()[0].value),
            group.get_qualitative_evaluations()[0].value.meaning,
        )
        for group in groups
    }
    assert read_back["INVERTED"] == (0.98, "Yes")
    assert read_back["TURNED"] == (0.01, "No")
    assert len(groups) == len(quality_card.outputs)
    text = file.read_bytes()
    for cited in (run.weights_digest, run.manifest_digest, "manifest_version=3", "mode=advise"):
        assert cited.encode() in text


def test_of_what_is_no_chest_only_that_is_reported(quality_card: ModelCard, tmp_path: Path) -> None:
    seen = [scored(quality_card, film(noise()), {"chest": 0.02, "inverted": 1})]
    file = tmp_path / "sr.dcm"
    file.write_bytes(build(a_run(quality_card), quality_card, seen))
    groups = srread(file).content.get_image_measurement_groups()
    assert [group.finding_type.value for group in groups] == ["NOT-FRONTAL-CHEST"]


def test_the_same_run_gives_the_same_bytes(quality_card: ModelCard) -> None:
    seen = [scored(quality_card, film(noise()), BAD)]
    run = a_run(quality_card)
    assert build(run, quality_card, seen) == build(run, quality_card, seen)
    other = replace(run, id="another")
    assert build(other, quality_card, seen) != build(run, quality_card, seen)


@pytest.mark.parametrize(
    ("offset", "time"),
    [("+0500", "140000"), ("-0330", "053000"), (None, "090000"), ("x", "090000")],
)
def test_times_are_in_the_offset_of_the_images(
    quality_card: ModelCard, offset: str | None, time: str
) -> None:
    named = {} if offset is None else {"TimezoneOffsetFromUTC": offset}
    one = scored(quality_card, film(noise(), **named), GOOD)
    report = dcmread(BytesIO(build(a_run(quality_card), quality_card, [one])))
    assert str(report.ContentTime).startswith(time)
    assert report.get("TimezoneOffsetFromUTC") == (offset if offset != "x" else None)


def test_an_image_without_its_uids_gives_no_report(quality_card: ModelCard) -> None:
    image = film(noise())
    one = scored(quality_card, image, GOOD)
    del image.SeriesInstanceUID
    with pytest.raises(ResultNotEncoded):
        build(a_run(quality_card), quality_card, [one])
