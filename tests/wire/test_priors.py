"""Priors: found at a foreign archive and brought here by its C-MOVE to this node."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicom_node import commands, contexts, data_sets, pdu, priors, send
from dicom_node.data_sets import attribute
from dicom_node.errors import (
    AssociationRefused,
    PeerUnreachable,
    PriorsRefused,
    ServiceLacking,
)
from dicom_node.part10 import split
from dicom_node.peers import Peer
from dicom_node.send import Outgoing, SendSettings
from dicom_node.statuses import Status
from dicom_node.uids import STUDY_ROOT_FIND, STUDY_ROOT_MOVE
from kernel.people import ENGINE
from tests.dicom_node.samples import as_file
from tests.services.dcmqrscp import TITLE, dcmqrscp
from tests.services.missing import required
from tests.services.orthanc import orthanc
from tests.wire.conftest import Node
from tests.wire.holdings import Held
from tests.wire.inquirer import without_delay
from tests.wire.speaker import element, pdv
from tests.wire.speaker import pdu as said

SETTINGS = SendSettings(ae_title="TELERAD", answer=timedelta(seconds=20))
ISSUER = "site-1"
OLD = Held(number=31, patient_id="P-7", name="Ахметова^Айгүл", accession="OLD-1", date="20240101")
NEWER = replace(OLD, number=32, accession="OLD-2", date="20250101", series=(("CT", 3), ("CR", 1)))
ELSE = replace(OLD, number=33, patient_id="P-77", accession="OLD-3")


def files(*held: Held) -> list[bytes]:
    return [as_file(instance) for study in held for instance in study.instances()]


def knows(node: Node, peer: Peer) -> Peer:
    with node.database.transaction() as tx:
        return commands.add_peer(tx, peer, actor=ENGINE)


def a_peer(port: int, ae_title: str = TITLE) -> Peer:
    return Peer(
        ae_title=ae_title, host="127.0.0.1", port=port, organisation_id="o-1", issuer=ISSUER
    )


@contextmanager
def dcmtk(node: Node) -> Iterator[Peer]:
    with dcmqrscp(destination="TELERAD", destination_port=node.port) as archive:
        peer = knows(node, a_peer(archive.port))
        outgoing = [Outgoing(split(f).sop_instance_uid, f) for f in files(OLD, NEWER, ELSE)]
        assert all(each.ok for each in send.send(outgoing, peer, SETTINGS))
        yield peer


@contextmanager
def an_orthanc(node: Node) -> Iterator[Peer]:
    with orthanc(listens=True) as server:
        server.knows("telerad", ae_title="TELERAD", port=node.port)
        for file in files(OLD, NEWER, ELSE):
            server.upload(file)
        assert server.dicom_port is not None
        yield knows(node, a_peer(server.dicom_port, server.ae_title))


@pytest.mark.service
@pytest.mark.parametrize("archive", [dcmtk, an_orthanc])
@pytest.mark.parametrize("own_node", ["storage"], indirect=True)
def test_priors_are_found_and_come_whole(own_node: Node, archive) -> None:  # type: ignore[no-untyped-def]
    with required(), archive(own_node) as peer:
        found = priors.find(peer, patient_id="P-7", issuer=ISSUER, settings=SETTINGS)
        foreign = priors.find(peer, patient_id="P-7", issuer="elsewhere", settings=SETTINGS)
        wild = priors.find(peer, patient_id="P-*", issuer=ISSUER, settings=SETTINGS)
        fetched = priors.fetch(peer, NEWER.uid, settings=SETTINGS)

    assert [each.study_uid for each in found] == [NEWER.uid, OLD.uid]
    assert (found[0].study_date, found[0].accession) == ("20250101", "OLD-2")
    assert set(found[0].modalities) <= {"CT", "CR"}
    assert (foreign, wild) == ([], [])
    assert (fetched.ok, fetched.completed) == (True, 4)
    came = [own_node.archive.read(uid) for uid in own_node.archive.instances_of(NEWER.uid)]
    assert {split(file).sop_instance_uid for file in came} == {
        split(file).sop_instance_uid for file in files(NEWER)
    }
    assert own_node.archive.instances_of(OLD.uid) == []


class Scripted:
    """A peer that answers what a test wants."""

    def __init__(self) -> None:
        self.finds: list[tuple[int, Dataset | None]] = []

    def find(self, _: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        yield from self.finds

    def move(self, _: evt.Event) -> Iterator[tuple[None, None]]:
        yield None, None  # the destination is not known


@contextmanager
def scripted(*, serves: bool = True) -> Iterator[tuple[Scripted, Peer]]:
    said = Scripted()
    entity = AE(ae_title=TITLE)
    entity.add_supported_context("1.2.840.10008.1.1")
    if serves:
        entity.add_supported_context(STUDY_ROOT_FIND)
        entity.add_supported_context(STUDY_ROOT_MOVE)
    handlers = [
        (evt.EVT_C_FIND, said.find),
        (evt.EVT_C_MOVE, said.move),
        (evt.EVT_CONN_OPEN, without_delay),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield said, a_peer(server.socket.getsockname()[1])
    finally:
        server.shutdown()


def an_answer(uid: str, issuer: str = "", patient_id: str = "P-7") -> Dataset:
    told = Dataset()
    told.PatientID, told.IssuerOfPatientID, told.StudyInstanceUID = patient_id, issuer, uid
    told.NumberOfStudyRelatedInstances = ""
    return told


@contextmanager
def endless() -> Iterator[Peer]:
    """A peer that answers a query with the same study of somebody else, as long as it is heard."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = door.accept()
                with connection, suppress(OSError):
                    _answer_for_ever(connection)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve)
        thread.start()
        yield a_peer(door.getsockname()[1])
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


def _answer_for_ever(connection: socket.socket) -> None:
    (length,) = struct.unpack(">2xI", connection.recv(6, socket.MSG_WAITALL))
    asked = pdu.parse_associate_request(
        bytearray(connection.recv(length, socket.MSG_WAITALL)),
    )
    answers = contexts.answer(asked.contexts, private=False, services={STUDY_ROOT_FIND})
    connection.sendall(pdu.associate_accept(asked, answers, max_pdu=16_384))
    told = [attribute("PatientID", "SOMEBODY-ELSE"), attribute("StudyInstanceUID", "1.2.9")]
    data = data_sets.encode(sorted(told, key=lambda each: each.tag), answers[0].transfer_syntax)
    fields = ((0x0100, 0x8020), (0x0120, 1), (0x0800, 0), (0x0900, Status.PENDING))
    body = element(0x0002, STUDY_ROOT_FIND.encode())
    body += b"".join(element(number, struct.pack("<H", value)) for number, value in fields)
    command = element(0, struct.pack("<I", len(body))) + body
    while True:
        connection.sendall(said(4, pdv(1, 3, command) + pdv(1, 2, data)) * 100)


def test_an_archive_whose_answers_do_not_end_is_given_up() -> None:
    with endless() as peer:
        with pytest.raises(PriorsRefused, match="more than"):
            priors.find(peer, patient_id="P-7", issuer=ISSUER, settings=SETTINGS)
        at_once = timedelta(0)
        with pytest.raises(PeerUnreachable, match="in time"):
            priors.find(peer, patient_id="P-7", issuer=ISSUER, settings=SETTINGS, within=at_once)


def test_a_peer_that_never_answers_the_negotiation_is_given_up_soon() -> None:
    """It has the time of a connection, not that in which slow disks are waited for."""
    patient = SendSettings(
        ae_title="TELERAD", connect=timedelta(seconds=0.3), answer=timedelta(minutes=10)
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        peer = a_peer(silent.getsockname()[1])
        with pytest.raises(PeerUnreachable):
            priors.find(peer, patient_id="P-7", issuer=ISSUER, settings=patient)


def test_an_answer_of_another_patient_or_issuer_is_left_out() -> None:
    with scripted() as (said, peer):
        said.finds = [
            (0xFF00, an_answer("1.2.1")),
            (0xFF01, an_answer("1.2.2", ISSUER)),
            (0xFF00, an_answer("1.2.3", "elsewhere")),
            (0xFF00, an_answer("1.2.4", patient_id="P-8")),
            (0xFF00, an_answer("")),
        ]
        found = priors.find(peer, patient_id="P-7", issuer=ISSUER, settings=SETTINGS)

    assert {each.study_uid for each in found} == {"1.2.1", "1.2.2"}
    assert {each.instances for each in found} == {None}


# pynetdicom leaves the socket of an aborted association to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_more_studies_than_anybody_compares_are_not_waited_for() -> None:
    with scripted() as (said, peer):
        said.finds = [
            (0xFF00, an_answer(f"1.2.{number}")) for number in range(priors.MAX_PRIORS + 50)
        ]
        found = priors.find(peer, patient_id="P-7", issuer=ISSUER, settings=SETTINGS)

    assert len(found) == priors.MAX_PRIORS


@pytest.mark.parametrize(
    ("status", "refusal"), [(0xA700, AssociationRefused), (0xA900, PriorsRefused)]
)
def test_a_query_that_fails_says_whether_to_ask_again(
    status: int, refusal: type[Exception]
) -> None:
    with scripted() as (said, peer):
        said.finds = [(status, None)]
        with pytest.raises(refusal):
            priors.find(peer, patient_id="P-7", issuer=ISSUER, settings=SETTINGS)


def test_a_peer_that_does_not_know_us_as_destination_says_so() -> None:
    with scripted() as (_, peer), pytest.raises(PriorsRefused, match="destination"):
        priors.fetch(peer, OLD.uid, settings=SETTINGS)


def test_a_peer_without_the_service_is_named() -> None:
    with scripted(serves=False) as (_, peer), pytest.raises(ServiceLacking):
        priors.find(peer, patient_id="P-7", issuer=ISSUER, settings=SETTINGS)


def test_a_peer_that_is_not_there_is_tried_later(tmp_path: Path) -> None:
    with pytest.raises(PeerUnreachable):
        priors.fetch(a_peer(1), OLD.uid, settings=SETTINGS)
