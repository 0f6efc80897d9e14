"""Nodes in processes of their own, started to be killed (`tests.wire.victim` is what they run)."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import kill, killpg
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Victims:
    """A process that starts a node each time it is asked to."""

    process: subprocess.Popen[str]

    def start(self) -> tuple[int, int]:
        """Start a node; return its port and process id."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("start\n")
        self.process.stdin.flush()
        told = ""
        while not told.startswith("node "):  # it logs too
            told = self.process.stdout.readline()
            assert told, "the node did not start"
        _, port, pid = told.split()
        return int(port), int(pid)


@contextmanager
def victims(folder: Path) -> Iterator[Victims]:
    """Give what starts nodes on a folder, one after the other; none of them outlives the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.wire.victim", str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Victims(process)
    finally:
        process.stdin.close()
        killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@contextmanager
def victim(folder: Path) -> Iterator[int]:
    """Give the port of a node that is killed at the end of the block."""
    with victims(folder) as nodes:
        port, pid = nodes.start()
        assert nodes.process.stdout is not None
        heard = threading.Thread(target=nodes.process.stdout.read, daemon=True)
        heard.start()  # so that what it logs never fills the pipe
        try:
            yield port
        finally:
            kill(pid, signal.SIGKILL)
            assert nodes.process.stdin is not None
            nodes.process.stdin.close()
            heard.join()
