"""Free TCP ports that no other test process is given at the same time."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

# Below the range from which the kernel draws the ports of outgoing connections, so that a
# connection opened between choosing a port and binding it cannot take it away.
LOWEST = 20_000
HIGHEST = 31_999

_held: list[IO[str]] = []


def free_port() -> int:
    """Return a loopback port that is free and stays reserved until this process ends."""
    for port in random.sample(range(LOWEST, HIGHEST), 500):
        if _reserve(port):
            return port
    raise RuntimeError(f"no free port found between {LOWEST} and {HIGHEST}")


def _reserve(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"telerad-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    lock = (folder / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", port))
    except OSError:
        lock.close()
        return False
    _held.append(lock)  # the lock lasts as long as the open file
    return True


def accepts(port: int) -> bool:
    """Return whether something listens on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0
