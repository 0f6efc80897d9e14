"""A corrected study: its reader is told, and nobody writes about the wrong patient."""

import pytest

from kernel.facts import StudyCorrected
from kernel.ids import PatientRef
from kernel.people import Actor, Role
from storage import archive, corrections, outbox, patients
from storage.correction import Correction
from tests.worklist.examples import ISSUER, a_new_request
from tests.worklist.room import Room
from worklist import commands, queries
from worklist.case import CaseState
from worklist.errors import CaseMisfiled
from worklist.match import DeskReason

BY = Actor("user:clerk", Role.ADMINISTRATOR)


def other(room: Room, patient_id: str = "p-other") -> str:
    with room.database.transaction() as tx:
        return patients.register(
            tx, issuer=ISSUER, patient_id=patient_id, name="", sex="", birth_date=None
        )


def move(room: Room, ref: str, study: str = "1.2.3.1") -> Correction:
    with room.database.transaction() as tx:
        return corrections.move_study(tx, study, ref, reason="wrong line", actor=BY)


def withdraw(room: Room, made: Correction) -> None:
    with room.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="it was right", actor=BY)


def tell(room: Room, study: str = "1.2.3.1") -> None:
    fact = [f for f in room.ask(outbox.facts_of, study) if isinstance(f, StudyCorrected)][-1]
    room.tell(fact)


def reading(room: Room) -> None:
    room.hire("r-1")
    room.queue(1)
    room.offer_all()
    room.do(commands.accept, room.case_id(1), "r-1")


def test_a_reader_is_stopped_and_told_when_the_study_is_another_patients(room: Room) -> None:
    reading(room)
    made = move(room, other(room))
    tell(room)
    case = room.case(1)
    assert (case.state, case.misfiled_by, case.correction) == (
        CaseState.READING, made.number, made.number,
    )  # fmt: skip
    with pytest.raises(CaseMisfiled), room.database.transaction() as tx:
        commands.require_writer(tx, case.id, "r-1")
    assert [found.id for found in room.ask(queries.list_cases, alarm=True)] == [case.id]
    assert [row.reason for row in room.ask(queries.desk) if row.study_uid] == [
        DeskReason.PATIENT_MISMATCH
    ]


def test_taking_the_correction_back_lets_the_reader_go_on(room: Room) -> None:
    reading(room)
    made = move(room, other(room))
    tell(room)
    withdraw(room, made)
    tell(room)
    case = room.case(1)
    assert case.misfiled_by is None
    with room.database.transaction() as tx:
        assert commands.require_writer(tx, case.id, "r-1").correction == made.number
    room.do(commands.take_note_of_late_images, case.id, "r-1")
    assert room.case(1).correction is None


def test_a_queued_case_of_a_wrong_patient_is_offered_to_nobody(room: Room) -> None:
    room.queue(1)
    made = move(room, other(room))
    tell(room)
    room.hire("r-1")
    room.offer_all()
    assert room.case(1).state is CaseState.QUEUED
    withdraw(room, made)
    tell(room)
    room.offer_all()
    assert room.case(1).state is CaseState.OFFERED


def test_the_study_goes_to_the_request_of_its_own_patient(room: Room) -> None:
    room.queue(1)
    right = other(room, "p-2")
    room.request(2, study_uid="1.2.3.1", patient_ref=right)
    move(room, right)
    tell(room)
    assert room.case(2).study_uid == "1.2.3.1"
    assert (room.case(2).patient_ref, room.case(2).misfiled_by) == (right, None)
    assert room.case(1).misfiled_by is not None


def test_a_case_of_a_request_without_a_patient_follows_its_study(room: Room) -> None:
    room.request(1, patient_ref=PatientRef(""), study_uid="1.2.3.1")
    room.tell(room.study(1))
    before, right = room.case(1).patient_ref, other(room)
    made = move(room, right)
    tell(room)
    assert (room.case(1).patient_ref, room.case(1).misfiled_by) == (right, None)
    withdraw(room, made)
    tell(room)
    assert (room.case(1).patient_ref, room.case(1).misfiled_by) == (before, None)


def test_a_merge_changes_no_case(room: Room) -> None:
    reading(room)
    with room.database.transaction() as tx:
        corrections.merge(tx, room_patient(room), other_in(tx), reason="two cards", actor=BY)
    tell(room)
    case = room.case(1)
    assert case.misfiled_by is None
    with room.database.transaction() as tx:
        commands.require_writer(tx, case.id, "r-1")


@pytest.mark.parametrize("the_case_goes", [True, False])
def test_who_may_not_read_a_patient_may_not_read_who_was_merged(
    room: Room, the_case_goes: bool
) -> None:
    room.hire("r-1")
    room.queue(1)
    with room.database.transaction() as tx:
        pair = room_patient(room), other_in(tx)
        goes, stays = pair if the_case_goes else reversed(pair)
        made = corrections.merge(tx, goes, stays, reason="two cards", actor=BY)
    room.do(commands.add_conflict, "r-1", pair[1], kind="treating_doctor")
    room.offer_all()
    assert room.case(1).offered_to is None
    withdraw(room, made)
    room.offer_all()
    assert room.case(1).offered_to == "r-1"


def room_patient(room: Room) -> str:
    ref = room.case(1).patient_ref
    assert ref == a_new_request(1).patient_ref
    return ref


def other_in(tx: object) -> str:
    return patients.register(
        tx,  # type: ignore[arg-type]
        issuer=ISSUER,
        patient_id="p-merged",
        name="",
        sex="",
        birth_date=None,
    )


@pytest.mark.parametrize("what", ["accession", "name"])
def test_what_a_person_vouched_for_is_not_doubted_by_what_moves_no_study(
    room: Room, what: str
) -> None:
    right = other(room)
    request = room.request(1, patient_ref=right)
    room.tell(room.study(1))
    assert room.ask(queries.desk)
    room.do(commands.attach, "1.2.3.1", request.id, same_person=True)
    with room.database.transaction() as tx:
        if what == "accession":
            corrections.renumber_study(tx, "1.2.3.1", "A-9", reason="misread", actor=BY)
        else:
            ref = archive.manifest(tx, "1.2.3.1").patient_ref
            corrections.correct_patient(tx, ref, {"name": "A^B"}, reason="misread", actor=BY)
    tell(room)
    assert room.case(1).misfiled_by is None

    moved = move(room, other(room, "p-third"))
    tell(room)
    assert room.case(1).misfiled_by == moved.number
