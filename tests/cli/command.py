"""Runs ``telerad`` as a person or script does: as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.bootstrap import Parts
from app.settings import load

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120


def telerad(
    *arguments: object, given: str | bytes = b"", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def refused(*arguments: object, given: str | bytes = b"", **more: Any) -> str:
    """Run a command that must be refused; return the one sentence it says."""
    done = telerad(*arguments, given=given, **more)
    assert done.returncode != 0, done.stdout
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1, done.stderr
    if done.returncode == 1:  # 2 is the usage of the command, told in lines before
        assert [line for line in done.stderr.splitlines() if "[info " not in line] == said
    return said[0].removeprefix("Error: ")


def listed(*arguments: object) -> Any:
    """Run a command with ``--json`` and return what it printed."""
    done = telerad(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Up:
    """A running ``telerad up``, with everything that it prints."""

    def __init__(self, data: Path, *arguments: str, environment: Mapping[str, str]) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.data = data
        self.errors = data / "stderr.log"
        ports = ("--http-port", "0", "--dicom-port", "0", "--json")
        with self.errors.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app", "up", "--data", str(data), *ports, *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        self.first_line = self._process.stdout.readline()
        assert self.first_line, self.errors.read_text()
        self.ready: dict[str, Any] = json.loads(self.first_line)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def dicom_port(self) -> int:
        """The port of the node."""
        return int(self.ready["dicom_port"])

    def is_alive(self) -> bool:
        """Say whether it runs."""
        return self._process.poll() is None

    def end(self) -> tuple[int, str]:
        """Send SIGTERM; return the exit status and what else it printed on standard output."""
        self._process.terminate()
        rest, _ = self._process.communicate(timeout=PATIENCE_S)
        return self._process.returncode, rest

    def kill(self) -> None:
        """End it at once, however the test went."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@contextmanager
def running(data: Path, *arguments: str, **environment: str) -> Iterator[Up]:
    """Run ``telerad up`` for the time of a block; studies are complete after half a second."""
    quick = {"TELERAD_DICOM__HOST": "127.0.0.1", "TELERAD_DICOM__QUIET_S": "0.5", **environment}
    up = Up(data, *arguments, environment=quick)
    try:
        yield up
    finally:
        up.kill()


@contextmanager
def opened(data: Path) -> Iterator[Parts]:
    """Open what the engine of a data directory is made of, in this process."""
    parts = Parts(load(data))
    try:
        yield parts
    finally:
        parts.journal.close()
        parts.database.dispose()
