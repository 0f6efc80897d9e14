"""Files that a site adds to its request: by a program, by its people, and never by others."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from kernel.digest import sha256_of
from storage import archive, audit, corrections
from tests.app.clinic import BY, Clinic
from tests.dicom_node.pictures_of import COLOURS, encoded, mp4, pdf
from tests.services.missing import required
from worklist import store

ACTIVE = pdf(b"<</OpenAction 3 0 R>>")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    made = Clinic(tmp_path_factory.mktemp("requests") / "data")
    made.ask()
    made.ask("B-1", site="west")
    yield made
    made.close()


@pytest.fixture(scope="module")
def program(clinic: Clinic) -> httpx.Client:
    return clinic.program("dicomweb:read dicomweb:write")


def request_id(clinic: Clinic, accession: str = "A-1") -> str:
    with clinic.parts.database.reading() as tx:
        return next(r.id for r in store.list_requests(tx) if r.accession == accession)


def add(client: httpx.Client, id: str, content: bytes, **headers: str) -> httpx.Response:
    return client.post(f"/api/requests/{id}/files", content=content, headers=headers)


def rendered(client: httpx.Client, told: dict[str, Any], accept: str = "*/*") -> httpx.Response:
    address = (
        f"/dicomweb/studies/{told['study_uid']}/series/{told['series_uid']}"
        f"/instances/{told['instance_uid']}/rendered"
    )
    return client.get(address, headers={"Accept": accept})


def test_a_file_becomes_an_object_once(clinic: Clinic, program: httpx.Client) -> None:
    id, picture = request_id(clinic), encoded("PNG")
    first, again = add(program, id, picture), add(program, id, picture)
    assert (first.status_code, again.status_code) == (201, 200)
    assert not first.json()["duplicate"]
    assert again.json() == {**first.json(), "duplicate": True}
    assert clinic.parts.archive.read(first.json()["instance_uid"])
    with clinic.parts.database.reading() as tx:
        assert archive.quarantined(tx) == []
        assert list(audit.verify(tx)) == []


@pytest.mark.parametrize("file", [encoded("PNG"), encoded("JPEG"), ACTIVE])
def test_the_same_file_is_the_same_also_once_its_patient_was_corrected(
    clinic: Clinic, program: httpx.Client, file: bytes
) -> None:
    accession = f"C-{len(file)}"
    clinic.ask(accession, f"P-{len(file)}")
    id = request_id(clinic, accession)
    first = add(program, id, file)
    with clinic.parts.database.transaction() as tx:
        ref = store.get_request(tx, id).patient_ref
        corrections.correct_patient(tx, ref, {"name": "Right^Name"}, reason="typed", actor=BY)

    again = add(program, id, file)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), "duplicate": True}
    with clinic.parts.database.reading() as tx:
        assert archive.quarantined(tx) == []


@pytest.mark.parametrize("picture", [encoded("JPEG"), encoded("PNG", COLOURS[:, :, 0])])
def test_a_picture_is_shown_by_wado(clinic: Clinic, program: httpx.Client, picture: bytes) -> None:
    told = add(program, request_id(clinic), picture).json()
    shown = rendered(program, told, "image/png")
    assert shown.status_code == 200
    with Image.open(io.BytesIO(shown.content)) as seen:
        assert seen.size == (41, 31)


def test_a_pdf_comes_back_verbatim_and_cannot_act(clinic: Clinic, program: httpx.Client) -> None:
    told = add(program, request_id(clinic), ACTIVE, **{"X-File-Name": "brief%20one.pdf"}).json()
    assert told["remarks"] == ["the PDF has active content: OpenAction"]
    shown = rendered(program, told, "application/pdf")
    assert sha256_of(shown.content) == sha256_of(ACTIVE)
    assert shown.headers["content-type"] == "application/pdf"
    assert shown.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in shown.headers["content-security-policy"]
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert rendered(program, told, "image/jpeg").status_code == 406


@pytest.mark.service
def test_a_video_comes_back_verbatim(clinic: Clinic, program: httpx.Client, tmp_path: Path) -> None:
    with required():
        content = mp4(tmp_path)
    told = add(program, request_id(clinic), content).json()
    shown = rendered(program, told, "video/mp4")
    assert shown.headers["content-type"] == "video/mp4"
    assert shown.content[: len(content)] == content
    assert len(shown.content) - len(content) in (0, 1)


@pytest.mark.parametrize(
    ("content", "headers", "status", "said"),
    [
        (b"nothing", {}, 409, "none of JPEG"),
        (b"", {}, 409, "none of JPEG"),
        (pdf(), {"X-File-Name": "a.jpg"}, 409, "named '.jpg'"),
    ],
)
def test_what_is_refused_says_the_rule(
    clinic: Clinic,
    program: httpx.Client,
    content: bytes,
    headers: dict[str, str],
    status: int,
    said: str,
) -> None:
    answer = add(program, request_id(clinic), content, **headers)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_only_the_site_that_asked_adds_files(clinic: Clinic) -> None:
    id = request_id(clinic)
    for login in ("west", "one", "head", "eastadmin", "patient"):
        browser = clinic.browser(login)
        assert browser.get(f"/requests/{id}").status_code == 403
        answer = add(browser.client, id, pdf(), **{"X-Form-Token": browser.token})
        assert answer.status_code == 403
    assert add(clinic.browser().client, id, pdf()).status_code == 401
    assert add(clinic.program("dicomweb:read"), id, pdf()).status_code == 403
    assert add(clinic.program("dicomweb:write", "west"), id, pdf()).status_code == 403
    assert add(clinic.program("dicomweb:write", "east"), id, pdf(b"t")).status_code == 201
    own = clinic.browser("east")
    assert own.get(f"/requests/{id}").status_code == 200
    assert add(own.client, id, pdf(b"a")).status_code == 403
    assert add(clinic.program("dicomweb:write"), "no-such", pdf()).status_code == 404


def test_the_site_sees_what_came(clinic: Clinic) -> None:
    id = request_id(clinic, "B-1")
    browser = clinic.browser("west")
    assert "Nothing yet." in browser.get(f"/requests/{id}").text
    answer = add(browser.client, id, pdf(), **{"X-Form-Token": browser.token})
    assert answer.status_code == 201
    page = browser.get(f"/requests/{id}").text
    assert "Imported documents" in page
    assert f"/requests/{id}" in browser.get("/queue").text
