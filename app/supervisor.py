"""The supervisor: forks the processes of an engine, starts anew what dies or hangs, ends with all.

It has one thread, no connection and little memory, and what is forked from it has the same: so a
process costs a moment to start, and one that dies takes nothing else with it.  Listening sockets
are made before, so that callers wait in their queues while a process is started anew.
"""

import faulthandler
import gc
import json
import os
import selectors
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import structlog

from app.board import Board, Condition, Part
from app.child import READY, Child, Live, tell
from app.life_watch import LifeWatch
from app.parentage import be_named, end_with
from app.refusal import sentence_of
from app.vigil import Patience, Vigil
from kernel.clock import monotonic_s
from kernel.pulse import Pulse

STEADY_S = 30.0
"""A process that served for so long is started anew at once when it dies."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
GRACE_S = 60.0
"""A process that was told to end and has not by then is killed."""

_STANDARD_ERROR = 2
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

log = structlog.get_logger()


class Supervisor:
    """Used as a context: at its end no process is left.

    Parameters
    ----------
    names
        Of the processes that are kept alive.
    patience
        How long they may show no life.
    """

    def __init__(self, *names: str, patience: Patience | None = None) -> None:
        self.board = Board(names)
        self._patience = patience or Patience()
        self._life = LifeWatch(self.board, self._patience)
        self._children: dict[str, Child] = {}
        self._extra: dict[int, Child] = {}
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
        self._children[name] = child = Child(name, live)
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
            raise child.refusal()
        return not self._told_to_stop

    def pulse(self, name: str, part: Part) -> Pulse:
        """Return the pulse of a part, for the process that has it."""
        return self.board.pulse(name, part, every_s=self._patience.period_s)

    def open_gate(self) -> None:
        """Let the processes go on that wait at the gate."""
        if self._bar >= 0:
            os.close(self._bar)
            self._bar = -1

    def wait_at_gate(self, starting: Pulse) -> None:
        """Wait, in a process that is kept, until the gate is open.

        Parameters
        ----------
        starting
            Of the start of this process: it owes nothing meanwhile.
        """
        starting.rest()
        os.read(self._gate, 1)
        starting.beat()

    def aside(self, name: str, act: Callable[[], None]) -> Child:
        """Do something in a process of its own, and go on."""
        child = Child(name, lambda _ready, _again: act())
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
        """Start anew what dies or hangs, until SIGTERM or SIGINT."""
        while not self._told_to_stop:
            self._step()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._told_to_stop = self._told_to_stop or number != signal.SIGCHLD

    def _step(self) -> None:
        """Do what is due; wait for something to happen, or to become due."""
        kept = self._children.values()
        for child in kept:
            if child.due_s is not None and child.due_s <= monotonic_s():
                self._begin(child)
        self._life.turn(kept)
        times = [*(child.due_s for child in kept), self._life.next_s(kept)]
        due = [time for time in times if time is not None]
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

    def _hear(self, child: Child) -> None:
        said = os.read(child.pipe, 4096)
        child.said += said
        if not said:
            self._selector.unregister(child.pipe)
            os.close(child.pipe)
            child.pipe = -1
        elif child.said.startswith(READY):
            del child.said[: len(READY)]
            child.ready = child.served = True
            self.board.note(child.name, Condition.SERVING)
            if child.deaths:
                log.info("supervisor.serves_again", process=child.name, pid=child.pid)

    def _begin(self, child: Child) -> None:
        child.due_s, child.ready, child.how = None, False, ""
        child.vigil, child.spared = Vigil(self._patience), 0
        child.said.clear()
        if child.name in self._children:
            self.board.begin(child.name, again=child.served or child.hangs)
        reading, writing = os.pipe()
        for output in (sys.stdout, sys.stderr):
            output.flush()  # else both processes write what is buffered
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._become(child, parent, writing)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writing)
        child.begun(pid, reading, monotonic_s())
        self._selector.register(reading, selectors.EVENT_READ, child)

    def _become(self, child: Child, parent: int, pipe: int) -> NoReturn:
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
            faulthandler.enable(_STANDARD_ERROR)  # names lines of code, nothing of what they handle
            faulthandler.register(signal.SIGQUIT, _STANDARD_ERROR)
            self._selector.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            child.live(lambda: self._ready(child, pipe), child.served)
            status = 0
        except Exception as error:
            said = sentence_of(error)
            if said is None:
                log.exception("telerad.failed", process=child.name)
            tell(pipe, json.dumps([said, type(error).__name__]).encode())
        finally:
            for output in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    output.flush()
            os._exit(status)

    def _ready(self, child: Child, pipe: int) -> None:
        """Tell, in the child, that it serves."""
        if child.name in self._children:
            self.pulse(child.name, Part.STARTING).rest()
        tell(pipe, READY)

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
        by = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        child.ended(by if code else "")
        if pid in kept and not self._told_to_stop:
            if not child.hangs:
                self.board.note(child.name, Condition.DOWN)
            if not child.served and not child.hangs:
                raise child.refusal()
            self._put_off(child)

    def _put_off(self, child: Child) -> None:
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
            reason=child.sentence(),
            again_in_s=pause,
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
