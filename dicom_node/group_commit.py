"""Many arrivals, one flush and one index transaction: whoever has the turn acts for all that wait.

Each thread that would flush or commit for itself costs the others their turn at the interpreter;
one that acts for all, and wakes each of them once, costs a fraction of it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dicom_node import admission
from dicom_node.admission import Arrival
from kernel.errors import Transient
from kernel.pulse import Pulse
from storage.archive import Admitted, DigestLike, Known
from storage.engine import Database, Transaction

MAX_GROUP = 256
MAX_KNOWN_PATIENTS = 1_000


def _held() -> threading.Lock:
    made = threading.Lock()
    made.acquire()
    return made


def flushed() -> None:
    """Do nothing: the bytes are durable already."""


@dataclass(slots=True)
class _Waiting:
    arrival: Arrival
    flush: Callable[[], None]
    woken: threading.Lock = field(default_factory=_held)
    """Held until it is done, or its turn has come."""
    admitted: Admitted | None = None
    failure: Exception | None = None

    @property
    def done(self) -> bool:
        return self.admitted is not None or self.failure is not None


def _is_flushed(waiting: _Waiting) -> bool:
    """Flush the bytes of an arrival; the first of a group flushes for all."""
    try:
        waiting.flush()
    except Exception as failure:  # noqa: BLE001 - given to the waiter, which raises it
        waiting.failure = failure
        return False
    return True


class GroupCommit:
    """Admits arrivals to the index; safe for threads, and the faster the more of them there are.

    Parameters
    ----------
    digest_like
        Reads the bytes of an arrival again; the journal, in which all of them lie.
    pulse
        Beats with every group, and rests where none is under way.
    """

    def __init__(
        self, database: Database, digest_like: DigestLike, pulse: Pulse | None = None
    ) -> None:
        self._pulse = pulse or Pulse()
        self._database = database
        self._digest_like = digest_like
        self._writer = database.writer()
        self._leading = False
        self._queue_lock = threading.Lock()
        self._queue: list[_Waiting] = []
        self._registered: set[str] = set()
        self._known = Known()

    def admit(self, arrival: Arrival, flush: Callable[[], None] = flushed) -> Admitted:
        """Admit one arrival; return when its bytes are durable and its transaction is committed.

        Parameters
        ----------
        flush
            Makes its bytes durable.

        Raises
        ------
        JournalFull, OSError
            They could not be flushed.
        DatabaseUnavailable
            The index cannot be written now; the bytes are durable and recovery will admit them.
        """
        mine = _Waiting(arrival, flush)
        with self._queue_lock:
            self._queue.append(mine)
            leads, self._leading = not self._leading, True
            if leads:
                self._pulse.beat()
        if not leads:
            mine.woken.acquire()
        if not mine.done:
            self._lead()
        if mine.failure is not None:
            raise mine.failure
        assert mine.admitted is not None
        return mine.admitted

    def run(self, act: Callable[[Transaction], None]) -> None:
        """Run something else in a transaction of its own."""
        self._database.run(act)

    def _lead(self) -> None:
        """Commit for all that wait, give the turn on, and wake those who are done.

        Whoever has the turn is the first of the queue.  Who comes while the disk works on the
        flush is taken along: one flush more costs less than a transaction more.
        """
        group = self._taken()
        try:
            durable = [waiting for waiting in group if _is_flushed(waiting)]
            late = self._taken()
            group += late
            durable += [waiting for waiting in late if _is_flushed(waiting)]
            if durable:
                self._commit(durable)
        finally:
            with self._queue_lock:
                following = self._queue[:1]
                self._leading = bool(following)
                if following:
                    self._pulse.beat()
                else:
                    self._pulse.rest()
            for waiting in (*following, *group[1:]):
                waiting.woken.release()

    def _taken(self) -> list[_Waiting]:
        with self._queue_lock:
            taken, self._queue = self._queue[:MAX_GROUP], self._queue[MAX_GROUP:]
        return taken

    def _commit(self, group: list[_Waiting]) -> None:
        arrivals = [waiting.arrival for waiting in group]
        try:
            found = self._writer.run(
                lambda tx: admission.admit(
                    tx,
                    arrivals,
                    digest_like=self._digest_like,
                    registered=self._registered,
                    known=self._known,
                )
            )
        except Exception as failure:  # noqa: BLE001 - given to each waiter, which raises it
            self._part(group, failure)
            return
        self._remember(arrivals)
        for waiting, result in zip(group, found, strict=True):
            waiting.admitted = result

    def _part(self, group: list[_Waiting], failure: Exception) -> None:
        """Let one arrival that cannot be written not take the others down with it."""
        if len(group) > 1 and not isinstance(failure, Transient):
            for waiting in group:
                self._commit([waiting])
            return
        for waiting in group:
            waiting.failure = failure

    def _remember(self, arrivals: list[Arrival]) -> None:
        self._known.confirm()
        if len(self._registered) > MAX_KNOWN_PATIENTS:
            self._registered.clear()
        self._registered.update(admission.patient_ref(arrival.header) for arrival in arrivals)
