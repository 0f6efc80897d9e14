"""A database for each test, on both engines, with a clock that the test moves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.engine import Database
from tests.services.migrated import migrate
from tests.worklist.room import HandClock, Room


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database that only this test sees."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgresql_url")
        return url
    return f"sqlite:///{tmp_path / 'telerad.db'}"


@pytest.fixture
def room(database_url: str) -> Iterator[Room]:
    """A worklist with one site, one clinic, its profiles, and nobody on duty."""
    database = Database(database_url, clock=HandClock())
    migrate(database)
    yield Room(database)
    database.dispose()
