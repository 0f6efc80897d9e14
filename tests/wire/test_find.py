"""C-FIND against a real node: by pynetdicom, by DCMTK's findscu, and byte by byte."""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import update

from dicom_node import data_sets
from dicom_node.large_requests import LARGE, LargeRequests
from dicom_node.uids import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PATIENT_ROOT_FIND,
    STUDY_ROOT_FIND,
)
from storage import audit
from storage.tables.archive import INSTANCES
from tests.dicom_node.samples import a_slice, as_file, as_sent
from tests.wire.conftest import MAX_MATCHES, Node, start
from tests.wire.holdings import HELD, Held, stock
from tests.wire.inquirer import ask, connect, identifier
from tests.wire.speaker import CALLING, Speaker, command, pdu, pdv, until

SUCCESS, REFUSED, TOO_MANY, CANCELLED = 0x0000, 0xA900, 0xA700, 0xFE00
PENDING, PENDING_WARNING = 0xFF00, 0xFF01


def found_uids(node: Node, root: str = STUDY_ROOT_FIND, **keys: object) -> set[str]:
    final, found, _ = ask(node, identifier("STUDY", StudyInstanceUID="", **keys), root=root)
    assert final == SUCCESS
    return {str(answer.StudyInstanceUID) for answer in found}


def of(*numbers: int) -> set[str]:
    return {held.uid for held in HELD if held.number in numbers}


@pytest.mark.parametrize(
    ("keys", "numbers"),
    [
        ({}, (1, 2, 3, 4, 5)),
        ({"PatientID": "P-1"}, (1, 2)),
        ({"PatientID": "P-*"}, (1, 2, 3, 4)),
        ({"PatientID": "P-?"}, (1, 2, 3)),
        ({"PatientID": "Q%5"}, (5,)),
        ({"PatientID": "%"}, ()),
        ({"AccessionNumber": "B_?"}, (4,)),
        ({"AccessionNumber": "*1"}, (1, 3, 4)),
        ({"PatientName": "ахметова*"}, (1, 2)),
        ({"PatientName": "АХМЕТОВА^АЙГҮЛ"}, (1, 2)),
        ({"PatientName": "MÜLLER^*"}, (3,)),
        ({"PatientName": "MULLER*"}, (3,)),
        ({"PatientName": "Мюллер^Йорг"}, (3,)),
        ({"PatientName": "*ueller^j*"}, (3,)),
        ({"PatientName": "Akhmetova^A*"}, (1, 2)),
        ({"PatientName": "*^Айгуль"}, (1, 2)),
        ({"PatientName": "Ivanova*"}, ()),
        ({"PatientName": "Иванов^Иван"}, (4,)),
        ({"PatientName": ["nobody", "mueller^*", "o’hara*"]}, (3, 5)),
        ({"PatientName": "ivanov^ivan"}, (4,)),
        ({"PatientName": "Иванов*"}, (4,)),
        ({"PatientName": "o'hara^scarlett"}, (5,)),
        ({"PatientName": "hara*"}, ()),
        ({"StudyDate": "20260102"}, (1, 5)),
        ({"StudyDate": "20260101-20260209"}, (1, 5)),
        ({"StudyDate": "20260103-"}, (2,)),
        ({"StudyDate": "-20251231"}, (3,)),
        ({"StudyTime": "0800-0900"}, (2,)),
        ({"StudyTime": "1015"}, (1, 4)),
        ({"StudyTime": "235900"}, (3,)),
        ({"StudyDescription": "CT*"}, (1,)),
        ({"PatientSex": "M"}, (3,)),
        ({"PatientBirthDate": "19700101-19701231"}, (1, 2, 4, 5)),
        ({"ModalitiesInStudy": "CR"}, (2, 3)),
        ({"ModalitiesInStudy": "S*"}, (3,)),
        ({"ModalitiesInStudy": ["SR", "XX"]}, (3,)),
        ({"PatientID": "P-1", "StudyDate": "20260210"}, (2,)),
        ({"NumberOfStudyRelatedInstances": "4"}, (3,)),
    ],
)
def test_a_study_is_found_by_what_matches(
    stocked: Node, keys: dict[str, object], numbers: tuple[int, ...]
) -> None:
    assert found_uids(stocked, **keys) == of(*numbers)


def test_a_list_of_uids_finds_each(stocked: Node) -> None:
    asked = identifier("STUDY", StudyInstanceUID=[HELD[0].uid, HELD[2].uid, "1.2.3"])

    _, found, _ = ask(stocked, asked)

    assert {str(answer.StudyInstanceUID) for answer in found} == of(1, 3)


def test_an_answer_has_what_was_asked_in_utf_8_and_where_to_retrieve(stocked: Node) -> None:
    asked = identifier(
        "STUDY",
        StudyInstanceUID=HELD[2].uid,
        PatientName="",
        PatientID="",
        ModalitiesInStudy="",
        SOPClassesInStudy="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
        StudyDescription="",
    )

    final, (answer,), pending = ask(stocked, asked)

    assert (final, pending) == (SUCCESS, [PENDING])
    assert answer.SpecificCharacterSet == "ISO_IR 192"
    assert answer.QueryRetrieveLevel == "STUDY"
    assert answer.RetrieveAETitle == "TELERAD"
    assert answer.InstanceAvailability == "ONLINE"
    assert str(answer.PatientName) == "Müller^Jörg"
    assert answer.PatientID == "P-2"
    assert list(answer.ModalitiesInStudy) == ["CR", "CT", "SR"]
    assert len(answer.SOPClassesInStudy) == 2
    assert answer.NumberOfStudyRelatedSeries == 3
    assert answer.NumberOfStudyRelatedInstances == 4
    assert answer.StudyDescription == ""
    assert "AccessionNumber" not in answer


@pytest.fixture
def own_stock(tmp_path: Path) -> Iterator[Node]:
    """Give the studies of `holdings` to a node that a test may change."""
    node = start(tmp_path)
    stock(node)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def test_what_lies_in_the_journal_of_another_node_is_said_to_be_unavailable(
    own_stock: Node,
) -> None:
    away = HELD[2]
    of_series = INSTANCES.c.series_uid == f"{away.uid}.1"
    with own_stock.database.transaction() as tx:
        tx.execute(update(INSTANCES).where(of_series).values(segment="test2-0.seg"))

    def told(level: str, unique: str, **keys: object) -> dict[str, str]:
        _, found, _ = ask(own_stock, identifier(level, **{**keys, unique: ""}))
        return {str(each[unique].value): each.InstanceAvailability for each in found}

    of_study = told("SERIES", "SeriesInstanceUID", StudyInstanceUID=away.uid)
    of_images = told(
        "IMAGE",
        "SOPInstanceUID",
        StudyInstanceUID=away.uid,
        SeriesInstanceUID=f"{away.uid}.1",
    )

    studies = told("STUDY", "StudyInstanceUID")
    assert studies.pop(away.uid) == "UNAVAILABLE"
    assert set(studies.values()) == {"ONLINE"}
    assert of_study.pop(f"{away.uid}.1") == "UNAVAILABLE"
    assert set(of_study.values()) == {"ONLINE"}
    assert set(of_images.values()) == {"UNAVAILABLE"}


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
def test_every_message_syntax_is_spoken(stocked: Node, syntax: str) -> None:
    asked = identifier("IMAGE", StudyInstanceUID=HELD[0].uid, SOPInstanceUID="", Rows=None)
    asked.SeriesInstanceUID = f"{HELD[0].uid}.1"

    final, found, _ = ask(stocked, asked, syntax=syntax)

    assert final == SUCCESS
    assert [answer.Rows for answer in found] == [16, 16]


def test_a_name_in_another_character_set_is_found(stocked: Node) -> None:
    asked = identifier("STUDY", StudyInstanceUID="")
    asked.SpecificCharacterSet = "ISO_IR 144"
    asked.PatientName = "Ахметова*"

    _, found, _ = ask(stocked, asked)

    assert {str(answer.StudyInstanceUID) for answer in found} == of(1, 2)


def test_keys_that_are_not_supported_are_left_out_and_said(stocked: Node) -> None:
    asked = identifier("STUDY", StudyInstanceUID=HELD[0].uid, InstitutionName="x*")

    _, (answer,), pending = ask(stocked, asked)

    assert pending == [PENDING_WARNING]
    assert "InstitutionName" not in answer


def test_patients_are_found_on_the_patient_root(stocked: Node) -> None:
    asked = identifier(
        "PATIENT",
        PatientID="P*",
        PatientName="",
        NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedInstances="",
    )

    final, found, _ = ask(stocked, asked, root=PATIENT_ROOT_FIND)

    assert final == SUCCESS
    counted = {
        str(each.PatientID): (
            int(each.NumberOfPatientRelatedStudies),
            int(each.NumberOfPatientRelatedInstances),
        )
        for each in found
    }
    assert counted == {"P-1": (2, 3), "P-2": (1, 4), "P-22": (1, 2)}


def test_series_and_images_are_found_below_their_study(stocked: Node) -> None:
    series = identifier(
        "SERIES",
        StudyInstanceUID=HELD[2].uid,
        SeriesInstanceUID="",
        Modality="CR",
        NumberOfSeriesRelatedInstances="",
    )
    _, (found,), _ = ask(stocked, series)
    assert found.SeriesInstanceUID == f"{HELD[2].uid}.2"
    assert found.NumberOfSeriesRelatedInstances == 2

    images = identifier(
        "IMAGE",
        StudyInstanceUID=HELD[2].uid,
        SeriesInstanceUID=found.SeriesInstanceUID,
        SOPInstanceUID="",
        InstanceNumber="2",
    )
    _, (image,), _ = ask(stocked, images)
    assert image.SOPInstanceUID == f"{HELD[2].uid}.2.2"


def a_request(**numbers: str) -> list[Dataset]:
    item = Dataset()
    for keyword, value in numbers.items():
        setattr(item, keyword, value)
    return [item]


@pytest.mark.filterwarnings("ignore:The value length")  # pydicom, of what is sent and asked
def test_an_identifier_longer_than_any_may_be_finds_its_patient_alone(tmp_path: Path) -> None:
    sent = [a_slice(study=number) for number in (71, 72)]
    identifiers = [f"{'7' * 80}{number}" for number in (1, 2)]
    for data_set, patient_id in zip(sent, identifiers, strict=True):
        data_set.PatientID = patient_id

    node = start(tmp_path)
    with node.speak() as speaker:
        speaker.associate((sent[0].SOPClassUID, EXPLICIT_LITTLE))
        for data_set in sent:
            assert speaker.store(*as_sent(as_file(data_set))) == 0
        speaker.release()

    uids = [str(each.StudyInstanceUID) for each in sent]
    assert found_uids(node, PatientID=identifiers[0]) == {uids[0]}
    assert found_uids(node, PatientID=[*identifiers, "P*"]) == set(uids)
    node.listener.stop(timedelta(seconds=5))


def test_series_are_found_by_the_step_of_their_request(tmp_path: Path) -> None:
    node = start(tmp_path)
    sent = [a_slice(study=number) for number in (61, 62)]
    for number, data_set in enumerate(sent, 1):
        data_set.PerformedProcedureStepStartDate = f"2026030{number}"
        data_set.RequestAttributesSequence = a_request(
            ScheduledProcedureStepID=f"S{number}", RequestedProcedureID="P"
        )
    with node.speak() as speaker:
        speaker.associate((sent[0].SOPClassUID, EXPLICIT_LITTLE))
        for data_set in sent:
            assert speaker.store(*as_sent(as_file(data_set))) == 0
        speaker.release()

    def found(**keys: object) -> tuple[list[Dataset], set[int]]:
        asked = identifier("SERIES", StudyInstanceUID=sent[1].StudyInstanceUID, **keys)
        final, answers, pending = ask(node, asked)
        assert final == SUCCESS
        return answers, set(pending)

    step = a_request(ScheduledProcedureStepID="S2", RequestedProcedureID="")
    (answer,), pending = found(RequestAttributesSequence=step, PerformedProcedureStepStartDate="")
    assert pending == {PENDING}
    assert answer.PerformedProcedureStepStartDate == "20260302"
    assert answer.RequestAttributesSequence[0].ScheduledProcedureStepID == "S2"
    assert answer.RequestAttributesSequence[0].RequestedProcedureID == "P"
    other = a_request(ScheduledProcedureStepID="S1")
    assert found(RequestAttributesSequence=other) == ([], set())
    assert found(PerformedProcedureStepStartDate="20260303-") == ([], set())
    unread = a_request(ScheduledProcedureStepID="S2", RequestedProcedureDescription="x")
    assert found(RequestAttributesSequence=unread)[1] == {PENDING_WARNING}

    def lies(**place: object) -> None:
        with node.database.transaction() as tx:
            tx.execute(update(INSTANCES).values(**place))

    asked = identifier("SERIES", StudyInstanceUID=sent[1].StudyInstanceUID)
    asked.PerformedProcedureStepStartDate = "20260303"
    lies(segment="another-node-1.seg")
    assert ask(node, asked) == (TOO_MANY, [], [])
    assert found(PerformedProcedureStepStartDate="")[1] == {PENDING_WARNING}
    lies(segment="test-gone.seg")
    (damaged,), pending = found(PerformedProcedureStepStartDate="20260303")
    assert damaged.StudyInstanceUID == sent[1].StudyInstanceUID
    assert not damaged.PerformedProcedureStepStartDate
    assert pending == {PENDING_WARNING}
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


@pytest.mark.parametrize(
    ("root", "asked"),
    [
        (STUDY_ROOT_FIND, identifier("PATIENT", PatientID="P-1")),
        (STUDY_ROOT_FIND, identifier("NONSENSE", StudyInstanceUID="")),
        (STUDY_ROOT_FIND, identifier("", StudyInstanceUID="")),
        (STUDY_ROOT_FIND, identifier("SERIES", SeriesInstanceUID="")),
        (STUDY_ROOT_FIND, identifier("SERIES", StudyInstanceUID=["1.2", "1.3"])),
        (STUDY_ROOT_FIND, identifier("IMAGE", StudyInstanceUID="1.2", SOPInstanceUID="")),
        (PATIENT_ROOT_FIND, identifier("STUDY", StudyInstanceUID="")),
        (PATIENT_ROOT_FIND, identifier("STUDY", PatientID="P*", StudyInstanceUID="")),
    ],
)
def test_what_does_not_fit_the_model_is_refused(stocked: Node, root: str, asked: Dataset) -> None:
    final, found, _ = ask(stocked, asked, root=root)

    assert (final, found) == (REFUSED, [])


@pytest.mark.parametrize(
    ("asked", "tag"),
    [
        (identifier("PATIENT", PatientID="P-1"), 0x00080052),
        (identifier("SERIES", SeriesInstanceUID=""), 0x0020000D),
        (identifier("IMAGE", StudyInstanceUID="1.2", SOPInstanceUID=""), 0x0020000E),
    ],
)
def test_a_refusal_names_the_attribute(stocked: Node, asked: Dataset, tag: int) -> None:
    association = connect(stocked, STUDY_ROOT_FIND)
    ((status, _),) = association.send_c_find(asked, STUDY_ROOT_FIND)
    association.release()

    assert (int(status.Status), status.OffendingElement) == (REFUSED, tag)
    assert status.ErrorComment


def test_relational_queries_need_no_key_above_once_negotiated(stocked: Node) -> None:
    asked = identifier("IMAGE", SOPInstanceUID="", PatientName="müller*", Modality="SR")

    final, (image,), _ = ask(stocked, asked, extended=b"\1\0\0")

    assert final == SUCCESS
    assert image.SOPInstanceUID == f"{HELD[2].uid}.3.1"


def test_the_extended_negotiation_says_what_is_agreed(stocked: Node) -> None:
    association = connect(stocked, STUDY_ROOT_FIND, extended=b"\1\1\1\1")

    agreed = association.acceptor.sop_class_extended
    association.release()

    assert agreed == {STUDY_ROOT_FIND: b"\1\1\0\0"}


def test_date_and_time_are_one_moment_only_where_negotiated(stocked: Node) -> None:
    asked = identifier(
        "STUDY", StudyInstanceUID="", StudyDate="20260102-20260210", StudyTime="100000-090000"
    )

    _, apart, _ = ask(stocked, asked)
    _, at_once, _ = ask(stocked, asked, extended=b"\0\1")

    assert apart == []
    assert {str(answer.StudyInstanceUID) for answer in at_once} == of(1, 2)


def test_a_site_sees_what_it_sent_and_a_reading_centre_sees_all(stocked: Node) -> None:
    asked = identifier("STUDY", StudyInstanceUID="")
    seen = {
        calling: {str(each.StudyInstanceUID) for each in ask(stocked, asked, calling=calling)[1]}
        for calling in ("VAN2", "OTHER_SITE", "READING")
    }

    assert seen == {
        "VAN2": of(1, 2, 3, 4, 5),
        "OTHER_SITE": of(6),
        "READING": of(1, 2, 3, 4, 5, 6),
    }


def test_a_query_leaves_a_trace_without_what_was_looked_for(stocked: Node) -> None:
    def trace() -> list[audit.Entry]:
        with stocked.database.reading() as tx:
            return [each for each in audit.latest(tx) if each.subject == "ae:OTHER_SITE"]

    before = len(trace())
    ask(stocked, identifier("STUDY", PatientName="Sidorov*"), calling="OTHER_SITE")
    until(lambda: len(trace()) > before)

    entry = trace()[0]
    assert entry.action == "studies.queried"
    assert entry.detail == {"level": "STUDY", "keys": ["PatientName"], "matches": 1}


def test_a_peer_that_breaks_a_query_off_leaves_a_trace_all_the_same(stocked: Node) -> None:
    def trace() -> list[audit.Entry]:
        with stocked.database.reading() as tx:
            return [each for each in audit.latest(tx) if each.subject == "ae:READING"]

    before = len(trace())
    with stocked.speak("READING") as speaker:
        speaker.associate((STUDY_ROOT_FIND, IMPLICIT_LITTLE))
        # In one write: behind it, the answers might all be out before the node hears of the end.
        say_find(speaker, identifier("STUDY", PatientName=""), then=pdu(7, bytes(4)))
    until(lambda: len(trace()) > before)

    entry = trace()[0]
    assert (entry.action, entry.outcome) == ("studies.queried", "broken_off")


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Node]:
    node = start(tmp_path)
    studies = [
        Held(number=1000 + n, patient_id=f"M-{n % 7}", name="Many^One", series=(("CT", 1),))
        for n in range(MAX_MATCHES + 20)
    ]
    stock(node, studies)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def say_find(speaker: Speaker, asked: Dataset, *, then: bytes = b"") -> None:
    attributes = [
        data_sets.attribute(each.keyword, str(each.value or "")) for each in asked if each.keyword
    ]
    data = data_sets.encode(attributes, IMPLICIT_LITTLE)
    request = command(0x20, sop_class=STUDY_ROOT_FIND, has_data=True)
    speaker.say(pdu(4, pdv(1, 3, request)) + pdu(4, pdv(1, 2, data)) + then)


def test_pages_follow_each_other_and_end_at_the_limit(many: Node) -> None:
    final, found, _ = ask(many, identifier("STUDY", StudyInstanceUID=""))
    assert final == TOO_MANY
    assert len({str(each.StudyInstanceUID) for each in found}) == MAX_MATCHES

    final, found, _ = ask(many, identifier("STUDY", StudyInstanceUID="", PatientID="M-3"))
    assert final == SUCCESS
    assert len(found) == len([n for n in range(MAX_MATCHES + 20) if n % 7 == 3])


def test_a_cancelled_query_ends_and_the_association_lives(many: Node) -> None:
    with many.speak() as speaker:
        speaker.associate((STUDY_ROOT_FIND, IMPLICIT_LITTLE))
        cancel = bytearray(command(0x0FFF, sop_class=STUDY_ROOT_FIND))
        at = bytes(cancel).index(struct.pack("<HH", 0, 0x0110))
        cancel[at : at + 4] = struct.pack("<HH", 0, 0x0120)
        say_find(speaker, identifier("STUDY", StudyInstanceUID=""))
        speaker.say(pdu(4, pdv(1, 3, bytes(cancel))))
        final, answers = last_status(speaker)
        assert final == CANCELLED
        assert answers < MAX_MATCHES
        say_find(speaker, identifier("STUDY", StudyInstanceUID="", PatientID="nobody"))
        assert last_status(speaker) == (SUCCESS, 0)


def last_status(speaker: Speaker) -> tuple[int, int]:
    """Listen until an operation ends; return its final status and how many answers came."""
    answers = 0
    while True:
        kind, body = speaker.hear()
        assert kind == 4
        if not body[5] & 1:
            continue
        at = body.index(struct.pack("<HHI", 0, 0x0900, 2))
        (status,) = struct.unpack_from("<H", body, at + 8)
        if status not in (PENDING, PENDING_WARNING):
            return status, answers
        answers += 1


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00\x52\x00\xff\xff\xff\x7fSTUDY",
        b"junk",
        b"\x08\x00\x15\x11\xff\xff\xff\xff" * 40,  # sequences in sequences without an end
        b"",
    ],
)
def test_an_identifier_that_is_none_is_refused_and_the_association_lives(
    stocked: Node, data: bytes
) -> None:
    with stocked.speak() as speaker:
        speaker.associate((STUDY_ROOT_FIND, IMPLICIT_LITTLE))
        for _ in range(2):
            request = command(0x20, sop_class=STUDY_ROOT_FIND, has_data=True)
            speaker.say(pdu(4, pdv(1, 3, request)) + pdu(4, pdv(1, 2, data)))
            assert last_status(speaker) == (REFUSED, 0)


@pytest.mark.parametrize(
    ("keyword", "value"), [("AccessionNumber", "*a" * 30_000), ("PatientName", "?" * 5000)]
)
def test_a_pattern_longer_than_a_database_compares_is_refused(
    stocked: Node, keyword: str, value: str
) -> None:
    association = connect(stocked, STUDY_ROOT_FIND)
    asked = identifier("STUDY", **{keyword: value})
    ((status, _),) = association.send_c_find(asked, STUDY_ROOT_FIND)
    association.release()

    assert int(status.Status) == REFUSED
    assert status.ErrorComment == "a value with wild cards has at most 4096 characters"


def test_a_pattern_as_long_as_may_be_is_compared(stocked: Node) -> None:
    assert found_uids(stocked, PatientName="*щ" * 2048) == set()


def test_large_requests_wait_for_each_other_and_small_ones_for_none(tmp_path: Path) -> None:
    node = start(tmp_path)
    large = node.listener._large = LargeRequests(at_once=1, patience=timedelta(0))
    wanted = identifier("STUDY", StudyInstanceUID=["1.2.3"] * 30_000)
    try:
        with large.place(LARGE):
            assert ask(node, wanted)[0] == TOO_MANY
            assert found_uids(node) == set()
        assert ask(node, wanted)[0] == SUCCESS
    finally:
        node.listener.stop(timedelta(seconds=5))
        node.journal.close()
        node.database.dispose()


def test_an_identifier_without_end_and_a_request_too_early_break_the_association(
    stocked: Node,
) -> None:
    request = command(0x20, sop_class=STUDY_ROOT_FIND, has_data=True)
    with stocked.speak() as speaker:
        speaker.associate((STUDY_ROOT_FIND, IMPLICIT_LITTLE))
        speaker.say(pdu(4, pdv(1, 3, request)))
        endless = pdu(4, pdv(1, 0, bytes(100_000)))
        with pytest.raises(OSError):  # noqa: PT011 - however the connection ends
            while True:  # what comes after the abort is passed over for a moment
                speaker.say(endless)
    assert stocked.answers()


@pytest.mark.skipif(shutil.which("findscu") is None, reason="needs DCMTK")
def test_findscu_finds(stocked: Node) -> None:
    keys = ["QueryRetrieveLevel=STUDY", "PatientID=P-2", "StudyInstanceUID"]
    address = ["-aec", "TELERAD", "-aet", CALLING, "127.0.0.1", str(stocked.port)]
    done = subprocess.run(
        ["findscu", "-v", "-S", *address, *(part for key in keys for part in ("-k", key))],
        capture_output=True,
        text=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=30,
    )

    assert done.returncode == 0, done.stderr
    assert HELD[2].uid in done.stdout + done.stderr
    assert "Received Final Find Response (Success)" in done.stdout + done.stderr
