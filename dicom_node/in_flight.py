"""Which studies have associations open in this process that brought instances of them.

Noted an instance at a time, so it is memory and nothing else; `flight_teller` tells the others.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable

from kernel.clock import monotonic_s


class InFlight:
    """Counts open associations a study; safe for threads."""

    def __init__(self, *, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock = clock
        self._brought_at = clock()
        self._lock = threading.Lock()
        self._studies: defaultdict[str, set[str]] = defaultdict(set)
        self._open: Counter[str] = Counter()
        self.changed = threading.Event()
        """Set when a study came into flight that was not; cleared by who looks."""

    def brought(self, association_id: str, study_uid: str) -> None:
        """Note that an association brought an instance of a study."""
        with self._lock:
            self._brought_at = self._clock()
            if study_uid not in self._studies[association_id]:
                self._studies[association_id].add(study_uid)
                self._open[study_uid] += 1
                self.changed.set()

    def ended(self, association_id: str) -> None:
        """Note that an association ended, however it did."""
        with self._lock:
            for study_uid in self._studies.pop(association_id, ()):
                self._open[study_uid] -= 1
                if not self._open[study_uid]:
                    del self._open[study_uid]

    def studies(self) -> frozenset[str]:
        """Return the studies that open associations brought instances of."""
        with self._lock:
            return frozenset(self._open)

    def idle_s(self) -> float:
        """Return how many seconds ago the last instance came."""
        with self._lock:
            return self._clock() - self._brought_at

    def count(self, study_uid: str) -> int:
        """Return how many open associations brought instances of a study."""
        with self._lock:
            return self._open.get(study_uid, 0)
