"""The journal: what is acknowledged is there after a crash; what is torn is passed over."""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.frame import Frame
from storage.incoming import Incoming
from storage.journal import (
    ALIGNMENT,
    Journal,
    JournalFull,
    NoSuchPlace,
    Place,
    PlaceLost,
    SegmentElsewhere,
)

SMALL = 256 * 1024


def a_journal(directory: Path, *, node: str = "n1") -> Journal:
    return Journal(directory, node=node, segment_bytes=SMALL)


def durable(record: Incoming) -> Place:
    place = record.write()
    record.flush()
    return place


def filled(record: Incoming, *chunks: bytes) -> Incoming:
    for chunk in chunks:
        record.next_room(len(chunk))[: len(chunk)] = chunk
        record.filled(len(chunk))
    return record


def test_what_was_appended_is_read_back_byte_for_byte(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    place = journal.append({"source": "VAN1"}, b"preamble", b"", b"data set")
    assert journal.read(place) == b"preambledata set"
    assert journal.read(place, start=8, length=4) == b"data"


@settings(max_examples=25, deadline=None)
@given(bodies=st.lists(st.binary(max_size=3 * ALIGNMENT), min_size=1, max_size=30))
def test_a_scan_finds_every_record_with_its_note_whatever_the_sizes(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[bytes]
) -> None:
    journal = a_journal(tmp_path_factory.mktemp("journal"))
    places = [journal.append({"n": str(n)}, body) for n, body in enumerate(bodies)]
    found = {record.place: record.note["n"] for record in journal.scan()}
    assert found == {place: str(n) for n, place in enumerate(places)}


def test_a_record_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    small = journal.append({}, b"small")
    large = journal.append({}, os.urandom(3 * SMALL))
    assert small.segment != large.segment
    assert journal.is_whole(large)


def test_threads_that_append_together_lose_and_mix_nothing(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    stored: dict[bytes, object] = {}

    def send(name: int) -> None:
        for n in range(40):
            body = f"{name}-{n}-".encode() * 400
            stored[body] = journal.append({}, body)

    threads = [threading.Thread(target=send, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) == 240
    assert all(journal.read(place) == body for body, place in stored.items())  # type: ignore[arg-type]


def test_a_torn_record_is_known_as_torn_and_hides_none_behind_it(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    torn = journal.append({"n": "torn"}, b"x" * 5000)
    whole = journal.append({"n": "whole"}, b"y" * 5000)
    with (tmp_path / torn.segment).open("r+b") as file:
        file.seek(torn.offset + 4000)
        file.write(bytes(1000))
    records = {record.note["n"]: record.place for record in journal.scan()}
    assert not journal.is_whole(records["torn"])
    assert journal.is_whole(records["whole"])
    assert records["whole"] == whole


def test_a_record_without_its_header_is_passed_over(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    lost = journal.append({"n": "lost"}, b"x" * 9000)
    kept = journal.append({"n": "kept"}, b"y" * 10)
    with (tmp_path / lost.segment).open("r+b") as file:
        file.write(bytes(ALIGNMENT))
    assert [record.place for record in journal.scan()] == [kept]


def test_content_cannot_pose_as_a_record(tmp_path: Path) -> None:
    other = a_journal(tmp_path / "other")
    other.append({"n": "forged"}, b"evil")
    forged = (tmp_path / "other" / other.segments()[0].name).read_bytes()[:ALIGNMENT]
    journal = a_journal(tmp_path / "own")
    first = journal.append({"n": "first"}, b"z")
    carrier = journal.append(
        {"n": "carrier"}, bytes(ALIGNMENT - (first.offset + 2) % ALIGNMENT), forged * 3
    )
    notes = [record.note["n"] for record in journal.scan()]
    assert notes == ["first", "carrier"]
    assert journal.is_whole(carrier)


@settings(max_examples=40, deadline=None)
@given(
    records=st.lists(
        st.tuples(
            st.binary(max_size=2 * ALIGNMENT), st.lists(st.binary(max_size=ALIGNMENT), max_size=40)
        ),
        min_size=1,
        max_size=6,
    ),
    prepared=st.booleans(),
)
def test_what_arrives_in_pieces_of_any_size_is_read_back_and_scanned(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[bytes, list[bytes]]],
    prepared: bool,
) -> None:
    journal = a_journal(tmp_path_factory.mktemp("journal"))
    if prepared:
        journal.prepare()
    frame = Frame(8 * ALIGNMENT)  # the longer ones outgrow it
    expected = {}
    for n, (beginning, chunks) in enumerate(records):
        place = durable(filled(journal.begin({"n": str(n)}, beginning, frame), *chunks))
        expected[place] = (str(n), beginning + b"".join(chunks))
    assert {place: journal.read(place) for place in expected} == {
        place: body for place, (_, body) in expected.items()
    }
    found = {record.place: record.note["n"] for record in journal.scan()}
    assert found == {place: n for place, (n, _) in expected.items()}
    journal.close()


def test_a_record_longer_than_a_segment_makes_the_lent_one_longer(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.prepare()
    chunks = [os.urandom(SMALL // 4) for _ in range(9)]
    place = durable(filled(journal.begin({"n": "long"}, b"head", Frame(SMALL)), *chunks))
    assert journal.read(place) == b"head" + b"".join(chunks)
    assert place in {found.place for found in journal.scan()}
    journal.close()


def test_long_records_that_arrive_together_never_share_a_segment_at_a_time(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.prepare()
    bodies = [os.urandom(3 * ALIGNMENT) for _ in range(3)]
    records = [journal.begin({}, b"", Frame(ALIGNMENT)) for _ in bodies]
    for page in range(3):
        for record, body in zip(records, bodies, strict=True):
            filled(record, body[page * ALIGNMENT :][:ALIGNMENT])
    places = [durable(record) for record in records]
    assert [journal.read(place) for place in places] == bodies
    journal.close()


def test_a_lent_segment_is_used_again_for_the_next_long_record(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.prepare()
    frame = Frame(ALIGNMENT)
    segments: list[str] = []
    while len(segments) < 200 and len(set(segments)) == len(segments):
        chunks = [os.urandom(ALIGNMENT)] * 3
        segments.append(durable(filled(journal.begin({}, b"", frame), *chunks)).segment)
    assert len(set(segments)) < len(segments)  # not the first, while the spare is being made
    journal.close()


def test_a_discarded_record_leaves_nothing(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    record = filled(journal.begin({}, b"", Frame(2 * ALIGNMENT)), *[b"half" * 1000] * 4)
    record.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_discarded_record_gives_its_room_to_the_next(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.prepare()
    filled(journal.begin({}, b"", Frame(2 * ALIGNMENT)), *[b"half" * 1000] * 9).discard()
    kept = durable(filled(journal.begin({}, b"", Frame(2 * ALIGNMENT)), *[b"kept" * 1000] * 4))
    assert [record.place for record in journal.scan()] == [kept]
    assert journal.is_whole(kept)
    journal.close()


def test_a_file_system_without_direct_writes_serves_as_well(tiny_disk: Path) -> None:
    journal = a_journal(tiny_disk)
    chunks = [os.urandom(ALIGNMENT + 1) for _ in range(20)]
    place = durable(filled(journal.begin({}, b"head", Frame(4 * ALIGNMENT)), *chunks))
    assert journal.read(place) == b"head" + b"".join(chunks)
    journal.close()


def test_the_next_segment_is_ready_before_it_is_needed(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    journal.prepare()
    places = [journal.append({"n": str(n)}, os.urandom(SMALL // 3)) for n in range(12)]
    assert set(places) == {record.place for record in journal.scan()}
    assert len(journal.segments()) == 6
    assert all(journal.is_whole(place) for place in places)
    journal.close()
    assert list(tmp_path.glob("*.part")) == []


def test_a_start_removes_what_a_crash_left_half_made_and_nothing_of_the_living(
    tmp_path: Path,
) -> None:
    living = a_journal(tmp_path)
    living.prepare()
    record = filled(living.begin({"n": "large"}, b"", Frame(2 * ALIGNMENT)), *[b"half" * 1000] * 3)
    left = tmp_path / "n1-left.part"
    left.write_bytes(b"half made")
    of_another = tmp_path / "n2-left.part"
    of_another.write_bytes(b"half made")

    second = a_journal(tmp_path)
    second.prepare()

    assert not left.exists()
    assert of_another.exists()
    assert living.read(durable(record)) == b"half" * 3000
    assert living.read(living.append({}, bytes(SMALL))) == bytes(SMALL)
    second.close()
    living.close()


def test_a_full_disk_is_told_to_who_appends_and_not_to_the_spare(tiny_disk: Path) -> None:
    journal = a_journal(tiny_disk)
    journal.prepare()
    filler = tiny_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(ALIGNMENT))
    with pytest.raises(JournalFull):
        for _ in range(20):
            journal.append({}, bytes(100_000))
    filler.unlink()
    place = journal.append({}, b"after")
    assert journal.read(place) == b"after"
    journal.close()
    assert list(tiny_disk.glob("*.part")) == []


def test_a_segment_whose_last_write_failed_is_closed_all_the_same(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    place = journal.append({}, os.urandom(SMALL // 2))
    with files_no_longer_than(SMALL // 2 + ALIGNMENT), pytest.raises(OSError, match="File too"):
        journal.append({}, os.urandom(SMALL // 4))

    journal.rotate()

    for thread in threading.enumerate():
        if thread.name == "journal-retire":
            thread.join(30)
            assert not thread.is_alive()
    assert not journal.is_in_use(place.segment)
    assert journal.is_whole(place)


def test_a_segment_is_flushed_before_it_is_closed_whoever_was_to_do_that(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    record = filled(journal.begin({}, b"", Frame(SMALL)), b"never flushed by its thread")
    place = record.write()

    journal.rotate()
    for thread in threading.enumerate():
        if thread.name == "journal-retire":
            thread.join(30)

    assert not journal.is_in_use(place.segment)
    record.flush()  # its thread comes late, and finds it done
    assert journal.is_whole(place)


def test_one_flush_serves_all_that_were_written_before_it(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    frames = [Frame(SMALL) for _ in range(3)]
    records = [filled(journal.begin({}, b"", frame), b"body") for frame in frames]
    places = [record.write() for record in records]
    for record in reversed(records):
        record.flush()
    assert all(journal.is_whole(place) for place in places)


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Make each write beyond a size fail, as on a disk that breaks."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_another_nodes_segment_is_named_as_such(tmp_path: Path) -> None:
    place = a_journal(tmp_path, node="n2").append({}, b"data")
    with pytest.raises(SegmentElsewhere):
        a_journal(tmp_path, node="n1").read(place)


def test_the_open_segment_is_never_freed_and_a_freed_one_says_so(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    place = journal.append({}, b"data")
    journal.free(place.segment)
    assert journal.read(place) == b"data"
    journal.rotate()
    journal.append({}, b"next")
    journal.close()
    journal.free(place.segment)
    with pytest.raises(NoSuchPlace):
        journal.read(place)


def test_damage_is_found_when_the_whole_is_read(tmp_path: Path) -> None:
    journal = a_journal(tmp_path)
    place = journal.append({}, b"d" * 100)
    with (tmp_path / place.segment).open("r+b") as file:
        file.seek(place.offset)
        file.write(b"X")
    with pytest.raises(PlaceLost):
        journal.read(place)


@pytest.fixture
def tiny_disk(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(tiny_disk: Path) -> None:
    journal = a_journal(tiny_disk)
    before = journal.append({}, b"before")
    filler = tiny_disk / "filler"
    with pytest.raises(JournalFull):
        filler.write_bytes(bytes(1 << 20))
        for _ in range(20):
            journal.append({}, bytes(100_000))
    filler.unlink()
    after = journal.append({}, b"after")
    journal.close()
    assert (journal.read(before), journal.read(after)) == (b"before", b"after")


@pytest.mark.parametrize("pieces", [2, 1_000], ids=["at its end", "on its way"])
def test_a_long_record_without_room_says_so_and_leaves_nothing(
    tiny_disk: Path, pieces: int
) -> None:
    """A piece is written behind it: that it failed is told with the next one, or at the end."""
    journal = a_journal(tiny_disk)
    frame, piece = Frame(4 * ALIGNMENT), os.urandom(4 * ALIGNMENT)
    filler = tiny_disk / "filler"
    if pieces == 2:
        filler.write_bytes(bytes(tiny_disk_left(tiny_disk)))
    record = journal.begin({}, b"", frame)
    with pytest.raises(JournalFull):
        filled(record, *[piece] * pieces).write()
    record.discard()
    filler.unlink(missing_ok=True)
    kept = durable(filled(journal.begin({}, b"", frame), *[piece] * 5))
    assert [found.place for found in journal.scan()] == [kept]
    assert journal.read(kept) == piece * 5
    journal.close()


def tiny_disk_left(disk: Path) -> int:
    told = os.statvfs(disk)
    return told.f_bavail * told.f_frsize
