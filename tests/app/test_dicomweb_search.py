"""QIDO-RS: what matches at each level and nothing else, what answers hold, and every refusal."""

import email
import json
from collections.abc import Iterator
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from app.http.dicom_search import KEYS, QueryRefused, parsed
from storage.archive_find import Level
from tests.app.stocked import ROOT, Stocked, stocked_clinic

ONE, TWO, THREE = f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.3"
NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stocked]:
    with stocked_clinic(tmp_path_factory.mktemp("search") / "data") as held:
        yield held


def values(rows: list[dict], tag: str) -> list[object]:
    return [row[tag]["Value"][0] for row in rows]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [ONE, TWO, THREE]),
        ({"PatientID": "P1"}, [ONE]),
        ({"PatientID": "P*"}, [ONE, TWO, THREE]),
        ({"PatientID": "p1"}, []),
        ({"PatientID": "p*"}, []),
        ({"PatientID": "[P]*"}, []),
        ({"PatientID": ""}, [ONE, TWO, THREE]),
        ({"00100020": "P?"}, [ONE, TWO, THREE]),
        ({"AccessionNumber": "ACC_"}, []),
        ({"AccessionNumber": "ACC%"}, []),
        ({"AccessionNumber": "*1"}, [ONE]),
        ({"StudyInstanceUID": f"{ONE},{TWO}"}, [ONE, TWO]),
        ({"0020000d": f"{ONE}\\{THREE}"}, [ONE, THREE]),
        ({"StudyInstanceUID": ONE, "PatientID": "P1"}, [ONE]),
        ({"StudyInstanceUID": ONE, "PatientID": "P2"}, []),
        ({"StudyDate": "20260102"}, [TWO]),
        ({"StudyDate": "20260102-"}, [TWO, THREE]),
        ({"StudyDate": "-20260102"}, [ONE, TWO]),
        ({"StudyDate": "20260101-20260102"}, [ONE, TWO]),
        ({"StudyTime": "12"}, [TWO]),
        ({"StudyTime": "1115-1215"}, [ONE, TWO]),
        ({"StudyTime": "121500.25"}, [TWO]),
        ({"PatientName": "Ахметова*"}, [ONE]),
        ({"PatientName": "ахметова^айгүл"}, [ONE]),
        ({"PatientName": "müller*"}, [TWO]),
        ({"PatientName": "MÜLLER*"}, [TWO]),
        ({"PatientName": "MULLER*"}, [TWO]),
        ({"PatientName": "Akhmetova^*"}, [ONE]),
        ({"PatientName": "Doe"}, []),
        ({"PatientName": "Doe^Jane"}, [THREE]),
        ({"PatientName": "D?e*"}, [THREE]),
        ({"ModalitiesInStudy": "US"}, [THREE]),
        ({"ModalitiesInStudy": "US,CT"}, [ONE, TWO, THREE]),
        ({"ModalitiesInStudy": "MR"}, []),
        ({"PatientSex": "F", "PatientBirthDate": "19700403"}, [ONE, TWO, THREE]),
        ({"NumberOfStudyRelatedInstances": "2"}, [TWO]),
    ],
)
def test_a_search_finds_what_matches_and_nothing_else(
    stocked: Stocked, query: dict[str, str], found: list[str]
):
    answer = stocked.get("studies", params=query)

    assert answer.status_code == 200
    assert sorted(values(answer.json(), "0020000D")) == found


def test_percent_encoded_letters_and_wildcards_are_what_they_stand_for(stocked: Stocked):
    name = quote("Ахметова^", safe="") + "%2A"

    (row,) = stocked.get(f"studies?PatientName={name}").json()

    assert row["00100010"]["Value"] == [{"Alphabetic": "Ахметова^Айгүл"}]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("series", 5),
        ("series?Modality=CT", 3),
        ("series?PatientID=P3", 3),
        (f"studies/{THREE}/series", 3),
        (f"studies/{THREE}/series?Modality=DOC", 1),
        (f"studies/{THREE}/series?SeriesNumber=2", 1),
        (f"studies/{THREE}/series?SeriesDescription=ax*", 2),
        (f"studies/{THREE}/series?SeriesInstanceUID={THREE}.1,{THREE}.2,{ONE}.1", 2),
        ("instances", 9),
        ("instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.104.1", 1),
        (f"instances?SOPInstanceUID={ONE}.1.1,{TWO}.1.1", 2),
        (f"studies/{THREE}/instances", 4),
        (f"studies/{ONE}/series/{ONE}.1/instances", 3),
        (f"studies/{ONE}/series/{ONE}.1/instances?InstanceNumber=2", 1),
        (f"studies/{ONE}/series/{TWO}.1/instances", 0),
        (f"studies/{ONE}/instances?StudyInstanceUID={ONE}", 3),
        ("studies/1.2.3/series", 0),
    ],
)
def test_every_level_is_searched_within_what_its_address_names(
    stocked: Stocked, path: str, found: int
):
    answer = stocked.get(path)

    assert answer.status_code == 200
    assert len(answer.json()) == found
    assert answer.headers["content-type"] == "application/dicom+json"


def test_a_study_is_answered_with_what_the_standard_requires(stocked: Stocked):
    (row,) = stocked.get("studies", params={"StudyInstanceUID": THREE}).json()

    data_set = Dataset.from_json(json.dumps(row))
    assert list(row) == sorted(row)
    assert sorted(data_set.ModalitiesInStudy) == ["CT", "DOC", "US"]
    assert data_set.NumberOfStudyRelatedSeries == 3
    assert data_set.NumberOfStudyRelatedInstances == 4
    assert data_set.InstanceAvailability == "ONLINE"
    assert data_set.RetrieveURL.endswith(f"/dicomweb/studies/{THREE}")
    assert {"ReferringPhysicianName", "StudyID", "StudyTime"} <= {e.keyword for e in data_set}


def test_series_and_instances_are_answered_with_what_the_standard_requires(stocked: Stocked):
    (series,) = stocked.get(f"studies/{ONE}/series").json()
    instance = stocked.get(f"studies/{THREE}/series/{THREE}.2/instances").json()[0]
    alone = stocked.get(f"instances?SOPInstanceUID={ONE}.1.1").json()[0]

    assert series["0020000E"]["Value"] == [f"{ONE}.1"]
    assert series["00080060"]["Value"] == ["CT"]
    assert series["00200011"]["Value"] == [1]
    assert series["00201209"]["Value"] == [3]
    assert "00100010" not in series
    assert instance["00280010"]["Value"] == [5]
    assert instance["00280008"]["Value"] == [4]
    assert "00280008" not in alone
    # Where the address does not name the study and the series, the answer does.
    assert alone["00100020"]["Value"] == ["P1"]
    assert alone["00080060"]["Value"] == ["CT"]


def test_fields_are_included_when_asked_for(stocked: Stocked):
    path = f"studies/{ONE}/series"

    assert "00100010" in stocked.get(f"{path}?includefield=PatientName").json()[0]
    assert "00081030" in stocked.get(f"{path}?includefield=00081030,00100020").json()[0]
    assert "00080062" in stocked.get("studies?includefield=all").json()[0]
    for unknown in ("00091001,Nonsense", "00081110.00081150", "00400275.00400007,PatientName"):
        rows = stocked.get(f"{path}?includefield={unknown}").json()
        assert ["00080060" in row for row in rows] == [True]
    assert stocked.get(f"{path}?includefield=all").json()[0].keys() >= {"00081030", "00100010"}


def test_limit_and_offset_walk_through_all_and_say_what_was_cut(stocked: Stocked):
    pages = [stocked.get("instances", params={"limit": 2, "offset": at}) for at in range(0, 10, 2)]

    seen = [uid for page in pages for uid in values(page.json(), "00080018")]
    assert len(seen) == len(set(seen)) == 9
    assert ["warning" in page.headers for page in pages] == [True] * 4 + [False]
    assert pages[0].headers["warning"].startswith("299 ")
    assert stocked.get("studies?limit=0").json() == []
    assert stocked.get("studies?offset=1000").json() == []
    assert stocked.get("studies?limit=1&limit=1&offset=0").json()
    assert stocked.get("studies?limit=999999999").status_code == 200


def test_nothing_found_is_an_empty_list_in_either_model(stocked: Stocked):
    xml = 'multipart/related; type="application/dicom+xml"'

    assert stocked.get("studies?PatientID=nobody").json() == []
    assert stocked.get("studies?PatientID=nobody", xml).status_code == 200


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("akhmet", [ONE]),
        ("Aigul", [ONE]),
        ("aygul ahmetova", [ONE]),
        ("Айгүл^Ахметова", [ONE]),
        ("MULLER", [TWO]),
        ("mueller*", [TWO]),
        ("jane d", [THREE]),
        ("ane", []),
        ("jane jane muller", []),
        ("*", [ONE, TWO, THREE]),
    ],
)
def test_fuzzy_matching_finds_words_by_their_beginnings_in_any_order(
    stocked: Stocked, name: str, found: list[str]
):
    answer = stocked.get("studies", params={"PatientName": name, "fuzzymatching": "true"})

    assert answer.status_code == 200
    assert sorted(values(answer.json(), "0020000D")) == found
    assert "warning" not in answer.headers


@pytest.mark.parametrize(
    "query",
    [
        "InstitutionName=M*",
        "SeriesNumber=1",
        "StudyDate=yesterday",
        "StudyDate=-",
        "StudyDate=20260101-20260102-20260103",
        "StudyTime=noon",
        "limit=-1",
        "limit=ten",
        "limit=%D9%A1",
        "offset=-1",
        "offset=9223372036854775808",
        "offset=2000000",
        "fuzzymatching=maybe",
        "fuzzymatching=true&fuzzymatching=false",
        "multiplevaluematching=1",
        "emptyvaluematching=true",
        "limit=1&limit=2",
        "limit=1.5",
        "limit=0x10",
        "limit=",
        "offset=1e3",
        "limit=%2B1",
        "StudyDate=20260101&00080020=20260102",
        "PatientName=" + "%D0%90" * 5000,
        "PatientID=P1%0AX",
        "StudyInstanceUID=x",
        "StudyInstanceUID=../../etc/passwd",
        "PatientID=P1%00",
        "PatientName=%C0%F5%EC*",  # windows-1251
        "PatientID=1&PatientID=2",
        f"PatientID={'9' * 5000}",
        "00400275.00400009=1",
        "nonsense=1",
    ],
)
def test_a_query_that_cannot_be_answered_is_refused_not_widened(stocked: Stocked, query: str):
    answer = stocked.get(f"studies?{query}")

    assert answer.status_code == 400
    assert answer.json()["code"] == "dicomweb.query_refused"


def test_the_xml_model_holds_the_same(stocked: Stocked):
    accept = 'multipart/related; type="application/dicom+xml"'
    answer = stocked.get(f"studies?StudyInstanceUID={ONE}", accept)

    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    (part,) = email.message_from_bytes(head + answer.content).get_payload()
    root = ElementTree.fromstring(part.get_payload(decode=True))
    told = {each.get("keyword"): each for each in root}
    assert root.tag == f"{NAMESPACE}NativeDicomModel"
    assert part.get_content_type() == "application/dicom+xml"
    assert told["StudyInstanceUID"].findtext(f"{NAMESPACE}Value") == ONE
    assert told["PatientName"].findtext(f".//{NAMESPACE}FamilyName") == "Ахметова"
    assert told["PatientName"].get("vr") == "PN"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/dicom+json", 200),
        ("application/json", 200),
        ("text/html, */*;q=0.1", 200),
        ("application/dicom+json;q=0, text/html", 406),
        ("text/html", 406),
        ("image/jpeg", 406),
        ('multipart/related; type="application/dicom"', 406),
    ],
)
def test_what_the_client_does_not_take_is_not_given(stocked: Stocked, accept: str, status: int):
    assert stocked.get("studies", accept).status_code == status
    assert stocked.get("studies", "text/html", params={"accept": accept}).status_code == status


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from([*KEYS, "limit", "offset", "includefield", "00100010", "0020000D"]),
                st.text(max_size=12),
            ),
            st.text(max_size=20),
        ),
        max_size=4,
    ),
    st.sampled_from([Level.STUDY, Level.SERIES, Level.IMAGE]),
)
def test_any_query_string_is_a_query_or_refused(pairs: list[tuple[str, str]], level: Level):
    try:
        search = parsed(pairs, level)
    except QueryRefused:
        return
    search.query().narrowing()
    search.query().matches(counted=False)
