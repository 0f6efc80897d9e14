"""One signed document on its way to one destination: states, moves, and when to try again."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from health_record.errors import DeliveryMoveRefused
from kernel.ids import derived

MAX_SENTENCE_LENGTH = 500
MAX_RECEIPT_LENGTH = 400
ATTEMPT_LOST = "health_record.attempt_lost"


class DeliveryState(StrEnum):
    """Where a delivery stands; the reason for a person lies beside it."""

    PENDING = "pending"
    ATTEMPTING = "attempting"
    FILED = "filed"
    REJECTED = "rejected"
    PARKED = "parked"


# ATTEMPTING to ATTEMPTING is a lease that ran out: whoever held it was killed.
MOVES: dict[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.PENDING: frozenset({DeliveryState.ATTEMPTING}),
    DeliveryState.ATTEMPTING: frozenset(
        {
            DeliveryState.ATTEMPTING,
            DeliveryState.PENDING,
            DeliveryState.FILED,
            DeliveryState.REJECTED,
            DeliveryState.PARKED,
        }
    ),
    DeliveryState.REJECTED: frozenset({DeliveryState.PENDING}),
    DeliveryState.PARKED: frozenset({DeliveryState.PENDING}),
    DeliveryState.FILED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the last attempt did not file: a constant code and a sentence for a person."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Where the exact bytes that leave are kept, and their SHA-256."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One version of a report for one destination.

    `next_at` is when somebody must look at it again: the next attempt of a pending one, the end
    of the lease of one being attempted, None once it rests.  `since` starts the horizon.
    """

    id: str
    case_id: str
    request_id: str
    report_id: str
    report_version: int
    document_digest: str
    destination: str
    state: DeliveryState
    attempts: int
    since: datetime
    moved_at: datetime
    next_at: datetime | None
    lease: str | None = None
    prepared: Prepared | None = None
    refusal: Refusal | None = None
    receipt: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to go on when a destination cannot be reached.

    Poor links of rural sites are down for days, so the horizon is days; the cap keeps the wait
    short once the link is back.
    """

    first_wait: timedelta = timedelta(seconds=5)
    factor: int = 2
    cap: timedelta = timedelta(minutes=15)
    horizon: timedelta = timedelta(days=7)

    def wait_after(self, attempts: int) -> timedelta:
        """Return the pause after that many attempts, never longer than the cap."""
        # Beyond 64 steps any growth has passed any cap; the bound keeps the power small.
        growth = self.factor ** min(max(attempts - 1, 0), 64)
        return self.cap if growth >= self.cap / self.first_wait else self.first_wait * growth


def delivery_id(report_id: str, report_version: int, destination: str) -> str:
    """Return the id that this version for this destination always has."""
    return derived("delivery", report_id, report_version, destination)


def claimed(
    delivery: Delivery, *, at: datetime, lease: str, until: datetime, policy: RetryPolicy
) -> Delivery:
    """Give the delivery to one worker until the lease runs out, or park what always dies.

    A delivery whose worker is lost again and again ends at the horizon like any other.

    Raises
    ------
    DeliveryMoveRefused
        It is not due: filed, at rest, waiting for its time, or held by another worker.
    """
    if delivery.next_at is None or delivery.next_at > at:
        raise DeliveryMoveRefused(
            delivery.id, delivery.state, DeliveryState.ATTEMPTING, "it is not due"
        )
    lost = delivery.state is DeliveryState.ATTEMPTING
    if lost and at - delivery.since >= policy.horizon:
        return _at_rest(
            delivery,
            DeliveryState.PARKED,
            at=at,
            refusal=Refusal(ATTEMPT_LOST, "every attempt ended without an answer"),
        )
    moved = _moved(delivery, DeliveryState.ATTEMPTING, at=at)
    return replace(moved, attempts=delivery.attempts + 1, lease=lease, next_at=until)


def filed(delivery: Delivery, receipt: str, *, at: datetime) -> Delivery:
    """Record that the destination took the document; nothing leads out of this state."""
    rest = _at_rest(delivery, DeliveryState.FILED, at=at, refusal=None)
    return replace(rest, receipt=receipt[:MAX_RECEIPT_LENGTH])


def rejected(delivery: Delivery, refusal: Refusal, *, at: datetime) -> Delivery:
    """Record that the destination refused the document; only a person sends it again."""
    return _at_rest(delivery, DeliveryState.REJECTED, at=at, refusal=refusal)


def parked(delivery: Delivery, refusal: Refusal, *, at: datetime) -> Delivery:
    """Put the delivery aside, shown with its reason, until a person replays it."""
    return _at_rest(delivery, DeliveryState.PARKED, at=at, refusal=refusal)


def postponed(
    delivery: Delivery, refusal: Refusal, *, at: datetime, policy: RetryPolicy
) -> Delivery:
    """Plan the next attempt, or park the delivery when that would lie beyond the horizon."""
    next_at = at + policy.wait_after(delivery.attempts)
    if next_at - delivery.since > policy.horizon:
        return parked(delivery, refusal, at=at)
    moved = _moved(delivery, DeliveryState.PENDING, at=at)
    return replace(moved, next_at=next_at, lease=None, refusal=_bounded(refusal))


def replayed(delivery: Delivery, *, at: datetime) -> Delivery:
    """Start over with a new horizon; the last refusal stays visible until an answer replaces it.

    Raises
    ------
    DeliveryMoveRefused
        It is neither parked nor rejected.
    """
    if delivery.state not in (DeliveryState.PARKED, DeliveryState.REJECTED):
        raise DeliveryMoveRefused(
            delivery.id,
            delivery.state,
            DeliveryState.PENDING,
            "only a parked or rejected delivery can be replayed",
        )
    moved = _moved(delivery, DeliveryState.PENDING, at=at)
    return replace(moved, since=at, next_at=at, attempts=0)


def _at_rest(
    delivery: Delivery, target: DeliveryState, *, at: datetime, refusal: Refusal | None
) -> Delivery:
    moved = _moved(delivery, target, at=at)
    bounded = _bounded(refusal) if refusal else None
    return replace(moved, next_at=None, lease=None, refusal=bounded)


def _moved(delivery: Delivery, target: DeliveryState, *, at: datetime) -> Delivery:
    if target not in MOVES[delivery.state]:
        raise DeliveryMoveRefused(delivery.id, delivery.state, target)
    return replace(delivery, state=target, moved_at=at)


def _bounded(refusal: Refusal) -> Refusal:
    return Refusal(refusal.code, refusal.sentence[:MAX_SENTENCE_LENGTH])
