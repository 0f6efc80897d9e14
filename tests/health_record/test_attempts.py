"""Attempts on a real database: what is recorded, told and tried again.

Covered: filing, notice, rejection, unreachable destinations, killed workers, doubled calls,
replay, evidence that does not fit.  A real kill -9 of a whole process is in ``tests/flows``.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from health_record import commands, store
from health_record.adapters.memory import MemoryRecord
from health_record.delivery import Delivery, DeliveryState, RetryPolicy
from health_record.errors import DeliveryMoveRefused, DeliveryUnknown, NoticeUnknown
from health_record.evidence import Evidence
from health_record.port import Form, OutgoingDocument, Receipt, Rejected
from health_record.reactions import CONSUMER, reactions
from health_record.tasks import REQUESTER, Deliveries, DeliverySettings
from kernel.facts import CaseSigned, DocumentFiled, Fact, FilingRejected, RequesterNotified
from kernel.people import ENGINE, Actor, Role
from storage import audit, outbox
from storage.engine import Database
from storage.objects import MemoryObjects
from tests.health_record.samples import (
    PDF,
    Hands,
    a_signed_case,
    an_evidence,
    collecting,
    stored,
)

DOCTOR = Actor(ref="user:doctor-1", role=Role.ATTENDING, organisation="site-1")
DESTINATIONS = ("record", REQUESTER)


class Killed(BaseException):
    """The process died here."""


class RefusingRecord:
    """A destination that judges every document and finds it wanting."""

    form = Form.DOCUMENT

    def submit(self, document: OutgoingDocument) -> Receipt | Rejected:
        return Rejected("record.no", "the record says no to Айгүл Серікова")


class DyingRecord(MemoryRecord):
    """Takes the document, and the worker is killed before it can say so."""

    def __init__(self) -> None:
        super().__init__(production=False)
        self.deaths = 1

    def submit(self, document: OutgoingDocument) -> Receipt | Rejected:
        receipt = super().submit(document)
        if self.deaths:
            self.deaths -= 1
            raise Killed
        return receipt


class Office:
    """One engine with its database, its clock and some destinations."""

    def __init__(self, database: Database, numbers: int = 1, **adapters: Any) -> None:
        self.clock = Hands()
        database.clock = self.clock
        self.database = database
        self.objects = MemoryObjects()
        self.record = MemoryRecord(production=False)
        evidences = [an_evidence(number) for number in range(1, numbers + 1)]
        stored(self.objects, *evidences)
        self.adapters = adapters or {"record": self.record}
        self.deliveries = self.engine(collecting(*evidences))
        with database.transaction() as tx:
            for number in range(1, numbers + 1):
                commands.schedule(tx, a_signed_case(number), [*self.adapters, REQUESTER])

    def engine(self, collect: Callable[..., Evidence], **settings: Any) -> Deliveries:
        return Deliveries(
            self.database,
            self.objects,
            self.adapters,
            collect=collect,
            settings=DeliverySettings(**settings),
        )

    def work(self) -> int:
        """Do all that is due now, once."""
        done = 0
        for work in self.deliveries.due_work():
            with self.database.reading() as tx:
                ids = work.due(tx)
            for one in ids:
                work.run(one)
                done += 1
        return done

    def delivery(self, destination: str = "record", number: int = 1) -> Delivery:
        with self.database.reading() as tx:
            (found,) = [
                one
                for one in commands.list_deliveries(tx, case_id=a_signed_case(number).case_id)
                if one.destination == destination
            ]
        return found

    def told(self, kind: type[Fact], number: int = 1) -> list[Any]:
        with self.database.reading() as tx:
            facts = outbox.facts_of(tx, a_signed_case(number).case_id)
        return [fact for fact in facts if isinstance(fact, kind)]

    def audited(self, number: int = 1) -> list[str]:
        with self.database.reading() as tx:
            entries = audit.of_case(tx, a_signed_case(number).case_id)
        return [entry.action for entry in entries]


def test_a_signed_case_gets_one_delivery_for_each_destination_however_often_it_is_told(
    database: Database,
):
    react = reactions(DESTINATIONS)[CONSUMER][CaseSigned]
    for _ in range(3):
        with database.transaction() as tx:
            react(tx, a_signed_case())

    with database.reading() as tx:
        planned = commands.list_deliveries(tx)

    assert sorted(one.destination for one in planned) == sorted(DESTINATIONS)
    assert {one.state for one in planned} == {DeliveryState.PENDING}


def test_a_document_is_filed_and_the_requester_told_with_a_receipt_each(database: Database):
    office = Office(database)

    assert office.work() == 2
    assert office.work() == 0

    (filed,) = office.told(DocumentFiled)
    (notified,) = office.told(RequesterNotified)
    assert filed.receipt == office.delivery().receipt
    assert filed.destination == "record"
    assert notified.receipt == office.delivery(REQUESTER).receipt
    assert filed.cause == notified.cause == a_signed_case().id
    assert office.record.documents
    assert office.audited().count("delivery.filed") == 2


def test_the_notice_lies_in_the_inbox_of_the_requesting_organisation_alone(database: Database):
    office = Office(database)
    office.work()

    with database.transaction() as tx:
        (notice,) = commands.notices_for(tx, "site-1", unseen_only=True)
        assert commands.notices_for(tx, "site-2") == []
        with pytest.raises(NoticeUnknown):
            commands.mark_seen(tx, "site-2", notice.id, actor=DOCTOR)
    office.clock.forward(timedelta(minutes=5))
    with database.transaction() as tx:
        first = commands.mark_seen(tx, "site-1", notice.id, actor=DOCTOR)
    office.clock.forward(timedelta(minutes=5))
    with database.transaction() as tx:
        again = commands.mark_seen(tx, "site-1", notice.id, actor=ENGINE)
        assert commands.notices_for(tx, "site-1", unseen_only=True) == []

    assert first == again
    assert (first.seen_by, first.case_id) == (DOCTOR.ref, a_signed_case().case_id)
    assert office.audited().count("notice.seen") == 1


def test_a_rejection_is_told_once_and_a_person_may_send_it_again(database: Database):
    office = Office(database, record=RefusingRecord())
    office.work()

    refused = office.delivery()
    (told,) = office.told(FilingRejected)
    assert (refused.state, told.code) == (DeliveryState.REJECTED, "record.no")
    assert refused.refusal is not None
    assert refused.refusal.sentence.startswith("the record says no")
    assert office.told(DocumentFiled) == []

    office.adapters["record"] = office.record
    office.deliveries = office.engine(collecting(an_evidence()))
    with database.transaction() as tx:
        commands.replay(tx, refused.id, actor=DOCTOR)
    office.work()

    assert office.delivery().state is DeliveryState.FILED
    assert len(office.told(DocumentFiled)) == 1


def test_what_a_destination_says_of_a_patient_stays_out_of_audit_and_facts(database: Database):
    office = Office(database, record=RefusingRecord())
    office.work()

    with database.reading() as tx:
        entries = audit.of_case(tx, a_signed_case().case_id)
        facts = outbox.facts_of(tx, a_signed_case().case_id)

    assert "Айгүл" not in f"{entries} {facts}"


def test_an_unreachable_record_is_tried_for_days_shown_with_its_reason_and_then_parked(
    database: Database,
):
    office = Office(database)
    office.deliveries = office.engine(
        collecting(an_evidence()), retry=RetryPolicy(cap=timedelta(hours=6))
    )
    office.record.reachable = False
    start, attempts = office.clock.at, 0
    while (delivery := office.delivery()).next_at is not None:
        office.clock.at = max(office.clock.at, delivery.next_at)
        office.work()
        attempts += 1
        shown = office.delivery().refusal
        assert shown is not None
        assert shown.code == "health_record.unavailable"

    assert office.delivery().state is DeliveryState.PARKED
    assert office.clock.at - start > timedelta(days=6, hours=18)
    assert office.delivery().attempts == attempts > 30
    assert office.delivery(REQUESTER).state is DeliveryState.FILED
    assert office.told(DocumentFiled) == office.told(FilingRejected) == []

    office.record.reachable = True
    with database.transaction() as tx:
        commands.replay(tx, delivery.id, actor=ENGINE)
    office.work()
    assert office.delivery().state is DeliveryState.FILED


def test_an_unreachable_record_blocks_neither_other_destinations_nor_other_cases(
    database: Database,
):
    down, up = MemoryRecord(production=False), MemoryRecord(production=False)
    down.reachable = False
    office = Office(database, numbers=7, down=down, up=up)
    while office.work():
        pass

    for number in range(1, 8):
        assert office.delivery("up", number).state is DeliveryState.FILED
        assert office.delivery(REQUESTER, number).state is DeliveryState.FILED
        assert office.delivery("down", number).state is DeliveryState.PENDING


def test_one_destination_never_holds_more_workers_than_it_may(database: Database):
    office = Office(database, numbers=5)
    with database.reading() as tx:
        first = office.deliveries.due_deliveries(tx)
    assert len(first) == 2
    for one in first:
        office.deliveries._claim(one)

    with database.reading() as tx:
        assert office.deliveries.due_deliveries(tx) == []
        assert len(office.deliveries.due_notices(tx)) == 2
    office.clock.forward(timedelta(minutes=3))  # their workers were killed: the leases ran out
    with database.reading() as tx:
        assert len(office.deliveries.due_deliveries(tx)) == 2


def test_a_worker_killed_after_the_record_said_yes_leaves_one_filing(database: Database):
    dying = DyingRecord()
    office = Office(database, record=dying)
    (due,) = _due(office)
    with pytest.raises(Killed):
        office.deliveries.attempt(due)
    assert office.delivery().state is DeliveryState.ATTEMPTING
    assert office.work() == 1  # the notice; the filing is leased to the dead worker

    office.clock.forward(timedelta(minutes=2))
    office.work()

    assert office.delivery().state is DeliveryState.FILED
    assert len(dying.documents) == len(office.told(DocumentFiled)) == 1
    assert office.audited().count("delivery.attempted") == 3


def test_a_worker_that_lost_its_lease_settles_nothing(database: Database):
    office = Office(database)
    (due,) = _due(office)
    slow = office.deliveries._claim(due)
    assert slow is not None
    office.clock.forward(timedelta(minutes=2))
    faster = office.deliveries._claim(due)
    assert faster is not None

    with database.transaction() as tx:
        assert not office.deliveries._still_held(tx, slow)
        assert office.deliveries._still_held(tx, faster)


def test_many_calls_at_once_file_once(database: Database):
    office = Office(database)
    (due,) = _due(office)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(office.deliveries.attempt, [due] * 16))

    assert office.delivery().state is DeliveryState.FILED
    assert len(office.told(DocumentFiled)) == 1
    assert office.delivery().attempts == 1


def test_the_bytes_that_leave_are_built_once_and_kept(database: Database):
    office = Office(database)
    office.record.reachable = False
    office.work()
    prepared = office.delivery().prepared
    assert prepared is not None
    kept = office.objects.get(prepared.key)

    # A later version of the engine may build otherwise; what was prepared is what leaves.
    changed = an_evidence(title="Otherwise")
    office.deliveries = office.engine(collecting(changed))
    office.record.reachable = True
    office.clock.forward(timedelta(minutes=1))
    office.work()

    (document,) = office.record.documents.values()
    assert document.body == kept
    assert document.body_sha256 == prepared.sha256


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        (an_evidence(manifest_digest="0" * 64), "health_record.evidence_differs"),
        (an_evidence(pdf_sha256="0" * 64), "health_record.evidence_differs"),
        (an_evidence(pdf_key="documents/none/1/report.pdf"), "storage.object_missing"),
    ],
)
def test_evidence_that_does_not_fit_is_parked_for_a_person(
    database: Database, evidence: Evidence, code: str
):
    office = Office(database)
    office.deliveries = office.engine(collecting(evidence))
    office.work()

    parked = office.delivery()
    assert parked.state is DeliveryState.PARKED
    assert parked.refusal is not None
    assert parked.refusal.code == code
    assert office.told(DocumentFiled) == office.told(FilingRejected) == []


def test_a_document_that_cannot_be_valid_is_refused_with_the_place(database: Database):
    office = Office(database)
    office.deliveries = office.engine(collecting(an_evidence(title="")))
    office.work()

    refused = office.delivery()
    assert refused.state is DeliveryState.REJECTED
    assert refused.refusal is not None
    assert refused.refusal.code == "health_record.document_invalid"
    assert "title" in refused.refusal.sentence


def test_a_delivery_to_a_destination_that_is_not_set_up_waits_and_is_shown(database: Database):
    office = Office(database)
    with database.transaction() as tx:
        (stranded,) = commands.schedule(tx, a_signed_case(), ["elsewhere"])
    office.deliveries.attempt(stranded.id)

    assert office.delivery("elsewhere").state is DeliveryState.PENDING
    assert office.delivery("elsewhere").attempts == 0


def test_only_what_rests_can_be_replayed(database: Database):
    office = Office(database)
    with database.transaction() as tx:
        with pytest.raises(DeliveryMoveRefused, match="parked or rejected"):
            commands.replay(tx, office.delivery().id, actor=DOCTOR)
        with pytest.raises(DeliveryUnknown):
            commands.replay(tx, "no-such-delivery", actor=DOCTOR)


def test_deliveries_are_listed_by_state_and_bounded(database: Database):
    office = Office(database, numbers=3)
    with database.reading() as tx:
        pending = commands.list_deliveries(tx, states=[DeliveryState.PENDING])
        assert len(pending) == 6
        assert len(commands.list_deliveries(tx, limit=2)) == 2
        assert commands.list_deliveries(tx, states=[DeliveryState.PARKED]) == []
    assert office.delivery() in pending


def test_a_delivery_is_read_back_as_it_was_stored(database: Database):
    office = Office(database)
    office.record.reachable = False
    office.work()
    before = office.delivery()
    with database.transaction() as tx:
        store.save(tx, replace(before))

    assert office.delivery() == before


def test_a_short_horizon_gives_up_soon(database: Database):
    office = Office(database)
    office.record.reachable = False
    office.deliveries = office.engine(
        collecting(an_evidence()), retry=RetryPolicy(horizon=timedelta(seconds=1))
    )
    office.work()

    assert office.delivery().state is DeliveryState.PARKED


def test_the_pdf_in_the_record_is_the_signed_one(database: Database):
    office = Office(database)
    office.work()
    (document,) = office.record.documents.values()

    assert document.pdf == PDF


def _due(office: Office) -> list[str]:
    with office.database.reading() as tx:
        return office.deliveries.due_deliveries(tx)
