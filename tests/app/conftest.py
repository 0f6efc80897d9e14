"""The clinic of the tests of the entrances."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.clinic import Clinic


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    """A whole engine with its people, and nothing sent yet."""
    made = Clinic(tmp_path / "data")
    yield made
    made.close()
