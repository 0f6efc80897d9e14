"""Priors by themselves: a peer that is marked is asked, its studies come, once, and say so."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pynetdicom import AE, evt
from sqlalchemy import text

from dicom_node import commands, prior_work, store
from dicom_node.part10 import split
from dicom_node.prior_choice import PriorBounds
from dicom_node.prior_work import PriorWork
from dicom_node.send import SendSettings
from dicom_node.uids import STUDY_ROOT_FIND, STUDY_ROOT_MOVE
from kernel.people import ENGINE, Actor, Role
from storage import audit, corrections, patients
from storage import priors as rows
from storage.patients import unstated_issuer
from storage.priors import Prior, PriorState, Search
from tests.dicom_node.samples import CT
from tests.services.missing import required
from tests.wire.conftest import Node
from tests.wire.holdings import Held, stock
from tests.wire.inquirer import without_delay
from tests.wire.test_priors import (
    ELSE,
    ISSUER,
    NEWER,
    OLD,
    a_peer,
    an_answer,
    an_orthanc,
    dcmtk,
    files,
)

BY = Actor("user:admin", Role.ADMINISTRATOR)
SETTINGS = SendSettings(ae_title="TELERAD", answer=timedelta(seconds=20))
BOUNDS = PriorBounds(move=timedelta(seconds=30), years=30)
CASE = Held(number=30, patient_id="P-7", name="Ахметова^Айгүл", accession="NEW-1", date="20261101")


class Site:
    """A node with the study of a case, and whoever fetches priors for it."""

    def __init__(self, node: Node, case: Held = CASE, bounds: PriorBounds = BOUNDS) -> None:
        self.node = node
        self.case = case
        self.bounds = bounds
        self.work = PriorWork(node.database, SETTINGS, bounds)
        stock(node, [case])

    def mark(self, title: str, *, priors: bool = True) -> None:
        with self.node.database.transaction() as tx:
            peer = store.find_peer(tx, title)
            assert peer is not None
            commands.add_peer(tx, replace(peer, priors=priors), actor=ENGINE)

    def opened(self) -> None:
        with self.node.database.transaction() as tx:
            prior_work.ask(tx, patient_ref=self.ref, study_uid=self.case.uid, bounds=self.bounds)

    @property
    def ref(self) -> str:
        with self.node.database.reading() as tx:
            found = tx.execute(
                text("SELECT patient_ref FROM studies WHERE study_uid = :uid"),
                {"uid": self.case.uid},
            )
            return str(found.scalar_one())

    def drive(self) -> int:
        """Do everything that is due until nothing is; return how much that was."""
        done = 0
        while True:
            with self.node.database.reading() as tx:
                due = [(work, id) for work in self.work.due_work() for id in work.due(tx)]
            if not due:
                return done
            for work, id in due:
                work.run(id)
                done += 1

    def told(self) -> tuple[list[Search], list[Prior]]:
        with self.node.database.reading() as tx:
            return rows.of_patient(tx, self.ref)

    def states(self) -> dict[str, tuple[str, str]]:
        return {each.study_uid: (each.state.value, each.code) for each in self.told()[1]}

    def audited(self) -> list[str]:
        with self.node.database.reading() as tx:
            return [each.action for each in audit.latest(tx) if "fetched" in each.action]


@pytest.fixture
def site(own_node: Node) -> Site:
    return Site(own_node)


storage_alone = pytest.mark.parametrize("own_node", ["storage"], indirect=True)


@pytest.mark.service
@pytest.mark.parametrize("archive", [dcmtk, an_orthanc])
@storage_alone
def test_the_priors_of_a_case_come_by_themselves_and_once(site: Site, archive) -> None:  # type: ignore[no-untyped-def]
    with required(), archive(site.node) as peer:
        site.opened()
        assert site.drive() == 0  # it is not marked
        site.mark(peer.ae_title)
        site.opened()
        site.opened()
        assert site.drive() == 3  # one question, two studies
        site.opened()
        assert site.drive() == 0

    (search,), studies = site.told()
    assert (search.state, search.sentence) == (
        PriorState.DONE,
        "It has 2 other studies: 2 fetched.",
    )
    assert [(each.study_uid, each.state) for each in studies] == [
        (NEWER.uid, PriorState.CAME),
        (OLD.uid, PriorState.CAME),
    ]
    for held in (NEWER, OLD):
        came = [site.node.archive.read(uid) for uid in site.node.archive.instances_of(held.uid)]
        assert {split(file).sop_instance_uid for file in came} == {
            split(file).sop_instance_uid for file in files(held)
        }
    assert site.node.archive.instances_of(ELSE.uid) == []
    assert site.audited() == ["study.fetched"] * 2
    with site.node.database.reading() as tx:
        assert rows.is_prior(tx, NEWER.uid)
        assert not rows.is_prior(tx, site.case.uid)


@pytest.mark.service
@storage_alone
def test_a_patient_that_was_merged_is_asked_for_under_each_certain_id(own_node: Node) -> None:
    site = Site(own_node, replace(CASE, patient_id="NEW-7"))
    with required(), dcmtk(own_node) as peer:
        with own_node.database.transaction() as tx:
            other = patients.register(
                tx, issuer=ISSUER, patient_id="P-7", name="", sex="", birth_date=None
            )
            corrections.merge(tx, other, site.ref, reason="one card", actor=BY)
        site.mark(peer.ae_title)
        site.opened()
        site.drive()
    assert set(site.states()) == {NEWER.uid, OLD.uid}
    with own_node.database.reading() as tx:
        assert rows.is_prior(tx, OLD.uid)


class Peer:
    """A peer that answers what a test wants, and counts what it is asked."""

    def __init__(self) -> None:
        self.finds: list[object] = []
        self.moves: list[str] = []
        self.status: int | None = None
        self.destination = 0
        self.breaks_off = False
        self.meanwhile: Callable[[], None] = lambda: None

    def find(self, _: evt.Event) -> Iterator[object]:
        self.meanwhile()
        if self.status is not None:
            yield self.status, None
            return
        for each in self.finds:
            yield 0xFF00, each

    def move(self, event: evt.Event) -> Iterator[object]:
        self.meanwhile()
        self.moves.append(str(event.identifier.StudyInstanceUID))
        if self.breaks_off:
            event.assoc.abort()
        yield "127.0.0.1", self.destination
        yield 0


@pytest.fixture
def peer(site: Site) -> Iterator[Peer]:
    said = Peer()
    said.destination = site.node.port
    entity = AE(ae_title="PACS")
    entity.add_requested_context(CT)
    entity.add_supported_context(STUDY_ROOT_FIND)
    entity.add_supported_context(STUDY_ROOT_MOVE)
    handlers = [
        (evt.EVT_C_FIND, said.find),
        (evt.EVT_C_MOVE, said.move),
        (evt.EVT_CONN_OPEN, without_delay),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    registered = replace(a_peer(server.socket.getsockname()[1], "PACS"), priors=True)
    with site.node.database.transaction() as tx:
        commands.add_peer(tx, registered, actor=ENGINE)
    yield said
    server.shutdown()


def searched(site: Site) -> Search:
    (search,), _ = site.told()
    return search


@storage_alone
@pytest.mark.parametrize(
    ("issuer", "patient_id", "code"),
    [
        (unstated_issuer("o-1"), "P-7", "priors.issuer_unstated"),
        (ISSUER, "", "priors.patient_unidentified"),
    ],
)
def test_nobody_is_asked_for_a_patient_who_is_not_certain(
    site: Site, peer: Peer, issuer: str, patient_id: str, code: str
) -> None:
    with site.node.database.transaction() as tx:
        unsure = patients.register(
            tx, issuer=issuer, patient_id=patient_id, name="", sex="", birth_date=None
        )
        prior_work.ask(tx, patient_ref=unsure, study_uid=CASE.uid, bounds=BOUNDS)
    assert site.drive() == 0
    with site.node.database.reading() as tx:
        ((search,), _) = rows.of_patient(tx, unsure)
    assert (search.state, search.code) == (PriorState.REFUSED, code)
    assert search.sentence.startswith("Not asked: ")


@storage_alone
def test_a_peer_that_is_busy_is_tried_again_and_one_that_refuses_is_not(
    site: Site, peer: Peer
) -> None:
    peer.status = 0xA700
    site.opened()
    site.drive()
    waits = searched(site)
    assert (waits.state, waits.code) == (PriorState.WAITING, "dicom_node.association_refused")
    assert waits.due_at is not None
    assert waits.sentence == "The peer cannot answer now."
    peer.status = 0xA900
    with site.node.database.transaction() as tx:
        tx.execute(text("UPDATE prior_searches SET due_at = asked_at"))
    site.drive()
    refused = searched(site)
    assert (refused.state, refused.due_at) == (PriorState.REFUSED, None)
    assert "A900" in refused.sentence


@storage_alone
def test_a_peer_that_is_away_for_too_long_is_given_up_with_its_reason(
    site: Site, peer: Peer
) -> None:
    peer.status = 0xA700
    site.opened()
    with site.node.database.transaction() as tx:
        tx.execute(text("UPDATE prior_searches SET asked_at = '2020-01-01 00:00:00'"))
    site.drive()
    ended = searched(site)
    assert (ended.state, ended.sentence) == (
        PriorState.GIVEN_UP,
        "Given up: the peer cannot answer now.",
    )


@storage_alone
def test_a_study_that_goes_elsewhere_or_is_too_large_is_told_of(
    own_node: Node, site: Site, peer: Peer
) -> None:
    large = an_answer("1.2.99")
    large.NumberOfStudyRelatedInstances, large.StudyDate = "4000", "20260101"
    small = an_answer("1.2.98")
    small.StudyDate = "20260101"
    peer.finds = [large, small]
    site.opened()
    site.drive()
    assert peer.moves == ["1.2.98"]
    assert site.states()["1.2.99"] == ("refused", "priors.too_large")
    told = {each.study_uid: each for each in site.told()[1]}["1.2.98"]
    assert (told.state, told.due_at) == (PriorState.REFUSED, None)
    assert told.sentence == (
        "The peer says that it sent 0 images, and none came here: "
        "see what it has as address of TELERAD."
    )
    with own_node.database.reading() as tx:
        (entry,) = (each for each in audit.latest(tx) if each.action == "study.fetched")
    assert (entry.subject, entry.outcome) == ("study:1.2.98", "refused")
    assert entry.detail["code"] == "dicom_node.priors_refused"


@storage_alone
def test_a_peer_that_is_not_marked_any_more_is_not_asked(site: Site, peer: Peer) -> None:
    site.opened()
    site.mark("PACS", priors=False)
    site.drive()
    assert (searched(site).state, searched(site).code) == (
        PriorState.REFUSED,
        "priors.peer_unwanted",
    )


def called_off(site: Site) -> None:
    with site.node.database.transaction() as tx:
        prior_work.call_off(tx, site.ref, "the case is completed")


@storage_alone
def test_a_search_that_is_called_off_while_its_peer_answers_fetches_nothing(
    site: Site, peer: Peer
) -> None:
    found = an_answer("1.2.98")
    found.StudyDate = "20260101"
    peer.finds, peer.meanwhile = [found], lambda: called_off(site)
    site.opened()
    site.drive()
    assert peer.moves == []
    assert searched(site).sentence == "Called off: the case is completed."


@storage_alone
def test_a_study_that_fails_after_its_case_is_over_is_not_asked_for_again(
    site: Site, peer: Peer
) -> None:
    found = an_answer("1.2.98")
    found.StudyDate = "20260101"
    peer.finds = [found]
    site.opened()
    with site.node.database.reading() as tx:
        (search,) = site.work.searches(tx)
    site.work.find(search)
    peer.meanwhile, peer.breaks_off = lambda: called_off(site), True
    site.drive()
    assert peer.moves == ["1.2.98"]
    assert site.states()["1.2.98"] == ("given_up", "priors.called_off")
    assert searched(site).state is PriorState.DONE


@storage_alone
def test_a_peer_sends_one_study_at_a_time_and_no_more_peers_than_allowed(site: Site) -> None:
    with site.node.database.transaction() as tx:
        for number, title in enumerate(["A", "A", "B", "C"]):
            rows.add(tx, [a_row(site, f"1.2.{number}", title, tx.at)])
        assert rows.fetches_due(tx, at_once=2) == ["1.2.0", "1.2.2"]
        lease = tx.at + timedelta(minutes=5)
        assert rows.claim_fetch(tx, "1.2.0", until=lease, at_once=2) is not None
        assert rows.claim_fetch(tx, "1.2.0", until=lease, at_once=2) is None
        assert rows.claim_fetch(tx, "1.2.1", until=lease, at_once=2) is None
        assert rows.fetches_due(tx, at_once=2) == ["1.2.2"]
        assert rows.claim_fetch(tx, "1.2.2", until=lease, at_once=2) is not None
        assert rows.fetches_due(tx, at_once=2) == []


def a_row(site: Site, uid: str, title: str, at) -> Prior:  # type: ignore[no-untyped-def]
    return Prior(
        study_uid=uid,
        patient_ref=site.ref,
        ae_title=title,
        study_date="20260101",
        modalities="CT",
        instances=1,
        asked_at=at,
        due_at=at,
    )
