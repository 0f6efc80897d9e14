"""A forked process that ends with its parent, however that ends."""

import ctypes
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1


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
