"""Peers that lie, stall or leave: the node says why, bounds everything, and serves the next one."""

import os
import re
import socket
import struct
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_node.exchange import ServiceAssociation
from dicom_node.receive import StorageAssociation
from dicom_node.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE, STUDY_ROOT_FIND
from storage.archive_queries import StudyQuery, find_studies
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.wire.conftest import Node
from tests.wire.speaker import (
    VERIFICATION,
    associate_request,
    command,
    item,
    pdu,
    pdv,
    until,
)

STORAGE = (CT, EXPLICIT_LITTLE)
ABORT, REJECT, ACCEPT, CLOSED = 7, 3, 2, 0
HOSTILE = ["../../../escaped", "P1\0", "a\rb\nc", "' OR 1=1;--", "%00"]


def rejected(node: Node, request: bytes) -> tuple[int, int, int]:
    with node.speak() as speaker:
        speaker.say(request)
        kind, body = speaker.hear()
        assert kind == REJECT
        return body[1], body[2], body[3]


def test_rejections_carry_the_reasons_of_the_standard(node: Node) -> None:
    contexts = [(1, VERIFICATION, [IMPLICIT_LITTLE])]

    assert rejected(node, associate_request(contexts, called="NOBODY")) == (1, 1, 7)
    assert rejected(node, associate_request(contexts, calling="STRANGER")) == (1, 1, 3)
    assert rejected(node, associate_request(contexts, application="1.2.3")) == (1, 1, 2)
    assert rejected(node, associate_request(contexts, version=2)) == (1, 2, 2)


def test_too_many_associations_of_one_peer_and_of_all_are_refused(own_node: Node) -> None:
    opened = [own_node.speak() for _ in range(4)]
    for speaker in opened:
        assert speaker.associate() == ACCEPT
    contexts = [(1, VERIFICATION, [IMPLICIT_LITTLE])]

    assert rejected(own_node, associate_request(contexts)) == (2, 3, 2)
    others = [own_node.speak("VAN2") for _ in range(2)]
    for speaker in others:
        assert speaker.associate() == ACCEPT
    assert rejected(own_node, associate_request(contexts, calling="VAN2")) == (2, 3, 2)

    assert opened[0].release() == 6
    opened[0].sock.close()
    until(lambda: own_node.listener.associations() == 5)
    assert own_node.answers()
    for speaker in [*opened, *others]:
        speaker.sock.close()


def test_associations_that_only_store_are_served_on_one_processor(own_node: Node) -> None:
    free = frozenset(os.sched_getaffinity(0))
    opened = [own_node.speak() for _ in range(3)]
    for speaker in opened:
        assert speaker.associate() == ACCEPT
    serving = [t for t in threading.enumerate() if t.name == "dicom-127.0.0.1"]
    assert len(serving) == len(opened)

    def processors() -> set[frozenset[int]]:
        return {frozenset(os.sched_getaffinity(each.native_id or 0)) for each in serving}

    if own_node.mixed:
        assert processors() == {free}
    else:
        until(lambda: len(processors()) == 1 and len(next(iter(processors()))) == 1)
    for speaker in opened:
        speaker.sock.close()


def test_each_context_is_answered_by_itself(node: Node) -> None:
    with node.speak() as speaker:
        printing = ("1.2.840.10008.5.1.1.9", IMPLICIT_LITTLE)
        assert speaker.associate(STORAGE, printing, (CT, "1.2.3.4")) == ACCEPT
        assert speaker.results[1] == (0, EXPLICIT_LITTLE)
        assert speaker.results[3][0] == 3
        assert speaker.results[5][0] == 4


def test_what_is_asked_a_thousand_times_is_answered_once(node: Node) -> None:
    """All that an answer repeats has to fit into items of 64 KiB."""
    find = STUDY_ROOT_FIND.encode()
    prefixed = struct.pack(">H", len(find)) + find
    contexts = [(1, STUDY_ROOT_FIND, [IMPLICIT_LITTLE]), (3, CT, ["1.2\ufffd" * 9_000])]
    told = item(0x51, struct.pack(">I", 16_384))
    room = 0xFFFF - len(told)
    for asked in (
        item(0x54, prefixed + b"\1\1") * (room // (len(prefixed) + 6)),
        item(0x56, prefixed + b"\1\1") * (room // (len(prefixed) + 6)),
        item(0x56, prefixed + bytes(room - len(prefixed) - 4)),
    ):
        with node.speak() as speaker:
            speaker.say(associate_request(contexts, user=told + asked))
            kind, body = speaker.hear()
            assert kind == ACCEPT
            assert len(body) < 512
    assert node.answers()


@pytest.mark.parametrize(
    "first",
    [
        struct.pack(">BBI", 1, 0, 0xFFFFFFFF),  # a length bomb
        struct.pack(">BBI", 1, 0, 20) + bytes(20),  # cut short
        pdu(4, pdv(1, 3, b"")),  # data before any association
        pdu(0x55, b""),  # no such type
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        associate_request([(1, CT, [EXPLICIT_LITTLE]), (1, CT, [IMPLICIT_LITTLE])]),
        associate_request([(2, CT, [EXPLICIT_LITTLE])]),  # an even id
        pdu(1, bytes(68) + struct.pack(">BBH", 0x20, 0, 60_000)),  # an item out of its PDU
    ],
)
def test_a_broken_first_pdu_is_aborted(node: Node, first: bytes) -> None:
    with node.speak() as speaker:
        speaker.say(first)
        assert speaker.hear()[0] == ABORT
        assert speaker.hear()[0] == CLOSED
    assert node.answers()


@pytest.mark.parametrize(
    "said",
    [
        struct.pack(">BBI", 4, 0, 0x7FFFFFFF),  # a P-DATA longer than agreed on
        struct.pack(">BBI", 4, 0, 131_073),
        pdu(4, b"") + bytes(6),
        pdu(4, struct.pack(">IBB", 0xFFFFFFFF, 1, 3)),  # a PDV out of its PDU
        pdu(4, struct.pack(">IBB", 1, 1, 3)),  # a PDV without its own header
        pdu(4, pdv(1, 3, b"\0\0\0")),  # no command set
        pdu(4, pdv(1, 3, struct.pack("<HHI", 0, 0x100, 0xFFFFFFFF))),  # an element out of it
        pdu(4, pdv(9, 3, command(0x30, sop_class=VERIFICATION))),  # a context never agreed on
        pdu(4, pdv(1, 0, b"data first")),
        pdu(4, pdv(1, 3, command(0x8001, sop_class=CT))),  # a response out of nowhere
        associate_request([(1, CT, [EXPLICIT_LITTLE])]),  # a second negotiation
        pdu(5, bytes(400)),
        b"".join(pdu(4, pdv(1, 1, bytes(60_000))) for _ in range(3)),  # a command without end
    ],
)
def test_a_broken_association_is_aborted(node: Node, said: bytes) -> None:
    with node.speak() as speaker:
        assert speaker.associate(STORAGE) == ACCEPT
        speaker.say(said)
        kind, body = speaker.hear()
        assert kind == ABORT
        assert body[2] == 2  # by the service-provider
        assert speaker.hear()[0] == CLOSED
    assert node.answers()


def test_a_message_within_a_data_set_is_aborted_and_nothing_is_stored(node: Node) -> None:
    announced, data = as_sent(as_file(a_slice(study=50)))
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        start = command(1, sop_class=CT, instance=announced.sop_instance_uid, has_data=True)
        speaker.say(pdu(4, pdv(1, 3, start)) + pdu(4, pdv(1, 0, data[:100])))
        speaker.say(pdu(4, pdv(1, 3, start)))
        assert speaker.hear()[0] == ABORT
    assert node.archive.instances_of(str(a_slice(study=50).StudyInstanceUID)) == []


def test_pdvs_may_share_a_pdu_and_be_as_small_as_they_like(node: Node) -> None:
    announced, data = as_sent(as_file(a_slice(study=51)))
    request = command(1, sop_class=CT, instance=announced.sop_instance_uid, has_data=True)
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        values = pdv(1, 1, request[:20]) + pdv(1, 1, b"") + pdv(1, 3, request[20:])
        values += b"".join(pdv(1, 0, data[at : at + 1]) for at in range(64))
        speaker.say(pdu(4, values) + pdu(4, pdv(1, 0, data[64:]) + pdv(1, 2, b"")))
        assert speaker.status() == 0
        assert speaker.release() == 6
    assert node.archive.read(announced.sop_instance_uid).endswith(data)


def test_the_wrong_command_or_class_is_answered_and_the_association_lives(node: Node) -> None:
    announced, data = as_sent(as_file(a_slice(study=52)))
    with node.speak() as speaker:
        speaker.associate(STORAGE, (VERIFICATION, IMPLICIT_LITTLE))
        assert speaker.store(announced, data, context_id=3) == 0x0122
        other = command(0x20, sop_class=CT, has_data=True)  # C-FIND
        speaker.say(pdu(4, pdv(1, 3, other)) + pdu(4, pdv(1, 2, b"identifier")))
        assert speaker.status() == 0x0211
        speaker.say(pdu(4, pdv(1, 3, command(0x0FFF, sop_class=CT))))  # C-CANCEL has no answer
        speaker.say(pdu(4, pdv(1, 3, command(1, sop_class=CT, instance="1.2"))))
        assert speaker.status() == 0xC000  # a C-STORE without a data set
        assert speaker.echo(3) == 0
        assert speaker.store(announced, data) == 0


def test_what_is_no_storage_class_is_not_stored_whatever_its_data_set_says(node: Node) -> None:
    odd = a_slice(study=53)
    odd.SOPClassUID = STUDY_ROOT_FIND
    announced, data = as_sent(as_file(odd))
    with node.speak() as speaker:
        speaker.associate((STUDY_ROOT_FIND, EXPLICIT_LITTLE))
        assert speaker.store(announced, data) == 0x0122
    assert not node.archive.instances_of(str(odd.StudyInstanceUID))


def test_duplicates_and_conflicts(node: Node) -> None:
    announced, first = as_sent(as_file(a_slice(study=53, seed=1)))
    _, second = as_sent(as_file(a_slice(study=53, seed=2)))
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        assert speaker.store(announced, first) == 0
        assert speaker.store(announced, first) == 0
        speaker.say_store(announced, second)
        assert speaker.answer() == (0xC111, "this SOP instance UID has other content here")
        assert speaker.store(announced, first) == 0
    with node.speak("VAN2") as other:
        other.associate(STORAGE)
        assert other.store(announced, first) == 0
    assert node.archive.read(announced.sop_instance_uid).endswith(first)


def test_a_data_set_that_cannot_be_read_is_kept_and_named(node: Node) -> None:
    announced, data = as_sent(as_file(a_slice(study=54)))
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        speaker.say_store(announced, data[:-9])
        status, comment = speaker.answer()
        assert status == 0xC000
        assert "(7FE0,0010)" in comment
        elsewhere = as_sent(as_file(a_slice(9, study=54)))[1]
        assert speaker.store(announced, elsewhere) == 0xA900
        assert speaker.store(announced, data) == 0
    codes = {kept.code for kept in node.quarantined()}
    assert "dicom_node.unreadable.cut_short" in codes
    assert "dicom_node.unreadable.other_instance" in codes


@pytest.mark.parametrize("hostile", ["../../../escaped", "/escaped", "1.2\0.3", "~", "1.2;"])
def test_a_uid_that_is_none_is_refused_and_kept_aside(
    node: Node, hostile: str, tmp_path: Path
) -> None:
    announced, data = as_sent(as_file(a_slice(study=61)))
    uid = announced.sop_instance_uid
    forged = data.replace(uid.encode(), hostile.encode().ljust(len(uid), b"\0"))
    kept = len(node.quarantined())
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        assert speaker.store(announced._replace(sop_instance_uid=hostile), forged) == 0xA900
    assert len(node.quarantined()) == kept + 1
    above = [tmp_path, *tmp_path.parents]  # and so what lies above the node's own folder
    assert not [path for folder in above for path in folder.glob("escaped*")]


@pytest.mark.parametrize(("study", "hostile"), list(enumerate(HOSTILE, 610)))
def test_a_patient_id_is_a_value_whatever_it_looks_like(
    node: Node, study: int, hostile: str
) -> None:
    data_set = a_slice(study=study)
    data_set.PatientID = "x" * len(hostile)
    announced, data = as_sent(as_file(data_set))
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        forged = data.replace(("x" * len(hostile)).encode(), hostile.encode())
        assert speaker.store(announced, forged) == 0
    with node.database.reading() as tx:
        (shown,) = find_studies(tx, StudyQuery(study_uids=(str(data_set.StudyInstanceUID),)))
    assert shown.patient_id == re.sub(r"[\x00-\x1f]+", " ", hostile).strip()
    assert node.archive.read(announced.sop_instance_uid).endswith(forged)


def test_a_data_set_larger_than_the_buffer_is_stored_verbatim(node: Node) -> None:
    announced, data = as_sent(as_file(a_slice(study=55, side=1500)))
    assert len(data) > 4 << 20
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        assert speaker.store(announced, data, piece=100_000) == 0
        assert speaker.store(announced, data, piece=7_777) == 0
    assert node.archive.read(announced.sop_instance_uid).endswith(data)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_an_association_cut_at_any_byte_stores_nothing(node: Node, data: st.DataObject) -> None:
    announced, encoded = as_sent(as_file(a_slice(study=56, side=40)))
    request = command(1, sop_class=CT, instance=announced.sop_instance_uid, has_data=True)
    whole = associate_request([(1, CT, [EXPLICIT_LITTLE])]) + pdu(4, pdv(1, 3, request))
    whole += pdu(4, pdv(1, 0, encoded[:1000])) + pdu(4, pdv(1, 2, encoded[1000:]))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with node.speak() as speaker:
        speaker.say(whole[:cut])
        speaker.sock.shutdown(socket.SHUT_WR)
        speaker.hear_all()
    assert node.archive.instances_of(str(a_slice(study=56).StudyInstanceUID)) == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(junk=st.binary(min_size=1, max_size=300))
def test_any_bytes_on_an_open_association_end_it_cleanly(node: Node, junk: bytes) -> None:
    with node.speak() as speaker:
        assert speaker.associate(STORAGE) == ACCEPT
        speaker.say(junk)
        speaker.sock.shutdown(socket.SHUT_WR)
        speaker.hear_all()


def test_silent_and_dribbling_peers_delay_nobody_and_are_dropped(own_node: Node) -> None:
    silent, stalled = own_node.speak(), own_node.speak()
    stalled.associate(STORAGE)
    stalled.say(pdu(4, pdv(1, 1, bytes(994)))[:500])  # a PDU begun and never ended

    dribbler = own_node.speak()
    over = threading.Event()

    def dribble() -> None:
        request = associate_request([(1, CT, [EXPLICIT_LITTLE])])
        try:
            for at in range(len(request)):
                dribbler.say(request[at : at + 1])
                if over.wait(0.05):
                    return
        except OSError:
            return

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        assert own_node.answers()
        assert silent.hear()[0] == CLOSED
        assert stalled.hear()[0] == CLOSED
        assert dribbler.hear()[0] == CLOSED
        assert own_node.answers()
    finally:
        over.set()
        thread.join()
        for speaker in (silent, stalled, dribbler):
            speaker.sock.close()


def test_stopping_finishes_the_request_in_hand_and_aborts_the_idle(own_node: Node) -> None:
    announced, data = as_sent(as_file(a_slice(study=57, side=200)))
    idle, busy = own_node.speak(), own_node.speak()
    idle.associate(STORAGE)
    busy.associate(STORAGE)
    request = command(1, sop_class=CT, instance=announced.sop_instance_uid, has_data=True)
    busy.say(pdu(4, pdv(1, 3, request)) + pdu(4, pdv(1, 0, data[:1000])))
    until(lambda: _in_hand(own_node))
    stopping = threading.Thread(target=own_node.listener.stop, args=(timedelta(seconds=5),))
    stopping.start()

    assert idle.hear()[0] == ABORT
    busy.say(pdu(4, pdv(1, 2, data[1000:])))
    assert busy.status() == 0
    assert busy.hear()[0] == ABORT
    stopping.join()
    assert own_node.archive.read(announced.sop_instance_uid).endswith(data)
    with pytest.raises(OSError, match="refused"):
        own_node.speak()
    for speaker in (idle, busy):
        speaker.sock.close()


def _in_hand(node: Node) -> bool:
    return any(association._busy.locked() for association in node.listener._serving.values())


def test_only_what_asks_for_more_than_storage_is_served_by_the_other_path(node: Node) -> None:
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        kinds = {type(each) for each in node.listener._serving.values()}
        assert kinds == {ServiceAssociation if node.mixed else StorageAssociation}


def test_every_socket_sends_at_once(node: Node) -> None:
    with node.speak() as speaker:
        speaker.associate()
        transports = list(node.listener._threads.values())
        assert transports
        for transport in transports:
            assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_studies_in_flight_are_known_while_their_association_is_open(node: Node) -> None:
    announced, data = as_sent(as_file(a_slice(study=58)))
    uid = str(a_slice(study=58).StudyInstanceUID)
    with node.speak() as speaker:
        speaker.associate(STORAGE)
        speaker.store(announced, data)
        assert node.listener.in_flight.count(uid) == 1
        speaker.release()
        assert speaker.hear()[0] == CLOSED
    until(lambda: not node.listener.in_flight.count(uid))


def test_unused_items_are_passed_over(node: Node) -> None:
    contexts = [(1, VERIFICATION, [IMPLICIT_LITTLE])]
    request = associate_request(contexts)[6:] + item(0x99, b"what is this")
    with node.speak() as speaker:
        speaker.say(pdu(1, request))
        assert speaker.hear()[0] == ACCEPT
