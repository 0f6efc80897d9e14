"""The entrances on PostgreSQL: the main job, and the searches whose SQL differs there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.clinic import Clinic
from tests.app.test_access import signed
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


def test_failed_sign_ins_are_limited(clinic: Clinic):
    browser = clinic.browser()
    for _ in range(5):
        browser.sign_in("one", "wrong")

    assert browser.sign_in("one").status_code == 429
