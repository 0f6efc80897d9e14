"""When a study is whole: laws of the judgement, and the manifest it leads to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.completeness import (
    Arrivals,
    Complete,
    CompletenessPolicy,
    Overdue,
    Told,
    WaitUntil,
    judge,
)
from dicom_node.in_flight import InFlight
from dicom_node.intake import Intake
from dicom_node.orders import CANCELLED, RECEIVED, ScheduledStep
from dicom_node.pauses import FEWEST, MOST, Pauses, longest
from dicom_node.tasks import Settling
from kernel.facts import StudyAmended, StudyCompleted
from storage import archive, audit, outbox
from storage.engine import Database
from tests.dicom_node.samples import a_slice, a_source, as_file, as_sent

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
POLICY = CompletenessPolicy()
seconds = st.integers(0, 7200).map(lambda s: timedelta(seconds=s))


def a_step(state: str = RECEIVED) -> ScheduledStep:
    return ScheduledStep(
        request_id="r-1", organisation_id="o-1", patient_ref="p-1", accession="ACC1",
        study_uid=None, modality="CT", station_ae_title="VAN1", procedure="CT CHEST",
        scheduled_at=None, profile=None, form="planned", state=state,
    )  # fmt: skip


@given(lasted=seconds, rested=seconds, in_flight=st.integers(0, 3))
def test_a_wait_names_a_moment_at_which_it_ends(
    lasted: timedelta, rested: timedelta, in_flight: int
) -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON + lasted)
    at = NOON + lasted + rested
    verdict = judge(arrivals, [], in_flight=in_flight, policy=POLICY, at=at)

    if isinstance(verdict, WaitUntil):
        assert verdict.at > at
        after = judge(arrivals, [], in_flight=in_flight, policy=POLICY, at=verdict.at)
        assert not isinstance(after, WaitUntil)


@given(lasted=seconds, rested=seconds, more=seconds, in_flight=st.integers(0, 3))
def test_once_due_always_due_while_nothing_comes(
    lasted: timedelta, rested: timedelta, more: timedelta, in_flight: int
) -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON + lasted)
    at = NOON + lasted + rested
    if isinstance(judge(arrivals, [], in_flight=in_flight, policy=POLICY, at=at), WaitUntil):
        return

    later = judge(arrivals, [], in_flight=in_flight, policy=POLICY, at=at + more)

    assert not isinstance(later, WaitUntil)


@given(lasted=seconds, rested=seconds)
def test_an_open_association_never_makes_a_study_complete_earlier(
    lasted: timedelta, rested: timedelta
) -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON + lasted)
    at = NOON + lasted + rested
    if isinstance(judge(arrivals, [], in_flight=1, policy=POLICY, at=at), Complete):
        assert isinstance(judge(arrivals, [], in_flight=0, policy=POLICY, at=at), Complete)


tellings = st.builds(
    Told,
    missing=st.integers(0, 3),
    whole=st.booleans(),
    performing=st.booleans(),
    learnt=st.none() | st.integers(5, 120).map(lambda s: timedelta(seconds=s)),
)


@given(lasted=seconds, rested=seconds, in_flight=st.integers(0, 3), told=tellings)
def test_no_evidence_makes_a_study_wait_beyond_the_bound(
    lasted: timedelta, rested: timedelta, in_flight: int, told: Told
) -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON + lasted)
    at = NOON + lasted + rested
    verdict = judge(arrivals, [], in_flight=in_flight, policy=POLICY, at=at, told=told)

    if isinstance(verdict, WaitUntil):
        assert at < verdict.at <= NOON + POLICY.longest_wait
        after = judge(arrivals, [], in_flight=in_flight, policy=POLICY, at=verdict.at, told=told)
        assert not isinstance(after, WaitUntil)


@given(lasted=seconds, rested=seconds, in_flight=st.integers(1, 3), told=tellings)
def test_a_study_on_its_way_is_complete_only_if_all_that_was_announced_is_here(
    lasted: timedelta, rested: timedelta, in_flight: int, told: Told
) -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON + lasted)
    at = NOON + lasted + rested
    verdict = judge(arrivals, [], in_flight=in_flight, policy=POLICY, at=at, told=told)

    if isinstance(verdict, Complete) and rested < POLICY.idle_association:
        assert told.whole
        assert (told.missing, told.performing) == (0, False)
    if told.missing:
        assert not isinstance(verdict, Complete)


@given(lasted=seconds, rested=seconds, told=tellings, more=tellings)
def test_what_is_known_to_come_never_makes_a_study_complete_earlier(
    lasted: timedelta, rested: timedelta, told: Told, more: Told
) -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON + lasted)
    at = NOON + lasted + rested
    waiting = replace(told, missing=told.missing + more.missing, performing=True)

    def complete(known: Told) -> bool:
        found = judge(arrivals, [], in_flight=0, policy=POLICY, at=at, told=known)
        return isinstance(found, Complete)

    if complete(waiting):
        assert complete(told) or told.missing


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (Told(whole=True), Complete("all_announced_are_here")),
        (
            Told(whole=True, missing=3),
            WaitUntil(NOON + POLICY.missing, "instances_missing", 3),
        ),
        (
            Told(whole=True, performing=True),
            WaitUntil(NOON + POLICY.performing, "step_in_progress"),
        ),
        (Told(), WaitUntil(NOON + POLICY.quiet, "quiet_time")),
        (
            Told(learnt=timedelta(minutes=1)),
            WaitUntil(NOON + timedelta(minutes=1), "learnt_quiet_time"),
        ),
    ],
)
def test_the_verdict_says_what_it_waits_for(told: Told, verdict: object) -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON)

    found = judge(
        arrivals, [], in_flight=0, policy=POLICY, at=NOON + timedelta(seconds=1), told=told
    )

    assert found == verdict


def test_what_never_came_is_said_when_the_study_is_settled_without_it() -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON)
    told = Told(whole=True, missing=3)

    found = judge(arrivals, [], in_flight=0, policy=POLICY, at=NOON + POLICY.missing, told=told)

    assert found == Overdue("instances_missing")


@given(
    st.lists(st.integers(0, 100_000).map(lambda s: timedelta(seconds=s)), max_size=600),
    st.integers(1, 60),
    st.integers(0, 600),
)
def test_what_a_device_teaches_lies_between_its_bounds(
    pauses: list[timedelta], floor_s: int, more_s: int
) -> None:
    known = Pauses()
    for pause in pauses:
        known = known.with_longest(pause)
    floor, ceiling = timedelta(seconds=floor_s), timedelta(seconds=floor_s + more_s)

    quiet = known.quiet(floor=floor, ceiling=ceiling)

    assert (quiet is None) == (len(pauses) < FEWEST)
    assert quiet is None or floor <= quiet <= ceiling
    assert sum(known.counts) <= MOST


def test_a_device_that_pauses_between_its_series_is_given_the_time_for_it() -> None:
    quick = slow = Pauses()
    for _ in range(FEWEST):
        quick = quick.with_longest(timedelta(seconds=1.5))
        slow = slow.with_longest(timedelta(seconds=40))
    bounds = {"floor": timedelta(seconds=2), "ceiling": timedelta(minutes=2)}

    assert quick.quiet(**bounds) == timedelta(seconds=3)
    assert slow.quiet(**bounds) == timedelta(seconds=67.5)
    assert longest([NOON + timedelta(seconds=s) for s in (9, 0, 2)]) == timedelta(seconds=7)


def test_instances_that_never_stop_make_the_study_overdue() -> None:
    arrivals = Arrivals(first_at=NOON, last_at=NOON + POLICY.longest_wait)

    verdict = judge(arrivals, [], in_flight=1, policy=POLICY, at=arrivals.last_at)

    assert verdict == Overdue("instances_kept_coming")


@pytest.mark.parametrize(
    ("steps", "verdict"),
    [
        ([a_step()], Complete("quiet_and_ordered")),
        ([], WaitUntil(NOON + timedelta(minutes=5), "quiet_time")),
        ([a_step(CANCELLED)], WaitUntil(NOON + timedelta(minutes=5), "quiet_time")),
    ],
)
def test_a_study_that_nobody_announced_may_have_to_wait_longer(
    steps: list[ScheduledStep], verdict: Complete | WaitUntil
) -> None:
    policy = CompletenessPolicy(unordered_quiet=timedelta(minutes=5))
    arrivals = Arrivals(first_at=NOON, last_at=NOON)

    found = judge(arrivals, steps, in_flight=0, policy=policy, at=NOON + policy.quiet)

    assert found == verdict


def test_a_study_in_flight_is_counted_by_association_and_not_by_instance() -> None:
    in_flight = InFlight()
    for association in ("a", "a", "b"):
        in_flight.brought(association, "1.2")
    assert in_flight.count("1.2") == 2

    in_flight.ended("a")
    in_flight.ended("a")
    assert in_flight.count("1.2") == 1
    in_flight.ended("b")
    assert in_flight.count("1.2") == 0


class Ticking:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def test_a_study_is_settled_once_and_a_late_instance_amends_it(
    database: Database, intake: Intake
) -> None:
    clock = database.clock = intake._clock = Ticking()
    settling = Settling(database, POLICY)
    uid = str(a_slice().StudyInstanceUID)
    for number in (1, 2):
        assert intake.store(*_args(number)).reason == ""

    assert _due(database, settling) == []
    settling.settle_study(uid)  # not due: nothing happens
    clock.now += POLICY.quiet
    assert _due(database, settling) == [uid]
    settling.settle_study(uid)
    settling.settle_study(uid)
    assert _due(database, settling) == []

    clock.now += timedelta(hours=5)
    intake.store(*_args(3))
    assert _due(database, settling) == []
    clock.now += POLICY.quiet
    assert _due(database, settling) == [uid]
    settling.settle_study(uid)

    with database.reading() as tx:
        completed, amended = outbox.facts_of(tx, uid)
        assert isinstance(completed, StudyCompleted)
        assert isinstance(amended, StudyAmended)
        assert (completed.manifest_version, completed.verdict) == (1, "quiet_without_order")
        assert (amended.manifest_version, amended.added) == (2, 1)
        assert len(archive.manifest(tx, uid).entries) == 3
        actions = [entry.action for entry in audit.latest(tx)]
    assert actions == ["study.amended", "study.completed"]


def _args(number: int):  # type: ignore[no-untyped-def]
    announced, data = as_sent(as_file(a_slice(number)))
    return announced, a_source(), data


def _due(database: Database, settling: Settling) -> list[str]:
    with database.reading() as tx:
        return settling.due_studies(tx)


def test_a_device_teaches_by_its_studies_how_long_to_wait(
    database: Database, intake: Intake
) -> None:
    clock = database.clock = intake._clock = Ticking()
    policy = CompletenessPolicy(quiet=timedelta(seconds=60))
    settling = Settling(database, policy)

    def a_study(number: int) -> None:
        for instance in (1, 2):
            announced, data = as_sent(as_file(a_slice(instance, study=number)))
            assert intake.store(announced, a_source(), data).reason == ""
            clock.now += timedelta(seconds=4)

    for number in range(FEWEST):
        a_study(number + 100)
        clock.now += policy.quiet
        for study_uid in _due(database, settling):
            settling.settle_study(study_uid)
    a_study(200)
    assert _due(database, settling) == []
    clock.now += timedelta(seconds=5)  # 7.5 s is half as much again as the class of 4 s

    (due,) = _due(database, settling)
    settling.settle_study(due)
    with database.reading() as tx:
        (completed,) = outbox.facts_of(tx, due)
        assert isinstance(completed, StudyCompleted)
        assert completed.verdict == "learnt_quiet_without_order"
