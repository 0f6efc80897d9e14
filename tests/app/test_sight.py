"""What the program of one site sees of another's studies over DICOMweb: nothing, on every route."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydicom import dcmread

from app.http.application import create_app
from kernel.ids import derived_uid
from storage import audit
from tests.app.clinic import Clinic, multipart
from tests.app.web_server import WebServer

SCOPES = "dicomweb:read dicomweb:write dicomweb:delete"
SEARCHES = {
    "/dicomweb/studies",
    "/dicomweb/series",
    "/dicomweb/instances",
    "/dicomweb/studies/{study_uid}/series",
    "/dicomweb/studies/{study_uid}/instances",
    "/dicomweb/studies/{study_uid}/series/{series_uid}/instances",
}
WRITES = {"/dicomweb/studies", "/dicomweb/studies/{study_uid}"}


class Site:
    """A clinic with one study, stored by the program of the site 'east'."""

    def __init__(self, clinic: Clinic) -> None:
        self.clinic = clinic
        self.east = clinic.program(SCOPES, "east")
        self.west = clinic.program(SCOPES, "west")
        self.node = clinic.program(SCOPES)
        self.film = clinic.film()
        stored = self.east.post("/dicomweb/studies", **multipart(self.film))
        assert stored.status_code == 200, stored.text
        (one,) = stored.json()["00081199"]["Value"]
        parts = urlsplit(one["00081190"]["Value"][0]).path.split("/")
        self.uids = dict(zip(("study_uid", "series_uid", "instance_uid"), parts[3::2], strict=True))
        address = "/".join(parts)
        metadata = self.east.get(f"{address}/metadata").json()
        bulk = urlsplit(metadata[0]["7FE00010"]["BulkDataURI"]).path
        self.path = bulk.partition("/bulkdata/")[2]

    def filled(self, template: str) -> str:
        """Return the address of the stored instance on a route; a new parameter has to be named."""
        values = {**self.uids, "numbers": "1", "number": "1", "path": self.path}
        found = re.sub(r"{(\w+)(:path)?}", lambda match: values[match[1]], template)
        if template == "/dicomweb/wado":
            asked = dict(
                zip(("studyUID", "seriesUID", "objectUID"), self.uids.values(), strict=True)
            )
            found += "?requestType=WADO&" + "&".join(f"{k}={v}" for k, v in asked.items())
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    clinic = Clinic(tmp_path_factory.mktemp("sight"))
    yield Site(clinic)
    clinic.close()


def routes(found: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield (method, path) of every route of DICOMweb, those of included routers too."""
    for route in found:
        if hasattr(route, "original_router"):
            yield from routes(route.original_router.routes)
        elif str(getattr(route, "path", "")).startswith("/dicomweb"):
            for method in sorted(getattr(route, "methods", None) or {"WEBSOCKET"}):
                yield method, route.path


def test_every_route_hides_the_studies_of_other_sites(site: Site) -> None:
    walked = list(routes(create_app(site.clinic.engine).routes))
    assert len(walked) > 20
    for method, template in walked:
        if template.startswith(("/dicomweb/workitems", "/dicomweb/subscribers")):
            continue  # tests/app/test_workitems.py
        if method == "OPTIONS":
            continue  # says what is served, and nothing of studies: tests/app/test_capabilities.py
        if method == "POST":
            assert template in WRITES, f"{template} is new: say here who may use it"
            continue
        if method == "DELETE" and template.startswith("/dicomweb/studies/"):
            forbidden = site.west.delete(site.filled(template), params={"reason": "113001"})
            assert forbidden.status_code == 404, template
            continue
        assert method == "GET", f"{method} {template} is new: say here who may use it"
        address = site.filled(template)
        own, other = site.east.get(address), site.west.get(address)
        assert own.status_code == 200, f"{template}: {own.text}"
        if template in SEARCHES:
            assert len(own.json()) == 1, template
            assert (other.status_code, other.json()) == (200, []), template
        else:
            assert other.status_code == 404, template
        for uid in site.uids.values():
            shown = other.text.replace(address.partition("?")[0], "")
            assert uid not in shown or other.status_code == 404, template


def test_a_refusal_is_in_the_audit_chain_and_names_the_site(site: Site) -> None:
    with site.clinic.parts.database.reading() as tx:
        refused = [e for e in audit.latest(tx, limit=1000) if e.action == "access.refused"]
        stored = [e for e in audit.latest(tx, limit=1000) if e.action == "instances.stored"]
    assert {(each.subject, each.organisation) for each in refused} >= {
        (f"study:{site.uids['study_uid']}", "west")
    }
    assert {each.organisation for each in stored} >= {"east"}


def test_the_nodes_own_programs_see_all_and_an_unknown_study_is_as_a_hidden_one(
    site: Site,
) -> None:
    assert len(site.node.get("/dicomweb/studies").json()) == 1
    hidden = site.west.get(site.filled("/dicomweb/studies/{study_uid}"))
    unknown = site.west.get("/dicomweb/studies/1.2.3.4")
    assert hidden.status_code == unknown.status_code == 404
    assert {**hidden.json(), "instance": ""} == {**unknown.json(), "instance": ""}


def test_patients_without_an_issuer_are_the_sites_own(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    try:
        film = clinic.film()
        for name in ("east", "west"):
            data = _without_issuer(film, name)
            answer = clinic.program(SCOPES, name).post("/dicomweb/studies", **multipart(data))
            assert answer.status_code == 200
        found = clinic.program(SCOPES).get("/dicomweb/studies").json()
        assert len(found) == 2
        for name in ("east", "west"):
            (own,) = clinic.program(SCOPES, name).get("/dicomweb/studies").json()
            assert own["00100020"]["Value"] == ["P-1"]
    finally:
        clinic.close()


def test_what_a_site_asks_for_is_seen(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path)
    try:
        node = clinic.program(SCOPES)
        west = clinic.program(SCOPES, "west")
        node.post("/dicomweb/studies", **multipart(clinic.film()))
        assert west.get("/dicomweb/studies").json() == []

        clinic.ask(site="west")
        clinic.settle()

        assert len(west.get("/dicomweb/studies").json()) == 1
        study = west.get("/dicomweb/studies").json()[0]["0020000D"]["Value"][0]
        assert west.get(f"/dicomweb/studies/{study}/metadata").status_code == 200
        assert clinic.program(SCOPES, "east").get("/dicomweb/studies").json() == []
    finally:
        clinic.close()


def test_an_organisation_that_reads_for_all_sees_all(site: Site) -> None:
    alpha = site.clinic.program(SCOPES, "alpha")
    assert alpha.get("/dicomweb/studies").json() == []
    seeing = replace(site.clinic.engine, sees_all=frozenset({"alpha"}))
    server = WebServer(create_app(seeing))
    try:
        found = httpx.get(f"{server.url}/dicomweb/studies", headers=alpha.headers)
        assert len(found.json()) == 1
    finally:
        server.close()


def _without_issuer(film: bytes, name: str) -> bytes:
    """Return the film as another study whose patient's id nobody is named for."""
    data_set = dcmread(BytesIO(film))
    del data_set.IssuerOfPatientID
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(data_set, keyword, derived_uid(keyword, name))
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()
