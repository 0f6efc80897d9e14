"""The corpus of odd files on associations that agreed on everything: they store, ask and get back.

Storage, query, retrieval with role selection and commitment lie on one association, as clients
propose them that propose all that they know.
"""

import struct
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset

from dicom_node.admission import Announced
from dicom_node.commitments import INSTANCE
from dicom_node.registry import STORAGE_CLASSES
from dicom_node.uids import (
    IMPLICIT_LITTLE,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
)
from tests.wire.conftest import Node, start
from tests.wire.inquirer import identifier
from tests.wire.odd import ROWS, AsSent, OddFile, as_sent
from tests.wire.speaker import VERIFICATION, Speaker, associate_request, element, item, pdu, pdv
from tests.wire.test_commitment import information, listening, run_due

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not ROWS, reason="the odd files are not here"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # pydicom's, about what it encodes
]

ASKED = (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_GET, STORAGE_COMMITMENT)
STORE, GET, FIND, ACTION = 0x0001, 0x0010, 0x0020, 0x0130
ANSWERS = 0x8000
PENDING = 0xFF00
Elements = dict[int, bytes]
Pair = tuple[str, str]


class Client(Speaker):
    """Stores, asks, and takes back what it asked for, on one association."""

    def __init__(self, node: Node, pairs: list[Pair]) -> None:
        super().__init__(node.port)
        plain = [(abstract, IMPLICIT_LITTLE) for abstract in ASKED]
        self.ids = {pair: 2 * at + 1 for at, pair in enumerate([*plain, *pairs])}
        self.took_back: dict[str, bytes] = {}

    def begin(self) -> None:
        """Associate: every storage class is given and taken."""
        contexts = [(id, abstract, [syntax]) for (abstract, syntax), id in self.ids.items()]
        classes = sorted({abstract for abstract, _ in self.ids} - set(ASKED))
        roles = b"".join(
            item(0x54, struct.pack(">H", len(uid)) + uid.encode() + b"\1\1") for uid in classes
        )
        user = item(0x51, struct.pack(">I", 16_384)) + item(0x52, b"1.2.3") + roles
        self.say(associate_request(contexts, user=user))
        kind, body = self.hear()
        assert kind == 2
        self._note_results(body)

    def agreed(self, pair: Pair) -> bool:
        """Say whether a context was taken."""
        return self.results[self.ids[pair]][0] == 0

    def asks(self, field: int, abstract: str, asked: Dataset) -> list[tuple[int, Elements]]:
        """Ask for something; return status and command of every answer, taking what comes."""
        id = self.ids[abstract, IMPLICIT_LITTLE]
        self.say(pdu(4, pdv(id, 3, _request(field, abstract))))
        data = encoded(asked)
        for at in range(0, len(data), 16_000):
            last = 2 if at + 16_000 >= len(data) else 0
            self.say(pdu(4, pdv(id, last, data[at : at + 16_000])))
        answers = []
        while not answers or answers[-1][0] == PENDING:
            context, told, came = self._message()
            (field_told,) = struct.unpack("<H", told[0x0100])
            if field_told == STORE:
                uid = told[0x1000].decode().rstrip("\0")
                self.took_back[uid] = came
                self.say(pdu(4, pdv(context, 3, _taken(told))))
                continue
            assert field_told == field | ANSWERS
            answers.append((struct.unpack("<H", told[0x0900])[0], told))
        return answers

    def _message(self) -> tuple[int, Elements, bytes]:
        """Return context, command and data set of the next message."""
        parts = {1: b"", 0: b""}
        told: Elements = {}
        while True:
            kind, body = self.hear()
            assert kind == 4, kind
            at = 0
            while at < len(body):
                length, context, control = struct.unpack_from(">IBB", body, at)
                parts[control & 1] += body[at + 6 : at + 4 + length]
                at += 4 + length
                if control == 3:
                    told = _elements(parts[1])
                if control & 2 and (control == 2 or told[0x0800] == b"\1\1"):
                    return context, told, parts[0]


def _request(field: int, abstract: str) -> bytes:
    named, more = (0x0003, b"") if field == ACTION else (0x0002, b"")
    body = element(named, abstract.encode()) + element(0x0100, struct.pack("<H", field))
    body += element(0x0110, struct.pack("<H", 7))
    if field == ACTION:
        more = element(0x1001, INSTANCE.encode()) + element(0x1008, struct.pack("<H", 1))
    else:
        body += element(0x0700, struct.pack("<H", 0))
    body += element(0x0800, struct.pack("<H", 0)) + more
    return element(0, struct.pack("<I", len(body))) + body


def _taken(asked: Elements) -> bytes:
    """Return the answer of success to a C-STORE."""
    body = element(0x0002, asked[0x0002]) + element(0x0100, struct.pack("<H", STORE | ANSWERS))
    body += element(0x0120, asked[0x0110]) + element(0x0800, struct.pack("<H", 0x0101))
    body += element(0x0900, struct.pack("<H", 0)) + element(0x1000, asked[0x1000])
    return element(0, struct.pack("<I", len(body))) + body


def _elements(body: bytes) -> Elements:
    found, at = {}, 0
    while at < len(body):
        _, number, length = struct.unpack_from("<HHI", body, at)
        found[number] = body[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def encoded(data_set: Dataset) -> bytes:
    """Return a data set as it is sent in implicit VR."""
    from pydicom.filebase import DicomBytesIO

    out = DicomBytesIO(b"")
    out.is_implicit_VR = out.is_little_endian = True
    write_dataset(out, data_set)
    return out.getvalue()


@pytest.mark.parametrize("rank", sorted({row.rank for row in ROWS}))
def test_what_one_association_stores_it_finds_gets_back_and_has_committed(
    tmp_path: Path, rank: int
) -> None:
    node = start(tmp_path)
    rows = [row for row in ROWS if row.rank == rank]
    sent = {row.name: as_sent(row.data) for row in rows}
    pairs = sorted(
        {
            (one.announced.sop_class_uid, one.announced.transfer_syntax_uid)
            for one in sent.values()
            if one is not None
        }
    )
    try:
        with Client(node, pairs) as client:
            client.begin()
            taken, refused = stored(client, node, rows, sent)
            check_what_is_found_and_got(client, taken)
            check_what_is_committed(client, node, taken, refused)
            assert client.release() == 6
    finally:
        node.listener.stop(timedelta(seconds=5))
        node.journal.close()
        node.database.dispose()


def stored(
    client: Client, node: Node, rows: list[OddFile], sent: dict[str, AsSent | None]
) -> tuple[list[AsSent], list[Announced]]:
    """Send all that can be sent; return what was taken and what was not."""
    taken, refused = [], []
    for row in rows:
        one = sent[row.name]
        if one is None:
            assert row.expect != "accept"
            continue
        announced = one.announced
        pair = announced.sop_class_uid, announced.transfer_syntax_uid
        if not client.agreed(pair):
            assert announced.sop_class_uid not in STORAGE_CLASSES
            assert row.expect != "accept"
            continue
        kept = len(node.quarantined())
        status = client.store(announced, one.data_set, context_id=client.ids[pair])
        if row.expect != "either":
            assert (status == 0) == (row.expect == "accept"), f"{row.name} {status:04X}"
        if status:
            assert len(node.quarantined()) == kept + 1, row.name
            refused.append(announced)
        else:
            taken.append(one)
        assert client.echo(client.ids[VERIFICATION, IMPLICIT_LITTLE]) == 0, row.name
    return taken, refused


def check_what_is_found_and_got(client: Client, taken: list[AsSent]) -> None:
    studies = sorted({one.study_uid for one in taken}) or ["1.2.3"]
    *found, last = client.asks(FIND, STUDY_ROOT_FIND, identifier("STUDY", StudyInstanceUID=""))
    assert last[0] == 0
    assert len(found) == len({one.study_uid for one in taken})
    *_, (status, told) = client.asks(
        GET, STUDY_ROOT_GET, identifier("STUDY", StudyInstanceUID=studies)
    )
    assert (status, told[0x1021]) == (0, struct.pack("<H", len(taken)))
    assert client.took_back == {one.announced.sop_instance_uid: one.data_set for one in taken}


def check_what_is_committed(
    client: Client, node: Node, taken: list[AsSent], refused: list[Announced]
) -> None:
    here = [(one.announced.sop_class_uid, one.announced.sop_instance_uid) for one in taken]
    uids = {uid for _, uid in here}
    lacking = [
        (each.sop_class_uid, each.sop_instance_uid)
        for each in refused
        if each.sop_instance_uid not in uids and 0 < len(each.sop_instance_uid) <= 64
    ]
    with listening(node.database) as modality:
        asked = information("1.2.3.1", *here, *lacking)
        assert client.asks(ACTION, STORAGE_COMMITMENT, asked)[-1][0] == 0
        assert run_due(node.database) == 1
    ((event, report),) = modality.reports
    assert event == (2 if lacking else 1)
    assert named(report, "ReferencedSOPSequence") == Counter(here)
    assert named(report, "FailedSOPSequence") == Counter(lacking)


def named(report: Dataset, sequence: str) -> Counter[Pair]:
    return Counter(
        (str(each.ReferencedSOPClassUID), str(each.ReferencedSOPInstanceUID))
        for each in report.get(sequence, ())
    )
