"""One thread acts for all that wait: what fails for one is told to that one alone."""

import threading
from pathlib import Path

import pytest

from dicom_node.admission import Arrival
from dicom_node.group_commit import GroupCommit
from dicom_node.headers import read_file
from kernel.clock import system_clock
from storage.archive import Admission, is_indexed
from storage.engine import Database
from storage.journal import Journal
from tests.dicom_node.samples import a_slice, a_source, as_file


def an_arrival(journal: Journal, number: int) -> Arrival:
    file = as_file(a_slice(study=70, number=number))
    header, _ = read_file(file, a_source().defaults)
    return Arrival(header, a_source(), system_clock(), journal.append({}, file))


def test_a_flush_that_fails_is_told_to_its_own_thread_and_to_no_other(
    database: Database, tmp_path: Path
) -> None:
    index, journal = GroupCommit(database), Journal(tmp_path / "journal", node="n1")
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
    index, journal = GroupCommit(database), Journal(tmp_path / "journal", node="n1")
    arrival = an_arrival(journal, 1)

    with pytest.raises(OSError, match="the disk broke"):
        index.admit(arrival, lambda: (_ for _ in ()).throw(OSError(5, "the disk broke")))

    with database.reading() as tx:
        assert not is_indexed(tx, arrival.place)
