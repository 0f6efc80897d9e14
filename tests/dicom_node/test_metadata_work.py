"""The metadata of complete studies are prepared once, whoever is killed meanwhile."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_node import store
from dicom_node.metadata_work import LEASE, MAX_ATTEMPTS, MetadataWork
from dicom_node.reactions import METADATA_CONSUMER, reactions
from dicom_node.series_metadata import key_of
from kernel.facts import StudyAmended, StudyCompleted
from kernel.ids import StudyUID
from storage.archive import Archive
from storage.engine import Database
from storage.journal import Journal
from storage.objects import LocalObjects
from storage.series_queries import held
from tests.dicom_node.samples import ROOT, a_slice, a_source, as_file, as_sent
from tests.services.migrated import migrate

STUDY = f"{ROOT}.1"


class Clock:
    """A clock that stands until it is pushed."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def archive(tmp_path: Path, clock: Clock):
    from dicom_node.intake import Intake

    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}", clock=clock)
    migrate(database)
    journal = Journal(tmp_path / "journal", node="test", segment_bytes=1 << 20)
    intake = Intake(database, journal, clock=clock)
    for number in range(1, 10):
        announced, data = as_sent(as_file(a_slice(number)))
        assert not intake.store(announced, a_source(), data).reason
    yield Archive(database, journal, LocalObjects(tmp_path / "objects"))
    journal.close()
    database.dispose()


def told(archive: Archive, version: int = 1) -> None:
    common = {
        "subject": STUDY,
        "at": archive.database.clock(),
        "actor": "system:engine",
        "study_uid": StudyUID(STUDY),
        "manifest_version": version,
        "manifest_digest": "d",
    }
    fact = (
        StudyCompleted(**common, verdict="quiet")
        if version == 1
        else StudyAmended(**common, added=1)
    )
    with archive.database.transaction() as tx:
        reactions()[METADATA_CONSUMER][type(fact)](tx, fact)


def due(archive: Archive) -> list[str]:
    with archive.database.reading() as tx:
        return store.metadata_due(tx)


def is_prepared(archive: Archive) -> bool:
    with archive.database.reading() as tx:
        return archive.objects.size(key_of(held(tx, STUDY))) is not None


def test_a_complete_study_is_prepared_once(archive: Archive) -> None:
    told(archive)
    work = MetadataWork(archive)
    assert due(archive) == [STUDY]

    work.prepare(STUDY)
    work.prepare(STUDY)

    assert is_prepared(archive)
    assert due(archive) == []


def test_who_is_killed_while_preparing_is_followed_by_another(
    archive: Archive, clock: Clock
) -> None:
    told(archive)
    with archive.database.transaction() as tx:  # and then it is gone
        assert store.claim_metadata(tx, STUDY, until=tx.at + LEASE) == (1, 1)
    MetadataWork(archive).prepare(STUDY)
    assert not is_prepared(archive)
    assert due(archive) == []

    clock.now += LEASE

    assert due(archive) == [STUDY]
    MetadataWork(archive).prepare(STUDY)
    assert is_prepared(archive)


def test_a_manifest_that_comes_while_another_is_prepared_is_not_lost(archive: Archive) -> None:
    told(archive)
    with archive.database.transaction() as tx:
        claimed = store.claim_metadata(tx, STUDY, until=tx.at + LEASE)
    told(archive, 2)
    assert claimed is not None
    with archive.database.transaction() as tx:
        store.end_metadata(tx, STUDY, claimed[0])

    assert due(archive) == [STUDY]


def test_what_cannot_be_read_yet_is_tried_again_and_given_up_in_the_end(
    archive: Archive, clock: Clock, tmp_path: Path
) -> None:
    told(archive)
    elsewhere = Journal(tmp_path / "other", node="other")
    work = MetadataWork(Archive(archive.database, elsewhere, archive.objects))
    tries = 0
    while due(archive):
        work.prepare(STUDY)
        clock.now += LEASE + timedelta(seconds=1)
        tries += 1

    assert tries == MAX_ATTEMPTS
    assert not is_prepared(archive)
