"""One thread for each registered Orthanc, so that one that is dead delays no other."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from dicom_node import orthanc_store as store
from kernel.errors import EngineError
from storage.engine import Database

if TYPE_CHECKING:  # a node that follows nobody does without
    from dicom_node.following import Following

REGISTRY_PAUSE_S = 1.0
LOOK_PAUSE_S = 0.25
FAULT_PAUSE_S = 5.0

log = structlog.get_logger()


class Followers:
    """Starts and ends the followers as Orthancs are registered and removed.

    Parameters
    ----------
    following
        Returns what follows, made with `stopping` of the same event; called once there is an
        Orthanc to follow.
    stop
        Set to end everything.
    """

    def __init__(
        self, database: Database, following: "Callable[[], Following]", stop: threading.Event
    ) -> None:
        self._database = database
        self._make = following
        self._following: Following | None = None
        self._stop = stop
        self._names: frozenset[str] = frozenset()
        self._running: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._watch, name="orthancs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the instances in hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for thread in self._running.values():
            thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
            except EngineError as error:
                log.warning("orthancs.waits", code=error.code)
            except Exception:
                log.exception("orthancs.failed")
            self._stop.wait(REGISTRY_PAUSE_S)

    def _look(self) -> None:
        with self._database.reading() as tx:
            self._names = frozenset(store.names(tx))
        for name in sorted(self._names):
            running = self._running.get(name)
            if running is None or not running.is_alive():
                self._begin(name)

    def _begin(self, name: str) -> None:
        self._following = self._following or self._make()
        thread = threading.Thread(
            target=self._follow, args=(self._following, name), name=f"orthanc-{name}", daemon=True
        )
        self._running[name] = thread
        thread.start()

    def _follow(self, following: "Following", name: str) -> None:
        while not self._stop.is_set() and name in self._names:
            pause = LOOK_PAUSE_S
            try:
                if following.look(name):
                    pause = 0.0
            except EngineError as error:
                log.warning("orthanc.waits", orthanc=name, code=error.code)
                pause = FAULT_PAUSE_S
            except Exception:
                log.exception("orthanc.failed", orthanc=name)
                pause = FAULT_PAUSE_S
            self._stop.wait(pause)
