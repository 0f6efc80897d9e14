"""Requests and studies come, in any order, and are joined or wait with their reason."""

from datetime import timedelta

import pytest

from kernel.facts import StudyAmended
from kernel.ids import UNIDENTIFIED, PatientRef
from kernel.people import ENGINE
from storage import audit, patients, priors
from tests.worklist.examples import HOUR, ISSUER, MINUTE, NOON, THORAX, a_new_request, patient
from tests.worklist.room import NEURO, Room
from worklist import commands, queries, store
from worklist.case import CancelReason, CaseState, StateReason
from worklist.errors import (
    CaseMoveRefused,
    OrganisationUnknown,
    PatientsDiffer,
    ReaderUnknown,
    RequestClosed,
    RequestContradicts,
    StudyNotOnDesk,
)
from worklist.match import DeskReason
from worklist.profile import Profile, Takes
from worklist.request import Form, RequestState


def known(room: Room, *ids: str) -> None:
    """Enter patients of the site, as an order does."""
    with room.database.transaction() as tx:
        for id in ids:
            patients.register(tx, issuer=ISSUER, patient_id=id, name="", sex="", birth_date=None)


def reasons(room: Room) -> list[tuple[str | None, DeskReason]]:
    return [(row.study_uid, row.reason) for row in room.ask(queries.desk)]


def test_a_request_before_its_study_is_visible_and_has_no_clock(room: Room):
    request = room.request(1)
    room.tell_own()
    assert reasons(room) == [(None, DeskReason.STUDY_AWAITED)]
    assert room.ask(queries.list_cases) == []
    assert request.state is RequestState.RECEIVED


def test_a_study_before_its_request_is_visible_and_has_no_clock(room: Room):
    room.tell(room.study(1))
    assert reasons(room) == [("1.2.3.1", DeskReason.NO_REQUEST)]
    assert room.ask(queries.list_cases) == []


@pytest.mark.parametrize("study_first", [True, False])
def test_the_clock_starts_when_both_are_there(room: Room, study_first: bool):
    if study_first:
        room.tell(room.study(1))
        room.wait(HOUR)
        room.request(1)
        room.tell_own()
    else:
        room.request(1)
        room.tell_own()
        room.wait(HOUR)
        room.tell(room.study(1))
    case = room.case(1)
    assert (case.legal_clock_start, case.patient_clock_start) == (NOON + HOUR, NOON)
    assert case.due == NOON + HOUR + room.settings.targets.of(Form.URGENT)
    assert (case.state, case.state_reason) == (CaseState.RECEIVED, StateReason.AWAITS_TRIAGE)
    assert reasons(room) == []
    assert room.facts(case.id) == ["CaseOpened"]


def test_the_same_facts_again_make_no_second_case(room: Room):
    completed = room.study(1)
    room.request(1)
    room.tell(completed, completed)
    room.tell_own()
    assert len(room.ask(queries.list_cases)) == 1
    assert room.facts(room.case_id(1)) == ["CaseOpened"]
    assert reasons(room) == []


def test_the_same_request_again_is_the_same_answer(room: Room):
    first = room.request(1)
    room.wait(HOUR)
    assert room.request(1) == first
    assert room.facts(first.id) == ["RequestReceived"]


def test_the_same_accession_with_other_content_is_refused(room: Room):
    first = room.request(1)
    with pytest.raises(RequestContradicts) as refusal:
        room.request(1, procedure="Chest lateral")
    assert refusal.value.fields == {"request_id": first.id}


def test_a_request_of_or_for_somebody_unknown_is_refused(room: Room):
    with pytest.raises(OrganisationUnknown):
        room.request(1, organisation_id="nowhere")
    with pytest.raises(ReaderUnknown):
        room.request(1, named_reader="r-9")


def test_another_patient_under_the_same_accession_goes_to_the_desk(room: Room):
    request = room.request(1)
    room.tell(room.study(1, patient_id="p-2"))
    assert (("1.2.3.1", DeskReason.PATIENT_MISMATCH)) in reasons(room)
    with pytest.raises(PatientsDiffer):
        room.do(commands.attach, "1.2.3.1", request.id)
    case = room.do(commands.attach, "1.2.3.1", request.id, same_person=True)
    assert case.patient_ref == patient("p-1")
    assert reasons(room) == []
    about = {(each.action, each.subject) for each in room.ask(audit.latest)}
    assert about >= {
        ("study.on_desk", "study:1.2.3.1"),
        ("study.attached", "study:1.2.3.1"),
    }


def test_the_same_number_at_an_unstated_issuer_may_be_the_same_person(room: Room):
    known(room, "p-1")
    room.request(1)
    room.tell(room.study(1, patient_id="p-1", issuer=patients.unstated_issuer("van1")))
    assert room.case(1).patient_ref == a_new_request(1).patient_ref


def test_a_study_is_joined_from_the_desk_when_its_own_request_comes(room: Room):
    room.request(1)
    room.tell(room.study(1, patient_id="p-2"))
    room.request(2, accession="A1", organisation_id="clinic")
    room.tell_own()
    (case,) = room.ask(queries.list_cases)
    assert (case.site_id, case.patient_ref) == ("clinic", patient("p-2"))


def test_a_study_without_number_or_patient_is_joined_by_the_request_that_names_it(room: Room):
    room.tell(room.study(1, accession="", patient_id="1.2.3.1", issuer=UNIDENTIFIED))
    assert reasons(room) == [("1.2.3.1", DeskReason.NO_REQUEST)]
    room.request(1, accession="", study_uid="1.2.3.1")
    room.tell_own()
    (case,) = room.ask(queries.list_cases)
    assert case.patient_ref == patient("p-1")


def test_a_second_opinion_on_a_read_study_gets_a_case_of_its_own(room: Room):
    room.receive(1)
    room.request(1, organisation_id="clinic", accession="SO1", study_uid="1.2.3.1")
    room.tell_own()
    assert [case.site_id for case in room.ask(queries.list_cases)] == ["clinic", "hospital"]


def test_a_second_study_under_a_used_accession_waits_for_a_person(room: Room):
    room.receive(1)
    room.tell(room.study(2, accession="A1", patient_id="p-1"))
    assert reasons(room) == [("1.2.3.2", DeskReason.REQUEST_HAS_CASE)]
    assert len(room.ask(queries.list_cases)) == 1


def test_what_no_profile_takes_is_tried_again_when_a_profile_comes(room: Room):
    room.request(1, modality="US")
    room.tell(room.study(1, modality="US", body_part="ABDOMEN"))
    assert ("1.2.3.1", DeskReason.NOT_ROUTED) in reasons(room)
    room.do(commands.add_profile, Profile("abdomen", "Abdomen", (Takes("US"),)))
    assert room.case(1).profile == "abdomen"


def test_routing_and_arrival_are_kept_on_the_case(room: Room):
    room.receive(1)
    room.request(2)
    room.tell(room.study(2, modality="CT", body_part="HEAD"))
    assert [room.case(n).profile for n in (1, 2)] == [THORAX, NEURO]
    assert room.case(1).arrival_number < room.case(2).arrival_number


def test_late_images_are_shown_and_never_reopen_a_case(room: Room):
    room.hire("r-1")
    case = room.queue(1)
    room.offer_all()
    room.do(commands.accept, case.id, "r-1")
    completed = room.study(1, instances=2)
    room.tell(
        StudyAmended(
            subject="1.2.3.1",
            at=room.clock.now,
            actor=ENGINE.ref,
            study_uid="1.2.3.1",
            manifest_version=completed.manifest_version,
            manifest_digest=completed.manifest_digest,
            added=1,
        )
    )
    late = room.case(1)
    assert (late.state, late.manifest_version, late.late_version) == (CaseState.READING, 1, 2)
    noted = room.do(commands.take_note_of_late_images, case.id, "r-1")
    assert (noted.manifest_version, noted.late_version) == (2, None)


def test_cancelling_needs_a_reason_and_tells_it(room: Room):
    case = room.queue(1)
    room.do(commands.cancel, case.id, CancelReason.BY_PATIENT, note="moved away")
    assert room.case(1).state is CaseState.CANCELLED
    request = room.ask(store.get_request, case.request_id)
    assert (request.state, request.state_reason) == (
        RequestState.CANCELLED,
        "cancelled_by_patient",
    )
    assert room.facts(request.id) == ["RequestReceived", "RequestChanged"]
    assert room.ask(queries.case_history, case.id)[-1].note == "moved away"
    with pytest.raises(CaseMoveRefused):
        room.do(commands.cancel, case.id, CancelReason.BY_SITE)


def test_a_cancelled_request_takes_no_study(room: Room):
    request = room.request(1)
    room.do(commands.cancel_request, request.id, CancelReason.BY_SITE)
    with pytest.raises(RequestClosed):
        room.do(commands.cancel_request, request.id, CancelReason.BY_SITE)
    room.tell(room.study(1))
    assert reasons(room) == [("1.2.3.1", DeskReason.REQUEST_CANCELLED)]
    with pytest.raises(RequestClosed):
        room.do(commands.attach, "1.2.3.1", request.id)


def test_only_a_study_on_the_desk_can_be_attached(room: Room):
    request = room.request(1)
    with pytest.raises(StudyNotOnDesk):
        room.do(commands.attach, "1.2.3.1", request.id)


def test_the_note_of_a_person_stays_out_of_the_audit_chain(room: Room):
    case = room.queue(1)
    room.do(commands.cancel, case.id, CancelReason.BY_PATIENT, note="a private matter")
    entries = room.ask(audit.of_case, case.id)
    assert [entry.action for entry in entries] == [
        "case.opened",
        "case.triage_settled",
        "case.queued",
        "case.cancelled",
    ]
    assert not any("private" in str(entry.detail) for entry in entries)


def test_requests_are_listed_by_state_and_site(room: Room):
    room.receive(1)
    room.wait(MINUTE)
    room.request(2, scheduled_at=NOON + timedelta(days=1))
    waiting = room.ask(queries.list_requests, state=RequestState.RECEIVED)
    assert [request.accession for request in waiting] == ["A2"]
    everything = room.ask(queries.list_requests, organisation="hospital")
    assert [request.accession for request in everything] == ["A2", "A1"]
    assert a_new_request(2).id == everything[0].id


def test_a_patient_without_request_reference_is_taken_from_the_study(room: Room):
    room.request(1, accession="", patient_ref=PatientRef(""), study_uid="1.2.3.1")
    room.tell(room.study(1))
    (case,) = room.ask(queries.list_cases)
    assert case.patient_ref == patient("p-1")


def fetched(room: Room, number: int, *, patient_id: str = "P-1", issuer: str = ISSUER) -> None:
    """Note that a study is fetched as a prior of a patient."""
    with room.database.transaction() as tx:
        ref = patients.register(
            tx, issuer=issuer, patient_id=patient_id, name="", sex="", birth_date=None
        )
        prior = priors.Prior(
            study_uid=f"1.2.3.{number}",
            patient_ref=ref,
            ae_title="PACS",
            study_date="20260101",
            modalities="DX",
            instances=1,
            asked_at=tx.at,
            due_at=None,
        )
        priors.add(tx, [prior])


def test_a_prior_waits_for_nobody_and_a_request_may_still_ask_for_it(room: Room):
    fetched(room, 1)
    room.tell(room.study(1, patient_id="P-1", accession="A-1"))
    assert reasons(room) == []
    assert room.ask(queries.list_cases) == []
    asked = room.request(1, patient_ref=patient("P-1"), accession="A-1")
    room.tell_own()
    (case,) = room.ask(queries.list_cases)
    assert (case.request_id, case.study_uid) == (asked.id, "1.2.3.1")


def test_a_study_that_came_as_the_prior_of_another_patient_is_on_the_desk(room: Room):
    fetched(room, 1, patient_id="P-9")
    room.tell(room.study(1, patient_id="P-1"))
    assert reasons(room) == [("1.2.3.1", DeskReason.NO_REQUEST)]
