"""Details of series: what matches them, and how much is read for one query."""

import pytest

from dicom_node import series_details
from dicom_node.data_sets import Attribute, Attributes, attribute, sequence
from dicom_node.details_read import MAX_READ, once_each
from dicom_node.errors import QueryTooWide
from dicom_node.series_details import REQUEST

HELD = series_details.read_of(
    {
        "00080021": {"vr": "DA", "Value": ["20260102"]},
        "00080031": {"vr": "TM", "Value": ["101500.5 "]},
        "00400244": {"vr": "DA"},
        "00400275": {
            "vr": "SQ",
            "Value": [
                {
                    "00400009": {"vr": "SH", "Value": ["STEP-1"]},
                    "00401001": {"vr": "SH", "Value": ["PROC-1"]},
                    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Nobody^Else"}]},
                },
                None,
                {"00400009": {"vr": "SH", "Value": ["STEP-2"]}},
            ],
        },
    }
)


def keys(*asked: Attribute) -> Attributes:
    return Attributes({each.tag: each for each in asked})


def of_request(**asked: str) -> Attribute:
    return sequence(REQUEST, [attribute(keyword, value) for keyword, value in asked.items()])


def test_what_is_read_are_the_details_and_of_a_request_its_numbers() -> None:
    assert {each.keyword for each in HELD.by_tag.values()} == {"SeriesDate", "SeriesTime", REQUEST}
    assert HELD.value("SeriesTime") == "101500.5"
    steps = [item.value("ScheduledProcedureStepID") for item in HELD.items(REQUEST)]
    assert steps == ["STEP-1", "STEP-2"]
    assert all(not item.values("PatientName") for item in HELD.items(REQUEST))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (keys(), True),
        (keys(attribute("SeriesDate")), True),
        (keys(attribute("SeriesDate", "20260101-20260103")), True),
        (keys(attribute("SeriesDate", "20260103-")), False),
        (keys(attribute("SeriesTime", "10")), True),
        (keys(attribute("PerformedProcedureStepStartDate", "20260102")), False),
        (keys(attribute("PerformedProcedureStepStartDate", "*")), True),
        (keys(of_request()), True),
        (keys(of_request(ScheduledProcedureStepID="")), True),
        (keys(of_request(ScheduledProcedureStepID="STEP-2")), True),
        (keys(of_request(ScheduledProcedureStepID="STEP-?")), True),
        (keys(of_request(ScheduledProcedureStepID="STEP-3")), False),
        (keys(of_request(ScheduledProcedureStepID="STEP-1", RequestedProcedureID="PROC-1")), True),
        # One item has to have all of it (PS3.4 section C.2.2.2.6).
        (keys(of_request(ScheduledProcedureStepID="STEP-2", RequestedProcedureID="PROC-1")), False),
        (keys(of_request(AccessionNumber="A")), False),
    ],
)
def test_a_series_matches_what_it_says_of_itself(asked: Attributes, found: bool) -> None:
    assert series_details.matches(asked, HELD) is found


def test_a_key_that_is_not_read_matches_all_and_is_not_supported() -> None:
    unread = of_request(RequestedProcedureDescription="CHEST")

    assert series_details.matches(keys(unread), HELD)
    assert series_details.matches(keys(unread), Attributes())
    assert not series_details.is_supported(unread)
    assert series_details.is_supported(of_request(RequestedProcedureID="x"))


def test_each_series_is_read_once_and_no_more_than_can_be_waited_for() -> None:
    read: list[str] = []

    def look(_study_uid: str, series_uid: str) -> Attributes:
        read.append(series_uid)
        return HELD

    looked = once_each(look)
    for number in range(MAX_READ):
        looked("1.2", str(number))
        looked("1.2", str(number))
    assert len(read) == MAX_READ

    with pytest.raises(QueryTooWide):
        looked("1.2", "one more")
    assert looked("1.2", "0") is HELD
