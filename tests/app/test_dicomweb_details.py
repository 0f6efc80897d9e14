"""QIDO-RS by what a series says beyond the index: performed when, for which step of a request."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select, update

from kernel.people import Actor, Role
from storage import corrections
from storage.tables.archive import INSTANCES
from tests.app.clinic import multipart
from tests.app.stocked import ROOT, Stocked, stocked_clinic
from tests.dicom_node.samples import a_slice, as_file

BY = Actor("user:clerk", Role.ADMINISTRATOR)
ONE, TWO, THREE = f"{ROOT}.51", f"{ROOT}.52", f"{ROOT}.53"
REQUEST, STEP = "00400275", "00400275.00400009"


def performed(study: int, day: str, *steps: str) -> list[bytes]:
    files = []
    for number in (1, 2):
        data_set = a_slice(number, study=study)
        data_set.AccessionNumber = "A-1"
        data_set.PerformedProcedureStepStartDate = data_set.SeriesDate = day
        data_set.PerformedProcedureStepStartTime = "101500"
        items = []
        for step in steps:
            item = Dataset()
            item.AccessionNumber, item.ScheduledProcedureStepID = "A-1", step
            item.RequestedProcedureID = f"P-{step}"
            items.append(item)
        data_set.RequestAttributesSequence = items
        files.append(as_file(data_set))
    return files


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    with stocked_clinic(tmp_path_factory.mktemp("details") / "data") as held:
        files = [*performed(51, "20260301", "S1"), *performed(52, "20260302", "S2", "S3")]
        program = held.clinic.program("dicomweb:write")
        stored = program.post("/dicomweb/studies", **multipart(*files, *performed(53, "20260303")))
        assert stored.status_code == 200
        yield held


def found(stocked: Stocked, path: str) -> list[str]:
    answer = stocked.get(path)
    assert answer.status_code == 200, answer.text
    return sorted({row["0020000D"]["Value"][0] for row in answer.json()})


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ("PerformedProcedureStepStartDate=20260301", [ONE]),
        ("00400244=20260302-", [TWO, THREE]),
        ("PerformedProcedureStepStartDate=20260301-20260303&SeriesDate=20260302", [TWO]),
        ("PerformedProcedureStepStartTime=1015&Modality=CT", [ONE, TWO, THREE]),
        ("RequestAttributesSequence.ScheduledProcedureStepID=S3", [TWO]),
        (f"{STEP}=S*", [ONE, TWO]),
        ("00400275.RequestedProcedureID=P-S1", [ONE]),
        (f"{STEP}=S2&{REQUEST}.00401001=P-S2", [TWO]),
        (f"{STEP}=S2&{REQUEST}.00401001=P-S3", []),
        (f"{STEP}=S1&StudyInstanceUID={TWO}", []),
        (f"{STEP}=", None),
    ],
)
def test_series_are_found_by_what_they_say_of_themselves(
    stocked: Stocked, query: str, studies: list[str] | None
):
    everything = found(stocked, "series")
    wanted = everything if studies is None else studies

    assert found(stocked, f"series?{query}") == wanted
    assert found(stocked, f"instances?{query}") == wanted


def test_what_was_matched_and_what_was_asked_for_is_answered(stocked: Stocked):
    (row,) = stocked.get(f"studies/{TWO}/series?{STEP}=S3&includefield=00080021").json()
    (plain,) = stocked.get(f"studies/{TWO}/series").json()
    (named,) = stocked.get(f"studies/{TWO}/series?includefield={STEP},SeriesTime").json()
    one = stocked.get(f"studies/{TWO}/instances?SeriesDate=20260302").json()[0]

    assert list(row) == sorted(row)
    assert row["00080021"]["Value"] == one["00080021"]["Value"] == ["20260302"]
    steps = [item["00400009"]["Value"] for item in row[REQUEST]["Value"]]
    assert steps == [["S2"], ["S3"]]
    assert row.keys() - plain.keys() == {"00080021", REQUEST}
    assert named[REQUEST] == row[REQUEST]
    assert named["00080031"] == {"vr": "TM"}


def test_pages_of_what_is_found_so_follow_each_other(stocked: Stocked):
    first = stocked.get(f"instances?{STEP}=S*&limit=3")
    second = stocked.get(f"instances?{STEP}=S*&limit=3&offset=3")

    uids = [row["00080018"]["Value"][0] for page in (first, second) for row in page.json()]
    assert len(uids) == len(set(uids)) == 4
    assert "warning" in first.headers
    assert "warning" not in second.headers


def test_a_key_of_the_index_is_answered_too_when_it_is_matched(stocked: Stocked):
    ct = "1.2.840.10008.5.1.4.1.1.2"
    (row,) = stocked.get(f"studies?SOPClassesInStudy={ct}&StudyInstanceUID={ONE}").json()

    assert row["00080062"]["Value"] == [ct]


@pytest.mark.parametrize(
    "path",
    [
        f"studies?{STEP}=S1",
        "studies?SeriesDate=20260301",
        f"series?{REQUEST}=S1",
        f"series?{REQUEST}.00100010=Doe",
        f"series?{STEP}.00400009=S1",
        f"series?{STEP}=S1&{STEP}=S2",
        "series?SeriesDate=soon",
        "series?00400244.00400009=1",
        "series?.=1",
        "series?00400009=S1",
    ],
)
def test_what_cannot_be_matched_so_is_refused(stocked: Stocked, path: str):
    answer = stocked.get(path)

    assert answer.status_code == 400
    assert answer.json()["code"] == "dicomweb.query_refused"


@contextmanager
def lying(stocked: Stocked, study_uid: str, **place: object) -> Iterator[None]:
    """Say that the instances of a study lie somewhere else, for the time of a block."""
    mine = INSTANCES.c.study_uid == study_uid
    names = [INSTANCES.c[name] for name in place]
    with stocked.clinic.parts.database.transaction() as tx:
        before = dict(tx.execute(select(*names).where(mine)).mappings().first() or {})
        tx.execute(update(INSTANCES).where(mine).values(**place))
    try:
        yield
    finally:
        with stocked.clinic.parts.database.transaction() as tx:
            tx.execute(update(INSTANCES).where(mine).values(**before))


ELSEWHERE = {"segment": "another-node-1.seg"}
LOST = {"offset": 1 << 40}


def test_a_search_by_what_cannot_be_read_now_is_to_be_tried_later(stocked: Stocked):
    with lying(stocked, TWO, **ELSEWHERE):
        answer = stocked.get("series?SeriesDate=20260302")
        other = stocked.get(f"series?SeriesDate=20260301&StudyInstanceUID={ONE}")
        shown = stocked.get(f"studies/{TWO}/series?includefield=SeriesDate")

    assert answer.status_code == 503
    assert answer.json()["code"] == "storage.segment_elsewhere"
    assert int(answer.headers["Retry-After"]) > 0
    assert other.status_code == 200
    assert "warning" not in other.headers
    (row,) = shown.json()
    assert "00080021" not in row
    assert "cannot be read" in shown.headers["warning"]
    assert found(stocked, "series?SeriesDate=20260302") == [TWO]


def test_a_series_that_is_damaged_is_given_and_said_not_to_be_matched(stocked: Stocked):
    with lying(stocked, TWO, **LOST):
        answer = stocked.get("series?SeriesDate=20260301&limit=1")
        second = stocked.get("series?SeriesDate=20260301&limit=1&offset=1")

    rows = [*answer.json(), *second.json()]
    assert sorted(row["0020000D"]["Value"][0] for row in rows) == [ONE, TWO]
    warnings = [each.headers.get("warning", "") for each in (answer, second)]
    assert "additional results" in warnings[0]
    assert sum("cannot be read" in each for each in warnings) == 1


def test_a_corrected_number_of_the_request_is_the_one_that_is_found(stocked: Stocked):
    with stocked.clinic.parts.database.transaction() as tx:
        corrections.renumber_study(tx, ONE, "A-8", reason="typed wrong", actor=BY)
    number = f"{REQUEST}.00080050"

    assert found(stocked, f"series?{number}=A-8") == [ONE]
    assert found(stocked, f"series?{number}=A-1") == [TWO]
