"""Packs that the index names and this host does not have: no 404, and said where it is seen."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.upkeep import Upkeep
from storage.courtesy import Courtesy
from storage.series_queries import held
from tests.app.stocked import ROOT, Stocked, instance_path, stocked_clinic
from tests.cli.command import telerad

PACKED = f"{ROOT}.2"
INSTANCE = instance_path(2, 1, 1)


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Stocked]:
    """Give a clinic on whose host the packs do not lie, as where the object store is not shared."""
    with stocked_clinic(tmp_path / "data") as stocked:
        stocked.clinic.parts.packer.pack(PACKED)
        shutil.move(tmp_path / "data/objects/packs", tmp_path / "elsewhere")
        yield stocked


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        (INSTANCE, "application/dicom; transfer-syntax=*"),
        (f"studies/{PACKED}", 'multipart/related; type="application/dicom"; transfer-syntax=*'),
        (f"studies/{PACKED}", 'multipart/related; type="application/dicom"'),
        (f"studies/{PACKED}/metadata", "application/dicom+json"),
        (f"{INSTANCE}/metadata", "application/dicom+xml"),
        (f"{INSTANCE}/frames/1", "application/octet-stream"),
        (f"{INSTANCE}/rendered", "image/png"),
        (f"studies/{PACKED}/rendered", 'multipart/related; type="image/png"'),
    ],
)
def test_what_the_index_has_and_the_store_has_not_is_no_404(
    away: Stocked, path: str, accept: str
) -> None:
    answer = away.get(path, accept)

    assert (answer.status_code, answer.json()["code"]) == (500, "storage.object_missing")


def test_a_segment_that_is_gone_is_no_404_and_its_study_is_said_not_to_be_packed(
    tmp_path: Path,
) -> None:
    with stocked_clinic(tmp_path / "data") as stocked:
        parts = stocked.clinic.parts
        with parts.database.reading() as tx:
            (first, *_) = held(tx, PACKED)
        (parts.journal.directory / str(first.segment)).unlink()

        answer = stocked.get(INSTANCE, "application/dicom; transfer-syntax=*")
        Upkeep(parts.packer, parts, Courtesy(lambda: False)).turn()

        assert (answer.status_code, answer.json()["code"]) == (500, "storage.no_such_place")
        found = httpx.get(f"{stocked.clinic.server.url}/health").json()["checks"]
        (packing,) = [each for each in found if each["name"] == "packing"]
        assert "storage.no_such_place" in packing["sentence"]


def test_health_and_doctor_say_whose_packs_are_not_here(away: Stocked, tmp_path: Path) -> None:
    def told() -> tuple[bool, str]:
        answer = httpx.get(f"{away.clinic.server.url}/health")
        assert answer.status_code == 200  # what else it has it serves
        (check,) = [each for each in answer.json()["checks"] if each["name"] == "packs"]
        doctor = json.loads(telerad("doctor", "--data", tmp_path / "data", "--json").stdout)
        (line,) = [each for each in doctor["checks"] if each["check"] == "packs"]
        assert (line["ok"], line["detail"]) == (check["ok"], check["sentence"])
        return line["ok"], line["detail"]

    ok, sentence = told()
    assert not ok
    assert away.clinic.engine.node_name in sentence

    shutil.move(tmp_path / "elsewhere", tmp_path / "data/objects/packs")
    assert told()[0]
