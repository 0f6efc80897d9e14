"""Facts reach each consumer once, in order per subject, and a stuck one blocks no other."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from kernel.errors import Refused, Transient
from kernel.facts import CaseCompleted, Fact
from storage import outbox
from storage.engine import Database, Transaction
from storage.outbox import HORIZON, LEASE
from storage.signs import Signs
from tests.services.migrated import migrate

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONSUMERS = {"CaseCompleted": ["one", "two"]}


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def timed(each_database: Database, hands: Hands) -> Database:
    each_database.clock = hands
    return each_database


def completed(tx: Transaction, case: str) -> CaseCompleted:
    fact = CaseCompleted(subject=case, at=tx.at, actor="system:test", case_id=case)
    outbox.append(tx, fact)
    return fact


def turn(
    database: Database, reaction: Callable[[Transaction, Fact], None]
) -> list[tuple[int, str]]:
    with database.transaction() as tx:
        outbox.fan_out(tx, CONSUMERS)
    with database.transaction() as tx:
        claimed = outbox.claim_due(tx)
    for telling in claimed:
        try:
            with database.transaction() as tx:
                outbox.told(tx, telling, {CaseCompleted: reaction})
        except (Transient, Refused) as error:
            with database.transaction() as tx:
                outbox.failed(tx, telling, error)
    return [(telling.fact_seq, telling.consumer) for telling in claimed]


def test_a_fact_is_told_only_if_its_transaction_commits(database: Database) -> None:
    with pytest.raises(RuntimeError), database.transaction() as tx:
        completed(tx, "c-1")
        raise RuntimeError("the change failed")
    with database.reading() as tx:
        assert outbox.facts_of(tx, "c-1") == []


def test_a_fact_comes_back_as_it_was_stored(database: Database) -> None:
    with database.transaction() as tx:
        fact = completed(tx, "c-1")
    with database.reading() as tx:
        assert outbox.facts_of(tx, "c-1") == [fact]


def test_each_consumer_hears_each_fact_once(timed: Database) -> None:
    heard: list[str] = []
    with timed.transaction() as tx:
        completed(tx, "c-1")
    for _ in range(3):
        turn(timed, lambda _tx, fact: heard.append(fact.subject))
    assert heard == ["c-1", "c-1"]


def test_a_second_telling_of_the_same_fact_has_no_effect(timed: Database) -> None:
    heard: list[str] = []
    with timed.transaction() as tx:
        completed(tx, "c-1")
        outbox.fan_out(tx, CONSUMERS)
        telling = outbox.claim_due(tx)[0]
    for _ in range(2):
        with timed.transaction() as tx:
            outbox.told(tx, telling, {CaseCompleted: lambda _tx, fact: heard.append(fact.id)})
    assert len(heard) == 1


@settings(max_examples=20, deadline=None)
@given(cases=st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_the_facts_of_a_subject_are_heard_in_order(
    tmp_path_factory: pytest.TempPathFactory, cases: list[str]
) -> None:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('order') / 'o.db'}")
    migrate(database)
    with database.transaction() as tx:
        told = [completed(tx, case) for case in cases]
    heard: list[str] = []
    while turn(database, lambda _tx, fact: heard.append(fact.id)):
        pass
    for case in set(cases):
        expected = [fact.id for fact in told if fact.subject == case]
        got = [id for id in heard if id in expected]
        assert got[::2] == expected or got[: len(expected)] == expected
        assert sorted(got) == sorted(expected * 2)
    database.dispose()


def test_a_killed_relay_leaves_the_telling_to_the_next_after_its_lease(
    timed: Database, hands: Hands
) -> None:
    with timed.transaction() as tx:
        completed(tx, "c-1")
        outbox.fan_out(tx, CONSUMERS)
        assert len(outbox.claim_due(tx)) == 2
    with timed.transaction() as tx:
        assert outbox.claim_due(tx) == []
    hands.at += LEASE
    with timed.transaction() as tx:
        assert len(outbox.claim_due(tx)) == 2


def test_what_may_succeed_later_is_retried_with_growing_pauses_then_parked(
    timed: Database, hands: Hands
) -> None:
    with timed.transaction() as tx:
        completed(tx, "c-1")

    def fails(_tx: Transaction, _fact: Fact) -> None:
        raise Transient("the record does not answer")

    tries = 0
    while hands.at < NOON + HORIZON + timedelta(hours=1):
        tries += bool(turn(timed, fails))
        hands.at += timedelta(minutes=10)
    with timed.reading() as tx:
        parked = outbox.parked(tx)
    assert tries > 100
    assert {(p.consumer, p.reason) for p in parked} == {
        ("one", "the record does not answer"),
        ("two", "the record does not answer"),
    }


def test_a_refused_fact_is_parked_at_once_and_blocks_its_own_subject_alone(
    timed: Database, hands: Hands
) -> None:
    heard: list[str] = []

    def refuses_one(_tx: Transaction, fact: Fact) -> None:
        if fact.subject == "c-1":
            raise Refused("the rule says no")
        heard.append(fact.subject)

    with timed.transaction() as tx:
        completed(tx, "c-1")
        completed(tx, "c-1")
        completed(tx, "c-2")
    for _ in range(4):
        turn(timed, refuses_one)
        hands.at += timedelta(minutes=1)
    assert heard == ["c-2", "c-2"]
    with timed.reading() as tx:
        assert [p.subject for p in outbox.parked(tx)] == ["c-1", "c-1"]


def test_replay_takes_a_parked_fact_up_again(timed: Database) -> None:
    heard: list[str] = []

    def refuses(_tx: Transaction, _fact: Fact) -> None:
        raise Refused("not yet")

    with timed.transaction() as tx:
        completed(tx, "c-1")
    turn(timed, refuses)
    with timed.transaction() as tx:
        assert outbox.replay(tx, consumer="one") == 1
    turn(timed, lambda _tx, fact: heard.append(fact.subject))
    assert heard == ["c-1"]
    with timed.reading() as tx:
        assert [p.consumer for p in outbox.parked(tx)] == ["two"]
        assert not Signs({"outbox": outbox.SIGNS}).seen(tx)


def test_a_fact_that_is_just_fanned_out_is_never_out_of_the_backlog(timed: Database) -> None:
    statements: list[str] = []

    def seen(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    with timed.transaction() as tx:
        completed(tx, "c-1")
        completed(tx, "c-2")
    with timed.transaction() as tx:
        outbox.fan_out(tx, CONSUMERS, limit=1)
    event.listen(timed.engine, "before_cursor_execute", seen)
    with timed.reading() as tx:
        assert outbox.waiting(tx) == 3  # of one fact two tellings, and the other fact
    counted = [each for each in statements if "count" in each]
    assert len(counted) == 1  # on PostgreSQL two of them see two states
