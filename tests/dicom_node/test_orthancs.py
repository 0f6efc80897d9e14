"""What may be registered as an Orthanc, and how long we wait for one that is away."""

from dataclasses import replace
from datetime import timedelta

import pytest

from dicom_node.errors import OrthancInvalid
from dicom_node.orthancs import Orthanc, Progress, checked, pause_after

EAST = Orthanc(name="east", url="https://east.example/orthanc", organisation_id="o", issuer="i")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8042",
        "https://east.example/orthanc/",
        "http://[::1]:8042/",
    ],
)
def test_the_url_of_an_orthanc_is_http_or_https_to_a_host(url: str) -> None:
    assert checked(replace(EAST, url=url)).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "east.example",
        "ftp://east.example/",
        "file:///etc/passwd",
        "http://",
        "http://east.example:port/",
        "http://user:word@east.example/",
        "http://east.example/?a=b",
        "http://east.example/#a",
        "http://east.example/ a",
        "http://east.example\\@other.example/",
        "http://[::1/",
        "http://east.example/" + 500 * "a",
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(OrthancInvalid):
        checked(replace(EAST, url=url))


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""},
        {"name": "East"},
        {"name": "a/b"},
        {"name": 33 * "a"},
        {"username": "a:b"},
        {"username": 65 * "a"},
        {"issuer": ""},
        {"character_set": "KLINGON"},
    ],
)
def test_what_cannot_be_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(OrthancInvalid):
        checked(replace(EAST, **changed))  # type: ignore[arg-type]


def test_pauses_grow_with_failures_and_end_at_a_minute() -> None:
    pauses = [pause_after(count, poll=timedelta(seconds=5)) for count in range(100)]
    assert pauses[0] == timedelta(seconds=5)
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(minutes=1)
    assert pause_after(3, poll=timedelta(hours=1)) == timedelta(hours=1)


def test_the_backlog_is_what_was_told_and_not_seen() -> None:
    assert Progress(last_change=10, newest=14).backlog == 4
    assert Progress(last_change=10, newest=2).backlog == 0
