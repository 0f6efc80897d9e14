"""Run ``telerad`` and kill all its processes when a named function is entered or returns.

    python -m tests.flows.kill_at MODULE:QUALIFIED.NAME call|return NTH -- ARGUMENTS OF TELERAD

The engine is not changed for it: a profile hook, which Python calls at every call and return in
the threads that the engine starts, looks for the one code object; forked processes inherit it.

References
----------
CPython gh-101975, mended in 3.11.3: under a profile hook, and only there, a generator that runs
shows the garbage collector objects that are freed. Debian 12 has 3.11.2.
"""

import gc
import os
import signal
import sys
import threading
from types import FrameType

from app.cli import main


def kill_at(module: str, qualname: str, event: str, nth: int) -> None:
    """Arm the hook for every thread started from now on."""
    left = [nth]

    def hook(frame: FrameType, happened: str, _argument: object) -> None:
        if happened != event:
            return
        code = frame.f_code
        if code.co_qualname != qualname or frame.f_globals.get("__name__") != module:
            return
        left[0] -= 1
        if left[0] == 0:
            os.killpg(0, signal.SIGKILL)

    if sys.version_info < (3, 11, 3):
        gc.disable()
    threading.setprofile(hook)


if __name__ == "__main__":
    target, when, count, dashes, *arguments = sys.argv[1:]
    assert dashes == "--"
    kill_at(*target.split(":"), event=when, nth=int(count))
    sys.argv = ["telerad", *arguments]
    sys.exit(main())
