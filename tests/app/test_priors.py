"""Priors at peers follow the case: whose it turns out to be, and whether anybody still waits."""

from datetime import timedelta

import pytest

from app.priors import told_of
from dicom_node import commands
from dicom_node.peers import Peer
from kernel.people import ENGINE
from storage import corrections, patients
from storage import priors as rows
from storage.priors import Prior, PriorState, Search, Standing
from tests.app.clinic import BY, ISSUER, Clinic
from tests.app.test_access import signed
from worklist import commands as worklist
from worklist import queries
from worklist.act import Act
from worklist.case import CancelReason, Case, CaseState

PACS = Peer(
    ae_title="PACS", host="127.0.0.1", port=1, organisation_id="east", issuer=ISSUER, priors=True
)
FOUND = Standing(PriorState.DONE, "priors.found", "It has 1 other study: 1 fetched.")


@pytest.fixture
def asking(clinic: Clinic) -> Clinic:
    """A clinic with an archive that is asked for priors, and is never there."""
    with clinic.parts.database.transaction() as tx:
        commands.add_peer(tx, PACS, actor=ENGINE)
    return clinic


def searches(clinic: Clinic, ref: str) -> list[Search]:
    with clinic.parts.database.reading() as tx:
        return [each for each in rows.of_patient(tx, ref)[0] if each.patient_ref == ref]


def search(clinic: Clinic, ref: str) -> Search:
    (found,) = searches(clinic, ref)
    return found


def studies(clinic: Clinic, ref: str) -> list[Prior]:
    with clinic.parts.database.reading() as tx:
        return rows.of_patient(tx, ref)[1]


def a_patient(clinic: Clinic, patient_id: str) -> str:
    with clinic.parts.database.transaction() as tx:
        return patients.register(
            tx, issuer=ISSUER, patient_id=patient_id, name="", sex="", birth_date=None
        )


def answered(clinic: Clinic, ref: str, *found: str) -> None:
    """Have the archive answer with some studies."""
    with clinic.parts.database.transaction() as tx:
        told = next(each for each in rows.of_patient(tx, ref)[0] if each.patient_ref == ref)
        assert rows.note_search(tx, told, FOUND, due_at=None)
        rows.add(tx, [a_prior(ref, uid, tx.at) for uid in found])


def a_prior(ref: str, uid: str, at) -> Prior:  # type: ignore[no-untyped-def]
    return Prior(
        study_uid=uid,
        patient_ref=ref,
        ae_title="PACS",
        study_date="20260101",
        modalities="CT",
        instances=1,
        asked_at=at,
        due_at=at + timedelta(days=1),
    )


def cancel(clinic: Clinic, case: Case) -> None:
    with clinic.parts.database.transaction() as tx:
        worklist.cancel(tx, case.id, CancelReason.BY_SITE, act=Act(tx.at, BY))
    clinic.settle()


def test_a_merge_asks_for_the_one_who_stands_for_both(asking: Clinic) -> None:
    case = asking.offered()
    assert search(asking, case.patient_ref).state is PriorState.WAITING
    other = a_patient(asking, "P-2")
    with asking.parts.database.transaction() as tx:
        corrections.merge(tx, case.patient_ref, other, reason="one card", actor=BY)
    asking.settle()

    asked = search(asking, other)
    assert (asked.state, asked.study_uid) == (PriorState.WAITING, case.study_uid)
    asking.clock.now += timedelta(minutes=20)
    asking.settle()
    merged = search(asking, case.patient_ref)
    assert (merged.due_at, merged.code) == (None, "priors.patient_merged")


def test_a_patient_who_is_known_by_a_further_id_is_asked_for_anew_and_once(asking: Clinic) -> None:
    case = asking.offered()
    answered(asking, case.patient_ref)
    before = search(asking, case.patient_ref)
    asking.send("A-2", "P-2")
    asking.send("A-3", "P-2")
    asking.settle()
    other = a_patient(asking, "P-2")
    with asking.parts.database.transaction() as tx:
        corrections.merge(tx, other, case.patient_ref, reason="one card", actor=BY)
    asking.settle()

    asked = search(asking, case.patient_ref)
    assert asked.state is PriorState.WAITING
    assert asked.asked_at > before.asked_at
    answered(asking, case.patient_ref)
    asking.settle()
    assert search(asking, case.patient_ref).state is PriorState.DONE  # not once a study


@pytest.mark.parametrize("answered_before", [True, False])
def test_who_has_no_study_here_and_becomes_one_with_the_patient_is_asked_for_too(
    asking: Clinic, answered_before: bool
) -> None:
    case, second = asking.offered(), asking.offered("A-2")
    if answered_before:
        answered(asking, case.patient_ref)
    else:  # it is being asked by what was known so far
        asking.clock.now += timedelta(minutes=20)
        with asking.parts.database.transaction() as tx:
            told = search(asking, case.patient_ref)
            assert rows.claim_search(tx, told.id, until=tx.at + timedelta(hours=1), at_once=9)
    before = search(asking, case.patient_ref)
    other, third = a_patient(asking, "P-2"), a_patient(asking, "P-3")
    with asking.parts.database.transaction() as tx:
        corrections.merge(tx, third, other, reason="one card", actor=BY)
    asking.settle()
    assert search(asking, case.patient_ref) == before  # of the patient nothing is new
    with asking.parts.database.transaction() as tx:
        corrections.merge(tx, other, case.patient_ref, reason="one card", actor=BY)
    asking.settle()

    asked = search(asking, case.patient_ref)
    assert (asked.state, asked.study_uid) == (PriorState.WAITING, case.study_uid)
    assert asked.asked_at > before.asked_at
    cancel(asking, case)
    cancel(asking, second)
    with asking.parts.database.transaction() as tx:
        fourth = patients.register(
            tx, issuer=ISSUER, patient_id="P-4", name="", sex="", birth_date=None
        )
        corrections.merge(tx, fourth, case.patient_ref, reason="one card", actor=BY)
    asking.settle()
    assert search(asking, case.patient_ref).state is PriorState.GIVEN_UP  # nobody waits for it


def test_a_study_that_turns_out_to_be_of_another_patient_is_looked_after_for_that_one(
    asking: Clinic,
) -> None:
    case = asking.offered()
    right = a_patient(asking, "P-9")
    with asking.parts.database.transaction() as tx:
        corrections.move_study(tx, case.study_uid, right, reason="wrong line", actor=BY)
    asking.settle()

    called_off = search(asking, case.patient_ref)
    assert (called_off.state, called_off.due_at) == (PriorState.GIVEN_UP, None)
    assert called_off.sentence == "Called off: the study is another patient's."
    assert searches(asking, right) == []  # the case is misfiled: nobody reads it

    with asking.parts.database.transaction() as tx:
        number = corrections.listed(tx)[0].number
        corrections.withdraw(tx, number, reason="it was right", actor=BY)
    asking.settle()
    assert search(asking, case.patient_ref).state is PriorState.WAITING


def test_what_waits_is_called_off_when_the_case_is_cancelled_and_taken_up_by_the_next(
    asking: Clinic,
) -> None:
    case = asking.offered()
    answered(asking, case.patient_ref, "9.1", "9.2")
    cancel(asking, case)

    told = {each.study_uid: each for each in studies(asking, case.patient_ref)}
    assert {each.state for each in told.values()} == {PriorState.GIVEN_UP}
    assert {each.sentence for each in told.values()} == {"Called off: the case was cancelled."}
    assert search(asking, case.patient_ref).state is PriorState.DONE

    again = asking.offered("A-2")
    asked = search(asking, again.patient_ref)
    assert (asked.state, asked.study_uid) == (PriorState.WAITING, again.study_uid)
    answered(asking, case.patient_ref, "9.1", "9.2")
    states = {each.study_uid: each.state for each in studies(asking, case.patient_ref)}
    assert states == {"9.1": PriorState.WAITING, "9.2": PriorState.WAITING}


def test_a_search_is_called_off_with_the_case_and_its_page_says_so(asking: Clinic) -> None:
    case = asking.offered()
    cancel(asking, case)

    with asking.parts.database.reading() as tx:
        (told,) = told_of(tx, case.patient_ref)
    assert (told.state, told.sentence) == ("given_up", "Called off: the case was cancelled.")
    page = asking.browser("head").get(f"/cases/{case.id}").text
    assert "Called off: the case was cancelled." in page


def test_another_open_case_of_the_patient_keeps_it_going(asking: Clinic) -> None:
    case, other = asking.offered(), asking.offered("A-2")
    cancel(asking, case)
    assert search(asking, case.patient_ref).state is PriorState.WAITING
    cancel(asking, other)
    assert search(asking, case.patient_ref).state is PriorState.GIVEN_UP


def test_nothing_is_looked_for_once_the_case_is_completed(asking: Clinic) -> None:
    case = signed(asking)
    asking.settle()
    with asking.parts.database.reading() as tx:
        assert queries.get_case(tx, case.id).state is CaseState.COMPLETED
    assert search(asking, case.patient_ref).sentence == "Called off: the case is completed."
