"""Tells every process which studies are in flight at this node (`storage.flights`).

A thread of its own writes at most once in a while, and only what changed: an association that is
over before that costs nothing, and no instance ever waits for it.
"""

import threading
from datetime import timedelta

import structlog

from dicom_node.in_flight import InFlight
from kernel.errors import Transient
from storage import flights
from storage.engine import Database

LONGEST_PAUSE = timedelta(seconds=1)

log = structlog.get_logger()


def pause_for(quiet: timedelta) -> timedelta:
    """Return how often to tell, so that a study is told of well before it could seem at rest."""
    return min(LONGEST_PAUSE, quiet / 4)


class FlightTeller:
    """Tells of the associations of one node.

    Parameters
    ----------
    pause
        The shortest time between two tellings, and that before the first.
    """

    def __init__(
        self, database: Database, node: str, in_flight: InFlight, *, pause: timedelta
    ) -> None:
        self._database = database
        self._node = node
        self._in_flight = in_flight
        self._pause_s = pause.total_seconds()
        self._told: frozenset[str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flights", daemon=True)

    def start(self) -> None:
        """Take back what the last run of this node left, and begin."""
        self.tell()
        self._thread.start()

    def stop(self) -> None:
        """Take back what was told, for the associations have ended, and end."""
        self._stop.set()
        self._in_flight.changed.set()
        if self._thread.is_alive():
            self._thread.join()
            self._tell_if_possible()

    def tell(self) -> None:
        """Tell once what is open now."""
        found = self._in_flight.studies()
        told, self._told = self._told, None
        if told is None or told or found:
            with self._database.transaction() as tx:
                if told is None:  # what another run told, or one that failed half way
                    flights.forget(tx, self._node)
                before = told or frozenset()
                flights.tell(
                    tx,
                    self._node,
                    came=found - before,
                    gone=before - found,
                    idle=timedelta(seconds=self._in_flight.idle_s()),
                )
        self._told = found

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._told == frozenset():
                self._in_flight.changed.wait()
            self._in_flight.changed.clear()
            self._stop.wait(self._pause_s)
            self._tell_if_possible()

    def _tell_if_possible(self) -> None:
        try:
            self.tell()
        except Transient as error:  # whoever asks cannot ask either
            log.warning("flights.not_told", code=error.code)
        except Exception:
            log.exception("flights.failed")
