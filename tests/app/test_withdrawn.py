"""A withdrawn study over HTTP: on no route of DICOMweb, whoever asks."""

from collections.abc import Iterator

import pytest

from app import keeping
from app.http.application import create_app
from kernel.people import Actor, Role
from storage import withdrawals
from storage.retention import Retention
from tests.app.clinic import Clinic
from tests.app.test_sight import SEARCHES, Site, routes

BY = Actor("user:admin", Role.ADMINISTRATOR)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    clinic = Clinic(tmp_path_factory.mktemp("withdrawn"))
    yield Site(clinic)
    clinic.close()


def test_every_route_that_shows_a_study_shows_it_no_more_and_then_again(site: Site) -> None:
    walked = [
        template
        for method, template in routes(create_app(site.clinic.engine).routes)
        if method == "GET" and ("study" in template or template in SEARCHES or "wado" in template)
    ]
    assert len(walked) > 15
    before = {template: site.east.get(site.filled(template)).status_code for template in walked}
    assert set(before.values()) <= {200, 206}
    with site.clinic.parts.database.transaction() as tx:
        made = keeping.withdraw(
            tx, site.uids["study_uid"], "113001", Retention(), organisation="east", actor=BY
        )
    for template in walked:
        for who in (site.east, site.node):
            answer = who.get(site.filled(template))
            if template in SEARCHES:
                assert answer.status_code in (200, 204, 404), template
                assert site.uids["study_uid"] not in answer.text, template
            else:
                assert answer.status_code == 404, template
    with site.clinic.parts.database.transaction() as tx:
        withdrawals.restore(tx, made.number, actor=BY)
    for template in walked:
        assert site.east.get(site.filled(template)).status_code == before[template], template
