"""What is asked to find the studies that are due: what may be, and not all that are open."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from dicom_node import evidence, store, testimony
from dicom_node.announcements import Announcement, Kind
from dicom_node.completeness import CompletenessPolicy
from dicom_node.orders import CANCELLED, RECEIVED
from dicom_node.pauses import BOUNDS_S, FEWEST, Pauses
from dicom_node.peers import Peer
from dicom_node.rejecting import Rejecting
from dicom_node.tasks import Settling
from storage import archive, flights, resting
from storage.engine import Database
from storage.journal import Place
from storage.retention import Keeping, Retention
from storage.signs import Signs
from storage.transaction import Transaction
from tests.dicom_node.settled import waited_for
from tests.dicom_node.test_completeness import a_step
from tests.services.migrated import migrate
from tests.storage.test_archive import new_instance

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
POLICY = CompletenessPolicy(quiet=timedelta(minutes=5), longest_learnt=timedelta(minutes=20))
NEW, QUICK, SLOW = DEVICES = "VAN1", "VAN2", "VAN3"
FOREIGN = "o-9"

Told = tuple[Kind, str, bool, int]
"""Who announced, for which organisation, whether that is all, and how many instances."""


@dataclass(frozen=True, slots=True)
class Study:
    """A study: how many seconds before noon its instances came, and what speaks for it."""

    ages_s: tuple[float, ...]
    device: str = NEW
    frozen: int = 0
    told: tuple[Told, ...] = ()
    step: str = ""
    flies: bool = False


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


@contextmanager
def at_noon(database: Database) -> Iterator[Transaction]:
    """Yield a transaction of which nothing stays."""
    with database.engine.connect() as connection:
        yield Transaction(connection, NOON)
        connection.rollback()


def enter(tx: Transaction, studies: Sequence[Study]) -> list[str]:
    """Have some studies arrive; return their UIDs."""
    for device in DEVICES:
        store.save_peer(
            tx,
            Peer(ae_title=device, host="h", port=104, organisation_id="o-1", issuer="s"),
        )
    uids = [f"1.2.{number}" for number in range(1, len(studies) + 1)]
    for uid, study in zip(uids, studies, strict=True):
        _arrive(tx, uid, study, range(study.frozen))
        if study.frozen:
            archive.freeze_manifest(tx, uid)
        _arrive(tx, uid, study, range(study.frozen, len(study.ages_s)))
        _speak(tx, uid, study)
    came = [uid for uid, study in zip(uids, studies, strict=True) if study.flies]
    flights.tell(tx, "n", came=came, gone=[])
    return uids


def _arrive(tx: Transaction, uid: str, study: Study, numbers: Sequence[int]) -> None:
    rows = [
        (
            new_instance(tx, f"{uid}.1.{number}", uid)._replace(
                received_at=NOON - timedelta(seconds=study.ages_s[number]),
                station_ae_title=study.device,
                accession="",
            ),
            Place(f"n-{uid}", number, 1, sha256(f"{uid} {number}".encode()).hexdigest()),
        )
        for number in numbers
    ]
    archive.admit_many(tx, rows)


def _speak(tx: Transaction, uid: str, study: Study) -> None:
    for number, (kind, organisation, whole, count) in enumerate(study.told):
        evidence.announce(
            tx,
            Announcement(
                study_uid=uid,
                kind=kind,
                source=f"1.9.{number}",
                organisation_id=organisation,
                whole=whole,
                instances=tuple(f"{uid}.1.{each}" for each in range(count)),
            ),
        )
    if study.step:
        step = replace(a_step(study.step), request_id=f"r-{uid}", study_uid=uid, accession="")
        store.save_step(tx, step, at=tx.at)


def teach(tx: Transaction, device: str, pause_s: float) -> None:
    known = Pauses()
    for _ in range(FEWEST):
        known = known.with_longest(timedelta(seconds=pause_s))
    evidence.save_pauses(tx, device, known)


@contextmanager
def asked(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Yield the statements that are run meanwhile, with their values."""
    statements: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, sql: str, values: object, *_: object) -> None:
        statements.append((sql, values))

    event.listen(database.engine, "before_cursor_execute", note)
    yield statements
    event.remove(database.engine, "before_cursor_execute", note)


def read(tx: Transaction, policy: CompletenessPolicy) -> list[str]:
    """Return the studies that are read to find what is due."""
    quiet = testimony.quiet_times(tx, policy)
    found = resting.pages(tx, quiet, wait=policy.longest_wait, told=evidence.TOLD_WHOLE, page=2)
    return [study.study_uid for studies in found for study in studies]


DUE = [
    Study((301.0,)),
    Study((301.0, 10.0), QUICK),
    Study((1801.0, 10.0)),
    Study((10.0, 9.0), told=((Kind.STEP, "o-1", True, 2),)),
]
OPEN = [
    Study((299.0,)),
    Study((301.0, 7.0), QUICK),
    Study((301.0,), SLOW),
    Study((1799.0, 10.0), told=((Kind.COMMITMENT, "o-1", False, 2),)),
    Study((9000.0, 8900.0, 1799.0, 10.0), frozen=2),
    Study((10.0,), step=RECEIVED, flies=True),
]


@pytest.mark.parametrize("times", [1, 100])
def test_what_is_read_is_what_may_be_due_however_many_are_open(
    database: Database, times: int
) -> None:
    settling = Settling(database, POLICY)
    with at_noon(database) as tx:
        due = enter(tx, DUE + OPEN * times)[: len(DUE)]
        teach(tx, QUICK, 5)
        teach(tx, SLOW, 500)

        assert sorted(read(tx, POLICY)) == due
        with asked(database) as few:
            assert sorted(settling.due_studies(tx)) == due
        with asked(database) as all_judged:
            assert len(waited_for(settling, tx)) == len(OPEN) * times
    assert len(few) <= 60
    assert len(all_judged) > len(OPEN) * times


def test_many_that_wait_hide_no_other(database: Database) -> None:
    waiting = [Study((400.0 + number, 301.0), flies=True) for number in range(7)]
    with at_noon(database) as tx:
        uids = enter(tx, [*waiting, Study((300.0,)), *waiting, Study((1800.0, 1.0))])
        assert sorted(read(tx, POLICY)) == sorted(uids)


@pytest.mark.parametrize("taught", [True, False])
def test_each_question_is_answered_from_an_index_of_what_is_open(
    tmp_path: Path, taught: bool
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    migrate(database)
    plans = []
    with at_noon(database) as tx:
        if taught:
            teach(tx, QUICK, 5)
        with asked(database) as statements:
            Settling(database, POLICY).due_studies(tx)
        for sql, values in statements:
            plan = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
            plans.append(" ".join(row[-1] for row in plan if " studies " in row[-1]))
    database.dispose()

    resting_first, begun, told = (plan for plan in plans if plan)
    assert "SEARCH studies USING INDEX ix_studies_unsettled (last_arrival_at" in resting_first
    assert "SEARCH studies USING INDEX ix_studies_begun (first_arrival_at<?)" in begun
    assert "SEARCH studies USING INDEX ix_studies_unsettled (last_arrival_at" in told


def test_the_notes_that_are_due_are_found_by_as_many_questions_however_many_studies_are_open(
    database: Database,
) -> None:
    def keeping(_tx: Transaction, study_uid: str) -> Keeping:
        raise AssertionError(study_uid)

    rejecting = Rejecting(database, Retention(), keeping_of=keeping)
    numbers = set()
    for times in (1, 100):
        with at_noon(database) as tx:
            enter(tx, OPEN * times)
            with asked(database) as statements:
                assert rejecting.due(tx) == []
            numbers.add(len(statements))
    assert len(numbers) == 1


ages = st.sampled_from([0.0, 1.0, 4.0, 5.0, 7.5, 19.0, 20.0, 60.0, 300.0, 600.0, 1800.0, 3600.0])
tellings = st.tuples(
    st.sampled_from(Kind), st.sampled_from(["o-1", FOREIGN]), st.booleans(), st.integers(0, 4)
)
lengths = st.sampled_from([0, 1, 5, 20, 60, 300, 1800]).map(lambda s: timedelta(seconds=s))


@st.composite
def some_study(draw: st.DrawFn) -> Study:
    ages_s = tuple(sorted(draw(st.lists(ages, min_size=1, max_size=4)), reverse=True))
    return Study(
        ages_s,
        device=draw(st.sampled_from(DEVICES)),
        frozen=draw(st.integers(0, len(ages_s) - 1)),
        told=tuple(draw(st.lists(tellings, max_size=2))),
        step=draw(st.sampled_from(["", RECEIVED, CANCELLED])),
        flies=draw(st.booleans()),
    )


policies = st.builds(
    CompletenessPolicy,
    quiet=lengths,
    unordered_quiet=st.none() | lengths,
    shortest_learnt=lengths,
    longest_learnt=lengths,
    longest_wait=lengths,
    missing=lengths,
    idle_association=lengths,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    studies=st.lists(some_study(), max_size=12),
    policy=policies,
    taught=st.dictionaries(st.sampled_from(DEVICES), st.sampled_from(BOUNDS_S)),
)
def test_what_is_due_is_what_would_be_found_by_judging_all(
    database: Database,
    studies: list[Study],
    policy: CompletenessPolicy,
    taught: dict[str, float],
) -> None:
    settling = Settling(database, policy)
    signs = Signs({"settle": settling.due_work()[0].signs})
    with at_noon(database) as tx:
        enter(tx, studies)
        for device, pause_s in taught.items():
            teach(tx, device, pause_s)
        wait = {uid for uid, _ in waited_for(settling, tx)}
        open_now = [study.study_uid for study in archive.unsettled(tx, arrived_before=NOON)]

        due = settling.due_studies(tx)

        assert due == [uid for uid in open_now if uid not in wait]
        assert not due or signs.seen(tx)


@pytest.mark.service
def test_to_look_what_is_due_waits_for_nobody_and_holds_nobody_up(postgresql_url: str) -> None:
    database = Database(postgresql_url, clock=lambda: NOON)
    with database.transaction() as tx:
        (uid,) = enter(tx, [Study(ages_s=(3600.0,))])

    with database.transaction() as tx, database.reading() as looking:
        assert archive.unsettled_study(tx, uid) is not None  # and it is locked
        looking.execute(text("SET LOCAL lock_timeout = 100"))
        assert Settling(database, POLICY).due_studies(looking) == [uid]
    database.dispose()
