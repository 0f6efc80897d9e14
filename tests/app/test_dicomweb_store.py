"""STOW-RS with metadata in JSON or XML, and what a request may not be: larger than it says.

Storing of Part 10 files is in test_dicomweb.
"""

import gzip
import json
import socket
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from app.http.dicom_stored import MAX_KEPT_ASIDE
from dicom_node.dicom_xml import native_model
from storage.archive import quarantined
from storage.archive_queries import series_of
from tests.app.clinic import Clinic, multipart
from tests.app.stocked import ROOT, compressed, slices
from tests.dicom_node.samples import a_slice, as_file

JSON = "application/dicom+json"
XML = "application/dicom+xml"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    made = Clinic(tmp_path_factory.mktemp("store") / "data")
    yield made
    made.close()


@pytest.fixture(scope="module")
def program(shared: Clinic) -> httpx.Client:
    return shared.program("dicomweb:read dicomweb:write")


def in_parts(*parts: tuple[dict[str, str], bytes], root: str = JSON) -> dict[str, Any]:
    body = b""
    for headers, data in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body += f"--edge\r\n{lines}\r\n".encode() + data + b"\r\n"
    kind = f'multipart/related; type="{root}"; boundary=edge'
    return {"content": body + b"--edge--\r\n", "headers": {"Content-Type": kind}}


def set_aside(shared: Clinic) -> list[object]:
    with shared.engine.database.reading() as tx:
        return list(quarantined(tx, limit=1000))


def composed(study: int, pixels: bytes | None = None, **bulk: str) -> dict[str, Any]:
    """Return a request that stores one slice as metadata and bulk data."""
    data_set = slices(1, 1)[0]
    data_set.StudyInstanceUID = f"{ROOT}.{study}"
    data_set.SeriesInstanceUID, data_set.SOPInstanceUID = f"{ROOT}.{study}.1", f"{ROOT}.{study}.1.1"
    data_set.AccessionNumber = f"J{study}"
    held = bytes(data_set.PixelData) if pixels is None else pixels
    del data_set.PixelData
    model = data_set.to_json_dict()
    model["7FE00010"] = {"vr": "OW", "BulkDataURI": "bulk/1"}
    headers = {"Content-Type": "application/octet-stream", "Content-Location": "bulk/1", **bulk}
    return in_parts(({"Content-Type": JSON}, json.dumps([model]).encode()), (headers, held))


def test_metadata_and_bulk_become_the_instance_that_they_describe(
    shared: Clinic, program: httpx.Client
):
    answer = program.post("/dicomweb/studies", **composed(11))

    assert answer.status_code == 200, answer.text
    (stored,) = answer.json()["00081199"]["Value"]
    kept = dcmread(BytesIO(shared.engine.archive.read(stored["00081155"]["Value"][0])))
    sent = slices(1, 1)[0]
    assert kept.PixelData == sent.PixelData
    assert kept.PatientName == sent.PatientName
    assert kept.SpecificCharacterSet == "ISO_IR 192"
    (row,) = program.get("/dicomweb/studies?PatientName=Ахметова*&AccessionNumber=J11").json()
    assert row["0020000D"]["Value"] == [f"{ROOT}.11"]


def test_a_compressed_frame_is_stored_as_it_comes(shared: Clinic, program: httpx.Client):
    file = dcmread(BytesIO(compressed(slices(1, 1)[0], "1.2.840.10008.1.2.4.80")))
    frame = get_frame(file.PixelData, 0, number_of_frames=1)
    kind = 'image/jls; transfer-syntax="1.2.840.10008.1.2.4.80"'

    answer = program.post("/dicomweb/studies", **composed(12, frame, **{"Content-Type": kind}))

    assert answer.status_code == 200, answer.text
    kept = dcmread(BytesIO(shared.engine.archive.read(f"{ROOT}.12.1.1")))
    assert kept.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.80"
    assert get_frame(kept.PixelData, 0, number_of_frames=1) == frame


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (in_parts(({"Content-Type": JSON}, b"not json")), 400),
        (in_parts(({"Content-Type": JSON}, b"[" * 100_000)), 400),
        (in_parts(({"Content-Type": JSON}, b'["text"]')), 400),
        (in_parts(({"Content-Type": JSON}, b'[{"00100010": 5}]')), 400),
        (in_parts(({"Content-Type": "application/octet-stream"}, b"x")), 415),
        (in_parts(({"Content-Type": JSON}, b'[{"7FE00010": {"BulkDataURI": "http://x/"}}]')), 400),
        (in_parts(({"Content-Type": JSON}, b'[{"7FE00010": {"BulkDataURI": {}}}]')), 400),
        (in_parts(({"Content-Type": JSON}, b'[{"00081140": {"vr": "SQ", "Value": 5}}]')), 400),
        (in_parts(({"Content-Type": JSON}, b"[" + b"{}," * 700_000 + b"{}]")), 413),
        (in_parts(({"Content-Type": JSON}, b'[{"00100010": {"vr": "PN"}}]')), 409),
        (in_parts(({"Content-Type": JSON}, b'[{"xyz": {"vr": "QQ", "Value": 1}}]')), 409),
    ],
)
def test_metadata_that_are_none_store_nothing(
    program: httpx.Client, request_: dict[str, Any], status: int
):
    assert program.post("/dicomweb/studies", **request_).status_code == status


@pytest.mark.parametrize("spread", [1, 200])
def test_bulk_data_that_are_named_again_and_again_are_bounded(
    shared: Clinic, program: httpx.Client, spread: int
):
    """A part of 60 MB, named ten times by each of some instances, is more than any may be."""
    bulk = {"vr": "OB", "BulkDataURI": "b"}
    model = {f"0011{0x1000 + at:04X}": bulk for at in range(10 if spread == 1 else 2)}
    parts = (
        ({"Content-Type": JSON}, json.dumps([model] * spread).encode()),
        ({"Content-Type": "application/octet-stream", "Content-Location": "b"}, bytes(60 << 20)),
    )
    stored_before = len(set_aside(shared))

    answer = program.post("/dicomweb/studies", **in_parts(*parts))

    assert answer.status_code == 413, answer.text
    assert len(set_aside(shared)) == stored_before


@pytest.mark.parametrize(
    ("tag", "element"),
    [
        ("00280100", {"vr": "US", "Value": [1.5]}),
        ("00280100", {"vr": "US", "Value": [True]}),
        ("00280100", {"vr": "US", "Value": ["1_6"]}),
        ("00200013", {"vr": "IS", "Value": [1.5]}),
        ("00200013", {"vr": "IS", "Value": [1, 2.5]}),
        ("00181041", {"vr": "DS", "Value": [False]}),
        ("00209165", {"vr": "AT", "Value": ["XYZ"]}),
        ("00100010", {"vr": "PN", "Value": [{"Latin": "Doe^Jane"}]}),
        ("00081030", {"vr": "LO", "Value": ["one\\two"]}),
        ("00091001", {"vr": "OB", "InlineBinary": "AA@@AA=="}),
        ("00091001", {"vr": "OB", "InlineBinary": "AAAA\u00e4"}),
        ("00091001", {"vr": "OB", "InlineBinary": ["AAAA"]}),
        ("00091001", {"vr": "OB", "InlineBinary": "AAAA", "BulkDataURI": "bulk/1"}),
    ],
)
def test_a_value_that_would_be_stored_as_something_else_is_refused(
    program: httpx.Client, tag: str, element: dict[str, Any]
):
    plain = slices(1, 1)[0]
    del plain.PixelData
    model = plain.to_json_dict()
    deep = {"00081140": {"vr": "SQ", "Value": [{tag: element}]}}
    bulk = {"Content-Type": "application/octet-stream", "Content-Location": "bulk/1"}

    for told in (model | {tag: element}, model | deep):
        document = json.dumps([told]).encode()
        request = in_parts(({"Content-Type": JSON}, document), (bulk, b"1234"))
        answer = program.post("/dicomweb/studies", **request)
        assert (answer.status_code, len(answer.json()["0008119A"]["Value"])) == (409, 1), told


def test_values_are_taken_in_each_form_that_they_may_have(shared: Clinic, program: httpx.Client):
    plain = slices(1, 1)[0]
    del plain.PixelData
    plain.SOPInstanceUID = f"{ROOT}.1.1.77"
    model = plain.to_json_dict() | {
        "00280100": {"vr": "US", "Value": [16.0]},
        "00280101": {"vr": "US", "Value": ["12"]},
        "00200013": {"vr": "IS", "Value": ["7 "]},
        "00181041": {"vr": "DS", "Value": ["1.5", 2, None]},
        "00209165": {"vr": "AT", "Value": ["0018105A"]},
        "00204000": {"vr": "LT", "Value": ["one\\two"]},
        "00091001": {"vr": "OB", "InlineBinary": "AAEC\n  AwQF"},
        "00081140": {"vr": "SQ", "Value": [None, {}]},
    }

    answer = program.post(
        "/dicomweb/studies", **in_parts(({"Content-Type": JSON}, json.dumps([model]).encode()))
    )

    assert answer.status_code == 200, answer.text
    kept = dcmread(BytesIO(shared.engine.archive.read(f"{ROOT}.1.1.77")))
    assert (kept.BitsAllocated, kept.BitsStored, kept.InstanceNumber) == (16, 12, 7)
    assert (kept.ImageComments, kept[0x00091001].value) == ("one\\two", bytes(range(6)))
    assert kept.DimensionIndexPointer == 0x0018105A


def test_a_request_cut_short_is_refused_whole(shared: Clinic, program: httpx.Client):
    request = composed(13)
    request["content"] = request["content"][:-40]

    assert program.post("/dicomweb/studies", **request).status_code == 400
    with shared.parts.database.reading() as tx:
        assert series_of(tx, f"{ROOT}.13") == []


def in_xml(*data_sets: Dataset) -> list[tuple[dict[str, str], bytes]]:
    """Return parts with the metadata of instances, and one with the pixels of all of them."""
    parts = []
    for each in data_sets:
        model = each.to_json_dict(bulk_data_threshold=1, bulk_data_element_handler=lambda _: "p/1")
        parts.append(({"Content-Type": XML}, native_model(model)))
    headers = {"Content-Type": "application/octet-stream", "Content-Location": "p/1"}
    return [*parts, (headers, bytes(data_sets[0].PixelData))]


def test_metadata_in_xml_become_instances_too(shared: Clinic, program: httpx.Client):
    sent = slices(1, 2)
    for number, each in enumerate(sent, 1):
        each.StudyInstanceUID, each.SeriesInstanceUID = f"{ROOT}.16", f"{ROOT}.16.1"
        each.SOPInstanceUID, each.AccessionNumber = f"{ROOT}.16.1.{number}", "X16"
        each.PixelData = sent[0].PixelData
        each.ReferencedImageSequence = [Dataset()]
        each.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"

    answer = program.post("/dicomweb/studies", **in_parts(*in_xml(*sent), root=XML))

    assert answer.status_code == 200, answer.text
    for each in sent:
        kept = dcmread(BytesIO(shared.engine.archive.read(each.SOPInstanceUID)))
        each.SpecificCharacterSet = "ISO_IR 192"
        each["PixelData"].VR = "OW"
        assert list(kept) == list(each)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (b"no xml", 400),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><NativeDicomModel/>', 400),
        (b"<NativeDicomModel>" + b"<DicomAttribute>" * 70_000, 400),
        (b'<NativeDicomModel><DicomAttribute tag="7FE00010" vr="OW"><BulkData uri="http://x/"/>'
         b"</DicomAttribute></NativeDicomModel>", 400),
        (b"<NativeDicomModel/>", 409),
    ],
)  # fmt: skip
def test_metadata_in_xml_that_are_none_store_nothing(
    program: httpx.Client, document: bytes, status: int
):
    request = in_parts(({"Content-Type": XML}, document), root=XML)

    assert program.post("/dicomweb/studies", **request).status_code == status


def test_compressed_bodies_and_other_types_are_refused_before_they_are_read(
    program: httpx.Client,
):
    request = multipart(as_file(a_slice(study=14)))
    headers = request["headers"]
    bomb = gzip.compress(bytes(50_000_000), 9)

    zipped = {**headers, "Content-Type": 'multipart/related; type="application/zip"; boundary=b'}
    packed = {**headers, "Content-Encoding": "gzip"}
    assert program.post("/dicomweb/studies", content=b"", headers=zipped).status_code == 415
    assert program.post("/dicomweb/studies", content=bomb, headers=packed).status_code == 415


def test_the_answer_is_xml_for_who_asks_for_it(program: httpx.Client):
    request = multipart(as_file(a_slice(study=15)))
    request["headers"]["Accept"] = 'multipart/related; type="application/dicom+xml"'

    answer = program.post("/dicomweb/studies", **request)

    assert answer.status_code == 200
    text = answer.text[answer.text.index("<?xml") : answer.text.rindex("\r\n--")]
    keywords = {each.get("keyword") for each in ElementTree.fromstring(text.strip())}
    assert "ReferencedSOPSequence" in keywords


def test_the_answer_is_xml_alone_for_who_asks_for_that(program: httpx.Client):
    request = multipart(as_file(a_slice(study=27)))
    request["headers"]["Accept"] = XML

    answer = program.post("/dicomweb/studies", **request)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == XML
    keywords = {each.get("keyword") for each in ElementTree.fromstring(answer.content)}
    assert "ReferencedSOPSequence" in keywords


def test_a_hundred_thousand_empty_parts_are_refused(program: httpx.Client):
    body = b"--b\r\n\r\n\r\n" * 100_000 + b"--b--\r\n"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}

    answer = program.post("/dicomweb/studies", content=body, headers=headers)

    assert answer.status_code == 413
    assert "parts" in answer.json()["detail"]


def test_of_many_parts_that_are_nothing_the_first_are_kept_and_all_are_told(
    shared: Clinic, program: httpx.Client
):
    before = len(set_aside(shared))
    good = as_file(a_slice(study=28))

    answer = program.post(
        "/dicomweb/studies", **multipart(*[b"", b"none"] * (2 * MAX_KEPT_ASIDE), good)
    )

    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 1
    reasons = [each["00081197"]["Value"] for each in answer.json()["0008119A"]["Value"]]
    assert reasons == [[0xC000]] * (4 * MAX_KEPT_ASIDE)
    assert len(set_aside(shared)) - before == MAX_KEPT_ASIDE


@pytest.mark.parametrize("models", [b"[]", b" [ ] "])
def test_metadata_of_nothing_are_no_success(program: httpx.Client, models: bytes):
    answer = program.post("/dicomweb/studies", **in_parts(({"Content-Type": JSON}, models)))

    assert answer.status_code == 400


@pytest.mark.parametrize(
    "boundary",
    ["", "x" * 71, "nul\x00", "cr%0d%0a", "other", '"'],
    ids=lambda text: repr(text)[:12],
)
def test_a_boundary_that_lies_stores_nothing(program: httpx.Client, boundary: str):
    request = multipart(as_file(a_slice(study=16)))
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    request["headers"]["Content-Type"] = kind.encode("latin-1").replace(b"\0", b"%00")

    assert program.post("/dicomweb/studies", **request).status_code == 400


def raw(shared: Clinic, program: httpx.Client, head: dict[str, str], body: bytes) -> socket.socket:
    """Send a request by hand, as far as `body` goes."""
    address = urlsplit(shared.server.url)
    assert address.hostname is not None
    peer = socket.create_connection((address.hostname, address.port or 80), timeout=30)
    told = {
        "Host": address.netloc,
        "Authorization": program.headers["Authorization"],
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
        **head,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    peer.sendall(f"POST /dicomweb/studies HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return peer


@pytest.mark.parametrize("length", ["10737418240", "99999999999999999999", "-1", "1e3"])
def test_a_length_beyond_all_bounds_is_refused_at_once(
    shared: Clinic, program: httpx.Client, length: str
):
    with raw(shared, program, {"Content-Length": length}, b"") as peer:
        answer = peer.recv(4096)

    assert answer.split(b" ", 2)[1] in {b"413", b"400"}


def test_a_sender_who_goes_away_before_its_length_leaves_nothing(
    shared: Clinic, program: httpx.Client
):
    body = multipart(as_file(a_slice(study=27)), boundary="b")["content"]
    with raw(shared, program, {"Content-Length": str(len(body) + 500)}, body[:-300]):
        pass

    assert program.get(f"/dicomweb/studies/{ROOT}.17").status_code == 404
    assert program.post("/dicomweb/studies", **multipart(as_file(a_slice(study=18)))).is_success
