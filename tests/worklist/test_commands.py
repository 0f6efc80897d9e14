"""A case on its way from the queue to completion, on real databases."""

import pytest

from kernel.facts import FilingRejected
from storage import audit
from tests.worklist.examples import DAY, HOUR, MINUTE, NOON, THORAX, patient
from tests.worklist.room import NEURO, Room, offered_to
from worklist import commands, queries, require_holder, store
from worklist.case import CaseState, DeclineReason, StateReason
from worklist.errors import NotHolder, NotOfferedToReader
from worklist.history import fold
from worklist.readers import Competence
from worklist.request import Form
from worklist.rotation import PassedBy


def test_a_case_goes_its_whole_way_and_tells_each_step(room: Room):
    room.hire("r-1")
    case_id = room.queue(1).id
    room.do_due()
    room.do(commands.accept, case_id, "r-1")
    room.tell(room.signed(1), room.filed(1), room.notified(1))

    assert room.case(1).state is CaseState.COMPLETED
    assert room.facts(case_id) == [
        "CaseOpened",
        "CaseQueued",
        "CaseOffered",
        "CaseClaimed",
        "CaseSigned",
        "CaseCompleted",
    ]
    history = room.ask(queries.case_history, case_id)
    assert fold(history) is CaseState.COMPLETED
    assert [move.target for move in history] == [
        "received",
        "queued",
        "offered",
        "reading",
        "signed",
        "delivered",
        "completed",
    ]
    assert room.ask(lambda tx: list(audit.verify(tx))) == []


@pytest.mark.parametrize("order", [("filed", "notified"), ("notified", "filed")])
def test_a_case_is_complete_when_both_filed_and_told_in_any_order(room: Room, order):
    room.hire("r-1")
    room.queue(1)
    room.tell(room.signed(1))
    first, second = (getattr(room, name)(1) for name in order)
    room.tell(first, first)
    assert room.case(1).state is not CaseState.COMPLETED
    room.tell(second, second)
    assert room.case(1).state is CaseState.COMPLETED
    assert room.facts(room.case_id(1))[-1:] == ["CaseCompleted"]


def test_a_receipt_of_an_older_version_or_another_place_counts_for_nothing(room: Room):
    room.hire("r-1")
    room.queue(1)
    room.tell(room.signed(1), room.filed(1), room.notified(1), room.signed(1, version=2))
    room.tell(room.notified(1), room.filed(1), room.filed(1, 2, destination="archive"))
    assert room.case(1).state is CaseState.SIGNED
    room.tell(room.filed(1, version=2), room.notified(1, version=2))
    assert room.case(1).state is CaseState.COMPLETED


def test_a_document_that_is_refused_for_good_alarms(room: Room):
    room.hire("r-1")
    case_id = room.queue(1).id
    rejected = FilingRejected(
        subject=case_id,
        at=NOON,
        actor="system:record",
        case_id=case_id,
        delivery_id="delivery-1",
        destination="record",
        code="record.unknown_patient",
    )
    room.tell(room.signed(1), rejected, room.notified(1))
    assert room.case(1).state is CaseState.DELIVERED
    assert [case.id for case in room.ask(queries.list_cases, alarm=True)] == [case_id]


# Triage


def test_triage_that_settles_twice_or_late_changes_nothing_but_the_due_moment(room: Room):
    first = room.queue(1)
    room.tell(room.settled(1, "critical"))
    assert room.case(1) == first
    assert room.facts(first.id) == ["CaseOpened", "CaseQueued"]


def test_a_case_never_waits_longer_for_its_triage_than_the_deadline(room: Room):
    case = room.receive(1)
    room.wait(room.settings.triage_deadline - MINUTE)
    room.do_due()
    assert room.case(1).state is CaseState.RECEIVED
    room.wait(MINUTE)
    room.do_due()
    queued = room.case(1)
    assert (queued.state, queued.due) == (CaseState.QUEUED, case.due)
    room.work.enqueue_overdue(case.id)
    assert room.case(1) == queued


def test_a_triage_that_comes_after_the_deadline_still_draws_the_case_forward(room: Room):
    room.queue(1)
    room.receive(2)
    room.wait(room.settings.triage_deadline)
    room.do_due()
    assert [case.arrival_number for case in room.ask(store.queue, THORAX)] == [1, 2]
    room.tell(room.settled(2, "critical"))
    line = room.ask(store.queue, THORAX)
    assert [case.accession for case in line] == ["A2", "A1"]
    assert line[0].due == line[0].legal_clock_start + room.settings.head_start_critical


# Offers


def test_cases_go_to_consultants_in_turn_and_in_order(room: Room):
    room.hire("r-1", "r-2", "r-3", max_open=2)
    for number in range(1, 6):
        room.queue(number)
    room.offer_all()
    assert offered_to(room.case(n) for n in range(1, 6)) == ["r-1", "r-2", "r-3", "r-1", "r-2"]


def test_the_most_pressing_case_goes_first(room: Room):
    room.queue(1, form=Form.PLANNED)
    room.queue(2, form=Form.URGENT)
    room.queue(3, form=Form.EMERGENT)
    room.hire("r-1", max_open=1)
    room.offer_all()
    assert offered_to(room.case(n) for n in (1, 2, 3)) == [None, None, "r-1"]


def test_nobody_gets_more_than_the_limit_over_all_lists(room: Room):
    room.hire("r-1", max_open=1, competences=(Competence(THORAX), Competence(NEURO)))
    room.queue(1)
    room.request(2)
    room.tell(room.study(2, modality="MR"), room.settled(2))
    room.do_due()
    assert offered_to([room.case(1), room.case(2)]) == [None, "r-1"]
    room.do(commands.decline, room.case_id(2), "r-1", DeclineReason.NO_TIME)
    room.do_due()
    assert room.case(1).offered_to == "r-1"


def test_a_later_case_passes_only_when_nobody_free_may_have_the_earlier(room: Room):
    room.hire("r-1")
    room.do(commands.add_conflict, "r-1", patient("p-1"), kind="treating_doctor")
    room.queue(1)
    room.queue(2)
    room.offer_all()
    assert offered_to([room.case(1), room.case(2)]) == [None, "r-1"]


def test_a_newcomer_joins_at_the_tail_and_who_returns_keeps_the_place(room: Room):
    room.hire("r-1", "r-2")
    room.hire("r-3")
    room.hire("r-1", competences=())
    room.hire("r-1", name="Dr One")
    seats = room.ask(store.seats, THORAX)
    assert [(seat.reader.id, seat.reader.name) for seat in seats] == [
        ("r-1", "Dr One"),
        ("r-2", "Dr r-2"),
        ("r-3", "Dr r-3"),
    ]


def test_a_justified_decline_keeps_the_place_and_an_unjustified_goes_to_the_tail(room: Room):
    room.hire("r-1", "r-2", "r-3", max_open=1)
    case_id = room.queue(1).id
    room.offer_all()
    room.do(commands.decline, case_id, "r-1", DeclineReason.CONFLICT)
    assert [seat.reader.id for seat in room.ask(store.seats, THORAX)] == ["r-1", "r-2", "r-3"]
    room.offer_all()
    room.do(commands.decline, case_id, "r-2", DeclineReason.NO_TIME)
    assert [seat.reader.id for seat in room.ask(store.seats, THORAX)] == ["r-1", "r-3", "r-2"]
    room.offer_all()
    assert room.case(1).offered_to == "r-3"


def test_when_every_consultant_declined_a_person_decides(room: Room):
    room.hire("r-1", "r-2")
    case_id = room.queue(1).id
    for _ in range(2):
        room.offer_all()
        reader_id = room.case(1).offered_to
        room.do(commands.decline, case_id, reader_id, DeclineReason.OTHER, note="too hard")
    room.offer_all()
    assert room.case(1).state is CaseState.ESCALATED
    assert room.case(1).alarm
    room.offer_all()
    assert room.case(1).state is CaseState.ESCALATED

    place = (room.case(1).due, room.case(1).arrival_number)
    again = room.do(commands.ask_again, case_id, note="please")
    assert (again.due, again.arrival_number) == place
    room.offer_all()
    assert room.case(1).offered_to == "r-1"


def test_an_unanswered_offer_is_a_turn_and_two_in_a_row_mark_absent(room: Room):
    room.hire("r-1")
    room.queue(1)
    place = (room.case(1).due, room.case(1).arrival_number)
    for _ in range(2):
        room.do_due()
        assert room.case(1).offered_to == "r-1"
        room.wait(room.settings.offer_longest)
        for case_id in room.ask(room.work.running_out):
            room.work.expire(case_id)
    case = room.case(1)
    assert (case.state, case.state_reason) == (CaseState.QUEUED, StateReason.OFFER_EXPIRED)
    assert (case.due, case.arrival_number) == place
    assert not room.ask(store.get_reader, "r-1").present
    room.do_due()
    assert room.case(1).state_reason is StateReason.NO_CONSULTANT_ALARM


def test_an_answer_clears_the_count_of_unanswered_offers(room: Room):
    room.hire("r-1")
    room.queue(1)
    room.offer_all()
    room.wait(room.settings.offer_longest)
    room.do_due()
    assert room.ask(store.get_reader, "r-1").unanswered == 1
    room.do_due()
    room.do(commands.accept, room.case_id(1), "r-1")
    assert room.ask(store.get_reader, "r-1").unanswered == 0


def test_when_nobody_is_there_the_case_waits_with_its_reason_until_somebody_comes(room: Room):
    room.hire("r-1", present=False)
    room.queue(1, form=Form.PLANNED)
    room.do_due()
    assert room.case(1).state_reason is StateReason.NO_CONSULTANT
    (row,) = room.ask(queries.queue_view, THORAX, settings=room.settings)
    assert (row.position, row.reason) == (1, StateReason.NO_CONSULTANT)
    assert [(p.reader_id, p.code) for p in row.choice.passed_over] == [("r-1", PassedBy.ABSENT)]
    assert room.ask(room.work.profiles_to_look_at) == []

    room.do(commands.set_presence, "r-1", present=True)
    room.do_due()
    assert room.case(1).offered_to == "r-1"


def test_a_shift_or_certificate_that_begins_is_found_without_a_fact(room: Room):
    starts = NOON + 10 * MINUTE
    room.hire("r-1", competences=(Competence(THORAX, valid_from=starts),))
    room.queue(1)
    room.do_due()
    assert room.case(1).state_reason is StateReason.NO_CONSULTANT_ALARM
    room.wait(10 * MINUTE)
    room.do_due()
    assert room.case(1).offered_to == "r-1"


def test_a_planned_case_alarms_when_half_of_its_term_is_used(room: Room):
    room.queue(1, form=Form.PLANNED)
    room.do_due()
    assert not room.case(1).alarm
    room.wait(room.settings.targets.planned / 2)
    room.do_due()
    assert room.case(1).state_reason is StateReason.NO_CONSULTANT_ALARM


def test_a_named_consultant_gets_the_case_before_the_rotation_and_it_is_a_turn(room: Room):
    room.hire("r-1", "r-2")
    room.queue(1, named_reader="r-2")
    room.offer_all()
    case = room.case(1)
    assert (case.offered_to, case.state_reason) == ("r-2", StateReason.NAMED_IN_REQUEST)
    room.do(commands.accept, case.id, "r-2")
    room.queue(2)
    room.queue(3)
    room.offer_all()
    assert offered_to([room.case(2), room.case(3)]) == ["r-1", "r-2"]


def test_an_empty_queue_is_not_looked_at_again(room: Room):
    room.hire("r-1")
    room.do_due()
    room.wait(DAY)
    assert room.ask(room.work.profiles_to_look_at) == []


# Leases


def test_only_the_holder_passes_and_only_while_holding(room: Room):
    room.hire("r-1", "r-2")
    case_id = room.queue(1).id
    room.offer_all()
    room.do(commands.accept, case_id, "r-1")
    with room.database.transaction() as tx:
        assert require_holder(tx, case_id, "r-1").holder == "r-1"
        with pytest.raises(NotHolder):
            require_holder(tx, case_id, "r-2")
    room.wait(room.settings.lease)
    room.do_due()
    with room.database.transaction() as tx, pytest.raises(NotHolder):
        require_holder(tx, case_id, "r-1")


def test_work_renews_the_lease_and_silence_gives_the_case_back_to_its_place(room: Room):
    room.hire("r-1", max_open=1)
    case_id = room.queue(1).id
    room.queue(2)
    room.offer_all()
    room.do(commands.accept, case_id, "r-1")
    room.wait(50 * MINUTE)
    room.do(commands.renew, case_id, "r-1")
    room.wait(50 * MINUTE)
    room.do_due()
    assert room.case(1).state is CaseState.READING
    room.wait(10 * MINUTE)
    room.work.expire(case_id)
    assert [case.arrival_number for case in room.ask(store.queue, THORAX)] == [1, 2]
    assert room.facts(case_id)[-1] == "CaseReleased"


def test_a_case_that_is_given_back_or_withdrawn_can_be_offered_to_others(room: Room):
    room.hire("r-1", "r-2")
    case_id = room.queue(1).id
    room.offer_all()
    room.do(commands.release, case_id, note="dispatcher")
    room.offer_all()
    assert room.case(1).offered_to == "r-2"
    with pytest.raises(NotOfferedToReader):
        room.do(commands.accept, case_id, "r-1")
    outcomes = [offer.outcome for offer in room.ask(queries.offers_of, case_id)]
    assert outcomes == ["withdrawn", None]


def test_a_signature_frees_the_reader_for_the_next_case(room: Room):
    room.hire("r-1", max_open=1)
    room.queue(1)
    room.queue(2)
    room.do_due()
    room.do(commands.accept, room.case_id(1), "r-1")
    room.do_due()
    assert room.case(2).state_reason is StateReason.EVERYONE_BUSY
    room.tell(room.signed(1))
    room.do_due()
    assert room.case(2).offered_to == "r-1"


# Lists


def test_cases_are_listed_by_what_pages_ask_for(room: Room):
    room.hire("r-1")
    for number in (1, 2, 3):
        room.queue(number)
    room.offer_all()
    room.tell(room.signed(1))

    def listed(**by: object) -> list[str]:
        return [case.accession for case in room.ask(queries.list_cases, **by)]

    assert listed() == ["A3", "A2", "A1"]
    assert listed(limit=1, after=room.case(3).arrival_number) == ["A2"]
    assert listed(reader="r-1") == ["A3", "A2", "A1"]
    assert listed(state=CaseState.OFFERED, profile=THORAX) == ["A3", "A2"]
    assert listed(organisation="clinic") == []
    assert listed(patient_refs={patient("p-2"), patient("p-9")}) == ["A2"]
    assert room.ask(queries.count_cases) == {CaseState.OFFERED: 2, CaseState.SIGNED: 1}


def test_the_database_orders_a_queue_as_the_rule_does(room: Room):
    for number, form in enumerate(
        (Form.PLANNED, Form.URGENT, Form.EMERGENT, Form.URGENT, Form.PLANNED), start=1
    ):
        room.queue(number, form=form)
        room.wait(HOUR if number % 2 else 0 * HOUR)
    room.tell(room.settled(5, "critical"))
    line = room.ask(store.queue, THORAX)
    assert [case.arrival_number for case in line] == [3, 2, 4, 1, 5]
    one_by_one, last = [], None
    while page := room.ask(store.queue, THORAX, after=last, limit=1):
        last = page[0]
        one_by_one.append(last)
    assert one_by_one == line


def test_consultants_are_listed_by_list_and_organisation(room: Room):
    room.hire("r-1", "r-2")
    room.hire("r-3", competences=(Competence(NEURO),))
    assert [r.id for r in room.ask(queries.list_readers, profile=THORAX)] == ["r-1", "r-2"]
    assert [r.id for r in room.ask(queries.list_readers, organisation="clinic")] == [
        "r-1",
        "r-2",
        "r-3",
    ]
    assert [p.id for p in room.ask(queries.list_profiles)] == [NEURO, THORAX]
