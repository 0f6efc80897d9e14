"""Remarks: what is odd is noted, for each instance once; what is well is not remarked on."""

from contextlib import suppress
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom_node.charsets import character_set
from dicom_node.errors import Unreadable
from dicom_node.examination import CONSUMER, LEASE, Examination, of_instance, reactions
from dicom_node.headers import read_file
from dicom_node.intake import Intake
from dicom_node.part10 import split
from dicom_node.remarks import Remark, of_file
from dicom_node.stow import store_part10
from kernel.facts import StudyCompleted
from storage import remarks
from storage.archive import Archive
from storage.engine import Database
from storage.journal import Journal, SegmentElsewhere
from storage.objects import LocalObjects
from tests.dicom_node.samples import DEFAULTS, a_slice, a_source, as_file, real_files


def of(data_set: Dataset) -> frozenset[Remark]:
    file = as_file(data_set)
    return of_instance(BytesIO(file), len(file))


def wrapped(preamble: bytes) -> frozenset[Remark]:
    file = preamble.ljust(128, b"\0") + as_file(a_slice())[128:]
    header, part = read_file(file, DEFAULTS)
    return of_file(file, part, header)


@pytest.mark.parametrize(
    "preamble", [b"MZ\x90", b"\x7fELF", b"#!/bin/sh", b"PK\3\4", b"  <html>", b"<script>"]
)
def test_a_preamble_that_is_also_a_program_or_page_is_remarked(preamble: bytes) -> None:
    assert wrapped(preamble) == {Remark.ACTIVE_PREAMBLE}


@pytest.mark.parametrize("preamble", [b"", b"II*\0", b"MM\0*", b"scanner 7"])
def test_other_preambles_are_not(preamble: bytes) -> None:
    assert wrapped(preamble) == frozenset()


def test_the_data_set_is_right_where_the_meta_information_names_another_instance() -> None:
    data_set = a_slice()
    file = as_file(data_set).replace(
        str(data_set.SOPInstanceUID).encode(), str(data_set.SOPInstanceUID)[:-1].encode() + b"9", 1
    )
    header, part = read_file(file, DEFAULTS)

    assert header.instance_uid == data_set.SOPInstanceUID
    assert of_file(file, part, header) == {Remark.META_DISAGREES}


def test_what_is_well_is_not_remarked_on() -> None:
    assert of(a_slice()) == frozenset()


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"StudyDate": "20240230"}, Remark.DATE_IMPOSSIBLE),
        ({"Rows": 17}, Remark.PIXELS_SHORT),
        ({"NumberOfFrames": 2}, Remark.PIXELS_SHORT),
        ({"SpecificCharacterSet": "UTF-8"}, Remark.CHARACTER_SET_GUESSED),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_odd_is_named(changes: dict[str, object], remark: Remark) -> None:
    data_set = a_slice()
    for keyword, value in changes.items():
        if keyword == "StudyDate":
            data_set[keyword]._value = value  # pydicom refuses to be told of such a day
        else:
            setattr(data_set, keyword, value)

    assert of(data_set) == {remark}


@given(data=st.data())
def test_any_bytes_can_be_examined(data: st.DataObject) -> None:
    file = bytearray(as_file(a_slice()))
    for _ in range(data.draw(st.integers(1, 5))):
        file[data.draw(st.integers(128, len(file) - 1))] = data.draw(st.integers(0, 255))

    with suppress(Unreadable):
        assert of_instance(BytesIO(file), len(file)) <= set(Remark)


@pytest.mark.filterwarnings("ignore")  # pydicom's, about the files themselves
def test_real_files_are_seldom_odd() -> None:
    files = [path.read_bytes() for path in real_files()]
    admitted = []
    for file in files:
        with suppress(Unreadable):
            read_file(file, DEFAULTS)
            admitted.append(file)
    odd = [of_instance(BytesIO(file), len(file)) for file in admitted]

    assert len(admitted) > len(files) / 2
    assert sum(map(bool, odd)) < len(admitted) / 4


@pytest.mark.parametrize(
    "name", ["Смирнов^Пётр", "Шевченко^Їжак", "Петров^Иван Ёлкин", "Ґалаґан^Євген"]
)
def test_cyrillic_without_a_character_set_is_read_as_such(name: str) -> None:
    assert character_set([""], default="").decode(name.encode("cp1251")) == name


@pytest.mark.parametrize("name", ["Müller^Jürgen", "Buc^Jérôme", "Åström^Östen", "Çelik^Gülşen"])
def test_latin_without_a_character_set_stays_latin(name: str) -> None:
    raw = name.encode("latin_1", "replace")

    assert character_set([""], default="").decode(raw) == raw.decode("latin_1")


def test_a_study_is_examined_once_it_is_complete_and_again_when_it_grew(
    database: Database, journal: Journal, intake: Intake, tmp_path: Path
) -> None:
    archive = Archive(database, journal, LocalObjects(tmp_path / "objects"))
    short = a_slice()
    short.NumberOfFrames = 3
    data = b"MZ".ljust(128, b"\0") + as_file(short)[128:]
    assert split(data).sop_instance_uid == short.SOPInstanceUID
    for _ in range(2):  # sent again, it is remarked on once
        store_part10(intake, data, a_source())
    study = str(short.StudyInstanceUID)
    fact = StudyCompleted(
        subject=study,
        at=database.clock(),
        actor="system:engine",
        study_uid=study,
        manifest_version=1,
        manifest_digest="0" * 64,
        verdict="quiet",
    )
    react = reactions()[CONSUMER][StudyCompleted]
    work = Examination(archive).due_work()[0]

    for _ in range(2):
        with database.transaction() as tx:
            react(tx, fact)
            react(tx, fact)  # told twice
            (due,) = work.due(tx)
        work.run(due)
        work.run(due)  # and another worker had it too
        with database.reading() as tx:
            assert work.due(tx) == []
            noted = {each.code: each.instances for each in remarks.of_study(tx, study)}
        assert noted == {"active_preamble": 1, "pixels_short": 1}


def test_an_examination_asked_for_meanwhile_is_not_lost(database: Database, intake: Intake) -> None:
    store_part10(intake, as_file(a_slice()), a_source())
    study = str(a_slice().StudyInstanceUID)
    with database.transaction() as tx:
        remarks.ask_for(tx, study)
    with database.transaction() as tx:
        claimed = remarks.claim(tx, study, lease=LEASE)
        assert claimed is not None
        assert remarks.claim(tx, study, lease=LEASE) is None
    with database.transaction() as tx:
        remarks.ask_for(tx, study)
    with database.transaction() as tx:
        remarks.done(tx, study, asked_at=claimed)
        assert remarks.due(tx) == [study]


def test_what_lies_out_of_reach_is_examined_later(
    database: Database, journal: Journal, intake: Intake, tmp_path: Path
) -> None:
    short = a_slice()
    short.NumberOfFrames = 3
    store_part10(intake, as_file(short), a_source())
    study = str(short.StudyInstanceUID)
    with database.transaction() as tx:
        remarks.ask_for(tx, study)
    objects = LocalObjects(tmp_path / "objects")
    other = Journal(tmp_path / "other", node="another")
    with pytest.raises(SegmentElsewhere):
        Examination(Archive(database, other, objects)).examine(study)
    other.close()
    clock = database.clock
    database.clock = lambda: clock() + LEASE + timedelta(seconds=1)
    Examination(Archive(database, journal, objects)).examine(study)
    with database.reading() as tx:
        assert [each.code for each in remarks.of_study(tx, study)] == ["pixels_short"]
        assert remarks.due(tx) == []
