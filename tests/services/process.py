"""Start a server process, wait until it answers, and end its whole process group."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kernel.clock import monotonic_s

PROBE_INTERVAL_S = 0.05
STOP_PATIENCE_S = 15.0


class ServerFailed(RuntimeError):
    """A server ended, or did not answer, before it was ready; the end of its log is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one server is started and how it shows that it is ready."""

    name: str
    command: Sequence[str | Path]
    log: Path
    ready: Callable[[], bool]
    cwd: Path
    environment: Mapping[str, str] | None = None
    ready_within_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM


def start(recipe: Recipe) -> subprocess.Popen[bytes]:
    """Start a server in a process group of its own and wait until it is ready.

    Raises
    ------
    ServerFailed
        It ended or was not ready in time; nothing of it is left running.
    """
    with recipe.log.open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in recipe.command],
            cwd=recipe.cwd,
            env={**os.environ, **(recipe.environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(recipe, process)
    except BaseException:
        kill(process)
        raise
    return process


def stop(recipe: Recipe, process: subprocess.Popen[bytes]) -> None:
    """Ask the server to stop, then end whatever of its process group is left."""
    if process.poll() is None:
        process.send_signal(recipe.stop_signal)
        with suppress(subprocess.TimeoutExpired):  # the whole group is killed below
            process.wait(STOP_PATIENCE_S)
    kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole process group at once, as a power cut would."""
    with suppress(ProcessLookupError):  # nothing of the group is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def running(recipe: Recipe) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the time of a block."""
    process = start(recipe)
    try:
        yield process
    finally:
        stop(recipe, process)


def _wait_until_ready(recipe: Recipe, process: subprocess.Popen[bytes]) -> None:
    deadline = monotonic_s() + recipe.ready_within_s
    while monotonic_s() < deadline:
        if process.poll() is not None:
            raise ServerFailed(_told(recipe, f"ended with code {process.returncode}"))
        if recipe.ready():
            return
        time.sleep(PROBE_INTERVAL_S)
    raise ServerFailed(_told(recipe, f"was not ready after {recipe.ready_within_s:g} s"))


def _told(recipe: Recipe, what: str) -> str:
    log = recipe.log.read_text(errors="replace") if recipe.log.exists() else ""
    return f"{recipe.name} {what}; its log ends:\n" + "\n".join(log.splitlines()[-25:])
