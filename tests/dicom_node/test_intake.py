"""Durable and indexed before yes; the same again is the same answer; nothing is lost."""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import text

from dicom_node.admission import Announced, Route, Source
from dicom_node.intake import Arriving, Intake
from dicom_node.part10 import split
from dicom_node.recovery import admit_record
from dicom_node.statuses import Outcome
from dicom_node.stow import store_part10
from storage import archive, audit
from storage.archive import Archive
from storage.engine import Database
from storage.frame import Frame
from storage.journal import Journal
from storage.objects import LocalObjects
from storage.recovery import recover
from tests.dicom_node.samples import a_slice, a_source, as_file, as_sent
from tests.services.migrated import migrate
from tests.storage.before_0029 import aged


@pytest.fixture
def archived(database: Database, journal: Journal, tmp_path: Path) -> Archive:
    return Archive(database, journal, LocalObjects(tmp_path / "objects"))


def test_a_stored_data_set_comes_back_verbatim(intake: Intake, archived: Archive) -> None:
    announced, data = as_sent(as_file(a_slice()))

    answer = intake.store(announced, a_source(), data)

    assert answer.outcome is Outcome.STORED
    back = archived.read(announced.sop_instance_uid)
    assert back[split(back).data_set_offset :] == data
    assert split(back).transfer_syntax_uid == announced.transfer_syntax_uid


def test_the_same_again_is_the_same_answer_by_whatever_way(
    intake: Intake, database: Database
) -> None:
    file = as_file(a_slice())
    announced, data = as_sent(file)
    intake.store(announced, a_source("VAN1"), data)

    assert intake.store(announced, a_source("VAN2"), data).outcome is Outcome.DUPLICATE
    web = a_source("portal", route=Route.STOW)
    assert store_part10(intake, file, web).outcome is Outcome.DUPLICATE
    polyglot = b"MZ" + file[2:]
    assert store_part10(intake, polyglot, web).outcome is Outcome.DUPLICATE
    with database.reading() as tx:
        assert archive.quarantined(tx) == []


@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_what_a_version_before_0029_stored_is_told_from_what_comes_again(
    intake: Intake, archived: Archive, journal: Journal, database: Database, way: str
) -> None:
    announced, data = as_sent(as_file(a_slice(seed=1)))
    _, other = as_sent(as_file(a_slice(seed=2)))
    intake.store(announced, a_source(), data)
    aged(database, journal, archived.objects)

    def sent(data: bytes) -> Outcome:
        if way == "whole":
            return intake.store(announced, a_source(), data).outcome
        return arriving(intake, announced, data).finish().outcome

    assert sent(data) is Outcome.DUPLICATE
    assert sent(other) is Outcome.CONFLICTING
    assert archived.read(announced.sop_instance_uid).endswith(data)


def test_another_content_under_a_known_uid_is_kept_aside_with_an_alarm(
    intake: Intake, archived: Archive, database: Database
) -> None:
    announced, first = as_sent(as_file(a_slice(seed=1)))
    _, second = as_sent(as_file(a_slice(seed=2)))
    intake.store(announced, a_source(), first)

    answer = intake.store(announced, a_source(), second)

    assert answer.outcome is Outcome.CONFLICTING
    assert archived.read(announced.sop_instance_uid).endswith(first)
    with database.reading() as tx:
        (kept,) = archive.quarantined(tx)
        assert kept.code == "archive.uid_conflict"
        (alarm,) = audit.latest(tx)
    assert (alarm.action, alarm.outcome) == ("instance.quarantined", "refused")
    assert alarm.detail["digest"] == kept.digest


def test_an_image_of_another_patient_never_joins_the_study_and_says_why(
    intake: Intake, database: Database
) -> None:
    mine, theirs = a_slice(1), a_slice(2)
    theirs.PatientID = "P2"
    intake.store(*_by(a_source(), mine))

    answer = intake.store(*_by(a_source(), theirs))

    assert answer.outcome is Outcome.CONFLICTING
    assert "patient" in answer.reason
    assert len(answer.reason) <= 64  # of an error comment
    with database.reading() as tx:
        (kept,) = archive.quarantined(tx)
        (alarm,) = audit.latest(tx)
    assert kept.code == alarm.detail["code"] == "archive.patient_conflict"
    assert "P2" not in kept.reason + answer.reason


def _by(source: Source, data_set: Dataset) -> tuple[Announced, Source, bytes]:
    announced, data = as_sent(as_file(data_set))
    return announced, source, data


@pytest.mark.parametrize(
    ("damage", "outcome", "code"),
    [
        (lambda d: d[:200], Outcome.UNREADABLE, "cut_short"),
        (lambda d: b"", Outcome.MISMATCHED, "uid_missing"),
        (lambda d: d.replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.4\0"),
         Outcome.MISMATCHED, "other_sop_class"),
    ],
)  # fmt: skip
def test_what_cannot_be_indexed_is_kept_and_listed_with_its_reason(
    intake: Intake,
    database: Database,
    journal: Journal,
    damage,
    outcome,
    code,  # type: ignore[no-untyped-def]
) -> None:
    announced, data = as_sent(as_file(a_slice()))

    answer = intake.store(announced, a_source(), damage(data))

    assert answer.outcome is outcome
    assert answer.reason
    with database.reading() as tx:
        (kept,) = archive.quarantined(tx)
    assert kept.code == f"dicom_node.unreadable.{code}"
    place = archive.Place(kept.segment, kept.offset, kept.length, kept.digest)
    assert journal.read(place).endswith(damage(data))


def test_bytes_that_are_no_file_are_kept_as_they_came(intake: Intake, database: Database) -> None:
    answer = store_part10(intake, b"not a file at all", a_source(route=Route.STOW))

    assert answer.outcome is Outcome.UNREADABLE
    with database.reading() as tx:
        (kept,) = archive.quarantined(tx)
    assert (kept.code, kept.length) == ("dicom_node.unreadable.not_part10", 17)


def arriving(
    intake: Intake,
    announced: Announced,
    data: bytes,
    *,
    pieces: int = 20_000,
    frame_bytes: int = 1 << 20,
) -> Arriving:
    stream = intake.begin(announced, a_source(), Frame(frame_bytes))
    for start in range(0, len(data), pieces):
        stream.write(data[start : start + pieces])
    return stream


def test_a_large_instance_is_streamed_and_the_same(
    intake: Intake, archived: Archive, database: Database
) -> None:
    announced, data = as_sent(as_file(a_slice(side=1024)))
    stream = arriving(intake, announced, data, pieces=300_000)

    assert stream.finish().outcome is Outcome.STORED
    assert archived.read(announced.sop_instance_uid).endswith(data)
    assert intake.store(announced, a_source(), data).outcome is Outcome.DUPLICATE


def test_a_header_behind_a_megabyte_is_found_in_the_stream(intake: Intake) -> None:
    data_set = a_slice(side=64)
    block = data_set.private_block(0x0009, "telerad", create=True)
    block.add_new(0x01, "OB", bytes(3_000_000))
    announced, data = as_sent(as_file(data_set))
    stream = arriving(intake, announced, data)

    answer = stream.finish()

    assert answer.outcome is Outcome.STORED
    assert answer.header is not None
    assert answer.header.patient_id == "P1"


def test_a_stream_that_is_cut_leaves_nothing(intake: Intake, tmp_path: Path) -> None:
    announced, data = as_sent(as_file(a_slice(side=256)))
    arriving(intake, announced, data[:50_000], frame_bytes=40_000).discard()

    assert list((tmp_path / "journal").iterdir()) == []


def test_many_threads_share_transactions_and_each_gets_its_own_answer(
    intake: Intake, database: Database
) -> None:
    sent = [as_sent(as_file(a_slice(n, study=1 + n % 3))) for n in range(40)]
    answers: list[Outcome] = []

    def work(part: int) -> None:
        for announced, data in sent[part::4]:
            answers.append(intake.store(announced, a_source(f"VAN{part}"), data).outcome)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [Outcome.STORED] * 40
    with database.reading() as tx:
        assert len(list(archive.unsettled(tx, arrived_before=tx.at))) == 3


def test_a_lost_index_is_rebuilt_from_the_journal(
    intake: Intake, journal: Journal, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        announced, data = as_sent(as_file(a_slice(number)))
        intake.store(announced, a_source(), data)
    announced, data = as_sent(as_file(a_slice(2, seed=9)))
    intake.store(announced, a_source(), data)
    intake.store(announced, a_source(), data[:100])
    store_part10(intake, b"junk", a_source(route=Route.STOW))
    journal.close()
    fresh = Database(f"sqlite:///{tmp_path / 'fresh.db'}")
    migrate(fresh)

    assert recover(fresh, journal, admit_record) == 6
    assert recover(fresh, journal, admit_record) == 0

    with fresh.reading() as tx:
        assert len(archive.quarantined(tx)) == 3
        (study,) = archive.unsettled(tx, arrived_before=tx.at)
    back = Archive(fresh, journal, LocalObjects(tmp_path / "objects"))
    assert len(back.instances_of(study.study_uid)) == 3
    fresh.dispose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of a few megabytes."""
    point = tmp_path / "small"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(point)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_a_full_disk_refuses_and_recovers(database: Database, small_disk: Path) -> None:
    journal = Journal(small_disk / "journal", node="test", segment_bytes=1 << 20)
    intake = Intake(database, journal)
    announced, data = as_sent(as_file(a_slice()))
    assert intake.store(announced, a_source(), data).outcome is Outcome.STORED
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(65_536))

    big, pixels = as_sent(as_file(a_slice(2, side=1024)))
    assert intake.store(big, a_source(), pixels).outcome is Outcome.NO_ROOM
    stream = arriving(intake, big, pixels)
    assert stream.finish().outcome is Outcome.NO_ROOM

    filler.unlink()
    assert intake.store(big, a_source(), pixels).outcome is Outcome.STORED
    journal.close()
    shutil.rmtree(small_disk / "journal")


def test_what_the_index_cannot_hold_stops_neither_the_others_nor_the_next_start(
    intake: Intake, database: Database, tmp_path: Path
) -> None:
    announced, data = as_sent(as_file(a_slice(1)))
    with database.transaction() as tx:
        tx.execute(
            text(
                "CREATE TRIGGER refuse BEFORE INSERT ON instances "
                f"WHEN NEW.instance_uid = '{announced.sop_instance_uid}' "
                "BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        )

    refused = intake.store(announced, a_source(), data)
    beside = intake.store(*_with_source(as_sent(as_file(a_slice(2)))))
    intake._journal.close()
    journal = Journal(tmp_path / "journal", node="test")

    assert (refused.outcome, beside.outcome) == (Outcome.FAILED, Outcome.STORED)
    assert recover(database, journal, admit_record) == 0
    with database.transaction() as tx:
        tx.execute(text("DROP TRIGGER refuse"))
    assert recover(database, journal, admit_record) == 1


def _with_source(sent: tuple[Announced, bytes]) -> tuple[Announced, Source, bytes]:
    return sent[0], a_source(), sent[1]
