"""Watches whether the processes of the engine show life, and ends one that hangs."""

import os
import signal
from collections.abc import Iterable

import structlog

from app.board import Board, Condition, Part
from app.child import Child
from app.thread_state import is_traced, waits_for_disk
from app.vigil import LOOKS, Patience
from kernel.clock import monotonic_s

LAST_WORDS_S = 2.0
"""So long a process that hangs has to write what its threads do."""

log = structlog.get_logger()


class LifeWatch:
    """Looks at the pulses of the processes from time to time; the supervisor turns it.

    Parameters
    ----------
    patience
        How long they may show no life.
    """

    def __init__(self, board: Board, patience: Patience) -> None:
        self._board = board
        self._patience = patience
        self._period_s = patience.period_s
        self._looked_s = monotonic_s()

    def next_s(self, children: Iterable[Child]) -> float | None:
        """Return when there is something to do next, None if never."""
        times = [child.kill_s for child in children if child.kill_s is not None]
        if self._period_s is not None:
            times.append(self._looked_s + self._period_s)
        return min(times, default=None)

    def turn(self, children: Iterable[Child]) -> None:
        """Look, if it is time to, and end what hangs."""
        now = monotonic_s()
        since_s = now - self._looked_s
        looks = self._period_s is not None and since_s >= self._period_s
        for child in children:
            if child.kill_s is not None and child.kill_s <= now:
                child.kill_s = None
                os.kill(child.pid, signal.SIGKILL)
            elif looks and child.is_watched:
                counts = self._board.counts(child.name)
                self._judge(child, child.vigil.look(counts, since_s))
        if looks:
            self._looked_s = now

    def _judge(self, child: Child, silent: Part | None) -> None:
        if silent is None:
            self._goes_on(child)
        elif is_traced(child.pid):  # whoever debugs it knows
            child.spared = LOOKS
        elif waits_for_disk(child.pid):  # no signal reaches it, nor would another fare better
            child.spared = LOOKS
            self._waits(child, silent)
        elif child.spared:
            child.spared -= 1
        else:
            self._end(child, silent)

    def _goes_on(self, child: Child) -> None:
        child.spared = 0
        if self._board.condition(child.name) is Condition.WAITS:
            condition = Condition.SERVING if child.ready else Condition.STARTING
            self._board.note(child.name, condition)
            log.info("supervisor.process_goes_on", process=child.name, pid=child.pid)

    def _waits(self, child: Child, silent: Part) -> None:
        if self._board.condition(child.name) is not Condition.WAITS:
            self._board.note(child.name, Condition.WAITS, silent)
            log.error("supervisor.process_waits", process=child.name, part=silent.value)

    def _end(self, child: Child, silent: Part) -> None:
        """Have a process write what its threads do; it is killed shortly after."""
        self._board.note(child.name, Condition.HUNG, silent)
        log.error(
            "supervisor.process_hangs",
            process=child.name,
            pid=child.pid,
            part=silent.value,
            silent_s=self._patience.bounds[silent],
        )
        child.hangs, child.kill_s = True, monotonic_s() + LAST_WORDS_S
        os.kill(child.pid, signal.SIGQUIT)
