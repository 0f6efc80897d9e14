"""The entrances on PostgreSQL: the main job, and the searches whose SQL differs there."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicom_node.workitems.subscriber import GLOBAL
from tests.app.clinic import Clinic
from tests.app.test_access import signed
from tests.app.test_readings import person, readings, states, uid_of
from tests.app.test_workitem_events import channel, events, told
from tests.app.test_workitems import change, created, send
from tests.services.postgresql import PostgreSQL
from worklist.case import CaseState

pytestmark = pytest.mark.service


@pytest.fixture
def clinic(tmp_path: Path, postgresql: PostgreSQL) -> Iterator[Clinic]:
    """A whole engine on a database of its own."""
    made = Clinic(tmp_path / "data", postgresql.url(postgresql.create()))
    yield made
    made.close()


def test_the_main_job_runs_over_http(clinic: Clinic):
    case = signed(clinic)

    assert case.state is CaseState.COMPLETED
    for login in ("one", "east", "head", "patient"):
        assert clinic.browser(login).get(f"/cases/{case.id}").status_code == 200
    assert clinic.browser("head").get("/desk").status_code == 200


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"PatientID": "P-*"}, 1),
        ({"PatientID": "p-1"}, 0),
        ({"PatientID": "p-*"}, 0),
        ({"PatientID": "[P]*"}, 0),
        ({"AccessionNumber": "A_1"}, 0),
        ({"StudyDate": "-20261121"}, 1),
    ],
)
def test_searches_match_as_on_sqlite(clinic: Clinic, query: dict[str, str], found: int):
    clinic.send()

    answer = clinic.program("dicomweb:read").get("/dicomweb/studies", params=query)

    assert answer.status_code == 200
    assert len(answer.json()) == found


def test_instances_are_found_by_their_patient_as_on_sqlite(clinic: Clinic):
    clinic.send()

    keys = {"PatientID": "P-1", "PatientName": "Marked*"}
    answer = clinic.program("dicomweb:read").get("/dicomweb/instances", params=keys)

    assert answer.status_code == 200
    assert len(answer.json()) == 1


def test_failed_sign_ins_are_limited(clinic: Clinic):
    browser = clinic.browser()
    for _ in range(5):
        browser.sign_in("one", "wrong")

    assert browser.sign_in("one").status_code == 429


def test_a_reading_is_claimed_through_its_workitem_and_its_watcher_is_told(clinic: Clinic):
    program = clinic.program("dicomweb:read dicomweb:write")
    path = f"/workitems/{GLOBAL}/subscribers/BOARD?deletionlock=true"
    assert send(program, "POST", path).status_code == 201
    clinic.offered()
    (item,) = readings(clinic)
    _, one = person(clinic, "one")

    assert change(one, uid_of(item), "IN PROGRESS", "1.2.3.77").status_code == 200
    assert change(one, uid_of(item), "IN PROGRESS", "1.2.3.78").status_code == 409
    clinic.settle()

    assert clinic.case().state is CaseState.READING
    assert states(clinic) == ["IN PROGRESS"]
    with channel(program, "BOARD") as socket:
        heard = [told(event) for event in events(socket, 3)]
    assert [(kind, state) for _, kind, state in heard] == [
        (1, "SCHEDULED"),
        (5, ""),
        (1, "IN PROGRESS"),
    ]


def test_two_performers_at_once_and_one_of_them_begins(clinic: Clinic):
    program = clinic.program("dicomweb:read dicomweb:write")
    uid = created(program)

    def begin(lock: int) -> int:
        return change(program, uid, "IN PROGRESS", f"1.2.3.{lock}").status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(begin, range(1, 9)))

    assert answers == [200, *[409] * 7]


def test_who_subscribes_to_all_while_workitems_come_misses_none(clinic: Clinic):
    program = clinic.program("dicomweb:read dicomweb:write")

    def make(_: int) -> str:
        return created(program)

    with ThreadPoolExecutor(6) as pool:
        making = [pool.submit(make, at) for at in range(24)]
        path = f"/workitems/{GLOBAL}/subscribers/LATE"
        assert send(program, "POST", path).status_code == 201
        uids = {each.result() for each in making}
    for uid in uids:
        assert change(program, uid, "IN PROGRESS", "1.2.3.77").status_code == 200

    begun = set()
    with channel(program, "LATE") as socket:
        while begun != uids:
            ((uid, _, state),) = [told(event) for event in events(socket, 1)]
            begun |= {uid} if state == "IN PROGRESS" else set()
