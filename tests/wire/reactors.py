"""Reactors of pynetdicom that stand still when it says so.

Its send methods stop the reactor of their association, which else takes the answer for itself.  It
calls a reactor stopped that is only about to look whether it may go on: on a machine with much to
do, one that then goes on has taken an answer, and the sender waits for it in vain.
"""

import threading
from typing import Any

import pytest
from pynetdicom.association import Association

_STOPPED_WITHIN_S = 1.0  # one that serves a request meanwhile takes no answers


class _Checkpoint(threading.Event):
    """Where a reactor waits while it is stopped; `clear` returns once it does."""

    def __init__(self, reactor: threading.Thread) -> None:
        super().__init__()
        self._reactor = reactor
        self._waits = threading.Event()

    def set(self) -> None:
        self._waits.clear()
        super().set()

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self._waits.set()
        return super().wait(timeout)

    def clear(self) -> None:
        super().clear()
        if self._reactor.is_alive() and threading.current_thread() is not self._reactor:
            self._waits.wait(_STOPPED_WITHIN_S)


def stand_still(patch: pytest.MonkeyPatch) -> None:
    """Have every association stop its reactor before it sends."""
    made = Association.__init__

    def init(self: Association, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        self._reactor_checkpoint = _Checkpoint(self)
        self._reactor_checkpoint.set()

    patch.setattr(Association, "__init__", init)
