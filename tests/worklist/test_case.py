"""The moves of a case: what they need, what they change, what they tell."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.facts import CaseClaimed, CaseReleased, Fact, from_parts, to_body
from kernel.ids import ReaderId, ReportId
from tests.worklist.examples import DAY, HOUR, MINUTE, NOON, a_case, an_act
from worklist import case as moves
from worklist.case import (
    ALARMS,
    MOVES,
    SENTENCES,
    CancelReason,
    Case,
    CaseState,
    DeclineReason,
    StateReason,
)
from worklist.errors import CaseMoveRefused, NotHolder, NotOfferedToReader

R1, R2 = ReaderId("r-1"), ReaderId("r-2")
READS = {"report_id": ReportId("report-1"), "document_digest": "d" * 64, "author": R1}


def test_accepting_gives_the_case_to_the_reader_until_the_lease_runs_out():
    held, claimed = moves.accept(a_case(state=CaseState.OFFERED), R1, lease=HOUR, act=an_act())

    assert (held.state, held.holder, held.held_until) == (CaseState.READING, R1, NOON + HOUR)
    assert (held.offered_to, held.offered_until) == (None, None)
    assert isinstance(claimed, CaseClaimed)
    assert (claimed.case_id, claimed.reader_id, claimed.held_until) == (held.id, R1, NOON + HOUR)


def test_another_reader_cannot_answer_the_offer():
    offered = a_case(state=CaseState.OFFERED)
    with pytest.raises(NotOfferedToReader):
        moves.accept(offered, R2, lease=HOUR, act=an_act())
    with pytest.raises(NotOfferedToReader):
        moves.decline(offered, R2, DeclineReason.NO_TIME, act=an_act())


@pytest.mark.parametrize("state", [s for s in CaseState if s is not CaseState.OFFERED])
def test_only_an_offered_case_can_be_accepted(state: CaseState):
    with pytest.raises(NotOfferedToReader):
        moves.accept(a_case(state=state), R1, lease=HOUR, act=an_act())


@pytest.mark.parametrize("state", [s for s in CaseState if CaseState.OFFERED not in MOVES[s]])
def test_only_a_waiting_case_can_be_offered(state: CaseState):
    with pytest.raises(CaseMoveRefused) as refusal:
        moves.offer(a_case(state=state), R1, until=NOON + HOUR, act=an_act())
    assert (refusal.value.source, refusal.value.target) == (state, "offered")


Back = Callable[[Case], tuple[Case, CaseReleased] | None]
WAYS_BACK: dict[str, tuple[CaseState, Back]] = {
    "declined": (
        CaseState.OFFERED,
        lambda c: moves.decline(c, R1, DeclineReason.CONFLICT, act=an_act()),
    ),
    "offer ran out": (
        CaseState.OFFERED,
        lambda c: moves.expire_offer(c, act=an_act(NOON + 15 * MINUTE)),
    ),
    "lease ran out": (CaseState.READING, lambda c: moves.expire_lease(c, act=an_act(NOON + HOUR))),
    "given back": (CaseState.READING, lambda c: moves.release(c, act=an_act())),
    "withdrawn": (CaseState.OFFERED, lambda c: moves.release(c, act=an_act())),
}


@pytest.mark.parametrize("way", WAYS_BACK)
def test_every_way_back_to_the_queue_keeps_the_place_and_frees_the_case(way: str):
    state, back = WAYS_BACK[way]
    before = a_case(state=state)

    returned = back(before)

    assert returned is not None
    after, released = returned
    assert after.state is CaseState.QUEUED
    assert (after.due, after.arrival_number) == (before.due, before.arrival_number)
    assert (after.holder, after.offered_to) == (None, None)
    assert released.reader_id == R1


def test_an_offer_or_lease_that_has_time_left_is_not_taken_back():
    moment_before = an_act(NOON + 15 * MINUTE - MINUTE)
    assert moves.expire_offer(a_case(state=CaseState.OFFERED), act=moment_before) is None
    assert moves.expire_lease(a_case(state=CaseState.READING), act=moment_before) is None


def test_a_lease_is_renewed_by_its_holder_only():
    held = a_case(state=CaseState.READING)
    renewed = moves.renew(held, R1, lease=HOUR, act=an_act(NOON + HOUR - MINUTE))
    assert renewed.held_until == NOON + 2 * HOUR - MINUTE
    with pytest.raises(NotHolder):
        moves.renew(held, R2, lease=HOUR, act=an_act())


def test_signing_alone_does_not_complete_a_case():
    signed = a_case(state=CaseState.SIGNED)
    with pytest.raises(CaseMoveRefused):
        moves.complete(signed, act=an_act())
    with pytest.raises(CaseMoveRefused):
        moves.complete(moves.file(signed, act=an_act()), act=an_act())
    told = moves.deliver(moves.file(signed, act=an_act()), act=an_act())
    done, _ = moves.complete(told, act=an_act())
    assert done.state is CaseState.COMPLETED


def test_the_same_version_signed_again_changes_nothing():
    held = a_case(state=CaseState.READING)
    signed = moves.sign(held, **READS, report_version=1, act=an_act())
    assert signed is not None
    assert moves.sign(signed[0], **READS, report_version=1, act=an_act()) is None


def test_a_further_version_must_be_filed_and_told_again():
    done = a_case(state=CaseState.COMPLETED)
    signed = moves.sign(done, **READS, report_version=2, act=an_act())
    assert signed is not None
    case, fact = signed
    assert case.state is CaseState.SIGNED
    assert (case.filed_at, case.notified_at, fact.report_version) == (None, None, 2)
    assert case.state_reason is StateReason.NEW_VERSION_SIGNED


@pytest.mark.parametrize("state", [CaseState.QUEUED, CaseState.OFFERED, CaseState.READING])
def test_a_signature_counts_although_the_lease_ran_out_in_that_moment(state: CaseState):
    somewhere = a_case(state=state)
    if state is CaseState.READING:
        somewhere = replace(somewhere, holder=R2)
    signed = moves.sign(somewhere, **READS, report_version=1, act=an_act())
    assert signed is not None
    assert signed[0].state_reason is StateReason.SIGNED_AFTER_RELEASE
    assert (signed[0].holder, signed[0].offered_to) == (None, None)


@pytest.mark.parametrize(
    "state", [CaseState.SIGNED, CaseState.DELIVERED, CaseState.COMPLETED, CaseState.CANCELLED]
)
def test_what_is_signed_or_cancelled_cannot_be_cancelled(state: CaseState):
    with pytest.raises(CaseMoveRefused):
        moves.cancel(a_case(state=state), CancelReason.BY_SITE, act=an_act())


def test_late_images_join_a_case_that_nobody_reads():
    grown = moves.amend(a_case(state=CaseState.QUEUED), 2)
    assert (grown.manifest_version, grown.late_version) == (2, None)


@pytest.mark.parametrize("state", [CaseState.READING, CaseState.SIGNED, CaseState.COMPLETED])
def test_late_images_never_change_silently_what_a_reader_saw(state: CaseState):
    grown = moves.amend(a_case(state=state), 2)
    assert (grown.state, grown.manifest_version, grown.late_version) == (state, 1, 2)
    noted = moves.take_note(grown, R1)
    assert (noted.state, noted.manifest_version, noted.late_version) == (state, 2, None)


def test_the_next_reader_reads_the_late_images_too():
    grown = moves.amend(a_case(state=CaseState.READING), 2)
    back, _ = moves.release(grown, act=an_act())
    assert (back.manifest_version, back.late_version) == (2, None)


def test_an_older_manifest_changes_nothing():
    case = a_case(manifest_version=3)
    assert moves.amend(case, 2) == case


@given(head_start=st.none() | st.timedeltas(min_value=-2 * DAY, max_value=9 * DAY))
@pytest.mark.parametrize("state", list(CaseState))
def test_triage_never_makes_a_case_later_and_settles_once(state: CaseState, head_start):
    case = a_case(state=state)
    settled = moves.settle(case, "escalate", head_start=head_start)
    assert settled.due <= case.due
    assert settled.form is case.form
    assert moves.settle(settled, "critical", head_start=MINUTE) == settled


def test_a_rejected_filing_stays_an_alarm_until_it_is_filed():
    rejected = moves.refuse_filing(a_case(state=CaseState.SIGNED))
    told = moves.deliver(rejected, act=an_act())
    assert told.alarm
    filed = moves.file(told, act=an_act())
    assert not filed.alarm


def test_every_reason_has_a_sentence_and_every_state_a_row():
    assert set(SENTENCES) == set(StateReason)
    assert set(MOVES) == set(CaseState)
    assert set(StateReason) >= ALARMS
    assert {reason.value for reason in CancelReason} <= {reason.value for reason in StateReason}


def test_every_state_but_the_first_can_be_reached_and_only_cancelled_is_final():
    reached = set[CaseState]().union(*MOVES.values())
    assert set(CaseState) - reached == {CaseState.RECEIVED}
    assert [s for s in CaseState if not MOVES[s]] == [CaseState.CANCELLED]


def test_a_move_decided_again_tells_the_same_fact():
    """Replay: nothing but the arguments goes into a decision."""
    offered = a_case(state=CaseState.OFFERED)
    first = moves.accept(offered, R1, lease=HOUR, act=an_act())
    assert moves.accept(offered, R1, lease=HOUR, act=an_act()) == first


def test_facts_survive_storage():
    _, fact = moves.offer(a_case(), R1, until=NOON + HOUR, act=an_act())
    assert _stored(fact) == fact


def _stored(fact: Fact) -> Fact:
    return from_parts(
        fact.kind,
        fact.version,
        to_body(fact),
        id=fact.id,
        subject=fact.subject,
        at=fact.at,
        actor=fact.actor,
        cause=fact.cause,
    )
