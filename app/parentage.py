"""A forked process: its name, and that it ends with its parent, however that ends."""

import ctypes
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_NAME_BYTES = 15


def be_named(name: str) -> None:
    """Have the process show under a name of its own, where the system knows of such."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_NAME, name.encode()[:_NAME_BYTES], 0, 0, 0)


def end_with(parent: int, lifeline: int) -> None:
    """Have the kernel kill this process once its parent is gone, even by kill -9.

    Parameters
    ----------
    parent
        The process that forked this one.
    lifeline
        The reading end of a pipe whose writing end the parent alone holds: watched where the
        kernel has no such service.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None or prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        threading.Thread(target=_watch, args=(lifeline,), name="lifeline", daemon=True).start()
    if os.getppid() != parent:  # it ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
