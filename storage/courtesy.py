"""Courtesy: what can wait steps aside while instances arrive, and never for long."""

from collections.abc import Callable

from kernel.clock import monotonic_s

ASIDE_S = 30.0
"""So long work that can wait steps aside at a stretch; then it goes on for as long."""


def nobody_waits() -> bool:
    """Say that no instances arrive: where nothing is received, or nobody knows of it."""
    return False


class Courtesy:
    """Asked before each piece of work that can wait; used by one thread.

    Where instances never cease to arrive, stretches of waiting and of working take turns.

    Parameters
    ----------
    busy
        Says whether instances arrive.
    clock
        Seconds that only grow.
    """

    def __init__(
        self, busy: Callable[[], bool] = nobody_waits, *, clock: Callable[[], float] = monotonic_s
    ) -> None:
        self._busy = busy
        self._clock = clock
        self._since: float | None = None

    def steps_aside(self) -> bool:
        """Say whether to wait; whoever is told so asks again."""
        if not self._busy():
            self._since = None
            return False
        now = self._clock()
        if self._since is None:
            self._since = now
        return (now - self._since) % (2 * ASIDE_S) < ASIDE_S
