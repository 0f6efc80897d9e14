"""A database for each test, on both engines, with a clock that the test moves."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.engine import Database
from storage.migrate import upgrade
from tests.worklist.room import HandClock, Room


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "telerad.db"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.dispose()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def database_url(request: pytest.FixtureRequest, migrated_file: Path, tmp_path: Path) -> str:
    """The URL of a migrated, empty database that only this test sees."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgresql_url")
        return url
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'telerad.db')}"


@pytest.fixture
def room(database_url: str) -> Iterator[Room]:
    """A worklist with one site, one clinic, its profiles, and nobody on duty."""
    database = Database(database_url, clock=HandClock())
    yield Room(database)
    database.dispose()
