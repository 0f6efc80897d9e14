"""Orders as scripts and sites write them."""

import string
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import worklist
from app.orders import (
    DEFAULT_PROFILE,
    DEFAULT_SITE,
    MAX_ORDERS,
    Order,
    OrderUnreadable,
    add,
    ensure_site,
    parse,
)
from kernel.ids import OrganisationId
from kernel.people import Actor, Role
from storage import outbox, patients
from storage.engine import Database
from worklist.act import Act
from worklist.commands import add_organisation, add_profile
from worklist.errors import OrganisationUnknown, RequestContradicts
from worklist.organisation import Organisation, OrganisationKind
from worklist.profile import Profile, Takes
from worklist.request import Form
from worklist.settings import WorklistSettings

BY = Actor("system:test", Role.ADMINISTRATOR)
WHOLE = {
    "accession": "A-1",
    "patient_id": "P-1",
    "issuer": "REGION",
    "name": "Person^Some",
    "sex": "F",
    "birth_date": "1970-01-31",
    "modality": "CT",
    "station_ae_title": "SCANNER",
    "procedure": "CT of the chest",
    "scheduled_time": "2026-11-22T10:30:00+05:00",
    "profile": "thoracic",
    "form": "urgent",
    "study_uid": "1.2.3",
    "organisation": "east",
}


def test_every_field_is_read() -> None:
    (order,) = parse(WHOLE)

    assert order == Order(
        accession="A-1",
        patient_id="P-1",
        issuer="REGION",
        name="Person^Some",
        sex="F",
        birth_date=date(1970, 1, 31),
        modality="CT",
        station_ae_title="SCANNER",
        procedure="CT of the chest",
        scheduled_time=datetime(2026, 11, 22, 10, 30, tzinfo=timezone(timedelta(hours=5))),
        profile="thoracic",
        form=Form.URGENT,
        study_uid="1.2.3",
        organisation="east",
    )


@pytest.mark.parametrize(
    "spelt",
    [
        {"AccessionNumber": "A", "PatientID": "P", "IssuerOfPatientID": "I", "PatientSex": "M"},
        {"accessionNumber": "A", "patientId": "P", "issuer": "I", "patientSex": "M"},
        {"Accession Number": "A", "patient ID": "P", "Issuer of patient id": "I", "Sex": "M"},
        {"accession-number": "A", "patient-id": "P", "patient issuer": "I", "sex": "M"},
    ],
)
def test_any_spelling_of_a_field_is_the_same_field(spelt: dict[str, str]) -> None:
    assert parse(spelt) == [Order(accession="A", patient_id="P", issuer="I", sex="M")]


@pytest.mark.parametrize(
    ("told", "moment"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("20261122", datetime(2026, 11, 22, tzinfo=UTC)),
        ("202611221030", datetime(2026, 11, 22, 10, 30, tzinfo=UTC)),
        ("20261122103015", datetime(2026, 11, 22, 10, 30, 15, tzinfo=UTC)),
        ("2026-11-22T10:30:00Z", datetime(2026, 11, 22, 10, 30, tzinfo=UTC)),
        ("2026-11-22T10:30", datetime(2026, 11, 22, 10, 30, tzinfo=UTC)),
    ],
)
def test_times_of_iso_and_of_dicom(told: str, moment: datetime) -> None:
    (order,) = parse({"accession": "A", "patient_id": "P", "scheduled_time": told})

    assert order.scheduled_time == moment


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patient_id": None}, "'patient_id' is missing"),
        ({"patient_id": "  "}, "'patient_id' is missing"),
        ({"accession": "", "study_uid": ""}, "an 'accession' or a 'study_uid'"),
        ({"colour": "red"}, "no field 'colour'"),
        ({"AccessionNumber": "A-2"}, "two different values for 'accession'"),
        ({"birth_date": "yesterday"}, "'birth_date'"),
        ({"scheduled_time": "2026-13-01"}, "'scheduled_time'"),
        ({"form": "soon"}, "emergent, urgent, planned"),
        ({"modality": ["CT"]}, "'modality' of an order is a text"),
        ({"sex": True}, "'sex' of an order is a text"),
        ({"name": "x" * 325}, "at most 324 characters"),
        ({"station_ae_title": "x" * 17}, "at most 16 characters"),
        ({"procedure": "two\nlines"}, "control characters"),
    ],
)
def test_what_is_wrong_with_an_order_is_named(change: dict[str, object], said: str) -> None:
    with pytest.raises(OrderUnreadable, match=said):
        parse({**WHOLE, **change})


@pytest.mark.parametrize("told", ["text", 7, None, [[]], [WHOLE, "text"]])
def test_what_is_no_order_is_refused(told: object) -> None:
    with pytest.raises(OrderUnreadable, match="JSON object"):
        parse(told)


def test_too_many_at_once_are_refused() -> None:
    with pytest.raises(OrderUnreadable, match=str(MAX_ORDERS)):
        parse([WHOLE] * (MAX_ORDERS + 1))


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(WHOLE)) | st.text(string.printable, max_size=20),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
    )
)
def test_whatever_is_told_is_an_order_or_a_refusal(told: dict[str, object]) -> None:
    try:
        (order,) = parse(told)
    except OrderUnreadable:
        return
    assert order.patient_id
    assert order.accession or order.study_uid


def test_the_same_order_again_is_the_same_request_and_one_fact(database: Database) -> None:
    order = Order(accession="A-1", patient_id="P-1", modality="CT")
    with database.transaction() as tx:
        first, again = (add(tx, order, by=BY) for _ in range(2))

    assert first == again
    with database.reading() as tx:
        assert len(outbox.facts_of(tx, first.id)) == 1


def test_other_content_under_the_same_accession_is_refused(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, Order(accession="A-1", patient_id="P-1", modality="CT"), by=BY)

    with pytest.raises(RequestContradicts), database.transaction() as tx:
        add(tx, Order(accession="A-1", patient_id="P-2", modality="CT"), by=BY)


def test_an_issuer_that_is_not_stated_is_that_of_the_site(database: Database) -> None:
    with database.transaction() as tx:
        request = add(tx, Order(accession="A-1", patient_id="P-1"), by=BY)
        assert request.organisation_id == DEFAULT_SITE
        assert patients.get(tx, request.patient_ref).issuer == patients.unstated_issuer("local")


def test_a_site_that_nobody_entered_is_refused(database: Database) -> None:
    with pytest.raises(OrganisationUnknown), database.transaction() as tx:
        ensure_site(tx, "nowhere", by=BY)


def test_where_no_profile_was_entered_one_takes_every_modality(database: Database) -> None:
    with database.transaction() as tx:
        add(tx, Order(accession="A-1", patient_id="P-1", profile="unheard-of"), by=BY)
        (profile,) = worklist.list_profiles(tx)

    assert profile.id == DEFAULT_PROFILE
    assert {"CR", "CT", "DX", "MR"} <= {take.modality for take in profile.takes}
    assert not any(take.default for take in profile.takes)


def test_where_profiles_were_entered_none_is_made(database: Database) -> None:
    own = Profile("own", "Own", (Takes("CT", default=True),))
    east = Organisation(OrganisationId("east"), "East", OrganisationKind.REQUESTING)
    with database.transaction() as tx:
        act = Act(at=tx.at, by=BY)
        add_profile(tx, own, settings=WorklistSettings(), act=act)
        add_organisation(tx, east, act=act)
        add(tx, Order(accession="A-1", patient_id="P-1", organisation="east"), by=BY)
        assert [profile.id for profile in worklist.list_profiles(tx)] == ["own"]
