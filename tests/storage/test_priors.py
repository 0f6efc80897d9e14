"""Priors at peers as rows, on both databases: asked once, claimed once, tried again."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from storage import patients, priors
from storage.engine import Database, Transaction
from storage.priors import Prior, PriorState, Standing
from tests.storage.test_archive import Room

AGAIN = timedelta(hours=12)
WAITING = Standing(PriorState.WAITING, "priors.waiting", "It is asked soon.")
REFUSED = Standing(PriorState.REFUSED, "some.rule", "A rule.")


@pytest.fixture
def room(each_database: Database, tmp_path: Path) -> Room:
    return Room(each_database, tmp_path)


def asked(tx: Transaction, ref: str, standing: Standing = WAITING, peer: str = "PACS") -> bool:
    return priors.ask(
        tx,
        patient_ref=ref,
        ae_title=peer,
        study_uid="1.2.3",
        standing=standing,
        asked_before=tx.at - AGAIN,
    )


def a_patient(tx: Transaction) -> str:
    return patients.register(
        tx, issuer="SITE", patient_id="P1", name="DOE^J", sex="F", birth_date=None
    )


def test_a_peer_is_asked_once_for_a_patient_within_a_time(room: Room) -> None:
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        assert [asked(tx, ref), asked(tx, ref), asked(tx, ref, peer="OTHER")] == [True, False, True]
        first, second = priors.searches_due(tx, at_once=2)
        until = tx.at + timedelta(minutes=1)
        search = priors.claim_search(tx, first, until=until, at_once=1)
        assert search is not None
        for busy in (first, second):
            assert priors.claim_search(tx, busy, until=until, at_once=1) is None
        assert priors.searches_due(tx, at_once=2) == [second]
        priors.add(tx, [a_prior(tx, ref, ae_title=search.ae_title)])
        assert priors.fetches_due(tx, at_once=2) == []  # its peer is being asked
        done = Standing(PriorState.DONE, "priors.found", "x" * 400)
        priors.note_search(tx, search, done, due_at=None)
        assert not asked(tx, ref, peer=search.ae_title)
        (told, _), studies = priors.of_patient(tx, ref)
        assert (len(studies), len(told.sentence) <= 300) == (1, True)
    room.database.clock = lambda: tx.at + AGAIN
    with room.database.transaction() as later:
        assert asked(later, ref, peer=search.ae_title)


def test_what_was_refused_before_anybody_was_asked_is_asked_when_the_reason_is_gone(
    room: Room,
) -> None:
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        asked(tx, ref, REFUSED)
        assert priors.searches_due(tx, at_once=2) == []
        assert asked(tx, ref)
        assert len(priors.searches_due(tx, at_once=2)) == 1


def a_prior(tx: Transaction, ref: str, uid: str = "9.9", **more: object) -> Prior:
    values: dict[str, object] = {
        "study_uid": uid,
        "patient_ref": ref,
        "ae_title": "PACS",
        "study_date": "20260101",
        "modalities": "CT",
        "instances": 3,
        "asked_at": tx.at,
        "due_at": tx.at,
    }
    return Prior(**values | more)  # type: ignore[arg-type]


def test_a_study_is_fetched_once_and_again_only_after_it_failed(room: Room) -> None:
    room.receive("1.2.3.1.1", b"first")
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        priors.add(tx, [a_prior(tx, ref)])
        priors.add(tx, [a_prior(tx, ref, instances=7)])
        assert priors.known(tx, ["9.9", "1.2.3", "7.7"]) == {"9.9", "1.2.3"}
        until = tx.at + timedelta(minutes=1)
        prior = priors.claim_fetch(tx, "9.9", until=until, at_once=1)
        assert prior is not None
        assert prior.instances == 3
        assert priors.fetches_due(tx, at_once=1) == []
        priors.note_fetch(tx, prior, REFUSED, due_at=None)
        assert priors.known(tx, ["9.9"]) == frozenset()
        priors.add(tx, [a_prior(tx, ref)])
        assert priors.fetches_due(tx, at_once=1) == ["9.9"]


def test_who_lost_the_lease_notes_nothing(room: Room) -> None:
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        priors.add(tx, [a_prior(tx, ref)])
        slow = priors.claim_fetch(tx, "9.9", until=tx.at, at_once=1)
        quick = priors.claim_fetch(tx, "9.9", until=tx.at + timedelta(minutes=1), at_once=1)
        assert slow is not None
        assert quick is not None
        priors.note_fetch(tx, slow, REFUSED, due_at=None)
        _, (told,) = priors.of_patient(tx, ref)
        assert told.state is PriorState.COMING


def test_a_prior_is_one_of_the_patient_whose_it_is(room: Room) -> None:
    room.receive("1.2.3.1.1", b"first")
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        other = patients.register(
            tx, issuer="SITE", patient_id="P2", name="", sex="", birth_date=None
        )
        assert not priors.is_prior(tx, "1.2.3")
        priors.add(tx, [a_prior(tx, other, "1.2.3", state=PriorState.REFUSED)])
        assert not priors.is_prior(tx, "1.2.3")
        priors.add(tx, [a_prior(tx, ref, "1.2.3")])
        assert priors.is_prior(tx, "1.2.3")
        assert priors.with_accession(tx, "A1") == ["1.2.3"]
        assert priors.with_accession(tx, "") == []
        assert priors.study_day(tx, "1.2.3") == date(2026, 11, 22)
        assert priors.study_day(tx, "unknown") == tx.at.date()


def off(tx: Transaction, ref: str) -> int:
    return priors.call_off(tx, [ref], "the case is completed")


def told(tx: Transaction, ref: str) -> tuple[PriorState, str, bool]:
    _, (study,) = priors.of_patient(tx, ref)
    return study.state, study.sentence, study.due_at is not None


def test_what_waits_is_called_off_and_what_is_sent_comes_whole(room: Room) -> None:
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        assert off(tx, ref) == 0
        priors.add(tx, [a_prior(tx, ref)])
        until = tx.at + timedelta(minutes=1)
        coming = priors.claim_fetch(tx, "9.9", until=until, at_once=1)
        assert coming is not None
        priors.add(tx, [a_prior(tx, ref, "9.8")])
        assert off(tx, ref) == 2
        assert priors.fetches_due(tx, at_once=2) == []
        came = Standing(PriorState.CAME, "priors.here", "It is here.")
        priors.note_fetch(tx, coming, came, due_at=None)
        _, studies = priors.of_patient(tx, ref)
        assert {each.study_uid: each.state for each in studies} == {
            "9.9": PriorState.CAME,
            "9.8": PriorState.GIVEN_UP,
        }


@pytest.mark.parametrize("killed", [False, True])
def test_what_was_called_off_while_it_was_sent_is_not_tried_again(room: Room, killed: bool) -> None:
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        priors.add(tx, [a_prior(tx, ref)])
        coming = priors.claim_fetch(tx, "9.9", until=tx.at, at_once=1)
        assert coming is not None
        off(tx, ref)
        assert told(tx, ref) == (
            PriorState.COMING,
            "It is sent, and not asked for again: the case is completed.",
            True,
        )
        if killed:
            assert priors.claim_fetch(tx, "9.9", until=tx.at, at_once=1) is None
        else:
            again = Standing(PriorState.WAITING, "some.trouble", "It is away.")
            priors.note_fetch(tx, coming, again, due_at=tx.at)
        state, sentence, is_due = told(tx, ref)
        assert (state, is_due) == (PriorState.GIVEN_UP, False)
        assert sentence.startswith("Called off: ")
        assert priors.known(tx, ["9.9"]) == frozenset()


def test_of_what_was_called_off_half_may_be_here_and_the_next_who_asks_has_it_sent_again(
    room: Room,
) -> None:
    room.receive("1.2.3.1.1", b"first")
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        asked(tx, ref)
        search = priors.claim_search(
            tx, priors.searches_due(tx, at_once=1)[0], until=tx.at, at_once=1
        )
        assert search is not None
        priors.note_search(tx, search, Standing(PriorState.DONE, "x", "y"), due_at=None)
        priors.add(tx, [a_prior(tx, ref, "1.2.3")])
        assert not asked(tx, ref)
        off(tx, ref)
        assert priors.known(tx, ["1.2.3"]) == frozenset()
        assert asked(tx, ref)


def test_a_search_that_was_called_off_while_its_peer_was_asked_counts_for_nothing(
    room: Room,
) -> None:
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        asked(tx, ref)
        id = priors.searches_due(tx, at_once=1)[0]
        search = priors.claim_search(tx, id, until=tx.at + timedelta(minutes=1), at_once=1)
        assert search is not None
        off(tx, ref)
        done = Standing(PriorState.DONE, "priors.found", "It has 1.")
        assert not priors.note_search(tx, search, done, due_at=None)
        assert asked(tx, ref)  # by the next case
        assert not priors.note_search(tx, search, done, due_at=None)


def test_who_is_being_asked_is_asked_anew_once_more_is_known_and_not_twice(room: Room) -> None:
    with room.database.transaction() as tx:
        ref = a_patient(tx)
        asked(tx, ref)
        id = priors.searches_due(tx, at_once=1)[0]
        search = priors.claim_search(tx, id, until=tx.at + timedelta(minutes=1), at_once=1)
        assert search is not None
    room.database.clock = lambda: tx.at + timedelta(seconds=1)
    with room.database.transaction() as later:
        known = {"patient_ref": ref, "ae_title": "PACS", "study_uid": "1.2.3"}
        anew = [
            priors.ask(later, **known, standing=WAITING, asked_before=tx.at, anew=True)
            for _ in range(2)
        ]
        assert anew == [True, False]
        done = Standing(PriorState.DONE, "priors.found", "It has 1.")
        assert not priors.note_search(later, search, done, due_at=None)
        assert priors.claim_search(later, id, until=later.at, at_once=1) is not None
