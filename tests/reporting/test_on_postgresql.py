"""The same on many machines: signing against PostgreSQL, from several nodes at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reporting.errors import DraftConflict
from reporting.inspection import verify_all
from reporting.trust import Trust
from storage.memory import MemoryObjects
from tests.reporting.reading_room import ReadingRoom
from tests.reporting.samples import HOUR, NOON, SIGNED_TEXT

pytestmark = pytest.mark.service


@pytest.fixture
def room(postgresql_url: str, tmp_path: Path, trust: Trust) -> Iterator[ReadingRoom]:
    """A node on PostgreSQL."""
    room = ReadingRoom(postgresql_url, tmp_path, MemoryObjects(), trust, at=NOON)
    yield room
    room.close()


def test_signings_at_once_make_one_document(room, r1_signer):
    report = room.finalised()

    with ThreadPoolExecutor(4) as pool:
        documents = list(pool.map(lambda _: room.signing.sign(report.id, 1, r1_signer), range(4)))

    assert len({document.pdf_sha256 for document in documents}) == 1
    assert len(room.facts(report.subject.case_id, "ReportSigned")) == 1
    assert [f.problem for f in verify_all(room.database, room.objects, room.trust)] == [None]


def test_two_windows_at_once_save_one_text(room):
    report = room.begin(room.claimed_case())

    def save(_: int) -> bool:
        try:
            room.save(report, *SIGNED_TEXT)
        except DraftConflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        saved = list(pool.map(save, range(4)))
    assert saved.count(True) == 1


def test_signing_twice_is_signing_once(room, r1_signer):
    report = room.finalised()
    first = room.signing.sign(report.id, 1, r1_signer)
    room.at += HOUR

    assert room.signing.sign(report.id, 1, r1_signer) == first
