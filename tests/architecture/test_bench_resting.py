"""What a server has open is read before it is measured, and nothing else."""

import os
from pathlib import Path

from bench.resting import recall


def test_the_files_that_a_process_has_open_are_read_to_their_ends(tmp_path: Path) -> None:
    index, closed = tmp_path / "index", tmp_path / "closed"
    index.write_bytes(bytes(3_000_001))
    closed.write_bytes(bytes(5_000_000))

    before = recall([os.getpid()])
    with index.open("rb"), index.open("rb"):
        during = recall([os.getpid()])

    assert during - before == 3_000_001


def test_a_file_that_was_deleted_meanwhile_is_passed_over(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.write_bytes(bytes(1000))
    before = recall([os.getpid()])

    with gone.open("rb"):
        gone.unlink()
        assert recall([os.getpid()]) == before
