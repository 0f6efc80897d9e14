"""The supervisor: forks the processes of an engine, starts anew what dies, ends with all of them.

It has one thread, no connection and little memory, and what is forked from it has the same: so a
process costs a moment to start, and one that dies takes nothing else with it.  Listening sockets
are made before, so that callers wait in their queues while a process is started anew.
"""

import gc
import json
import os
import selectors
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

import structlog

from app.board import Board, Condition
from app.parentage import be_named, end_with
from app.refusal import sentence_of
from kernel.clock import monotonic_s
from kernel.errors import EngineError, Misconfigured

STEADY_S = 30.0
"""A process that served for so long is started anew at once when it dies."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
GRACE_S = 60.0
"""A process that was told to end and has not by then is killed."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_READY = b"{}\n"

log = structlog.get_logger()

Ready = Callable[[], None]
Live = Callable[[Ready, bool], None]
"""What a process does: told whom to tell that it serves, and whether it did so before."""


class StartRefused(Misconfigured):
    """A process of the engine could not start; the sentence is its own."""

    code = "supervisor.start_refused"


class ProcessFailed(EngineError):
    """A process of the engine failed at its start in a way nobody foresaw."""

    code = "supervisor.process_failed"


@dataclass
class _Child:
    """A process that is, or is to be, kept alive."""

    name: str
    live: Live
    pid: int = 0
    pipe: int = -1
    said: bytearray = field(default_factory=bytearray)
    began_s: float = 0.0
    due_s: float | None = None
    deaths: int = 0
    """In a row, none of which had served steadily before."""
    served: bool = False
    ready: bool = False
    how: str = ""
    """It ended, once it did; empty if that was well."""


class Supervisor:
    """Used as a context: at its end no process is left.

    Parameters
    ----------
    names
        Of the processes that are kept alive.
    """

    def __init__(self, *names: str) -> None:
        self.board = Board(names)
        self._children: dict[str, _Child] = {}
        self._extra: dict[int, _Child] = {}
        self._told_to_stop = False
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe()
        self._lifeline, self._alive = os.pipe()
        self._gate, self._bar = os.pipe()
        self._handlers: dict[int, object] = {}

    def __enter__(self) -> "Supervisor":
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._note) for number in _SIGNALS}
        gc.freeze()  # else the first collection of each process copies what it was given
        return self

    def __exit__(self, *_failure: object) -> None:
        self._end_all()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._selector.close()
        self.open_gate()
        for end in (self._woken, self._wake, self._lifeline, self._alive, self._gate):
            os.close(end)

    def keep(self, name: str, live: Live) -> None:
        """Fork a process that is started anew whenever it ends."""
        self._children[name] = child = _Child(name, live)
        self._begin(child)

    def once(self, name: str, act: Callable[[], None]) -> bool:
        """Do something in a process of its own; False if the engine was told to end before.

        Raises
        ------
        StartRefused, ProcessFailed
            It could not, and why.
        """
        child = self.aside(name, act)
        while child.pid and not self._told_to_stop:
            self._step()
        if child.how:
            raise self._refusal(child)
        return not self._told_to_stop

    def open_gate(self) -> None:
        """Let the processes go on that wait at the gate."""
        if self._bar >= 0:
            os.close(self._bar)
            self._bar = -1

    def wait_at_gate(self) -> None:
        """Wait, in a process that is kept, until the gate is open."""
        os.read(self._gate, 1)

    def aside(self, name: str, act: Callable[[], None]) -> _Child:
        """Do something in a process of its own, and go on."""
        child = _Child(name, lambda _ready, _again: act())
        self._begin(child)
        self._extra[child.pid] = child
        return child

    def wait_until_ready(self) -> bool:
        """Wait until every process serves; False if the engine was told to end before.

        Raises
        ------
        StartRefused, ProcessFailed
            One cannot serve, and why.
        """
        while not self._told_to_stop:
            if all(child.ready for child in self._children.values()):
                return True
            self._step()
        return False

    def watch(self) -> None:
        """Start anew what dies, until SIGTERM or SIGINT."""
        while not self._told_to_stop:
            self._step()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._told_to_stop = self._told_to_stop or number != signal.SIGCHLD

    def _step(self) -> None:
        """Begin what is due to be started anew; wait for something to happen."""
        for child in self._children.values():
            if child.due_s is not None and child.due_s <= monotonic_s():
                self._begin(child)
        due = [child.due_s for child in self._children.values() if child.due_s is not None]
        self._turn(max(0.0, min(due) - monotonic_s()) if due else None)

    def _turn(self, timeout_s: float | None) -> None:
        """Wait for something to happen, and take note of it."""
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._woken:
                with suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            else:
                self._hear(key.data)
        self._reap()

    def _hear(self, child: _Child) -> None:
        said = os.read(child.pipe, 4096)
        child.said += said
        if not said:
            self._selector.unregister(child.pipe)
            os.close(child.pipe)
            child.pipe = -1
        elif child.said.startswith(_READY):
            del child.said[: len(_READY)]
            child.ready = child.served = True
            self.board.note(child.name, Condition.SERVING)
            if child.deaths:
                log.info("supervisor.serves_again", process=child.name, pid=child.pid)

    def _begin(self, child: _Child) -> None:
        child.due_s, child.ready, child.how = None, False, ""
        child.said.clear()
        reading, writing = os.pipe()
        for output in (sys.stdout, sys.stderr):
            output.flush()  # else both processes write what is buffered
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        parent = os.getpid()
        child.pid = os.fork()
        if child.pid == 0:
            os.close(reading)
            self._become(child, parent, writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writing)
        child.pipe, child.began_s = reading, monotonic_s()
        self._selector.register(reading, selectors.EVENT_READ, child)

    def _become(self, child: _Child, parent: int, pipe: int) -> NoReturn:
        """Be the child from here on."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us by the supervisor
            os.close(self._alive)
            self.open_gate()
            end_with(parent, self._lifeline)
            be_named(f"telerad-{child.name}")
            self._selector.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            child.live(lambda: _tell(pipe, _READY), child.served)
            status = 0
        except Exception as error:
            said = sentence_of(error)
            if said is None:
                log.exception("telerad.failed", process=child.name)
            _tell(pipe, json.dumps([said, type(error).__name__]).encode())
        finally:
            for output in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    output.flush()
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, os.waitstatus_to_exitcode(status))

    def _ended(self, pid: int, code: int) -> None:
        kept = {child.pid: child for child in self._children.values()}
        child = kept.get(pid) or self._extra.pop(pid, None)
        if child is None:
            return
        while child.pipe >= 0:
            self._hear(child)
        child.pid, child.ready = 0, False
        if code:
            child.how = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        if pid in kept and not self._told_to_stop:
            self.board.note(child.name, Condition.DOWN)
            if not child.served:
                raise self._refusal(child)
            self._put_off(child)

    def _put_off(self, child: _Child) -> None:
        """Decide when a process is started anew: at once, or later and later if it dies again."""
        steady = monotonic_s() - child.began_s >= STEADY_S
        child.deaths = 1 if steady else child.deaths + 1
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (child.deaths - 2))
        pause = 0.0 if child.deaths == 1 else pause
        child.due_s = monotonic_s() + pause
        log.error(
            "supervisor.process_died",
            process=child.name,
            how=child.how or "in order, though nobody asked",
            reason=_said(child),
            again_in_s=pause,
        )

    def _refusal(self, child: _Child) -> EngineError:
        said = _said(child)
        if said:
            return StartRefused(said)
        return ProcessFailed(
            f"the {child.name} process ended {child.how} while it started; the log says why"
        )

    def _end_all(self) -> None:
        """Tell every process to end, and wait until each did."""
        self._told_to_stop = True
        for pid in self._left():
            os.kill(pid, signal.SIGTERM)
        deadline = monotonic_s() + GRACE_S
        while self._left():
            self._turn(max(0.1, deadline - monotonic_s()))
            if monotonic_s() > deadline:
                for pid in self._left():
                    log.error("supervisor.killed", pid=pid)
                    os.kill(pid, signal.SIGKILL)

    def _left(self) -> set[int]:
        kept = {child.pid for child in self._children.values()} - {0}
        return kept | set(self._extra)


def _tell(pipe: int, said: bytes) -> None:
    os.write(pipe, said)


def _said(child: _Child) -> str | None:
    """Return the sentence with which a process refused."""
    if not child.said:
        return None
    sentence: str | None = json.loads(child.said)[0]
    return sentence
