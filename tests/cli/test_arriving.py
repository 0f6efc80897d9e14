"""``telerad study arriving``, ``study show``: what a study waits for, why it counts as whole."""

from datetime import timedelta
from pathlib import Path

import pytest

from app.bootstrap import Parts
from app.settings import load
from dicom_node.tasks import Settling
from kernel.clock import system_clock
from tests.cli.command import listed, telerad
from tests.dicom_node.samples import ROOT, a_slice, a_source, as_file, as_sent
from tests.services.migrated import migrate

STUDY = f"{ROOT}.1"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    parts = Parts(load(tmp_path / "data"))
    parts.settings.data.mkdir()
    migrate(parts.database)
    announced, body = as_sent(as_file(a_slice(study=1)))
    assert parts.intake.store(announced, a_source(), body).reason == ""
    parts.journal.close()
    parts.database.dispose()
    return parts.settings.data


def settle(data: Path) -> None:
    """Settle the study as the relay does an hour from now."""
    parts = Parts(load(data), lambda: system_clock() + timedelta(hours=1))
    Settling(parts.database, parts.completeness).settle_study(STUDY)
    parts.database.dispose()


def test_a_study_says_what_it_waits_for_until_it_is_settled(data: Path) -> None:
    (waiting,) = listed("study", "arriving", "--data", data)
    assert (waiting["study_uid"], waiting["accession"], waiting["from"]) == (STUDY, "ACC1", "VAN1")
    assert waiting["why"].startswith("Images came a moment ago")
    assert waiting["settled_by"] > waiting["last_image"]
    shown = telerad("study", "show", STUDY, "--data", data).stdout
    assert "waits     Images came a moment ago" in shown
    assert "P1" not in shown

    settle(data)
    assert listed("study", "arriving", "--data", data) == []
    assert telerad("study", "arriving", "--data", data).stdout == "There are none.\n"
    told = listed("study", "show", STUDY, "--data", data)
    assert told["completeness"] == {
        "state": "complete",
        "code": "quiet_without_order",
        "sentence": "No request asked for it; nothing more came for the quiet time.",
        "until": None,
    }
    assert "complete  No request asked" in telerad("study", "show", STUDY, "--data", data).stdout


def test_a_patient_gets_an_account_by_the_id_on_the_card(data: Path) -> None:
    words = ("user", "add", "--name", "A Patient", "--role", "patient", "--password-stdin")
    password = "correct horse battery"
    added = telerad(*words, "p1", "--patient", "P1^^^hospital-1", "--data", data, given=password)
    assert added.stdout == "p1 can sign in.\n", added.stderr
    unknown = telerad(*words, "p2", "--patient", "P-NOBODY", "--data", data, given=password)
    assert unknown.returncode == 1
    assert "P-NOBODY" not in telerad("study", "arriving", "--data", data).stdout
