"""Who may call, and what is scheduled."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node import commands, store
from dicom_node.errors import AeTitleInvalid, PeerInvalid, PeerUnknown, StepUnknown
from dicom_node.peers import Peer, ae_title, checked
from dicom_node.reactions import CONSUMER, reactions
from kernel.facts import RequestChanged, RequestReceived
from kernel.people import ENGINE
from storage.engine import Database

VAN = Peer(ae_title="VAN1", host="10.0.0.7", port=104, organisation_id="o-1", issuer="site-1")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_a_peer_is_found_by_its_title_and_can_be_changed(database: Database) -> None:
    with database.transaction() as tx:
        commands.add_peer(tx, VAN, actor=ENGINE)
        commands.add_peer(tx, replace(VAN, port=11112), actor=ENGINE)
    with database.reading() as tx:
        assert commands.find_peer(tx, "VAN1 ") == replace(VAN, port=11112)
        assert commands.find_peer(tx, "van1") is None  # titles are case-sensitive
        assert [peer.ae_title for peer in commands.list_peers(tx)] == ["VAN1"]
        with pytest.raises(PeerUnknown):
            commands.get_peer(tx, "OTHER")


@given(text=st.text(max_size=20))
def test_an_ae_title_is_one_to_sixteen_printable_characters(text: str) -> None:
    try:
        title = ae_title(text)
    except AeTitleInvalid:
        return
    assert 1 <= len(title) <= 16
    assert title.isascii()
    assert title.isprintable()
    assert "\\" not in title
    assert title == title.strip()


@pytest.mark.parametrize("text", ["", "   ", "A" * 17, "A\\B", "A\nB", "ВАН"])
def test_what_is_no_ae_title_is_refused(text: str) -> None:
    with pytest.raises(AeTitleInvalid):
        ae_title(text)


@pytest.mark.parametrize(
    "wrong",
    [{"port": 0}, {"port": 65_536}, {"host": ""}, {"host": "a b"}, {"issuer": ""},
     {"character_set": "ISO_IR 999"}],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(PeerInvalid):
        checked(replace(VAN, **wrong))  # type: ignore[arg-type]


def a_request() -> RequestReceived:
    return RequestReceived(
        subject="r-1", at=NOON, actor="user:1", request_id="r-1", organisation_id="o-1",
        patient_ref="p-1", accession="ACC1", study_uid=None, modality="CT",
        station_ae_title="VAN1", procedure="CT CHEST", scheduled_at=NOON, profile=None,
        form="urgent",
    )  # fmt: skip


def test_requests_become_scheduled_steps_and_follow_their_changes(database: Database) -> None:
    told = reactions()[CONSUMER]
    with database.transaction() as tx:
        told[RequestReceived](tx, a_request())
        told[RequestReceived](tx, a_request())
    with database.reading() as tx:
        (step,) = store.steps_for(tx, study_uid="1.2.3", accession="ACC1")
        assert (step.modality, step.is_open) == ("CT", True)
        assert store.steps_for(tx, study_uid="1.2.3", accession="") == []
    with database.transaction() as tx:
        told[RequestChanged](
            tx,
            RequestChanged(
                subject="r-1", at=NOON, actor="user:1", request_id="r-1", state="cancelled",
                scheduled_at=None, reason="patient",
            ),
        )  # fmt: skip
    with database.reading() as tx:
        (step,) = store.steps_for(tx, study_uid="1.2.3", accession="ACC1")
        assert not step.is_open


def test_a_change_of_a_request_never_told_is_refused(database: Database) -> None:
    change = RequestChanged(
        subject="r-9", at=NOON, actor="user:1", request_id="r-9", state="cancelled",
        scheduled_at=None, reason="patient",
    )  # fmt: skip
    with database.transaction() as tx, pytest.raises(StepUnknown):
        reactions()[CONSUMER][RequestChanged](tx, change)
