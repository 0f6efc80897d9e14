"""Which study belongs to which request."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import EngineError
from kernel.ids import OrganisationId, PatientRef, StudyUID
from tests.worklist.examples import a_new_request, a_request, an_act, patient
from worklist.errors import RequestIncomplete
from worklist.match import SENTENCES, DeskReason, Matched, Study, Unmatched, match
from worklist.request import NewRequest, RequestState, receive

STUDY = Study(StudyUID("1.2.3"), "A1", frozenset({patient("p-1")}))


def test_the_same_accession_and_patient_belong_together():
    request = a_request(1)
    assert match(STUDY, [request, a_request(2)]) == Matched((request,))


def test_the_same_accession_with_another_patient_is_never_attached():
    stranger = a_request(1, patient_ref=patient("p-2"))
    assert match(STUDY, [stranger]) == Unmatched(DeskReason.PATIENT_MISMATCH, stranger.id)


def test_a_patient_known_under_another_issuer_is_the_same_person():
    study = replace(STUDY, patients=frozenset({patient("p-1"), patient("p-1 elsewhere")}))
    request = a_request(1, patient_ref=patient("p-1 elsewhere"))
    assert match(study, [request]) == Matched((request,))


def test_an_unidentified_study_is_never_attached_by_accession():
    unidentified = replace(STUDY, patients=frozenset())
    found = match(unidentified, [a_request(1, patient_ref=PatientRef(""), study_uid="9.9")])
    assert found == Unmatched(DeskReason.NO_REQUEST)
    found = match(unidentified, [a_request(1)])
    assert isinstance(found, Unmatched)
    assert found.reason is DeskReason.PATIENT_UNIDENTIFIED


def test_an_unidentified_study_belongs_to_the_request_that_names_it():
    naming = a_request(1, accession="", study_uid="1.2.3")
    assert match(replace(STUDY, patients=frozenset()), [naming]) == Matched((naming,))


def test_naming_the_study_does_not_outweigh_another_patient():
    naming = a_request(1, study_uid="1.2.3", patient_ref=patient("p-2"))
    assert match(STUDY, [naming]) == Unmatched(DeskReason.PATIENT_MISMATCH, naming.id)


def test_a_request_that_names_another_study_is_not_matched_by_its_accession():
    assert match(STUDY, [a_request(1, study_uid="9.9")]) == Unmatched(DeskReason.NO_REQUEST)


def test_the_same_number_of_two_sites_is_told_apart_by_the_patient():
    other = OrganisationId("other")
    here, there = a_request(1), a_request(1, organisation_id=other, patient_ref=patient("p-9"))
    assert match(STUDY, [there, here]) == Matched((here,))


def test_two_requests_for_the_same_study_and_patient_are_for_a_person_to_sort_out():
    both = [a_request(1), a_request(1, organisation_id=OrganisationId("other"))]
    found = match(STUDY, both)
    assert isinstance(found, Unmatched)
    assert found.reason is DeskReason.SEVERAL_REQUESTS


def test_a_second_opinion_that_names_the_study_gets_a_case_of_its_own():
    first = replace(a_request(1, study_uid="1.2.3"), state=RequestState.MATCHED)
    second = a_request(1, study_uid="1.2.3", organisation_id=OrganisationId("other"))
    assert match(STUDY, [first, second]) == Matched((second,))


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (RequestState.MATCHED, DeskReason.REQUEST_HAS_CASE),
        (RequestState.CANCELLED, DeskReason.REQUEST_CANCELLED),
    ],
)
def test_a_closed_request_takes_no_study(state, reason):
    request = replace(a_request(1), state=state)
    assert match(STUDY, [request]) == Unmatched(reason, request.id)


refs = st.sampled_from(["", patient("p-1"), patient("p-2")]).map(PatientRef)
numbers = st.sampled_from(["", "A1", "A2"])
uids = st.sampled_from([None, "1.2.3", "9.9"])


@given(
    study=st.builds(Study, st.just(StudyUID("1.2.3")), numbers, st.frozensets(refs.filter(bool))),
    asked=st.lists(st.tuples(numbers, refs, uids, st.sampled_from(RequestState)), max_size=5),
)
def test_no_match_ever_joins_two_patients(study, asked):
    requests = []
    for i, (accession, ref, uid, state) in enumerate(asked):
        site = OrganisationId(f"site-{i}")
        if not (accession or uid) or not (ref or uid):
            continue
        request = a_request(
            1, organisation_id=site, accession=accession, patient_ref=ref, study_uid=uid
        )
        requests.append(replace(request, state=state))
    found = match(study, requests)
    if isinstance(found, Matched):
        for request in found.requests:
            assert request.state is RequestState.RECEIVED
            assert not study.patients or request.patient_ref in {"", *study.patients}
            named = request.study_uid == study.study_uid
            assert named or (
                request.accession == study.accession and request.patient_ref in study.patients
            )


def test_every_reason_has_a_sentence():
    assert set(SENTENCES) == set(DeskReason)


@pytest.mark.parametrize(
    "incomplete",
    [
        a_new_request(accession="", study_uid=None),
        a_new_request(patient_ref=PatientRef("")),
        a_new_request(study_uid="1.2.not-a-uid"),
    ],
)
def test_a_request_that_cannot_find_its_study_is_refused(incomplete: NewRequest):
    with pytest.raises(RequestIncomplete) as refusal:
        receive(incomplete, act=an_act())
    assert isinstance(refusal.value, EngineError)
    assert refusal.value.sentence
