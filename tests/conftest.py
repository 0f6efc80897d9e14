"""Fixtures that every package's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from storage.engine import Database
from tests.services.migrated import migrate

pytest_plugins = ["tests.services.fixtures"]

# A deadline is a clock that no test sets: what it says is how busy the machine is.
settings.register_profile("telerad", deadline=None)
settings.load_profile("telerad")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty database of its own (SQLite)."""
    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    migrate(database)
    yield database
    database.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def each_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty database of its own, on each of the two."""
    url = f"sqlite:///{tmp_path / 'telerad.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    database = Database(url)
    migrate(database)
    yield database
    database.dispose()
