"""A journal and an intake of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.intake import Intake
from storage.engine import Database
from storage.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal", node="test", segment_bytes=4 << 20)
    yield journal
    journal.close()


@pytest.fixture
def intake(database: Database, journal: Journal) -> Intake:
    return Intake(database, journal)
