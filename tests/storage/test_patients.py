"""The registry of patients: one row for an issuer and an id, and the keys of their names."""

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from kernel.ids import PatientRef, fresh
from storage import patient_names, patients
from storage.engine import Database, Transaction
from storage.patient_names import NAME, WORD
from storage.tables.patients import PATIENT_NAME_KEYS, PATIENTS


def registered(tx: Transaction, *, issuer: str, patient_id: str, name: str) -> PatientRef:
    return patients.register(
        tx, issuer=issuer, patient_id=patient_id, name=name, sex="F", birth_date=None
    )


def found(tx: Transaction, kind: str, *patterns: str) -> list[str]:
    statement = select(PATIENTS.c.ref).where(patient_names.found_by(kind, patterns).made())
    return sorted(tx.execute(statement).scalars())


def test_a_patient_is_one_by_issuer_and_id(database: Database) -> None:
    with database.transaction() as tx:
        one = registered(tx, issuer="EAST", patient_id="7", name="Müller^Jörg")
        again = registered(tx, issuer="EAST", patient_id="7", name="Miller^George")
        other = registered(tx, issuer="WEST", patient_id="7", name="Müller^Jörg")

        assert one == again != other
        assert patients.get(tx, one).name == "Müller^Jörg"
        assert found(tx, NAME, "muler^*") == sorted([one, other])
        assert found(tx, NAME, "miler*") == []


def test_the_database_holds_the_key_whoever_writes(database: Database) -> None:
    row = {"issuer": "EAST", "patient_id": "7", "name": "", "sex": "", "birth_date": None}
    with database.transaction() as tx:
        registered(tx, issuer="EAST", patient_id="7", name="")
    with pytest.raises(IntegrityError), database.transaction() as tx:
        tx.execute(insert(PATIENTS).values(ref=fresh(), registered_at=tx.at, **row))


@pytest.mark.parametrize(
    ("kind", "pattern", "hit"),
    [
        (NAME, "müller^jörg", True),
        (NAME, "muler^*", True),
        (NAME, "*^zorh", True),
        (NAME, "m?ler*", True),
        (NAME, "mul", False),
        (NAME, "muler%", False),
        (WORD, "mul*", True),
        (WORD, "erh", True),
        (WORD, "muler^*", False),
    ],
)
def test_keys_are_found_by_pattern(database: Database, kind: str, pattern: str, hit: bool) -> None:
    with database.transaction() as tx:
        ref = registered(tx, issuer="EAST", patient_id="7", name="Müller^Jörg")
        registered(tx, issuer="EAST", patient_id="8", name="")

        assert found(tx, kind, "nobody*", pattern) == ([ref] if hit else [])


def test_a_corrected_name_is_found_and_the_wrong_one_no_more(database: Database) -> None:
    with database.transaction() as tx:
        ref = registered(tx, issuer="EAST", patient_id="7", name="Müller^Jörg")
        patient_names.replace(tx, ref, "Иванов^Иван")

        assert found(tx, WORD, "ivanov") == [ref]
        assert found(tx, NAME, "muler*") == []
        rows = tx.execute(select(PATIENT_NAME_KEYS.c.kind)).scalars()
        assert set(rows) == {NAME, WORD}
