"""Which studies have associations open that brought instances of them.

Known to this process alone: where several listeners serve, a study settles by the time of its
last arrival, which is in the index and common to all.
"""

import threading
from collections import Counter, defaultdict


class InFlight:
    """Counts open associations a study; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._studies: defaultdict[str, set[str]] = defaultdict(set)
        self._open: Counter[str] = Counter()

    def brought(self, association_id: str, study_uid: str) -> None:
        """Note that an association brought an instance of a study."""
        with self._lock:
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

    def count(self, study_uid: str) -> int:
        """Return how many open associations brought instances of a study."""
        with self._lock:
            return self._open.get(study_uid, 0)
