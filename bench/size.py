"""Whether ten thousand studies in the index slow down receiving or the queue page."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

import httpx

from app.bootstrap import DEMO_PASSPHRASE
from bench.instances import FEW, made, renewed
from bench.population import populate
from bench.row import Demand, Row, compared
from bench.servers import Engine, engine, rest, sent

MANY, FEW_STUDIES = 10_000, 10
ROUNDS = 7
PAGES_A_ROUND = 9
SLOWDOWN = Demand("most", 1.5)
READER = "dimov"
_SETTINGS = {"TELERAD_DICOM__QUIET_S": "3600"}
_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


class Reader:
    """A consultant with a browser."""

    def __init__(self, base: str) -> None:
        self._client = httpx.Client(base_url=base, follow_redirects=True, timeout=60)
        hidden = dict(_HIDDEN.findall(self._client.get("/sign-in").text))
        answer = self._client.post(
            "/sign-in", data={**hidden, "login": READER, "password": DEMO_PASSPHRASE}
        )
        answer.raise_for_status()
        self._opened()

    def page_ms(self) -> float:
        """Return the median time that the queue page takes, in milliseconds."""
        times = []
        for _ in range(PAGES_A_ROUND):
            began = perf_counter()
            self._opened()
            times.append((perf_counter() - began) * 1000)
        return median(times)

    def close(self) -> None:
        """Close the browser."""
        self._client.close()

    def _opened(self) -> None:
        answer = self._client.get("/queue")
        answer.raise_for_status()
        if answer.url.path != "/queue":
            raise RuntimeError(f"the queue page led to {answer.url.path}: signing in failed")


def measure(scratch: Path) -> Iterator[Row]:
    """Yield the rows of the two sizes, measured in turn."""
    with ExitStack() as stack:
        both: list[Engine] = []
        readers: list[Reader] = []
        for studies in (MANY, FEW_STUDIES):
            data = scratch / f"size-{studies}"
            populate(data, studies)
            both.append(stack.enter_context(engine(data, _SETTINGS)))
            readers.append(Reader(both[-1].http))
            stack.callback(readers[-1].close)
        stored: tuple[list[float], list[float]] = ([], [])
        shown: tuple[list[float], list[float]] = ([], [])
        source = made(FEW, scratch / "sets")
        for number in range(ROUNDS):
            renewed(source, scratch / "to-send", parts=1)
            for which in (0, 1) if number % 2 else (1, 0):
                stored[which].append(_store_ms(both[which], scratch))
                shown[which].append(readers[which].page_ms())
            shutil.rmtree(scratch / "to-send")
    few = f"{FEW_STUDIES} studies"
    yield compared(
        f"C-STORE with {MANY:,} studies".replace(",", " "),
        *(stored[0], few, stored[1]),
        unit="ms",
        demand=SLOWDOWN,
    )
    yield compared(
        f"queue page with {MANY:,} studies".replace(",", " "),
        *(shown[0], few, shown[1]),
        unit="ms",
        demand=SLOWDOWN,
    )


def _store_ms(to: Engine, scratch: Path) -> float:
    """Return the time that one instance of a new study takes, in milliseconds."""
    rest()
    took = sent([scratch / "to-send" / "0"], to.receiver)
    return took / (FEW.studies * FEW.images) * 1000
