"""The migration that enters the keys of names finds the patients that were there before."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from storage.engine import Database
from storage.migrate import downgrade, upgrade
from storage.patient_names import rows_of

AT = datetime(2026, 11, 22, tzinfo=UTC)


def test_patients_of_an_earlier_version_are_found_by_name(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    upgrade(database)
    names = {f"ref-{n:04}": f"Müller^{n}" for n in range(2100)} | {"ref-9": ""}
    with database.engine.begin() as connection:
        downgrade(connection, "0002")
        connection.execute(
            text("INSERT INTO patients VALUES (:ref, 'I', :ref, :name, 'F', NULL, :at)"),
            [{"ref": ref, "name": name, "at": AT} for ref, name in names.items()],
        )

    upgrade(database)

    with database.engine.connect() as connection:
        found = connection.execute(
            text("SELECT patient_ref, kind, name_key FROM patient_name_keys")
        )
        kept = {tuple(row) for row in found}
    assert kept == {as_kept(row) for ref in names for row in rows_of(ref, names[ref])}
    database.dispose()


def as_kept(row: dict[str, str]) -> tuple[str, str, str]:
    return row["patient_ref"], row["kind"], row["name_key"]
