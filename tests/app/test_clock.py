"""The clock of the machine is set back: what waits goes on, and nothing is done twice."""

from datetime import timedelta

import pytest

from app.relay import Relay
from storage import audit, outbox, set_back
from tests.app.clinic import AtOnce, Clinic
from worklist.case import CaseState

AHEAD = timedelta(hours=5)


def started_anew(clinic: Clinic) -> None:
    parts = clinic.parts
    clinic.relay = Relay(parts.database, parts.reactions(), parts.due_work(), AtOnce(parts))


@pytest.mark.parametrize("meanwhile", ["it runs", "it is down"])
def test_a_study_that_came_while_the_clock_was_ahead_is_offered(
    clinic: Clinic, meanwhile: str
) -> None:
    clinic.ask()
    clinic.settle()
    clinic.clock.now += AHEAD
    clinic.send()
    clinic.relay.turn()
    clinic.clock.now -= AHEAD
    if meanwhile == "it is down":
        started_anew(clinic)

    clinic.settle()
    clinic.settle()

    assert clinic.case().state is CaseState.OFFERED
    with clinic.parts.database.reading() as tx:
        assert list(audit.verify(tx)) == []
        entry = audit.last_of(tx, "clock", [set_back.ACTION])
        facts = [fact.kind for fact in outbox.facts_of(tx, clinic.case().study_uid)]
    assert entry is not None
    assert abs(entry.detail["seconds"] - AHEAD.total_seconds()) < 60
    assert facts == ["StudyCompleted"]


def test_what_was_told_while_the_clock_was_ahead_is_heard(clinic: Clinic) -> None:
    clinic.clock.now += AHEAD
    clinic.ask()
    with clinic.parts.database.transaction() as tx:
        outbox.fan_out(tx, {"RequestReceived": ["worklist.cases"]})
    clinic.clock.now -= AHEAD
    clinic.settle()

    with clinic.parts.database.reading() as tx:
        assert outbox.waiting(tx) == 0


def test_a_clock_that_goes_on_is_not_taken_for_one_that_was_set_back(clinic: Clinic) -> None:
    clinic.offered()
    clinic.clock.now += AHEAD
    started_anew(clinic)
    clinic.settle()

    with clinic.parts.database.reading() as tx:
        assert audit.last_of(tx, "clock", [set_back.ACTION]) is None
