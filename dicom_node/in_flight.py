"""Which studies have associations open that brought instances of them.

Known to this process alone: where several listeners serve, a study settles by the time of its
last arrival, which is in the index and common to all.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable

from kernel.clock import monotonic_s

BUSY_S = 1.0
"""An association that brought nothing for so long is not in a hurry."""


class InFlight:
    """Counts open associations a study; safe for threads."""

    def __init__(self, *, clock: Callable[[], float] = monotonic_s) -> None:
        self._clock = clock
        self._brought_at = 0.0
        self._lock = threading.Lock()
        self._studies: defaultdict[str, set[str]] = defaultdict(set)
        self._open: Counter[str] = Counter()

    def brought(self, association_id: str, study_uid: str) -> None:
        """Note that an association brought an instance of a study."""
        with self._lock:
            self._brought_at = self._clock()
            if study_uid not in self._studies[association_id]:
                self._studies[association_id].add(study_uid)
                self._open[study_uid] += 1

    def ended(self, association_id: str) -> None:
        """Note that an association ended, however it did."""
        with self._lock:
            for study_uid in self._studies.pop(association_id, ()):
                self._open[study_uid] -= 1
                if not self._open[study_uid]:
                    del self._open[study_uid]

    def is_busy(self) -> bool:
        """Say whether an association is bringing instances just now."""
        with self._lock:
            return bool(self._studies) and self._clock() - self._brought_at < BUSY_S

    def count(self, study_uid: str) -> int:
        """Return how many open associations brought instances of a study."""
        with self._lock:
            return self._open.get(study_uid, 0)
