"""Answers of QIDO-RS, written as text: always JSON, always what the row holds."""

import json

from hypothesis import given
from hypothesis import strategies as st

from app.http.dicom_answer import written
from app.http.dicom_search import parsed
from dicom_node.query import Found
from storage.archive_find import Level
from storage.contents import Contents

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BASE = "https://node.example/dicomweb"


def model(level: Level, row: dict[str, object], held: Contents) -> dict[str, dict]:
    contents = dict.fromkeys((Level.PATIENT, Level.STUDY, Level.SERIES), held)
    found = Found(row, contents)
    return json.loads(written(found, parsed([], level), BASE))


def row_of(text: str = "") -> dict[str, object]:
    study = ("accession", "study_description", "study_date", "study_time", "study_id")
    patient = ("patient_id", "issuer", "name", "sex", "referring_physician")
    series = ("modality", "series_number", "series_description", "body_part")
    image = ("sop_class_uid", "transfer_syntax_uid", "instance_number")
    numbers = {"rows": 512, "columns": None, "frames": None, "birth_date": None}
    uids = {"study_uid": "1.2", "series_uid": "1.2.3", "instance_uid": "1.2.3.4"}
    return {**dict.fromkeys((*study, *patient, *series, *image), text), **numbers, **uids}


@given(texts)
def test_any_text_comes_back_as_it_is_held(text: str):
    told = model(Level.STUDY, row_of(text), Contents())

    assert told["00081030"] == ({"vr": "LO", "Value": [text]} if text else {"vr": "LO"})
    assert list(told) == sorted(told)


@given(st.lists(texts.filter(lambda text: "=" not in text), min_size=1, max_size=3))
def test_a_name_comes_back_by_its_groups(groups: list[str]):
    row = row_of() | {"name": "=".join(groups)}

    told = model(Level.STUDY, row, Contents())["00100010"]

    names = ("Alphabetic", "Ideographic", "Phonetic")
    expected = {name: group for name, group in zip(names, groups, strict=False) if group}
    assert told == ({"vr": "PN", "Value": [expected]} if row["name"] else {"vr": "PN"})


def test_numbers_are_numbers_and_what_is_none_stays_text():
    row = row_of()

    counted = model(Level.STUDY, row, Contents(series=2, instances=17))
    told = model(Level.IMAGE, row | {"instance_number": "07"}, Contents())
    odd = model(Level.IMAGE, row | {"instance_number": '7"'}, Contents())

    assert counted["00201206"] == {"vr": "IS", "Value": [2]}
    assert counted["00201208"] == {"vr": "IS", "Value": [17]}
    assert told["00200013"] == {"vr": "IS", "Value": [7]}
    assert odd["00200013"] == {"vr": "IS", "Value": ['7"']}


def test_several_values_stand_in_one_list():
    told = model(Level.STUDY, row_of(), Contents(modalities={"SR", "CT", ""}))

    assert told["00080061"] == {"vr": "CS", "Value": ["CT", "SR"]}


def test_the_number_of_frames_is_said_of_multi_frame_images_alone():
    one, many = (
        model(Level.IMAGE, row_of() | {"frames": frames}, Contents()) for frames in (1, 40)
    )

    assert "00280008" not in one
    assert many["00280008"] == {"vr": "IS", "Value": [40]}


def test_an_answer_says_where_it_can_be_retrieved():
    told = [model(level, row_of(), Contents()) for level in (Level.STUDY, Level.IMAGE)]

    assert [each["00081190"]["Value"] for each in told] == [
        [f"{BASE}/studies/1.2"],
        [f"{BASE}/studies/1.2/series/1.2.3/instances/1.2.3.4"],
    ]
    assert told[0]["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
