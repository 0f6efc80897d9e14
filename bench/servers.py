"""The servers that are measured, each a process of its own with its data on the same disk."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.services.orthanc import orthanc
from tests.services.ports import accepts, free_port
from tests.services.process import Recipe, running

AE_TITLE = "TELERAD"
CALLER = "BENCH"
NODE = "telerad-node"
TELERAD = Path(sys.executable).with_name("telerad")
_STOP_WITHIN_S = 60
_REST_S = 0.7
_LOOKS = 100
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who takes instances by C-STORE on loopback."""

    name: str
    ae_title: str
    port: int
    pid: int | None = None

    def cpu_s(self) -> float:
        """Return the processor time in seconds of it and all that it started, ended ones too."""
        assert self.pid is not None
        for _ in range(_LOOKS):
            # One that ends between two looks at it is among those that ended at the next.
            with suppress(ProcessLookupError, FileNotFoundError):
                return _spent_s(self.pid) + _waited_for_s(self.pid)
        raise RuntimeError(f"{self.name} cannot be looked at")


class Engine:
    """A running ``telerad up``.

    Parameters
    ----------
    data
        Its data directory.
    settings
        Settings by their environment names.
    alone
        The node without web, relay and workers: ``telerad listen``.
    """

    def __init__(
        self, data: Path, settings: Mapping[str, str] | None = None, *, alone: bool = False
    ) -> None:
        began = monotonic()
        logged = data.parent / f"{data.name}.log"
        command: list[str | Path] = [TELERAD, "listen" if alone else "up", "--data", data]
        command += ["--dicom-port", "0", *([] if alone else ["--http-port", "0"])]
        with logged.open("ab") as log:
            self.process = subprocess.Popen(
                [*map(str, command), "--ae-title", AE_TITLE, "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(settings or {})},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.started_s = monotonic() - began
        if not line:
            self.process.wait()
            raise RuntimeError(f"telerad up did not start: {logged.read_text()[-1000:]}")
        told = json.loads(line)
        self.http: str = told["http"]
        self.receiver = Receiver("telerad", AE_TITLE, told["dicom_port"], told["pid"])

    def processes(self) -> list[int]:
        """Return its process and those that it started."""
        return [self.process.pid, *self.children()]

    def memory_mb(self, name: str = "VmRSS") -> float:
        """Return its resident memory, or with ``VmHWM`` the peaks of it, in megabytes.

        Pages that its processes share count once for each: good for growth, not for sums.
        """
        return sum(_memory_mb(pid, name) for pid in self.processes())

    def share_mb(self) -> float:
        """Return what all of it takes of the machine, in megabytes: shared pages count once."""
        return sum(_share_mb(pid) for pid in self.processes())

    def node_mb(self, name: str = "VmRSS") -> float:
        """Return the resident memory, or the peak of it, of the process that takes instances in."""
        return _memory_mb(self.node(), name)

    def node(self) -> int:
        """Return the process that takes instances in."""
        named = (pid for pid in self.children() if _name(pid) == NODE)
        return next(named, self.process.pid)

    def begin_peak(self) -> float:
        """Forget the peak of its memory so far; return what is resident now, in megabytes."""
        for pid in self.processes():
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self.memory_mb()

    def children(self) -> list[int]:
        """Return the processes that it started."""
        return _children(self.process.pid)

    def stop(self) -> None:
        """End it as a service manager would."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()


def _spent_s(pid: int) -> float:
    """Return the processor time of a process and of those that it started and that still live."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    mine = (int(fields[11]) + int(fields[12])) / _TICKS
    return mine + sum(map(_spent_s, _children(pid)))


def _waited_for_s(pid: int) -> float:
    """Return that of those which ended, such as the process that took one association."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in path.read_text().split()]


def _memory_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"the kernel does not tell {name}")


def _share_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError("the kernel does not tell the proportional set size")


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def telerad(*arguments: str | Path) -> str:
    """Run one command of the engine; return what it prints."""
    command = [TELERAD, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def engine(
    data: Path, settings: Mapping[str, str] | None = None, *, alone: bool = False
) -> Iterator[Engine]:
    """Run the engine for the time of a block, with the sender of the measurements known."""
    telerad("peer", "add", "--data", data, "--ae", CALLER, "--host", "127.0.0.1", "--port", "104")
    running_one = Engine(data, settings, alone=alone)
    try:
        yield running_one
    finally:
        running_one.stop()


@contextmanager
def orthanc_receiver() -> Iterator[Receiver]:
    """Run Debian's Orthanc with its defaults for storage: it waits for the disk as we do."""
    with orthanc(listens=True) as server:
        assert server.dicom_port is not None
        yield Receiver("Orthanc", server.ae_title, server.dicom_port, server.pid)


@contextmanager
def storescp_receiver(keeping: str = "+B") -> Iterator[Receiver]:
    """Run DCMTK's receiver: it writes each instance as it comes, and neither flushes nor indexes.

    It is the bound of what the machine can take in; with ``--ignore`` it drops what it takes.
    """
    folder = Path(tempfile.mkdtemp(prefix="storescp-"))
    port = free_port()
    command = ["storescp", keeping, "--fork", "-od", str(folder), str(port)]
    try:
        with running(_recipe("storescp", command, port)) as process:
            yield Receiver(f"storescp {keeping}", "STORESCP", port, process.pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def discarding_receiver() -> Iterator[Receiver]:
    """Run our receiving path with nothing behind it."""
    port = free_port()
    command = [sys.executable, "-m", "bench.discard", str(port)]
    with running(_recipe("discard", command, port)) as process:
        yield Receiver("telerad", AE_TITLE, port, process.pid)


def _recipe(name: str, command: list[str], port: int) -> Recipe:
    return Recipe(
        name=name,
        command=command,
        cwd=Path.cwd(),
        log=Path(tempfile.gettempdir()) / f"{name}-{port}.log",
        environment={"TCP_NODELAY": "1"},
        ready=lambda: accepts(port),
    )


def rest() -> None:
    """Let servers and disk come to rest before another one is measured.

    Nobody is to pay for what was written before, nor for what a server does after its last answer:
    ours fills segments with zeros then, for what comes next.
    """
    os.sync()
    sleep(_REST_S)


def sent(folders: list[Path], receiver: Receiver, *, nagle: bool = False) -> float:
    """Send each folder on an association of its own, all at once; return the seconds it took.

    Parameters
    ----------
    nagle
        Send as DCMTK does by itself, and as many devices do: small segments wait for an
        acknowledgement.

    Raises
    ------
    RuntimeError
        A sender says that not everything was taken.
    """
    environment = {**os.environ, "TCP_NODELAY": "1"}
    if nagle:
        del environment["TCP_NODELAY"]
    began = monotonic()
    senders = [
        subprocess.Popen(
            ["storescu", "-aet", CALLER, "-aec", receiver.ae_title, "+sd", "127.0.0.1",
             str(receiver.port), str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        for folder in folders
    ]  # fmt: skip
    codes = [sender.wait() for sender in senders]
    took = monotonic() - began
    if any(codes):
        raise RuntimeError(f"{receiver.name} did not take everything: storescu said {codes}")
    return took
