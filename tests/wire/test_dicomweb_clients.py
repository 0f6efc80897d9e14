"""Independent DICOMweb clients against a real ``telerad up``: dicomweb-client, and OHIF's calls."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from requests.exceptions import HTTPError

from tests.app.stocked import FRAMES, ROOT, document_of, frames_of, slices
from tests.cli.command import running, telerad
from tests.dicom_node.samples import as_file

STUDY, SERIES, FILM, PAPER = f"{ROOT}.3", f"{ROOT}.3.1", f"{ROOT}.3.2", f"{ROOT}.3.3"
COUNT = 5
JPEG_2000 = "1.2.840.10008.1.2.4.90"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # dicomweb-client's, on limits


@dataclass
class Site:
    """A running engine with one study, stored by dicomweb-client, and who may read it."""

    client: DICOMwebClient
    ohif: httpx.Client
    sent: dict[str, Dataset]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data_sets = [*slices(3, COUNT), frames_of(), document_of()]
    with running(tmp_path_factory.mktemp("dicomweb") / "data") as up:
        scopes = "dicomweb:read dicomweb:write"
        made = telerad("token", "add", "--data", up.data, "--scopes", scopes)
        assert made.returncode == 0, made.stderr
        headers = {"Authorization": f"Bearer {made.stdout.split()[-1]}"}
        base = up.ready["http"]
        client = DICOMwebClient(f"{base}/dicomweb", headers=headers)
        files = [dcmread(BytesIO(as_file(each))) for each in data_sets]
        told = client.store_instances(files)
        assert len(told.ReferencedSOPSequence) == len(files)
        with httpx.Client(base_url=base, headers=headers, timeout=60) as ohif:
            yield Site(client, ohif, {str(each.SOPInstanceUID): each for each in files})


def instance(uid: str) -> tuple[str, str, str]:
    return STUDY, uid.rpartition(".")[0], uid


def test_dicomweb_client_searches_every_level(site: Site) -> None:
    client = site.client

    (study,) = client.search_for_studies(search_filters={"PatientName": "Doe*"})
    assert Dataset.from_json(study).StudyInstanceUID == STUDY
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    assert len(client.search_for_series(STUDY)) == 3
    assert len(client.search_for_series(search_filters={"Modality": "US"})) == 1
    assert len(client.search_for_instances(STUDY, SERIES)) == COUNT
    assert len(client.search_for_instances(STUDY, SERIES, limit=2, offset=1)) == 2
    assert len(client.search_for_instances(STUDY, SERIES, limit=2, get_remaining=True)) == COUNT
    named = client.search_for_instances(STUDY, fields=["StudyDescription"], limit=1)
    assert "00081030" in named[0]


def test_dicomweb_client_retrieves_what_it_stored(site: Site) -> None:
    whole = site.client.retrieve_study(STUDY)
    series = list(site.client.iter_series(STUDY, SERIES))
    alone = site.client.retrieve_instance(*instance(f"{SERIES}.2"))

    assert {str(each.SOPInstanceUID) for each in whole} == set(site.sent)
    assert [each.InstanceNumber for each in series] == list(range(1, COUNT + 1))
    for each in [*whole, *series, alone]:
        assert each == site.sent[str(each.SOPInstanceUID)]


def test_dicomweb_client_asks_for_a_transfer_syntax(site: Site) -> None:
    squeezed = site.client.retrieve_instance(
        *instance(f"{SERIES}.1"), media_types=(("application/dicom", JPEG_2000),)
    )

    assert squeezed.file_meta.TransferSyntaxUID == JPEG_2000
    assert (squeezed.pixel_array == site.sent[f"{SERIES}.1"].pixel_array).all()
    with pytest.raises(HTTPError, match="406"):
        site.client.retrieve_instance(
            *instance(f"{SERIES}.1"),
            media_types=(("application/dicom", "1.2.840.10008.1.2.4.50"),),
        )


def test_dicomweb_client_reads_metadata_and_what_they_point_to(site: Site) -> None:
    for metadata in (
        site.client.retrieve_series_metadata(STUDY, SERIES),
        site.client.retrieve_study_metadata(STUDY)[:COUNT],
    ):
        assert [each["00200013"]["Value"] for each in metadata] == [[n + 1] for n in range(COUNT)]
    told = site.client.retrieve_instance_metadata(*instance(f"{PAPER}.1"))
    # The client leaves the port out of its Host header, so the address lacks it too.
    path = urlsplit(told["00420011"]["BulkDataURI"]).path
    (document,) = site.client.retrieve_bulkdata(
        str(site.ohif.base_url.join(path)), media_types=("application/octet-stream",)
    )

    assert document in site.sent[f"{PAPER}.1"].EncapsulatedDocument


def test_dicomweb_client_reads_frames_and_pictures(site: Site) -> None:
    raw = site.sent[f"{FILM}.1"].PixelData
    film = instance(f"{FILM}.1")

    frames = site.client.retrieve_instance_frames(*film, frame_numbers=[1, FRAMES])
    streamed = list(site.client.iter_instance_frames(*film, frame_numbers=[2]))
    png = site.client.retrieve_instance_rendered(*film, media_types=("image/png",))
    jpeg = site.client.retrieve_instance_frames_rendered(*film, [2], media_types=("image/jpeg",))

    assert frames == [raw[:35], raw[-35:]]
    assert streamed == [raw[35:70]]
    assert Image.open(BytesIO(png)).size == (7, 5)
    assert Image.open(BytesIO(jpeg)).format == "JPEG"


def test_the_calls_of_ohif_from_the_list_of_studies_to_the_pixels(site: Site) -> None:
    """Each call with the parameters and headers that OHIF 3 sends."""
    listed = site.ohif.get(
        "/dicomweb/studies",
        params={
            "limit": 101,
            "offset": 0,
            "fuzzymatching": "false",
            "includefield": "00081030,00080060",
        },
        headers={"Accept": "*/*"},
    ).json()
    uid = listed[0]["0020000D"]["Value"][0]
    patient = listed[0]["00100020"]["Value"][0]
    by_uid = site.ohif.get(
        "/dicomweb/studies",
        params={
            "limit": 101,
            "offset": 0,
            "StudyInstanceUID": uid,
            "includefield": "00081030,00080060",
        },
    ).json()
    priors = site.ohif.get("/dicomweb/studies", params={"00100020": patient, "limit": 101}).json()
    series = site.ohif.get(
        f"/dicomweb/studies/{uid}/series", params={"includefield": "0008103E,00080021,00080031"}
    ).json()
    assert by_uid == priors == listed
    assert len(series) == 3

    first = next(each for each in series if each["00080060"]["Value"] == ["CT"])
    address = first["00081190"]["Value"][0]
    metadata = site.ohif.get(
        f"{address}/metadata", headers={"Accept": "application/dicom+json"}
    ).json()
    assert len(metadata) == first["00201209"]["Value"][0] == COUNT
    for told in metadata:
        frame = site.ohif.get(
            f"{address}/instances/{told['00080018']['Value'][0]}/frames/1",
            headers={
                "Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"
            },
        )
        body = frame.content.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        shape = (told["00280010"]["Value"][0], told["00280011"]["Value"][0])
        shown = np.frombuffer(body, np.uint16).reshape(shape)
        assert (shown == site.sent[told["00080018"]["Value"][0]].pixel_array).all()


def test_nobody_reads_without_a_token(site: Site) -> None:
    for path in ("studies", f"studies/{STUDY}", f"studies/{STUDY}/metadata", "wado", "instances"):
        answer = httpx.get(f"{site.ohif.base_url}/dicomweb/{path}")
        assert answer.status_code == 401, path
