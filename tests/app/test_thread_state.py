"""What the system says of a process that shows no life."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.thread_state import is_traced, waits_for_disk

_PTRACE_SEIZE = 0x4206


def a_thread(proc: Path, tid: int, state: str) -> None:
    folder = proc / "7" / "task" / str(tid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{tid} (telerad) D (x) {state} 1 7 7 0 -1 4194304\n")


def test_a_thread_in_the_kernel_is_told_from_those_that_sleep(tmp_path: Path) -> None:
    a_thread(tmp_path, 7, "S")
    a_thread(tmp_path, 8, "R")
    assert not waits_for_disk(7, tmp_path)
    a_thread(tmp_path, 9, "D")
    assert waits_for_disk(7, tmp_path)


def test_who_ended_or_cannot_be_asked_is_neither_traced_nor_waiting(tmp_path: Path) -> None:
    assert not is_traced(7, tmp_path)
    assert not waits_for_disk(7, tmp_path)


def test_a_process_that_is_debugged_is_known_as_such() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as watched:
        try:
            assert not is_traced(watched.pid)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.ptrace(_PTRACE_SEIZE, watched.pid, None, None) != 0:
                pytest.skip(f"tracing is not allowed here: {os.strerror(ctypes.get_errno())}")
            assert is_traced(watched.pid)
        finally:
            watched.kill()
