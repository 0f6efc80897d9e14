"""WADO-RS and WADO-URI: every resource, in every form that is offered, and 406 for all others."""

import email
import json
from collections.abc import Iterator
from email.message import Message
from io import BytesIO
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from dicom_node.series_metadata import key_of, prepare
from storage.series_queries import held
from tests.app.clinic import multipart
from tests.app.stocked import (
    DOCUMENT,
    FRAMES,
    ROOT,
    Stocked,
    frames_of,
    instance_path,
    stocked_clinic,
)
from tests.dicom_node.samples import a_slice, as_file

SLICE, PACKED = instance_path(1, 1, 1), instance_path(3, 1, 2)
FILM, PAPER = instance_path(3, 2, 1), instance_path(3, 3, 1)
SLICE_UID = f"{ROOT}.1.1.1"
OCTETS = "application/octet-stream"
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
EXPLICIT, BASELINE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50"
PARTS = 'multipart/related; type="application/dicom"'


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    with stocked_clinic(tmp_path_factory.mktemp("retrieve") / "data") as held:
        yield held


def parts_of(answer: httpx.Response) -> list[Message]:
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content)
    assert message.is_multipart()
    return message.get_payload()


def kept(stocked: Stocked, uid: str) -> bytes:
    return stocked.clinic.engine.archive.read(uid)


def pixels_of(file: bytes) -> np.ndarray:
    return dcmread(BytesIO(file)).pixel_array


@pytest.mark.parametrize(
    ("path", "count"),
    [(f"studies/{ROOT}.3", 4), (f"studies/{ROOT}.3/series/{ROOT}.3.1", 2), (SLICE, 1)],
)
def test_each_level_gives_its_instances_as_they_are_stored(stocked: Stocked, path: str, count: int):
    answer = stocked.get(path, f"{PARTS}; transfer-syntax=*")

    parts = parts_of(answer)
    assert len(parts) == count
    assert int(answer.headers["content-length"]) == len(answer.content)
    for part in parts:
        data = part.get_payload(decode=True)
        assert data == kept(stocked, dcmread(BytesIO(data)).SOPInstanceUID)
        assert int(part["Content-Length"]) == len(data)


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90",
        "1.2.840.10008.1.2.4.201",
        "1.2.840.10008.1.2.4.202",
        "1.2.840.10008.1.2.5",
    ],
)
@pytest.mark.parametrize("path", [SLICE, PACKED, FILM])
def test_lossless_syntaxes_are_made_on_request_and_keep_every_pixel(
    stocked: Stocked, path: str, syntax: str
):
    answer = stocked.get(path, f"application/dicom; transfer-syntax={syntax}")

    assert answer.status_code == 200, answer.text
    given = dcmread(BytesIO(answer.content))
    uid = path.rsplit("/", 1)[1]
    assert given.file_meta.TransferSyntaxUID == syntax
    assert syntax in answer.headers["content-type"]
    assert given.SOPInstanceUID == uid
    assert (given.pixel_array == pixels_of(stocked.files[uid])).all()


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        (SLICE, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"),
        (SLICE, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.91"),
        (SLICE, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.203"),
        (SLICE, "application/dicom; transfer-syntax=1.2.840.10008.1.2.2"),
        (SLICE, "application/dicom; transfer-syntax=nonsense"),
        (SLICE, "text/html"),
        (SLICE, "a," * 5000),
        (PAPER, "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90"),
        (f"studies/{ROOT}.3", f"{PARTS}; transfer-syntax=1.2.840.10008.1.2.4.90"),
        (f"{SLICE}/metadata", "text/html"),
        (f"{SLICE}/frames/1", "image/jpeg"),
        (f"{SLICE}/frames/1", f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.4.90"),
        (f"{PACKED}/frames/1", 'multipart/related; type="image/jxl"'),
        (f"{FILM}/frames/1,2", OCTETS),
        (f"{PAPER}/frames/1", "*/*"),
        (f"{PAPER}/rendered", "image/png"),
        (f"{SLICE}/rendered", "application/dicom"),
        (f"{FILM}/frames/1,2/rendered", "image/png"),
        (f"{PAPER}/bulkdata/00420011", "text/html"),
    ],
)
def test_what_cannot_be_given_is_not_acceptable(stocked: Stocked, path: str, accept: str):
    answer = stocked.get(path, accept)

    assert answer.status_code == 406
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (f"{PARTS}; transfer-syntax=*, application/dicom", "application/dicom"),
        (f"{PARTS}; transfer-syntax=*, application/dicom; q=0.5", "multipart/related"),
        (f"application/dicom; q=0.4, {PARTS}; q=0.5", "multipart/related"),
        (f"application/dicom; transfer-syntax={BASELINE}, */*", "multipart/related"),
        (f"application/dicom; transfer-syntax={BASELINE}, {PARTS}; q=0.1", "multipart/related"),
        (f"{PARTS}; transfer-syntax={BASELINE}, application/dicom; q=0.1", "application/dicom"),
        ("*/*, application/dicom; q=0", "multipart/related"),
    ],
)
def test_the_form_of_an_instance_is_the_best_of_those_that_can_be_given(
    stocked: Stocked, accept: str, given: str
):
    answer = stocked.get(SLICE, accept)

    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == given


def test_a_damaged_image_goes_as_it_is_kept_and_keeps_no_other_from_leaving(stocked: Stocked):
    study = f"{ROOT}.41"
    files = []
    for number in range(1, 4):
        data_set = a_slice(number, study=41)
        if number == 2:
            data_set.PixelData = encapsulate([b"\xff\xd8 no picture \xff\xd9"])
            data_set["PixelData"].VR = "OB"
        files.append(as_file(data_set, JPEG_LS if number == 2 else EXPLICIT))
    stored = stocked.clinic.program("dicomweb:write").post("/dicomweb/studies", **multipart(*files))
    assert stored.status_code == 200

    parts = parts_of(stocked.get(f"studies/{study}", PARTS))
    alone = stocked.get(f"studies/{study}/series/{study}.1/instances/{study}.1.2", PARTS)

    given = {dcmread(BytesIO(p.get_payload(decode=True))).SOPInstanceUID: p for p in parts}
    assert len(given) == 3
    syntaxes = {uid: part.get_param("transfer-syntax") for uid, part in given.items()}
    damaged = f"{study}.1.2"
    assert syntaxes == dict.fromkeys(given, EXPLICIT) | {damaged: JPEG_LS}
    assert given[damaged].get_payload(decode=True) == kept(stocked, damaged)
    assert alone.status_code == 406


def test_bulk_of_an_instance_that_cannot_be_walked_is_not_acceptable(stocked: Stocked):
    data_set = a_slice(study=42)
    inner = Dataset()
    for _ in range(70):
        outer = Dataset()
        outer.ContentSequence = [inner]
        inner = outer
    data_set.ContentSequence = inner.ContentSequence
    request = multipart(as_file(data_set))
    assert stocked.clinic.program("dicomweb:write").post("/dicomweb/studies", **request).is_success

    answer = stocked.get(f"{instance_path(42, 1, 1)}/bulkdata/7FE00010")

    assert answer.status_code == 406
    assert "deep" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("asked", "first", "length"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=200-", 200, None),
        ("bytes=-50", -50, 50),
        ("bytes=100-999999999", 100, None),
    ],
)
def test_a_range_of_one_instance_can_be_asked_for(
    stocked: Stocked, asked: str, first: int, length: int | None
):
    whole = kept(stocked, SLICE_UID)
    start = first % len(whole)
    end = len(whole) if length is None else start + length
    accept = "application/dicom; transfer-syntax=*"

    answer = stocked.get(SLICE, accept, headers={"Range": asked})
    tag = stocked.get(SLICE, accept).headers["etag"]

    assert answer.status_code == 206
    assert answer.content == whole[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(whole)}"
    assert answer.headers["etag"] == tag
    other = stocked.get(SLICE, accept, headers={"Range": asked, "If-Range": '"other"'})
    assert other.content == whole


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=9999999-", 416),
        ("bytes=-0", 416),
        ("bytes=9-3", 416),
        ("bytes=0-1,3-4", 200),
        ("bytes=-", 200),
        ("lines=1-2", 200),
        (f"bytes={'9' * 400}-", 200),
    ],
)
def test_a_range_that_cannot_be_given_is_refused_or_the_whole(
    stocked: Stocked, asked: str, status: int
):
    answer = stocked.get(SLICE, "application/dicom; transfer-syntax=*", headers={"Range": asked})

    assert answer.status_code == status


@pytest.mark.parametrize("path", [SLICE, f"{PAPER}/bulkdata/00420011"])
def test_who_has_it_already_is_not_sent_it_again(stocked: Stocked, path: str):
    accept = "application/dicom; transfer-syntax=*, application/octet-stream"
    tag = stocked.get(path, accept).headers["etag"]

    def asked(header: str, **more: str) -> httpx.Response:
        return stocked.get(path, accept, headers={"If-None-Match": header, **more})

    for same in (tag, f"W/{tag}", "*", f'"other", {tag}'):
        answer = asked(same, Range="bytes=0-3")
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert asked('"other"').status_code == 200
    assert asked(tag[1:-1]).status_code == 200


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("studies", "*/*"),
        (f"studies/{ROOT}.3", "*/*"),
        (f"studies/{ROOT}.1/metadata", "*/*"),
        (SLICE, "application/dicom; transfer-syntax=*"),
        (f"{SLICE}/rendered", "image/png"),
        (f"{SLICE}/frames/1", "text/html"),
        ("studies/1.2.3", "*/*"),
    ],
)
def test_the_head_of_an_answer_can_be_asked_for_alone(stocked: Stocked, path: str, accept: str):
    whole = stocked.get(path, accept)

    head = stocked.program.head(f"/dicomweb/{path}", headers={"Accept": accept})

    assert (head.status_code, head.content) == (whole.status_code, b"")
    names = {"content-type", "content-length", "etag", "accept-ranges"}
    for name in names & whole.headers.keys():
        assert head.headers[name].split("boundary")[0] == whole.headers[name].split("boundary")[0]


def test_a_method_that_an_address_does_not_take_is_told_those_that_it_does(stocked: Stocked):
    def allowed(path: str) -> set[str]:
        answer = stocked.program.put(f"/dicomweb/{path}")
        assert answer.status_code == 405
        return set(answer.headers["allow"].split(", "))

    assert allowed("studies") == {"GET", "HEAD", "POST"}
    assert allowed(f"studies/{ROOT}.1") == {"GET", "HEAD", "POST", "DELETE"}
    assert allowed("workitems") == {"GET", "HEAD", "POST"}
    assert allowed("workitems/1.2.3/cancelrequest") == {"POST"}


def test_metadata_are_those_of_every_instance_in_reading_order(stocked: Stocked):
    study = f"studies/{ROOT}.1"
    found = stocked.get(f"{study}/metadata").json()

    assert [row["00200013"]["Value"][0] for row in found] == [1, 2, 3]
    assert stocked.get(f"{study}/series/{ROOT}.1.1/metadata").json() == found
    assert stocked.get(f"{SLICE}/metadata").json() == found[:1]
    for row in found:
        told = Dataset.from_json(json.dumps({k: v for k, v in row.items() if k != "7FE00010"}))
        sent = dcmread(BytesIO(stocked.files[told.SOPInstanceUID]), stop_before_pixels=True)
        assert told == sent


def test_addresses_of_bulk_data_resolve_to_the_bytes(stocked: Stocked):
    for path, uid in ((SLICE, SLICE_UID), (FILM, f"{ROOT}.3.2.1"), (PAPER, f"{ROOT}.3.3.1")):
        (row,) = stocked.get(f"{path}/metadata").json()
        (tag,) = (tag for tag, element in row.items() if "BulkDataURI" in element)
        address = urlsplit(row[tag]["BulkDataURI"]).path
        answer = stocked.program.get(address, headers={"Accept": OCTETS})
        sent = dcmread(BytesIO(stocked.files[uid]))
        assert answer.status_code == 200
        assert answer.content == bytes(sent[int(tag, 16)].value).removesuffix(
            b"\0" * (tag[0] == "0")
        )
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"
        part = stocked.program.get(address, headers={"Range": "bytes=1-4", "Accept": OCTETS})
        assert part.content == answer.content[1:5]


def test_a_document_is_a_download_of_its_own_type_and_no_longer_than_it_is(stocked: Stocked):
    path = f"{PAPER}/bulkdata/00420011"
    answer = stocked.get(path, "application/pdf")

    assert answer.content == DOCUMENT * 60
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == "attachment"
    (part,) = parts_of(stocked.get(path, f'multipart/related; type="{OCTETS}"'))
    assert part.get_payload(decode=True) == DOCUMENT * 60


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        (f"{PAPER}/bulkdata/00420011", "*/*"),
        (f"{PAPER}/bulkdata/00420011", "application/pdf"),
        (f"{PAPER}/bulkdata/00420011", OCTETS),
        (f"{PAPER}/bulkdata/00420011", f'multipart/related; type="{OCTETS}"'),
        (f"{PAPER}/rendered", "application/pdf"),
        (f"{SLICE}/bulkdata/7FE00010", OCTETS),
        (f"{FILM}/frames/1", f'multipart/related; type="{OCTETS}"'),
        (f"{FILM}/frames/1", OCTETS),
    ],
)
def test_what_others_made_is_kept_by_browsers_and_never_acts(
    stocked: Stocked, path: str, accept: str
):
    answer = stocked.get(path, accept)

    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"].split("; ")


@pytest.mark.parametrize(
    "path",
    [
        f"{SLICE}/bulkdata/00420011",
        f"{SLICE}/bulkdata/../../metadata",
        f"{SLICE}/bulkdata/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        f"{SLICE}/bulkdata/7FE00010/1/00280010",
        f"{SLICE}/bulkdata/7fe00010%00",
        f"{SLICE}/frames/2",
        f"{FILM}/frames/{FRAMES + 1}",
        f"{FILM}/frames/{FRAMES + 1}/rendered",
        f"studies/{ROOT}.1/series/{ROOT}.2.1/instances/{SLICE_UID}",
        f"studies/{ROOT}.1%00/series",
        "studies/..%2f..%2fetc%2fpasswd/metadata",
        "studies/%00/metadata",
        f"studies/{'1.' * 3000}1/metadata",
    ],
)
def test_what_is_not_there_is_not_found_wherever_it_points(stocked: Stocked, path: str):
    assert stocked.get(path).status_code == 404


def test_frames_are_given_one_or_several_alone_or_in_parts(stocked: Stocked):
    raw = bytes(frames_of().PixelData)
    frames = [raw[at : at + 35] for at in range(0, 35 * FRAMES, 35)]

    several = parts_of(stocked.get(f"{FILM}/frames/4,2", f'multipart/related; type="{OCTETS}"'))
    assert [part.get_payload(decode=True) for part in several] == [frames[3], frames[1]]
    assert stocked.get(f"{FILM}/frames/3", OCTETS).content == frames[2]
    (part,) = parts_of(
        stocked.get(f"{FILM}/frames/1", f"multipart/related; type={OCTETS}; transfer-syntax=*")
    )
    assert part.get_payload(decode=True) == frames[0]
    assert part.get_param("transfer-syntax") == "1.2.840.10008.1.2.1"


def test_a_compressed_frame_is_given_as_stored_or_decoded(stocked: Stocked):
    uid = f"{ROOT}.3.1.2"
    asked = f"multipart/related; type={OCTETS}; transfer-syntax=*"
    (stored,) = parts_of(stocked.get(f"{PACKED}/frames/1", asked))
    (named,) = parts_of(stocked.get(f"{PACKED}/frames/1", 'multipart/related; type="image/jls"'))
    decoded = stocked.get(f"{PACKED}/frames/1", OCTETS)

    assert stored.get_content_type() == named.get_content_type() == "image/jls"
    assert stored.get_param("transfer-syntax") == JPEG_LS
    assert stored.get_payload(decode=True) in stocked.files[uid]
    assert decoded.content == pixels_of(stocked.files[uid]).tobytes()
    assert "1.2.840.10008.1.2.1" in decoded.headers["content-type"]


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [
        ("image/jls", JPEG_LS),
        ("image/jp2", JPEG_2000),
        ("image/jphc", "1.2.840.10008.1.2.4.201"),
        ("image/jphc", "1.2.840.10008.1.2.4.202"),
        ("image/dicom-rle", "1.2.840.10008.1.2.5"),
    ],
)
@pytest.mark.parametrize("path", [SLICE, PACKED])
def test_a_frame_is_compressed_as_asked_and_keeps_every_pixel(
    stocked: Stocked, path: str, media_type: str, syntax: str
):
    named = f'multipart/related; type="{media_type}"; transfer-syntax={syntax}'
    (part,) = parts_of(stocked.get(f"{path}/frames/1", named))

    assert part.get_content_type() == media_type
    assert part.get_param("transfer-syntax") == syntax
    before = dcmread(BytesIO(stocked.files[path.rpartition("/")[2]]))
    after = Dataset()
    after.update({each.tag: each for each in before if each.tag.group == 0x0028})
    after.file_meta = FileMetaDataset()
    after.file_meta.TransferSyntaxUID = UID(syntax)
    after.PixelData = encapsulate([part.get_payload(decode=True)])
    after["PixelData"].VR, after["PixelData"].is_undefined_length = "OB", True
    assert np.array_equal(after.pixel_array, before.pixel_array)


def test_frames_are_compressed_anew_only_for_those_who_like_that_best(stocked: Stocked):
    either = stocked.get(f"{FILM}/frames/2", f"image/jls, {OCTETS}")
    rather = stocked.get(f"{FILM}/frames/2", f"image/jls, {OCTETS};q=0.5")
    (second, fourth) = parts_of(
        stocked.get(f"{FILM}/frames/2,4", 'multipart/related; type="image/jls"')
    )

    assert either.headers["content-type"].startswith(OCTETS)
    assert rather.headers["content-type"] == f"image/jls; transfer-syntax={JPEG_LS}"
    assert second.get_payload(decode=True) == rather.content
    assert fourth.get_payload(decode=True) != rather.content


def test_frames_that_a_compression_would_not_keep_come_in_the_next_best_form(stocked: Stocked):
    odd = a_slice(1, study=61)
    odd.HighBit = 15  # above the twelve bits of a sample
    sent = stocked.program.post("/dicomweb/studies", **multipart(as_file(odd)))
    assert sent.status_code == 200
    frame = f"{instance_path(61, 1, 1)}/frames/1"
    refused = stocked.get(frame, "image/jphc")
    given = stocked.get(frame, f"image/jphc, {OCTETS};q=0.5")

    assert refused.status_code == 406
    assert given.headers["content-type"].startswith(OCTETS)


def test_an_instance_that_a_compression_would_not_keep_comes_in_the_next_best_syntax(
    stocked: Stocked,
):
    odd = a_slice(1, study=62)
    odd.HighBit = 15  # above the twelve bits of a sample
    sent = stocked.program.post("/dicomweb/studies", **multipart(as_file(odd)))
    assert sent.status_code == 200
    wanted = [
        f"application/dicom; transfer-syntax={JPEG_LS}",
        "application/dicom; transfer-syntax=1.2.840.10008.1.2;q=0.5",
    ]
    refused = stocked.get(instance_path(62, 1, 1), wanted[0])
    given = stocked.get(instance_path(62, 1, 1), ", ".join(wanted))
    (part,) = parts_of(
        stocked.get(
            f"studies/{ROOT}.62",
            f"{PARTS}; transfer-syntax={JPEG_LS}, {PARTS}; transfer-syntax=1.2.840.10008.1.2;q=0.5",
        )
    )

    assert refused.status_code == 406
    assert "high bit" in refused.json()["detail"]
    for answer in (given.content, part.get_payload(decode=True)):
        assert dcmread(BytesIO(answer)).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2"
    assert given.headers["content-type"].endswith("transfer-syntax=1.2.840.10008.1.2")


def test_who_names_no_syntax_gets_as_it_is_stored_what_nobody_can_decode(stocked: Stocked):
    film = a_slice(1, study=63)
    film.PixelData = encapsulate([b"\0\0\1\xb3" + bytes(60)])
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    sent = stocked.program.post(
        "/dicomweb/studies", **multipart(as_file(film, "1.2.840.10008.1.2.4.100"))
    )
    assert sent.status_code == 200
    path = instance_path(63, 1, 1)
    alone = stocked.get(path, "application/dicom")
    (part,) = parts_of(stocked.get(f"studies/{ROOT}.63", PARTS))
    refused = stocked.get(path, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1")

    assert alone.headers["content-type"].endswith("transfer-syntax=1.2.840.10008.1.2.4.100")
    assert alone.content == part.get_payload(decode=True) == kept(stocked, f"{ROOT}.63.1.1")
    assert part["Content-Type"].endswith("transfer-syntax=1.2.840.10008.1.2.4.100")
    assert refused.status_code == 406


def test_frames_that_are_small_come_in_jpeg_2000_as_well(stocked: Stocked):
    compressed = stocked.get(f"{FILM}/frames/2", "image/jp2")

    assert compressed.status_code == 200
    assert compressed.headers["content-type"].startswith("image/jp2")


@pytest.mark.parametrize("numbers", ["0", "-1", "x", "1,,2", "1,", "1;2", ",".join(["1"] * 1001)])
def test_a_list_of_frames_that_is_none_is_refused(stocked: Stocked, numbers: str):
    assert stocked.get(f"{FILM}/frames/{numbers}").status_code == 400


def picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(answer.content))


def test_pictures_are_rendered_in_the_size_window_and_type_asked_for(stocked: Stocked):
    path = f"{SLICE}/rendered"

    assert picture(stocked.get(path)).format == "JPEG"
    assert picture(stocked.get(path, "image/png")).format == "PNG"
    assert picture(stocked.get(path, "image/webp, image/png;q=0.5")).size == (32, 32)
    assert picture(stocked.get(f"{path}?viewport=48,64", "image/png")).size == (48, 48)
    assert picture(stocked.get(f"{path}?viewport=32,64,0,0,4,8", "image/png")).size == (32, 64)
    assert picture(stocked.get(f"{FILM}/frames/2/rendered", "image/png")).size == (7, 5)
    assert picture(stocked.get(f"{SLICE}/thumbnail")).size == (32, 32)
    assert picture(stocked.get(f"studies/{ROOT}.3/thumbnail", "image/png")).format == "PNG"
    assert picture(stocked.get(f"{FILM}/frames/2/thumbnail")).size == (7, 5)
    two = parts_of(stocked.get(f"{FILM}/frames/1,3/rendered", "multipart/related; type=image/png"))
    assert [Image.open(BytesIO(part.get_payload(decode=True))).size for part in two] == [(7, 5)] * 2


def test_the_window_is_applied_as_its_function_says(stocked: Stocked):
    stored = pixels_of(stocked.files[SLICE_UID]).astype(float)

    def shown(window: str) -> np.ndarray:
        answer = stocked.get(f"{SLICE}/rendered?window={window}", "image/png")
        return np.asarray(picture(answer)).astype(float)

    linear = np.clip((stored - 1999.5) / 999 + 0.5, 0, 1) * 255
    exact = np.clip((stored - 2000) / 1000 + 0.5, 0, 1) * 255
    sigmoid = 255 / (1 + np.exp(-4 * (stored - 2000) / 1000))
    assert np.abs(shown("2000,1000,linear") - linear).max() <= 1
    assert np.abs(shown("2000,1000,linear-exact") - exact).max() <= 1
    assert np.abs(shown("2000,1000,sigmoid") - sigmoid).max() <= 1


@pytest.mark.parametrize(
    ("path", "count"),
    [
        (f"studies/{ROOT}.1/rendered", 3),
        (f"studies/{ROOT}.3/rendered", 3),  # its document is no picture
        (f"studies/{ROOT}.3/series/{ROOT}.3.1/rendered", 2),
    ],
)
def test_all_images_of_a_study_or_series_are_rendered(stocked: Stocked, path: str, count: int):
    given = parts_of(stocked.get(path, "multipart/related; type=image/png"))
    small = parts_of(stocked.get(f"{path}?viewport=8,8"))

    assert len(given) == len(small) == count
    for part, less in zip(given, small, strict=True):
        assert part.get_content_type() == "image/png"
        assert Image.open(BytesIO(part.get_payload(decode=True))).format == "PNG"
        assert max(Image.open(BytesIO(less.get_payload(decode=True))).size) == 8


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        (f"studies/{ROOT}.1/rendered", "image/png", 406),
        (f"studies/{ROOT}.1/rendered", "application/dicom", 406),
        (f"studies/{ROOT}.3/series/{ROOT}.3.3/rendered", "multipart/related; type=image/png", 406),
        (f"studies/{ROOT}.77/rendered", "image/png", 404),
        (f"studies/{ROOT}.3/series/{ROOT}.3.2/rendered", "image/png", 200),
    ],
)
def test_pictures_of_a_whole_come_in_parts_or_not_at_all(
    stocked: Stocked, path: str, accept: str, status: int
):
    assert stocked.get(path, accept).status_code == status


@pytest.mark.parametrize(
    "query",
    [
        "viewport=0,10",
        "viewport=10",
        "viewport=99999,10",
        "viewport=a,b",
        "viewport=10,10,-1,0,5,5",
        "viewport=10,10,0,0,0,5",
        "viewport=,10",
        "viewport=1_0,10",
        "viewport=١,10",
        "window=1,2",
        "window=1,0,linear",
        "window=nan,5,linear",
        "window=1,inf,linear",
        "window=1,2,cubic",
        "quality=0",
        "quality=101",
        "quality=best",
        "quality=1_0",
    ],
)
def test_a_parameter_that_cannot_be_is_refused(stocked: Stocked, query: str):
    assert stocked.get(f"{SLICE}/rendered?{query}").status_code == 400


def test_what_of_a_viewport_is_left_open_is_the_whole_image(stocked: Stocked):
    path = f"{SLICE}/rendered?viewport=32,32"

    whole = stocked.get(path, "image/png").content
    right = stocked.get(f"{path},16,0,16,32", "image/png").content

    assert stocked.get(f"{path},,,,", "image/png").content == whole
    assert stocked.get(f"{path},16", "image/png").content == right
    assert stocked.get(f"{path},16,,16,", "image/png").content == right
    assert right != whole


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("annotation=patient,technique", "Annotations"),
        ("iccprofile=srgb", "ICC profiles"),
        ("annotation=patient&iccprofile=yes", "Annotations"),
        ("iccprofile=no", ""),
        ("annotation=", ""),
        ("quality=50", ""),
    ],
)
def test_what_a_picture_is_given_without_is_said(stocked: Stocked, query: str, word: str):
    for path in (f"{SLICE}/rendered", f"{FILM}/frames/1,2/rendered", f"{SLICE}/thumbnail"):
        answer = stocked.get(f"{path}?{query}")

        assert answer.status_code == 200
        warning = answer.headers.get("warning", "")
        assert word in warning
        assert warning.startswith("299 ") if word else not warning


def wado(stocked: Stocked, accept: str = "*/*", **more: str) -> httpx.Response:
    uid = f"{ROOT}.1"
    query = {
        "requestType": "WADO",
        "studyUID": uid,
        "seriesUID": f"{uid}.1",
        "objectUID": SLICE_UID,
    }
    return stocked.get("wado", accept, params={**query, **more})


def test_wado_uri_gives_the_instance_or_a_picture(stocked: Stocked):
    given = wado(stocked, contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.1")
    squeezed = wado(stocked, contentType="application/dicom", transferSyntax=JPEG_LS)

    assert given.content == kept(stocked, SLICE_UID)
    assert dcmread(BytesIO(squeezed.content)).file_meta.TransferSyntaxUID == JPEG_LS
    assert picture(wado(stocked)).format == "JPEG"
    assert picture(wado(stocked, contentType="image/png", rows="8")).size == (8, 8)
    windowed = wado(stocked, "image/png", windowCenter="40", windowWidth="400")
    assert picture(windowed).size == (32, 32)


def test_wado_uri_gives_the_region_asked_for(stocked: Stocked):
    whole = np.asarray(picture(wado(stocked, "image/png")))

    corner = wado(stocked, "image/png", region="0.5,0.25,1.0,0.75")
    small = wado(stocked, "image/png", region="0.5,0.25,1.0,0.75", rows="8")
    thin = wado(stocked, "image/png", region="0.999,0,1,1")

    assert np.array_equal(np.asarray(picture(corner)), whole[8:24, 16:32])
    assert picture(small).size == (8, 8)
    assert np.array_equal(np.asarray(picture(thin)), whole[:, 31:])


def test_wado_uri_says_what_a_picture_is_given_without(stocked: Stocked):
    assert "Annotations" in wado(stocked, annotation="patient").headers["warning"]
    assert "warning" not in wado(stocked).headers


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"requestType": "WADS"}, 400),
        ({"objectUID": ""}, 400),
        ({"objectUID": "1.2.3"}, 404),
        ({"objectUID": "../../x"}, 404),
        ({"contentType": "video/mpeg"}, 406),
        ({"contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.4.50"}, 406),
        ({"frameNumber": "2"}, 404),
        ({"frameNumber": "x"}, 400),
        ({"rows": "-5"}, 400),
        ({"windowCenter": "40"}, 400),
        ({"windowCenter": "40", "windowWidth": "nan"}, 400),
        ({"imageQuality": "200"}, 400),
        ({"imageQuality": "0"}, 400),
        ({"rows": "0"}, 400),
        ({"columns": "1_0"}, 400),
        ({"region": "0,0,1"}, 400),
        ({"region": "0,0,1.1,1"}, 400),
        ({"region": "0.5,0,0.5,1"}, 400),
        ({"region": "nan,0,1,1"}, 400),
        ({"anonymize": "yes"}, 406),
        ({"contentType": "application/dicom", "anonymize": "yes"}, 406),
        ({"presentationUID": "1.2.3"}, 406),
        ({"presentationSeriesUID": "1.2.3", "presentationUID": "1.2.3"}, 406),
    ],
)
def test_wado_uri_refuses_what_it_cannot_give(stocked: Stocked, query: dict[str, str], status: int):
    assert wado(stocked, **query).status_code == status


def test_metadata_of_a_complete_series_are_made_once_and_kept(stocked: Stocked):
    archive = stocked.clinic.engine.archive
    many = [data for uid, data in stocked.files.items() if uid.startswith(f"{ROOT}.1.")]
    clones = []
    for number in range(4, 12):
        data_set = dcmread(BytesIO(many[0]))
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{number}"
        data_set.SeriesInstanceUID, data_set.StudyInstanceUID = "1.2.9.1", "1.2.9"
        data_set.InstanceNumber = number
        out = BytesIO()
        data_set.save_as(out, enforce_file_format=True)
        clones.append(out.getvalue())
    from tests.app.clinic import multipart

    assert stocked.program.post("/dicomweb/studies", **multipart(*clones)).status_code == 200
    path = "studies/1.2.9/series/1.2.9.1/metadata"
    with archive.database.reading() as tx:
        key = key_of(held(tx, "1.2.9"))
    early = stocked.get(path)
    assert archive.objects.size(key) is None
    stocked.clinic.settle()

    assert prepare(archive, "1.2.9") == 0  # that was done once the study was complete
    assert archive.objects.size(key) is not None
    kept_one = stocked.get(path)
    plain = stocked.get(path, headers={"Accept-Encoding": "identity"})
    assert early.json() == kept_one.json() == plain.json()
    archive.objects.delete(key)
    assert stocked.get(path).json() == plain.json()
    assert archive.objects.size(key) is not None  # whoever asked had it kept again
    whole = stocked.get("studies/1.2.9/metadata")
    assert whole.json() == plain.json()
    assert kept_one.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert len(plain.json()) == 8
    bulk = urlsplit(plain.json()[0]["7FE00010"]["BulkDataURI"])
    assert stocked.program.get(bulk.path).status_code == 200


def test_kept_metadata_that_are_damaged_are_made_anew(stocked: Stocked):
    archive, path = stocked.clinic.engine.archive, f"studies/{ROOT}.8/series/{ROOT}.8.1/metadata"
    from tests.app.clinic import multipart

    files = [as_file(a_slice(number, study=8, side=8)) for number in range(1, 10)]
    assert stocked.program.post("/dicomweb/studies", **multipart(*files)).status_code == 200
    stocked.clinic.settle()
    with archive.database.reading() as tx:
        key = key_of(held(tx, f"{ROOT}.8"))
    before = stocked.get(path).json()
    (kept_at,) = stocked.clinic.directory.rglob(key.rpartition("/")[2])
    packed = kept_at.read_bytes()

    for damaged in (packed[:-20], packed[:50] + b"damage" + packed[56:], b""):
        kept_at.write_bytes(damaged)
        assert stocked.get(path).json() == before


def test_a_packed_study_is_read_as_before(stocked: Stocked):
    path, uid = instance_path(2, 1, 1), f"{ROOT}.2.1.1"
    accept = "application/dicom; transfer-syntax=*"
    asked = (
        (path, accept, {}),
        (path, accept, {"Range": "bytes=500-700"}),
        (f"{path}/metadata", "application/json", {}),
        (f"{path}/frames/1", OCTETS, {}),
    )
    before = [stocked.get(each, taken, headers=more).content for each, taken, more in asked]
    parts = stocked.clinic.parts

    parts.packer.pack(f"{ROOT}.2")

    with parts.database.reading() as tx:
        assert all(each.pack_key for each in held(tx, f"{ROOT}.2"))
    after = [stocked.get(each, taken, headers=more).content for each, taken, more in asked]
    assert after == before
    assert after[0] == kept(stocked, uid)
