"""Deployments of real processes: everything in one, or many that share servers."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.bootstrap import Parts
from app.settings import Settings, load

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 60

# Leases are short, so that what a killed process held is taken over soon.
QUICK = {
    "TELERAD_DICOM__HOST": "127.0.0.1",
    "TELERAD_DICOM__QUIET_S": "0.5",
    "TELERAD_RELAY__LEASE_S": "2",
    "TELERAD_AI__LEASE_S": "4",
    "TELERAD_RECORD__LEASE_S": "4",
    "TELERAD_WORKLIST__TRIAGE_WAIT_S": "60",
}


@dataclass(frozen=True, slots=True)
class KillPoint:
    """The function at whose entry or return a process kills itself."""

    module: str
    qualname: str
    when: str

    def __str__(self) -> str:
        return f"{self.module}:{self.qualname}@{self.when}"


@dataclass
class Process:
    """One telerad process: started, killed, started again."""

    arguments: list[str]
    environment: Mapping[str, str]
    log: Path
    announces: bool = True
    ready: dict[str, object] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None
    _reader: threading.Thread | None = None

    def start(self, kill: KillPoint | None = None) -> None:
        """Start, armed to kill itself if a point is given; wait until it says it is ready."""
        self._close()
        command = [sys.executable, "-m", "tests.flows.kill_at"]
        if kill is None:
            command = [sys.executable, "-m", "app"]
        else:
            command += [f"{kill.module}:{kill.qualname}", kill.when, "1", "--"]
        with self.log.open("a") as log:
            log.write(f"--- start {self.arguments} {kill or ''}\n")
            log.flush()
            self._process = subprocess.Popen(
                [*command, *self.arguments],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.announces else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        if self.announces:
            self.ready = self._announced()

    def killed(self) -> bool:
        """Say whether the process has killed itself."""
        assert self._process is not None
        status = self._process.poll()
        if status is not None and status != -signal.SIGKILL:
            raise AssertionError(f"telerad ended with {status}: {self.log.read_text()[-3000:]}")
        return status is not None

    def is_alive(self) -> bool:
        """Say whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._close()

    def stop(self) -> int:
        """Ask it to end; return its exit status."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(60)
        finally:
            self.kill()

    def pid(self) -> int:
        """Return the process id."""
        assert self._process is not None
        return self._process.pid

    def _announced(self) -> dict[str, object]:
        assert self._process is not None
        assert self._process.stdout is not None
        clock = threading.Timer(READY_WITHIN_S, self._process.kill)
        clock.start()
        line = self._process.stdout.readline()
        clock.cancel()
        if not line:
            self._process.wait()
            raise AssertionError(f"telerad did not start: {self.log.read_text()[-3000:]}")
        told: dict[str, object] = json.loads(line)
        return told

    def _close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


@dataclass
class Deployment:
    """Processes by role, and where an outsider finds them.

    `roles` says which process does what: ``listen``, ``serve``, ``work``.
    """

    data: Path
    environment: Mapping[str, str]
    processes: Mapping[str, Process]
    roles: Mapping[str, str]

    def start(self) -> None:
        """Start every process."""
        for process in self.processes.values():
            process.start()

    def stop(self) -> None:
        """Kill every process."""
        for process in self.processes.values():
            process.kill()

    def doing(self, role: str) -> Process:
        """Return the process of a role."""
        return self.processes[self.roles[role]]

    @property
    def web(self) -> str:
        """The base URL of the web."""
        return str(self.doing("serve").ready["http"])

    @property
    def dicom_port(self) -> int:
        """The port of the node that images are sent to."""
        return int(str(self.doing("listen").ready["dicom_port"]))

    def settings(self) -> Settings:
        """Return the settings that the processes have, for looking at their database."""
        with environment(self.environment):
            return load(self.data)

    @contextmanager
    def parts(self) -> Iterator[Parts]:
        """Open the same database and stores from outside."""
        parts = Parts(self.settings())
        try:
            yield parts
        finally:
            parts.database.dispose()


@contextmanager
def environment(told: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a block."""
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def one_machine(data: Path, extra: Mapping[str, str] | None = None) -> Deployment:
    """Return a deployment of one process on the embedded default."""
    told = {**QUICK, **(extra or {})}
    arguments = ["up", "--data", str(data), "--http-port", "0", "--dicom-port", "0", "--json"]
    up = Process(arguments, told, data / "up.log")
    return Deployment(data, told, {"up": up}, {"listen": "up", "serve": "up", "work": "up"})
