"""``telerad doctor``: every setting with its secrets masked, and whether the machine is fit."""

import json
from pathlib import Path

from sqlalchemy import text

from app.bootstrap import Parts
from app.settings import load
from storage import unindexed
from storage.journal import Place
from tests.cli.command import telerad

SECRETS = {
    "TELERAD_STORAGE__DATABASE_URL": "postgresql://clerk:open-sesame@127.0.0.1:1/telerad",
    "TELERAD_STORAGE__S3_ACCESS_KEY": "the-access-key",
    "TELERAD_STORAGE__S3_SECRET_KEY": "swordfish",
    "TELERAD_BROKER__URL": "amqp://clerk:rosebud@127.0.0.1//",
    "TELERAD_RECORD__FHIR_TOKEN": "shibboleth",
    "TELERAD_RECORD__SEAL_PASSPHRASE": "xyzzy",
}


def test_a_fresh_machine_is_fit_and_nothing_is_made(tmp_path: Path) -> None:
    done = telerad("doctor", "--data", tmp_path / "none", "--json")

    told = json.loads(done.stdout)
    assert done.returncode == 0, told
    checks = {check["check"]: check for check in told["checks"]}
    assert {"python", "disk", "data", "database", "object store", "models", "trust"} <= set(checks)
    assert "not made yet" in checks["database"]["detail"]
    assert checks["packing"]["detail"] == "nothing is settled yet"
    assert checks["earlier versions"]["detail"] == "nothing of theirs is left to be read"
    assert not (tmp_path / "none").exists()


def test_no_secret_is_shown_and_a_check_that_fails_is_the_status(tmp_path: Path) -> None:
    done = telerad("doctor", "--data", tmp_path, environment=SECRETS)

    assert done.returncode == 1
    assert "FAIL database: the database did not answer" in done.stdout
    printed = done.stdout + done.stderr
    for secret in ("open-sesame", "swordfish", "rosebud", "shibboleth", "xyzzy", "clerk"):
        assert secret not in printed
    assert "postgresql://****@127.0.0.1:1/telerad" in done.stdout
    assert "Traceback" not in done.stderr


def test_what_no_start_could_index_and_what_is_looked_for_in_vain_are_told(tmp_path: Path) -> None:
    assert telerad("migrate", "--data", tmp_path).returncode == 0
    parts = Parts(load(tmp_path))
    with parts.database.transaction() as tx:
        tx.execute(text("DROP TABLE workitem_reports"))
        unindexed.not_indexed(tx, "n1", Place("n1-1.seg", 64, 10, "0" * 64), "recovery.unforeseen")
    parts.database.dispose()

    done = telerad("doctor", "--data", tmp_path, "--json")

    assert done.returncode == 1
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    assert "1 for recovery.unforeseen" in checks["recovery"]["detail"]
    assert not checks["due work"]["ok"]


def test_a_setting_of_the_file_is_shown(tmp_path: Path) -> None:
    (tmp_path / "telerad.toml").write_text('[dicom]\nae_title = "EAST"\n')

    done = telerad("doctor", "--data", tmp_path, "--json")

    assert json.loads(done.stdout)["settings"]["dicom.ae_title"] == "EAST"
