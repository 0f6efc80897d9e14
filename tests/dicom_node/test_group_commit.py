"""One thread acts for all that wait: what fails for one is told to that one alone."""

import threading
from pathlib import Path

import pytest

from dicom_node.admission import Arrival
from dicom_node.group_commit import GroupCommit
from dicom_node.headers import read_file
from kernel.clock import system_clock
from kernel.pulse import Pulse
from storage.archive import Admission, is_indexed
from storage.engine import Database
from storage.journal import Journal
from tests.dicom_node.samples import a_slice, a_source, as_file
from tests.wire.speaker import until


def an_index(
    database: Database, directory: Path, pulse: Pulse | None = None
) -> tuple[GroupCommit, Journal]:
    journal = Journal(directory / "journal", node="n1")
    return GroupCommit(database, journal.digest_like, pulse), journal


def an_arrival(journal: Journal, number: int) -> Arrival:
    file = as_file(a_slice(study=70, number=number))
    header, _ = read_file(file, a_source().defaults)
    return Arrival(header, a_source(), system_clock(), journal.append({}, file))


def test_a_flush_that_fails_is_told_to_its_own_thread_and_to_no_other(
    database: Database, tmp_path: Path
) -> None:
    index, journal = an_index(database, tmp_path)
    arrivals = [an_arrival(journal, number) for number in range(1, 9)]
    told: dict[int, object] = {}
    begun = threading.Barrier(len(arrivals))

    def arrive(number: int) -> None:
        def flush() -> None:
            if number % 2:
                raise OSError(5, "the disk broke")

        begun.wait()
        try:
            told[number] = index.admit(arrivals[number], flush).admission
        except OSError as failure:
            told[number] = failure.errno

    threads = [threading.Thread(target=arrive, args=(n,)) for n in range(len(arrivals))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert told == {n: 5 if n % 2 else Admission.STORED for n in range(len(arrivals))}


def test_nothing_is_indexed_before_its_bytes_are_durable(
    database: Database, tmp_path: Path
) -> None:
    index, journal = an_index(database, tmp_path)
    arrival = an_arrival(journal, 1)

    with pytest.raises(OSError, match="the disk broke"):
        index.admit(arrival, lambda: (_ for _ in ()).throw(OSError(5, "the disk broke")))

    with database.reading() as tx:
        assert not is_indexed(tx, arrival.place)


def test_it_shows_life_at_every_group_and_owes_none_when_nobody_waits(
    database: Database, tmp_path: Path
) -> None:
    pulse = Pulse()
    index, journal = an_index(database, tmp_path, pulse)
    seen: list[int] = []
    for number in (1, 2):
        index.admit(an_arrival(journal, number), lambda: seen.append(pulse.count()))
    with pytest.raises(OSError, match="the disk broke"):
        index.admit(
            an_arrival(journal, 3), lambda: (_ for _ in ()).throw(OSError(5, "the disk broke"))
        )

    assert all(count & 1 for count in seen)
    assert seen[0] < seen[1]
    assert not pulse.count() & 1


def test_a_flush_that_does_not_return_is_owed_however_many_wait(
    database: Database, tmp_path: Path
) -> None:
    pulse, may_end = Pulse(), threading.Event()
    index, journal = an_index(database, tmp_path, pulse)
    begun = threading.Event()

    def stuck() -> None:
        begun.set()
        may_end.wait()

    arrivals = [an_arrival(journal, number) for number in (1, 2, 3)]
    first = threading.Thread(target=index.admit, args=(arrivals[0], stuck))
    first.start()
    begun.wait()
    count = pulse.count()
    others = [threading.Thread(target=index.admit, args=(each,)) for each in arrivals[1:]]
    for thread in others:
        thread.start()
    until(lambda: len(index._queue) == len(others))

    assert pulse.count() == count
    assert count & 1
    may_end.set()
    for thread in (first, *others):
        thread.join()
    assert not pulse.count() & 1
