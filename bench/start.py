"""How long ``telerad up`` takes to be ready, and what it holds while nothing happens."""

from collections.abc import Iterator
from pathlib import Path
from time import sleep

from bench.row import Row, bounded
from bench.servers import Engine, telerad

ROUNDS = 5
IDLE_AFTER_S = 5
READY_S = 3.0
IDLE_MB = 250.0


def measure(scratch: Path) -> Iterator[Row]:
    """Yield the rows of starting on a data directory that exists."""
    data = scratch / "start"
    telerad("migrate", "--data", data)
    ready: list[float] = []
    memory: list[float] = []
    for _ in range(ROUNDS):
        engine = Engine(data)
        try:
            sleep(IDLE_AFTER_S)
            ready.append(engine.started_s)
            memory.append(engine.share_mb())
        finally:
            engine.stop()
    yield bounded("start of telerad up until ready", ready, READY_S, unit="s")
    yield bounded("memory of telerad up, idle", memory, IDLE_MB, unit="MB")
