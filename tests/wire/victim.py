"""Nodes in processes of their own, to be killed: ``python -m tests.wire.victim FOLDER``.

Each line on standard input starts one on the folder, recovered as after any end, and is answered
with its port and process id.  Nodes are forked from this process, which has everything imported
and no thread: so one costs a fraction of a second.
"""

import os
import sys
import threading
from pathlib import Path

from tests.wire.conftest import recovered, start


def serve(folder: Path) -> None:
    """Serve until killed."""
    recovered(folder)
    node = start(folder)
    sys.stdout.write(f"node {node.port} {os.getpid()}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            serve(Path(sys.argv[1]))
        os.waitpid(child, 0)
