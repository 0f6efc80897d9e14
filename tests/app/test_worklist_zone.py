"""The modality worklist speaks of dates and times as the site of the modality does."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from app import node
from app.orders import Order, add
from dicom_node import commands
from dicom_node.peers import Peer
from dicom_node.ports import bound
from dicom_node.uids import MODALITY_WORKLIST
from kernel.ids import OrganisationId
from kernel.people import ENGINE
from tests.app.clinic import BY, ISSUER, NAME, Clinic
from tests.wire.inquirer import without_delay
from worklist import commands as worklist
from worklist.act import Act
from worklist.organisation import Organisation, OrganisationKind

LATE = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
SITES = {"ALMATY": "Asia/Almaty", "SOFIA": "Europe/Sofia"}


@pytest.fixture
def far_apart(clinic: Clinic) -> Clinic:
    """Two sites in two zones, with a modality each, and a request for the same moment."""
    with clinic.parts.database.transaction() as tx:
        for title, zone in SITES.items():
            site = Organisation(
                OrganisationId(title.lower()), title, OrganisationKind.REQUESTING, zone
            )
            worklist.add_organisation(tx, site, act=Act(tx.at, BY))
            peer = Peer(
                ae_title=title, host="127.0.0.1", port=104, organisation_id=site.id, issuer=ISSUER
            )
            commands.add_peer(tx, peer, actor=ENGINE)
            order = Order(
                accession=title,
                patient_id="P-1",
                issuer=ISSUER,
                name=NAME,
                modality="DX",
                scheduled_time=LATE,
                organisation=site.id,
            )
            add(tx, order, by=BY)
    clinic.settle()
    return clinic


@contextmanager
def listening(clinic: Clinic) -> Iterator[int]:
    listener = node.listener(clinic.parts)
    yield listener.start(bound("127.0.0.1", 0, None))
    listener.stop(timedelta(seconds=5))


def start_told(port: int, title: str) -> tuple[str, str]:
    asked, step = Dataset(), Dataset()
    step.ScheduledProcedureStepStartDate = step.ScheduledProcedureStepStartTime = ""
    asked.ScheduledProcedureStepSequence = [step]
    entity = AE(ae_title=title)
    entity.add_requested_context(MODALITY_WORKLIST)
    association = entity.associate(
        "127.0.0.1",
        port,
        ae_title="TELERAD",
        evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)],
    )
    (item,) = [
        answer
        for _, answer in association.send_c_find(asked, MODALITY_WORKLIST)
        if answer is not None
    ]
    association.release()
    (told,) = item.ScheduledProcedureStepSequence
    return told.ScheduledProcedureStepStartDate, told.ScheduledProcedureStepStartTime


def test_each_site_is_told_its_own_time(far_apart: Clinic) -> None:
    with listening(far_apart) as port:
        assert start_told(port, "ALMATY") == ("20261122", "013000")
        assert start_told(port, "SOFIA") == ("20261121", "223000")
