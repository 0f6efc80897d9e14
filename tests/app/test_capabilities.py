"""What DICOMweb says of itself is what it does."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from app.http import dicomweb
from app.http.dicom_transactions import TRANSACTIONS, WADL, Transaction
from tests.app.stocked import ROOT, Stocked, stocked_clinic

NAMESPACE = "{http://wadl.dev.java.net/2009/02}"
STEPS = {
    "{study_uid}": f"{ROOT}.3",
    "{series_uid}": f"{ROOT}.3.2",
    "{instance_uid}": f"{ROOT}.3.2.1",
    "{numbers}": "1,3",
    "{number}": "2",
    "{path:path}": "7FE00010",
}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    with stocked_clinic(tmp_path_factory.mktemp("capabilities") / "data") as held:
        yield held


def routes(of: Any) -> Iterator[tuple[str, str]]:
    for each in of.routes:
        if hasattr(each, "original_router"):
            yield from routes(each.original_router)
        else:
            for method in getattr(each, "methods", None) or ["WS"]:
                yield method, each.path.removeprefix("/dicomweb")


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/redoc"])
def test_the_addresses_of_the_engine_are_told_to_nobody(stocked: Stocked, path: str) -> None:
    assert stocked.program.get(path).status_code == 404


def test_every_route_is_a_transaction_and_each_transaction_a_route() -> None:
    served = {(method, path) for method, path in routes(dicomweb.router) if method != "OPTIONS"}

    assert {(each.method, each.path) for each in TRANSACTIONS if each.path != "/"} == served


def methods(of: Xml.Element, above: str = "") -> Iterator[tuple[str, str]]:
    for each in of.findall(f"{NAMESPACE}resource"):
        path = f"{above}/{each.get('path')}".replace("//", "/")
        yield from ((name.get("name", ""), path) for name in each.findall(f"{NAMESPACE}method"))
        yield from methods(each, path)


@pytest.mark.parametrize("path", ["", "/"])
def test_capabilities_are_given_at_the_root_of_the_service(stocked: Stocked, path: str) -> None:
    answer = stocked.program.options(f"/dicomweb{path}")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(WADL)
    (resources,) = Xml.fromstring(answer.content)
    assert resources.get("base", "").endswith("/dicomweb/")
    told = Counter(methods(resources))
    assert told == Counter(
        (each.method, each.template) for each in TRANSACTIONS if each.method != "WS"
    )


def test_capabilities_are_refused_to_strangers_and_in_other_forms(stocked: Stocked) -> None:
    stranger = stocked.clinic.browser().client

    assert stranger.options("/dicomweb/").status_code in {401, 403}
    refused = stocked.program.options("/dicomweb/", headers={"Accept": "text/html"})
    assert refused.status_code == 406


def retrievals() -> Iterable[Any]:
    for each in TRANSACTIONS:
        if each.method == "GET" and "workitem" not in each.path and each.path != "/wado":
            for media_type in each.gives:
                yield pytest.param(each, media_type, id=f"{each.template} {media_type}")


@pytest.mark.parametrize(("transaction", "media_type"), list(retrievals()))
def test_what_can_be_read_comes_in_each_form_that_is_told(
    stocked: Stocked, transaction: Transaction, media_type: str
) -> None:
    steps = {**STEPS, "{numbers}": "1,3" if "multipart" in media_type else "1"}
    path = "/".join(steps.get(step, step) for step in transaction.path.strip("/").split("/"))

    answer = stocked.get(path, media_type)

    if answer.status_code == 406:  # of frames: a form that pixels like these do not come in
        assert transaction.id == "RetrieveFrames"
        assert "octet-stream" not in media_type
    else:
        assert answer.status_code == 200, answer.text
        given = answer.headers["content-type"].partition("; boundary")[0]
        assert given.replace('"', "").startswith(media_type.replace('"', ""))
