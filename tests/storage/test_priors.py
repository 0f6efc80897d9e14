"""Priors at peers as rows, on both databases: asked once, claimed once, tried again."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from storage import patients, priors
from storage.engine import Database, Transaction
from storage.priors import Prior, PriorState, Standing
from tests.services.migrated import migrate
from tests.storage.test_archive import Room

AGAIN = timedelta(hours=12)
WAITING = Standing(PriorState.WAITING, "priors.waiting", "It is asked soon.")
REFUSED = Standing(PriorState.REFUSED, "some.rule", "A rule.")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    url = f"sqlite:///{tmp_path / 'telerad.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    database = Database(url)
    migrate(database)
    yield Room(database, tmp_path)
    database.dispose()


def asked(tx: Transaction, ref: str, standing: Standing = WAITING, peer: str = "PACS") -> bool:
    return priors.ask(
        tx, patient_ref=ref, ae_title=peer, study_uid="1.2.3", standing=standing, again=AGAIN
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
