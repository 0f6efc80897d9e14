"""A database of either kind with nothing in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.engine import Database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def blank(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'blank.db'}"
    else:
        url = request.getfixturevalue("blank_postgresql_url")
    database = Database(url)
    yield database
    database.dispose()
