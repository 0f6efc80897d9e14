"""DICOMweb on the wire: storing, retrieving, metadata, searching, and every refusal.

More of each service in test_dicomweb_search, _retrieve, _rendered, _store and _bounds.
"""

import email
import http.client
from email.message import Message
from io import BytesIO
from urllib.parse import urlsplit

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from kernel.errors import Transient
from kernel.ids import derived_uid
from storage import archive, audit
from storage.journal import JournalFull
from tests.app.clinic import Clinic, multipart

STUDY = derived_uid("study", "A-1")
ANYTHING = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


def parts_of(answer: httpx.Response) -> list[Message]:
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content)
    assert message.is_multipart()
    return message.get_payload()


def changed(data: bytes, **values: str) -> bytes:
    data_set = dcmread(BytesIO(data))
    for name, value in values.items():
        setattr(data_set, name, value)
    if "SOPInstanceUID" in values:
        data_set.file_meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    return written(data_set)


def written(data_set: Dataset) -> bytes:
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()


def test_what_is_stored_comes_back_byte_for_byte(clinic: Clinic):
    film = clinic.film()
    answer = clinic.program("dicomweb:write").post("/dicomweb/studies", **multipart(film))
    assert answer.status_code == 200
    told = answer.json()
    (stored,) = told["00081199"]["Value"]
    assert told["00081190"]["Value"][0].endswith(f"/dicomweb/studies/{STUDY}")
    address = urlsplit(stored["00081190"]["Value"][0]).path

    reader = clinic.program("dicomweb:read")
    alone = reader.get(address, headers={"Accept": "application/dicom; transfer-syntax=*"})
    whole = reader.get(f"/dicomweb/studies/{STUDY}", headers=ANYTHING)
    (part,) = parts_of(whole)

    kept = clinic.engine.archive.read(stored["00081155"]["Value"][0])
    assert alone.content == kept == part.get_payload(decode=True)
    assert dcmread(BytesIO(kept)).PixelData == dcmread(BytesIO(film)).PixelData
    assert part.get_content_type() == "application/dicom"
    assert part.get_param("transfer-syntax") == str(
        dcmread(BytesIO(film)).file_meta.TransferSyntaxUID
    )


def test_storing_again_is_the_same_answer_and_nothing_is_doubled(clinic: Clinic):
    program = clinic.program("dicomweb:write")
    for _ in range(2):
        answer = program.post("/dicomweb/studies", **multipart(clinic.film(), clinic.film()))
        assert answer.status_code == 200

    assert len(clinic.engine.archive.instances_of(STUDY)) == 1


def test_the_same_uid_with_other_content_is_refused_and_kept_aside(clinic: Clinic):
    clinic.send()
    other = changed(clinic.film(), StudyDescription="Another")
    answer = clinic.program("dicomweb:write").post("/dicomweb/studies", **multipart(other))

    assert answer.status_code == 409
    (failed,) = answer.json()["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0xC111]
    assert "00081199" not in answer.json()
    with clinic.parts.database.reading() as tx:
        assert len(archive.quarantined(tx)) == 1


def test_one_bad_file_among_good_ones_is_told_apart(clinic: Clinic):
    answer = clinic.program("dicomweb:write").post(
        "/dicomweb/studies", **multipart(clinic.film(), b"this is no DICOM file")
    )

    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 1
    (unnamed,) = answer.json()["0008119A"]["Value"]
    assert unnamed["00081197"]["Value"] == [0xC000]


def test_a_file_of_another_study_is_refused_where_a_study_is_named(clinic: Clinic):
    answer = clinic.program("dicomweb:write").post(
        "/dicomweb/studies/1.2.3", **multipart(clinic.film())
    )

    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA900]
    assert clinic.engine.archive.instances_of(STUDY) == []


@pytest.mark.parametrize("cut", [3, 8, 20, 500, 3000])
def test_a_request_that_was_cut_short_is_refused_whole(clinic: Clinic, cut: int):
    request = multipart(clinic.film(), clinic.film("A-2"))
    request["content"] = request["content"][:-cut]

    answer = clinic.program("dicomweb:write").post("/dicomweb/studies", **request)

    assert answer.status_code == 400
    assert "cut short" in answer.json()["detail"]
    assert clinic.engine.archive.instances_of(STUDY) == []


def test_a_sender_that_goes_away_half_way_leaves_nothing(clinic: Clinic):
    request = multipart(clinic.film(), clinic.film("A-2"))
    program = clinic.program("dicomweb:write")
    address = urlsplit(clinic.server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port)
    connection.putrequest("POST", "/dicomweb/studies")
    connection.putheader("Authorization", program.headers["Authorization"])
    connection.putheader("Content-Type", request["headers"]["Content-Type"])
    connection.putheader("Content-Length", str(len(request["content"])))
    connection.endheaders()
    connection.send(request["content"][: len(request["content"]) - 100])
    connection.close()
    clinic.program("dicomweb:read").get("/health/live")

    assert clinic.engine.archive.instances_of(STUDY) == []


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/dicom", 415),
        ('multipart/form-data; boundary="b"', 415),
        ('multipart/related; type="application/zip"; boundary="b"', 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary="other"', 400),
    ],
)
def test_what_is_no_store_request_is_refused(clinic: Clinic, content_type: str, status: int):
    answer = clinic.program("dicomweb:write").post(
        "/dicomweb/studies",
        content=multipart(clinic.film())["content"],
        headers={"Content-Type": content_type},
    )

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_full_disk_is_told_and_nothing_counts_as_stored(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise JournalFull("the disk of the journal is full")

    assert issubclass(JournalFull, Transient)
    monkeypatch.setattr(clinic.parts.journal, "append", full)
    program = clinic.program("dicomweb:write")
    answer = program.post("/dicomweb/studies", **multipart(clinic.film()))
    assert answer.status_code == 507
    assert answer.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xA700]

    monkeypatch.undo()
    assert program.post("/dicomweb/studies", **multipart(clinic.film())).status_code == 200


@pytest.mark.parametrize(
    ("scopes", "method", "status"),
    [
        ("dicomweb:read", "POST", 403),
        ("fhir:read", "GET", 403),
        ("dicomweb:write", "GET", 403),
        ("dicomweb:read", "GET", 200),
    ],
)
def test_a_token_does_what_its_scopes_say(clinic: Clinic, scopes: str, method: str, status: int):
    answer = clinic.program(scopes).request(method, "/dicomweb/studies")

    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_an_unknown_token_and_none_at_all_are_refused(clinic: Clinic):
    url = f"{clinic.server.url}/dicomweb/studies"

    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Bearer guess"}).status_code == 401


def test_metadata_has_everything_but_the_bulk(clinic: Clinic):
    clinic.send()
    program = clinic.program("dicomweb:read")
    (found,) = program.get(f"/dicomweb/studies/{STUDY}/metadata").json()
    series = found["0020000E"]["Value"][0]
    instance = found["00080018"]["Value"][0]

    base = f"/dicomweb/studies/{STUDY}/series/{series}"
    assert program.get(f"{base}/metadata").json() == [found]
    assert program.get(f"{base}/instances/{instance}/metadata").json() == [found]
    assert found["00280010"]["Value"] == [128]
    assert "InlineBinary" not in found["7FE00010"]


def test_a_client_that_names_no_syntax_gets_explicit_little_endian(clinic: Clinic):
    data_set = dcmread(BytesIO(clinic.film()))
    data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    out = BytesIO()
    data_set.save_as(out, implicit_vr=True, little_endian=True, enforce_file_format=True)
    program = clinic.program("dicomweb:read dicomweb:write")
    assert program.post("/dicomweb/studies", **multipart(out.getvalue())).status_code == 200

    def given(accept: str) -> str:
        answer = program.get(f"/dicomweb/studies/{STUDY}", headers={"Accept": accept})
        (part,) = parts_of(answer)
        got = dcmread(BytesIO(part.get_payload(decode=True)))
        assert got.PixelData == data_set.PixelData
        assert part.get_param("transfer-syntax") == got.file_meta.TransferSyntaxUID
        return str(got.file_meta.TransferSyntaxUID)

    assert given('multipart/related; type="application/dicom"') == "1.2.840.10008.1.2.1"
    assert (
        given('multipart/related; type="application/dicom"; transfer-syntax=*')
        == "1.2.840.10008.1.2"
    )
    assert given("*/*") == "1.2.840.10008.1.2"


@pytest.mark.parametrize(
    "accept",
    [
        "image/png",
        'multipart/related; type="image/jpeg"',
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.91',
        "application/dicom",
    ],
)
def test_what_cannot_be_given_is_not_acceptable(clinic: Clinic, accept: str):
    clinic.send()
    answer = clinic.program("dicomweb:read").get(
        f"/dicomweb/studies/{STUDY}", headers={"Accept": accept}
    )

    assert answer.status_code == 406


@pytest.mark.parametrize("path", ["1.2.3", f"{STUDY}/series/1.2.3", f"{STUDY}/metadata/x", "x/y"])
def test_what_is_not_there_is_not_found(clinic: Clinic, path: str):
    clinic.send()

    assert clinic.program("dicomweb:read").get(f"/dicomweb/studies/{path}").status_code == 404


def test_people_get_the_studies_whose_images_are_open_to_them(clinic: Clinic):
    case = clinic.offered()
    studies = {"east": 200, "patient": 200, "one": 403, "two": 403, "west": 403, "head": 403}

    for login, status in studies.items():
        client = clinic.browser(login).client
        assert client.get(f"/dicomweb/studies/{STUDY}", headers=ANYTHING).status_code == status
        search = client.get("/dicomweb/studies", params={"PatientID": "P-1"})
        assert search.status_code == 200
        assert bool(search.json()) == (status == 200), login
    with clinic.parts.database.reading() as tx:
        seen = {entry.action for entry in audit.of_case(tx, case.id)}
    assert "study.retrieved" in seen


def test_the_staff_of_a_site_stores_from_its_own_page_only(clinic: Clinic):
    request = multipart(clinic.film())
    for login, token, status in (
        ("west", True, 200),
        ("west", False, 403),
        ("one", True, 403),
        ("patient", True, 403),
    ):
        browser = clinic.browser(login)
        browser.get("/queue")
        headers = {**request["headers"]}
        if token:
            headers["X-Form-Token"] = browser.token
        answer = browser.client.post(
            "/dicomweb/studies", content=request["content"], headers=headers
        )
        assert answer.status_code == status, (login, token)


RESOURCES = (
    "",
    "/metadata",
    "/rendered",
    "/thumbnail",
    "/series/{series}",
    "/series/{series}/metadata",
    "/series/{series}/rendered",
    "/series/{series}/thumbnail",
    "/series/{series}/instances/{instance}",
    "/series/{series}/instances/{instance}/metadata",
    "/series/{series}/instances/{instance}/rendered",
    "/series/{series}/instances/{instance}/thumbnail",
    "/series/{series}/instances/{instance}/frames/1",
    "/series/{series}/instances/{instance}/frames/1/rendered",
    "/series/{series}/instances/{instance}/bulkdata/7FE00010",
)


def test_every_resource_and_search_is_open_to_whom_the_images_are_and_to_nobody_else(
    clinic: Clinic,
):
    clinic.offered()
    (row,) = clinic.program("dicomweb:read").get("/dicomweb/instances").json()
    series, instance = row["0020000E"]["Value"][0], row["00080018"]["Value"][0]
    searches = ("studies", "series", "instances", f"studies/{STUDY}/series")
    uids = {"studyUID": STUDY, "seriesUID": series, "objectUID": instance}

    for login, is_open in (("east", True), ("patient", True), ("west", False), ("two", False)):
        client = clinic.browser(login).client
        for resource in RESOURCES:
            path = f"/dicomweb/studies/{STUDY}{resource.format(series=series, instance=instance)}"
            found = client.get(path, headers={"Accept": "*/*"}).status_code
            assert found == (200 if is_open else 403), (login, resource)
        picture = client.get("/dicomweb/wado", params={"requestType": "WADO", **uids})
        assert picture.status_code == (200 if is_open else 403), login
        for search in searches:
            assert bool(client.get(f"/dicomweb/{search}").json()) == is_open, (login, search)
        # What is not there is told like what is not open, so that nobody learns the difference.
        other = client.get("/dicomweb/studies/1.2.3/metadata")
        assert other.status_code == 403
