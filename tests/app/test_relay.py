"""The relay: what is broken is parked or passed over with its reason, and all else goes on."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.relay import InProcess, Relay, RelayLooksInVain, RelayStands
from kernel.errors import Refused, Transient
from kernel.facts import CaseCompleted, CaseQueued, Fact
from storage import outbox
from storage.courtesy import ASIDE_S, Courtesy
from storage.engine import Database, Transaction
from storage.outbox import Telling
from storage.work import DueWork, Reactions

DUE = datetime(2026, 11, 22, 12, tzinfo=UTC)
ENOUGH_TURNS = 50


class AtOnce:
    """Does work in the turn that finds it."""

    def tell(self, telling: Telling) -> None:
        raise AssertionError(telling)

    def start(self, work: DueWork, id: str) -> bool:
        work.run(id)
        return True

    def close(self) -> None:
        pass


class Clock:
    """A clock that goes on when the test says so, and a little at each look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@pytest.fixture
def clock(database: Database) -> Clock:
    database.clock = Clock()
    return database.clock


@pytest.fixture
def heard() -> list[tuple[str, str]]:
    """What consumers heard, as (consumer, subject or fact)."""
    return []


def completed(subject: str) -> CaseCompleted:
    return CaseCompleted(subject=subject, at=DUE, actor="test", case_id=subject)


def queued(subject: str, number: int) -> CaseQueued:
    return CaseQueued(
        subject=subject,
        at=DUE,
        actor="test",
        case_id=subject,
        profile="thoracic",
        due=DUE,
        arrival_number=number,
    )


def append(database: Database, *facts: Fact) -> None:
    with database.transaction() as tx:
        for fact in facts:
            outbox.append(tx, fact)


def hear(heard: list[tuple[str, str]], consumer: str) -> Callable[[Transaction, Fact], None]:
    def reaction(_tx: Transaction, fact: Fact) -> None:
        heard.append((consumer, fact.subject))

    return reaction


def raises(error: Exception) -> Callable[[Transaction, Fact], None]:
    def reaction(_tx: Transaction, _fact: Fact) -> None:
        raise error

    return reaction


def turned(database: Database, reactions: Reactions, *work: DueWork) -> Relay:
    """Turn until nothing moves, then let the threads of the work end."""
    dispatch = InProcess(database, reactions)
    relay = Relay(database, reactions, work, dispatch)
    for _ in range(ENOUGH_TURNS):
        if relay.turn() == 0:
            break
    dispatch.close()
    return relay


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("the rule says no"), "refused"),
        (ZeroDivisionError("Name^Of^Patient"), "relay.fault"),
    ],
)
def test_a_reaction_that_fails_is_parked_with_its_reason_and_others_go_on(
    database: Database, heard: list[tuple[str, str]], error: Exception, code: str
) -> None:
    append(database, completed("c-1"))

    turned(
        database,
        {
            "broken": {CaseCompleted: raises(error)},
            "sound": {CaseCompleted: hear(heard, "sound")},
        },
    )

    assert heard == [("sound", "c-1")]
    with database.reading() as tx:
        (parked,) = outbox.parked(tx)
    assert (parked.consumer, parked.kind, parked.code) == ("broken", "CaseCompleted", code)
    assert parked.reason
    assert "Name^Of^Patient" not in parked.reason


def test_what_was_parked_is_replayed_once_it_is_mended(
    database: Database, heard: list[tuple[str, str]]
) -> None:
    append(database, completed("c-1"))
    turned(database, {"consumer": {CaseCompleted: raises(Refused("the rule says no"))}})
    with database.transaction() as tx:
        assert outbox.replay(tx) == 1

    turned(database, {"consumer": {CaseCompleted: hear(heard, "consumer")}})

    assert heard == [("consumer", "c-1")]
    with database.reading() as tx:
        assert outbox.parked(tx) == []
        assert outbox.waiting(tx) == 0


def test_what_fails_for_now_is_tried_again_later(
    database: Database, clock: Clock, heard: list[tuple[str, str]]
) -> None:
    append(database, completed("c-1"))
    turned(database, {"consumer": {CaseCompleted: raises(Transient("not now"))}})
    mended: Reactions = {"consumer": {CaseCompleted: hear(heard, "consumer")}}

    turned(database, mended)
    assert heard == []
    clock.now += timedelta(minutes=1)
    turned(database, mended)

    assert heard == [("consumer", "c-1")]


def test_a_subject_is_heard_in_order_and_its_trouble_holds_up_no_other(
    database: Database, heard: list[tuple[str, str]]
) -> None:
    def picky(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, CaseQueued)
        if (fact.subject, fact.arrival_number) == ("c-1", 2):
            raise Refused("not this one")
        heard.append((fact.subject, str(fact.arrival_number)))

    numbers = [1, 2, 3]
    append(database, *(queued(subject, n) for n in numbers for subject in ("c-1", "c-2")))

    turned(database, {"consumer": {CaseQueued: picky}})

    assert [n for subject, n in heard if subject == "c-2"] == ["1", "2", "3"]
    assert [n for subject, n in heard if subject == "c-1"] == ["1"]
    with database.reading() as tx:
        (parked,) = outbox.parked(tx)
    assert parked.subject == "c-1"


def test_a_reaction_that_fails_leaves_nothing_behind(database: Database) -> None:
    def half(tx: Transaction, fact: Fact) -> None:
        outbox.append(tx, completed("follow-up"))
        raise Refused("and then no")

    append(database, completed("c-1"))

    turned(database, {"consumer": {CaseCompleted: half}})

    with database.reading() as tx:
        assert outbox.facts_of(tx, "follow-up") == []


def due_work(name: str, due: Callable[[Transaction], list[str]], run: Callable[[str], None]):  # type: ignore[no-untyped-def]
    return DueWork(name=name, queue="default", due=due, run=run)


def test_work_whose_look_or_run_is_broken_stops_no_other(database: Database) -> None:
    done: list[str] = []

    def broken(_tx: Transaction) -> list[str]:
        raise ZeroDivisionError

    def explode(_id: str) -> None:
        raise ZeroDivisionError

    once = iter([["w-1"]])
    relay = turned(
        database,
        {},
        due_work("broken look", broken, done.append),
        due_work("broken run", lambda _tx: ["x"] if not done else [], explode),
        due_work("sound", lambda _tx: next(once, []), done.append),
    )

    assert done == ["w-1"]
    with pytest.raises(RelayLooksInVain, match=r"broken look \(ZeroDivisionError\)"):
        relay.require_looking()


def test_a_look_that_works_again_is_told_of_no_more(database: Database) -> None:
    looks = iter([ZeroDivisionError(), None])

    def due(_tx: Transaction) -> list[str]:
        if error := next(looks):
            raise error
        return []

    relay = Relay(database, {}, [due_work("mended", due, print)], AtOnce())
    relay.turn()
    with pytest.raises(RelayLooksInVain):
        relay.require_looking()
    relay.turn()
    relay.require_looking()


def test_work_under_way_is_not_started_twice(database: Database) -> None:
    started: list[str] = []
    go_on = threading.Event()

    def slow(id: str) -> None:
        started.append(id)
        assert go_on.wait(30)

    dispatch = InProcess(database, {})
    relay = Relay(database, {}, [due_work("slow", lambda _tx: ["w-1"], slow)], dispatch)
    for _ in range(5):
        relay.turn()
    go_on.set()
    dispatch.close()

    assert started == ["w-1"]


def test_work_that_can_wait_steps_aside_while_instances_arrive_and_never_starves(
    database: Database,
) -> None:
    now, busy, done = [100.0], [True], list[str]()
    courtesy = Courtesy(lambda: busy[0], clock=lambda: now[0])
    work = [
        due_work("urgent", lambda _tx: ["urgent"], done.append),
        replace(due_work("patient", lambda _tx: ["patient"], done.append), can_wait=True),
    ]
    relay = Relay(database, {}, work, AtOnce(), courtesy=courtesy)

    def turn() -> set[str]:
        done.clear()
        relay.turn()
        return set(done)

    assert turn() == {"urgent"}
    now[0] += ASIDE_S - 1
    assert turn() == {"urgent"}
    now[0] += 1  # instances still arrive, and the bound is reached
    assert turn() == {"urgent", "patient"}
    now[0] += ASIDE_S
    assert turn() == {"urgent"}
    busy[0] = False
    assert turn() == {"urgent", "patient"}


def test_a_relay_that_stands_says_so(database: Database) -> None:
    relay = Relay(database, {}, [], InProcess(database, {}))
    relay.require_turning()

    relay.last_turn_s -= 3600

    with pytest.raises(RelayStands, match="3600 s"):
        relay.require_turning()


@pytest.fixture
def shared(postgresql_url: str) -> Iterator[Callable[[], Database]]:
    """Opens the one database of several relays."""
    opened: list[Database] = []

    def open_one() -> Database:
        opened.append(Database(postgresql_url))
        return opened[-1]

    yield open_one
    for database in opened:
        database.dispose()


@pytest.mark.service
def test_two_relays_tell_each_fact_once(shared: Callable[[], Database]) -> None:
    heard: dict[str, list[str]] = {"a": [], "b": []}
    reactions: Mapping[str, Mapping[type[Fact], Callable[[Transaction, Fact], None]]] = {
        consumer: {CaseQueued: lambda _tx, fact, said=said: said.append(fact.id)}
        for consumer, said in heard.items()
    }
    facts = [queued(f"c-{n % 7}", n) for n in range(60)]
    first = shared()
    append(first, *facts)
    relays = []
    for database in (first, shared()):
        relay = Relay(database, reactions, [], InProcess(database, reactions))
        relays.append((relay, threading.Thread(target=relay.run)))
    for _, thread in relays:
        thread.start()

    everything_told = threading.Event()
    for _ in range(600):
        with first.reading() as tx:
            if outbox.waiting(tx) == 0:
                break
        everything_told.wait(0.05)
    for relay, thread in relays:
        relay.stop()
        thread.join()

    for said in heard.values():
        assert sorted(said) == sorted(fact.id for fact in facts)
        for subject in {fact.subject for fact in facts}:
            order = [fact.id for fact in facts if fact.subject == subject]
            assert [id for id in said if id in order] == order
    with first.reading() as tx:
        assert outbox.parked(tx) == []
