"""What is odd fares the same on both databases; one of them also minds lengths and NUL."""

import struct
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from dicom_node import evidence
from dicom_node.admission import Announced, Route, Source
from dicom_node.data_sets import attribute, decode, encode, sequence
from dicom_node.headers import Defaults
from dicom_node.intake import Intake
from dicom_node.performed_steps import created
from dicom_node.statuses import Outcome
from dicom_node.uids import EXPLICIT_LITTLE
from storage import archive
from storage.engine import Database
from storage.journal import Journal
from tests.dicom_node.samples import CT
from tests.services.migrated import migrate
from tests.wire.odd import ODD, ROWS, as_sent

pytestmark = pytest.mark.service
SOURCE = Source(Route.DIMSE, "VAN1", "site", Defaults("van", ""))
UID = "1.2.826.0.1.3680043.8.498.79"
TEXTS = {
    0x00080005: b"CS",
    0x00080020: b"DA",
    0x00080030: b"TM",
    0x00080050: b"SH",
    0x00080060: b"CS",
    0x00080090: b"PN",
    0x00081030: b"LO",
    0x0008103E: b"LO",
    0x00100010: b"PN",
    0x00100020: b"LO",
    0x00100021: b"LO",
    0x00100030: b"DA",
    0x00100040: b"CS",
    0x00180015: b"CS",
    0x00200010: b"SH",
    0x00200011: b"IS",
    0x00200013: b"IS",
    0x00280008: b"IS",
    0x00280010: b"US",
}
_numbers = count(1)


class Node:
    """An intake with a database and a journal of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        folder.mkdir()
        self.database = Database(url)
        migrate(self.database)
        self.journal = Journal(folder / "journal", node="test", segment_bytes=4 << 20)
        self.intake = Intake(self.database, self.journal)

    def take(self, announced: Announced, data_set: bytes) -> tuple[Outcome, str]:
        answer = self.intake.store(announced, SOURCE, data_set)
        return answer.outcome, answer.reason

    def settled(self) -> list[tuple[str, str]]:
        """Freeze every study; return what each manifest says."""
        with self.database.transaction() as tx:
            studies = list(archive.unsettled(tx, arrived_before=tx.at + timedelta(days=1)))
            manifests = [archive.freeze_manifest(tx, each.study_uid) for each in studies]
        return sorted((each.study_uid, each.digest) for each in manifests if each is not None)

    def close(self) -> None:
        self.journal.close()
        self.database.dispose()


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Node, Node]]:
    server = request.getfixturevalue("postgresql")
    folder = tmp_path_factory.mktemp("databases")
    url = server.url(server.create())
    both = Node(folder / "a", f"sqlite:///{folder / 'telerad.db'}"), Node(folder / "b", url)
    yield both
    for node in both:
        node.close()


def explicit(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


@pytest.mark.shared
@pytest.mark.skipif(not ROWS, reason="the odd files are not here")
@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_an_odd_file_fares_the_same(nodes: tuple[Node, Node], name: str) -> None:
    sent = as_sent((ODD / name).read_bytes())
    if sent is None:
        return  # nothing of it could be announced
    here, there = (node.take(sent.announced, sent.data_set) for node in nodes)

    assert here == there


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(TEXTS)),
        st.one_of(
            st.binary(max_size=80),
            st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.from_regex(rb"[0-9]{1,14}", fullmatch=True),
            st.builds(lambda part, times: part * times, st.binary(max_size=9), st.integers(1, 90)),
            st.sampled_from([b"ISO_IR 192", b"ISO_IR 144", b"GB18030", b"\\ISO 2022 IR 87"]),
        ),
    )
)
def test_any_values_fare_the_same(nodes: tuple[Node, Node], values: dict[int, bytes]) -> None:
    uid = f"{UID}.{next(_numbers)}"
    told = {0x00080016: CT, 0x00080018: uid, 0x0020000D: f"{uid}.1", 0x0020000E: f"{uid}.2"}
    elements = {tag: (b"UI", text.encode()) for tag, text in told.items()}
    elements |= {tag: (TEXTS[tag], value) for tag, value in values.items()}
    data_set = b"".join(explicit(tag, *elements[tag]) for tag in sorted(elements))
    here, there = (node.take(Announced(CT, uid, EXPLICIT_LITTLE), data_set) for node in nodes)

    assert here == there
    assert here[0] in (Outcome.STORED, Outcome.UNREADABLE, Outcome.MISMATCHED)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_performed_step_fares_the_same(
    nodes: tuple[Node, Node], description: str, code: str
) -> None:
    reason = [attribute("CodeValue", code), attribute("CodingSchemeDesignator", description)]
    told = [
        attribute("PerformedProcedureStepID", "1"),
        attribute("PerformedStationAETitle", "VAN1"),
        attribute("PerformedProcedureStepStartDate", "20260302"),
        attribute("PerformedProcedureStepStartTime", "0900"),
        attribute("Modality", "CT"),
        attribute("PerformedProcedureStepStatus", "IN PROGRESS"),
        attribute("PerformedProcedureStepDescription", description),
        sequence("PerformedProcedureStepDiscontinuationReasonCodeSequence", reason),
        sequence("ScheduledStepAttributesSequence", [attribute("StudyInstanceUID", UID)]),
    ]
    syntax = EXPLICIT_LITTLE
    identifier = decode(encode(told, syntax), syntax)
    uid = f"{UID}.{next(_numbers)}"
    step = created(uid, identifier, ae_title="VAN1", organisation_id="site")
    for node in nodes:
        with node.database.transaction() as tx:
            evidence.add_performed(tx, step)
    found = []
    for node in nodes:
        with node.database.reading() as tx:
            found.append(evidence.find_performed(tx, uid))

    assert found == [step, step]


def test_a_failure_that_has_no_name_is_raised_as_it_is(nodes: tuple[Node, Node]) -> None:
    for node in nodes:
        with pytest.raises(DatabaseError) as failed, node.database.transaction() as tx:
            tx.execute(text("INSERT INTO pauses (ae_title) VALUES ('VAN1')"))
        assert failed.value.__cause__ is not failed.value


def test_the_manifests_are_the_same(nodes: tuple[Node, Node]) -> None:
    here, there = (node.settled() for node in nodes)

    assert here
    assert here == there
