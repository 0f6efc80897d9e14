"""The relay: fans facts out, has each consumer hear each, and starts the work that is due.

The database is the truth.  Where a broker is set it only makes things fast: what the relay hands
over is a number or an id, and whoever gets it loads the row and checks whether it still counts.
"""

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Protocol

import structlog

from kernel.clock import monotonic_s
from kernel.errors import EngineError, Transient
from kernel.pulse import Pulse
from storage import outbox
from storage.courtesy import Courtesy
from storage.engine import Database
from storage.outbox import Telling
from storage.set_back import SetBack
from storage.signs import Signs
from storage.work import DueWork, Queue, Reactions

SHORTEST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.4
COURTEOUS_PAUSE_S = 2.0
FAULT_PAUSE_S = 2.0
STANDS_AFTER_S = 30.0
LOOK_ANYWAY_S = 30.0
"""So often all is looked for: where a sign should be missing, work is late and not lost."""

_OUTBOX = "outbox"
THREADS: Mapping[Queue, int] = {"default": 2, "ai": 1, "outward": 4}

log = structlog.get_logger()


class Fault(EngineError):
    """A reaction failed in a way nobody foresaw: parked at once, and replayed once it is mended."""

    code = "relay.fault"


class RelayStands(Transient):
    """Facts wait and nobody hands them over."""

    code = "relay.stands"


class RelayLooksInVain(EngineError):
    """What is due of some kind of work is not found, as the look for it fails."""

    code = "relay.looks_in_vain"


class Dispatch(Protocol):
    """Has a telling told and due work done, here or on another host."""

    def tell(self, telling: Telling) -> None:
        """Have one consumer react to one fact."""

    def start(self, work: DueWork, id: str) -> bool:
        """Have one piece of due work done; False if it is under way already."""

    def close(self) -> None:
        """Let go of threads or connections."""


def tell(database: Database, reactions: Reactions, telling: Telling) -> None:
    """Have a consumer react to a fact; put it off or park it, with the reason, if that fails."""
    try:
        with database.transaction() as tx:
            outbox.told(tx, telling, reactions[telling.consumer])
    except EngineError as error:
        _put_off(database, telling, error)
    except Exception as error:
        log.exception("relay.fault", consumer=telling.consumer, fact_seq=telling.fact_seq)
        _put_off(database, telling, Fault(f"the reaction failed: {type(error).__name__}"))


def run(work: DueWork, id: str) -> None:
    """Do one piece of due work; its row, not this call, remembers what failed and when to retry."""
    try:
        work.run(id)
    except Transient as error:
        log.info("work.put_off", work=work.name, id=id, code=error.code)
    except EngineError as error:
        log.warning("work.refused", work=work.name, id=id, code=error.code)
    except Exception:
        log.exception("work.fault", work=work.name, id=id)


class InProcess:
    """The embedded default: reactions in the relay's own thread, due work in a few threads."""

    def __init__(self, database: Database, reactions: Reactions) -> None:
        self._database = database
        self._reactions = reactions
        self._pools = {
            queue: ThreadPoolExecutor(count, thread_name_prefix=f"work-{queue}")
            for queue, count in THREADS.items()
        }
        self._under_way: dict[tuple[str, str], Future[None]] = {}

    def tell(self, telling: Telling) -> None:
        """See `Dispatch.tell`."""
        tell(self._database, self._reactions, telling)

    def start(self, work: DueWork, id: str) -> bool:
        """See `Dispatch.start`."""
        key = (work.name, id)
        if key in self._under_way and not self._under_way[key].done():
            return False
        self._under_way = {k: f for k, f in self._under_way.items() if not f.done()}
        self._under_way[key] = self._pools[work.queue].submit(run, work, id)
        return True

    def close(self) -> None:
        """Wait for the work under way; what was not begun is found again at the next start."""
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)


class Relay:
    """The loop around outbox and due work; any number of relays may run beside each other.

    Parameters
    ----------
    pulse
        Beats with each look, and each thing that is handed over.
    """

    def __init__(
        self,
        database: Database,
        reactions: Reactions,
        due_work: Iterable[DueWork],
        dispatch: Dispatch,
        *,
        lease: timedelta = outbox.LEASE,
        courtesy: Courtesy | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._database = database
        self._courtesy = courtesy or Courtesy()
        self._pulse = pulse or Pulse()
        self._aside = False
        self._set_back = SetBack(database)
        self._due_work = tuple(due_work)
        self._dispatch = dispatch
        self._lease = lease
        self._signs = Signs({_OUTBOX: outbox.SIGNS, **{w.name: w.signs for w in self._due_work}})
        self._without_signs = frozenset(work.name for work in self._due_work if not work.signs)
        self._looked_at_s = monotonic_s()
        self._consumers = consumers_by_kind(reactions)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._in_vain: dict[str, str] = {}
        self.last_turn_s = monotonic_s()

    def turn(self) -> int:
        """Do what can be done now; return how many things were started."""
        self._set_back.look()
        seen = self._seen()
        tellings = self._claim() if _OUTBOX in seen else []
        for telling in tellings:
            self._pulse.beat()
            self._hand_over(telling)
        if tellings:
            seen |= self._seen()  # what they made due
        self._aside = self._courtesy.steps_aside()
        started = sum(
            self._start(work)
            for work in self._due_work
            if work.name in seen and not (self._aside and work.can_wait)
        )
        self.last_turn_s = monotonic_s()
        return len(tellings) + started

    def run(self) -> None:
        """Turn until `stop`; a failing database is waited for."""
        pause = SHORTEST_PAUSE_S
        while not self._stop.is_set():
            self._pulse.beat()
            try:
                # What was just done often makes something else due; a quiet engine may doze.
                pause = SHORTEST_PAUSE_S if self.turn() else self._longer(pause)
            except EngineError as error:
                log.warning("relay.waits", code=error.code, reason=error.sentence)
                pause = FAULT_PAUSE_S
            except Exception:
                log.exception("relay.turn_failed")
                pause = FAULT_PAUSE_S
            self._pulse.beat()
            self._wake.wait(min(pause, self._pulse.every_s or pause))
            self._wake.clear()
        self._pulse.rest()  # what is under way may take long
        self._dispatch.close()

    def nudge(self) -> None:
        """Look at once: something was just committed."""
        self._wake.set()

    def require_turning(self) -> None:
        """Check that the loop goes on.

        Raises
        ------
        RelayStands
            It has not turned for a while.
        """
        since_s = monotonic_s() - self.last_turn_s
        if since_s > STANDS_AFTER_S:
            raise RelayStands(f"the relay has not turned for {since_s:.0f} s")

    def require_looking(self) -> None:
        """Check that what is due is found.

        Raises
        ------
        RelayLooksInVain
            The last look for some kind of work failed in a way nobody foresaw: nothing of it is
            done.
        """
        if found := dict(self._in_vain):
            raise RelayLooksInVain(in_vain(found))

    def stop(self) -> None:
        """End `run` after the turn under way."""
        self._stop.set()
        self._wake.set()

    def _longer(self, pause: float) -> float:
        """Return how long to doze: to look is felt by those whose instances arrive."""
        return COURTEOUS_PAUSE_S if self._aside else min(LONGEST_PAUSE_S, pause * 1.5)

    def _seen(self) -> frozenset[str]:
        """Return the names of the work that may be due; now and then of all."""
        now = monotonic_s()
        if now - self._looked_at_s > LOOK_ANYWAY_S:
            self._looked_at_s = now
            return frozenset((_OUTBOX, *(work.name for work in self._due_work)))
        with self._database.reading() as tx:
            return self._without_signs | self._signs.seen(tx)

    def _start(self, work: DueWork) -> int:
        self._pulse.beat()
        try:
            with self._database.reading() as tx:
                ids = work.due(tx)
        except EngineError:
            raise  # the database: nothing else can be asked either
        except Exception as error:
            log.exception("relay.due_failed", work=work.name)
            self._in_vain[work.name] = type(error).__name__
            return 0
        self._in_vain.pop(work.name, None)
        return sum(self._dispatch.start(work, id) for id in ids)

    def _hand_over(self, telling: Telling) -> None:
        try:
            self._dispatch.tell(telling)
        except Transient as error:  # the broker is away: the row is due again shortly
            _put_off(self._database, telling, error)

    def _claim(self) -> list[Telling]:
        with self._database.transaction() as tx:
            outbox.fan_out(tx, self._consumers)
            return outbox.claim_due(tx, lease=self._lease)


def consumers_by_kind(reactions: Reactions) -> dict[str, list[str]]:
    """Turn 'consumer to facts' into 'kind of fact to consumers'."""
    found: dict[str, list[str]] = {}
    for consumer, reacts_to in reactions.items():
        for fact in reacts_to:
            found.setdefault(fact.kind, []).append(consumer)
    return found


def in_vain(failed: Mapping[str, str]) -> str:
    """Say for which work the look fails, and by what kind of error."""
    told = ", ".join(f"{name} ({error})" for name, error in sorted(failed.items()))
    return f"what is due cannot be looked for, and is not done: {told}; the log says why"


def _put_off(database: Database, telling: Telling, error: EngineError) -> None:
    log.warning(
        "relay.put_off",
        consumer=telling.consumer,
        fact_seq=telling.fact_seq,
        code=error.code,
        retried=isinstance(error, Transient),
    )
    with database.transaction() as tx:
        outbox.failed(tx, telling, error)
