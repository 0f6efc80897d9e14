"""UPS-RS: workitems over the web, for programs and for people."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from dicom_node.dicom_xml import native_model
from dicom_node.workitems import store
from dicom_node.workitems.commands import MAX_OWN_SUBSCRIBERS
from dicom_node.workitems.subscriber import FILTERED, GLOBAL
from kernel.ids import derived_uid, fresh
from tests.app.clinic import Clinic
from tests.wire.performer import a_workitem, discontinued, performed

JSON = "application/dicom+json"
LOCK, OTHER = "1.2.3.77", "1.2.3.78"
MISSING, WRONG = "The Transaction UID is missing.", "The Transaction UID is incorrect."
INCONSISTENT = "The submitted request is inconsistent with the current state of the UPS Instance."
Answer = httpx.Response


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    made = Clinic(tmp_path_factory.mktemp("workitems") / "data")
    yield made
    made.close()


@pytest.fixture(scope="module")
def program(shared: Clinic) -> httpx.Client:
    return shared.program("dicomweb:read dicomweb:write")


def send(client: httpx.Client, method: str, path: str, model: object = None, **how: Any) -> Answer:
    headers = {"Content-Type": JSON, "Accept": JSON, **how.pop("headers", {})}
    content = json.dumps(model) if model is not None else None
    return client.request(method, f"/dicomweb{path}", content=content, headers=headers, **how)


def a_model(**changed: Any) -> dict[str, Any]:
    return dict(a_workitem(**changed).to_json_dict())


def created(client: httpx.Client, **changed: Any) -> str:
    uid = derived_uid("test", fresh())
    answer = send(client, "POST", f"/workitems?{uid}", [a_model(**changed)])
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"].endswith(f"/dicomweb/workitems/{uid}")
    return uid


def change(client: httpx.Client, uid: str, state: str, lock: str = "") -> Answer:
    model: dict[str, Any] = {"00741000": {"vr": "CS", "Value": [state]}}
    if lock:
        model["00081195"] = {"vr": "UI", "Value": [lock]}
    return send(client, "PUT", f"/workitems/{uid}/state", [model])


def update(client: httpx.Client, uid: str, model: dict[str, Any], lock: str = "") -> Answer:
    return send(client, "POST", f"/workitems/{uid}{f'?{lock}' if lock else ''}", [model])


def warning(answer: Answer) -> str:
    found = answer.headers.get("warning", "")
    return found.removeprefix('299 telerad "').removesuffix('"')


def test_what_is_created_is_retrieved(program: httpx.Client) -> None:
    uid = created(program)

    (found,) = send(program, "GET", f"/workitems/{uid}").json()

    assert found["00741000"]["Value"] == ["SCHEDULED"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Ахметова^Айгүл"}]
    assert found["00741204"]["Value"] == ["Сегментація легень"]
    assert "00081195" not in found


def test_xml_in_and_out(program: httpx.Client) -> None:
    uid = derived_uid("test", fresh())
    answer = program.post(
        f"/dicomweb/workitems?{uid}",
        content=native_model(a_model()),
        headers={"Content-Type": "application/dicom+xml"},
    )
    assert answer.status_code == 201, answer.text

    given = program.get(
        f"/dicomweb/workitems/{uid}",
        headers={"Accept": 'multipart/related; type="application/dicom+xml"'},
    )
    document = given.content.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
    told = ElementTree.fromstring(document)
    labels = [e for e in told if e.get("keyword") == "ProcedureStepLabel"]
    assert [value.text for value in labels[0]] == ["Сегментація легень"]
    assert send(program, "GET", f"/workitems/{uid}").json()[0]["00100020"]["Value"] == ["P-1"]


@pytest.mark.parametrize(
    ("changed", "status", "word"),
    [
        ({"MedicalAlerts": ...}, 201, "The UPS was created with modifications."),
        ({"ProcedureStepLabel": ...}, 400, ""),
        ({"ProcedureStepState": "COMPLETED"}, 400, ""),
        ({"ScheduledProcedureStepPriority": "STAT"}, 400, ""),
    ],
)
def test_what_is_created_says_what_each_workitem_says(
    program: httpx.Client, changed: dict[str, Any], status: int, word: str
) -> None:
    answer = send(program, "POST", "/workitems", a_model(**changed))

    assert (answer.status_code, warning(answer)) == (status, word), answer.text


def test_a_uid_is_taken_once_and_what_is_not_there_is_not_found(program: httpx.Client) -> None:
    uid, nothing = created(program), derived_uid("test", fresh())

    assert send(program, "POST", f"/workitems?{uid}", a_model()).status_code == 409
    assert send(program, "GET", f"/workitems/{nothing}").status_code == 404
    assert send(program, "GET", "/workitems/none").status_code == 404
    assert change(program, nothing, "IN PROGRESS", LOCK).status_code == 404
    assert update(program, nothing, {}, LOCK).status_code == 404
    assert send(program, "POST", f"/workitems/{nothing}/cancelrequest").status_code == 404
    assert send(program, "POST", f"/workitems/{nothing}/subscribers/ONE").status_code == 404


@pytest.mark.parametrize("uid", ["abc", "1.2.3/4", "workitem=1.2.x", "%2A"])
def test_a_workitem_is_not_created_under_another_uid_than_was_asked(
    program: httpx.Client, uid: str
) -> None:
    answer = send(program, "POST", f"/workitems?{uid}", [a_model()])

    assert answer.status_code == 400
    assert answer.json()["code"] == "workitems.value_invalid"


def test_the_way_of_a_workitem_and_the_warnings_on_it(program: httpx.Client) -> None:
    uid = created(program)

    def told(answer: Answer) -> tuple[int, str]:
        return answer.status_code, warning(answer)

    assert told(change(program, uid, "COMPLETED", LOCK)) == (409, INCONSISTENT)
    assert told(change(program, uid, "IN PROGRESS")) == (400, MISSING)
    assert told(change(program, uid, "IN PROGRESS", LOCK)) == (200, "")
    assert told(change(program, uid, "IN PROGRESS", OTHER)) == (409, INCONSISTENT)
    assert told(change(program, uid, "SCHEDULED", LOCK)) == (409, INCONSISTENT)
    done = dict(performed().to_json_dict())
    assert told(update(program, uid, done)) == (400, MISSING)
    assert told(update(program, uid, done, OTHER)) == (400, WRONG)
    assert told(change(program, uid, "COMPLETED", LOCK)) == (409, INCONSISTENT)
    assert told(update(program, uid, done, LOCK)) == (200, "")
    asked = send(program, "POST", f"/workitems/{uid}/cancelrequest")
    assert told(asked) == (409, "The performer cannot be contacted.")
    assert told(change(program, uid, "COMPLETED", OTHER)) == (400, WRONG)
    assert told(change(program, uid, "COMPLETED", LOCK)) == (200, "")
    again = "The UPS is already in the requested state of COMPLETED."
    assert told(change(program, uid, "COMPLETED", LOCK)) == (200, again)
    assert told(update(program, uid, done, LOCK)) == (409, INCONSISTENT)
    asked = send(program, "POST", f"/workitems/{uid}/cancelrequest")
    assert told(asked) == (409, "The UPS is already COMPLETED.")


def test_a_cancel_of_what_nobody_performs_is_done_at_once(program: httpx.Client) -> None:
    uid = created(program)
    why = dict(discontinued().ProcedureStepProgressInformationSequence[0].to_json_dict())

    assert send(program, "POST", f"/workitems/{uid}/cancelrequest/DESK", why).status_code == 202
    again = send(program, "POST", f"/workitems/{uid}/cancelrequest", why)

    assert again.status_code == 202
    assert warning(again) == "The UPS is already in the requested state of CANCELED."
    (found,) = send(program, "GET", f"/workitems/{uid}").json()
    (step,) = found["00741002"]["Value"]
    assert step["0074100E"]["Value"][0]["00080100"]["Value"] == ["110526"]


def test_a_search_finds_by_attributes_items_and_ranges_and_pages(program: httpx.Client) -> None:
    label = fresh()[:16]
    uids = sorted(created(program, WorklistLabel=label) for _ in range(3))

    def found(**parameters: str) -> list[dict[str, Any]]:
        asked = {"WorklistLabel": label, **parameters}
        answer = send(program, "GET", "/workitems", params=asked)
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    assert [each["00080018"]["Value"][0] for each in found()] == uids
    assert len(found(**{"00404018.00080100": "110004"})) == 3
    assert found(**{"ScheduledWorkitemCodeSequence.CodeValue": "110005"}) == []
    assert len(found(ScheduledProcedureStepStartDateTime="20260301-20260303")) == 3
    assert len(found(PatientName="Ахметова*", ProcedureStepState="SCHEDULED,COMPLETED")) == 3
    assert [each["00080018"]["Value"][0] for each in found(limit="1", offset="1")] == [uids[1]]
    (given,) = found(limit="1", includefield="PatientID")
    assert set(given) == {"00080005", "00080016", "00080018", "00100020", "00741202"}
    first = send(program, "GET", "/workitems", params={"WorklistLabel": label, "limit": "2"})
    assert "additional results" in warning(first)


@pytest.mark.parametrize(
    "query",
    [
        "Nonsense=1",
        "00741202=a&00741202=b",
        "limit=-1",
        "offset=9223372036854775808",
        "ScheduledProcedureStepStartDateTime=soon",
        "PatientID=%00",
        "PatientName=%C8%E2*",  # windows-1251
        "limit=1&limit=2",
        "TransactionUID=1.2.3",  # it locks a workitem, and is told nobody
        "00081195=",
        "fuzzymatching=maybe",
        "&".join(f"004010{at:02d}.00080100=x" for at in range(64)),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(program: httpx.Client, query: str) -> None:
    created(program)

    assert program.get(f"/dicomweb/workitems?{query}").status_code == 400


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (JSON, b"[", 400),
        (JSON, b"[" * 100_000, 400),
        (JSON, b"[{},{}]", 400),
        (JSON, b'{"00741000": {"vr": "CS", "Value": [{}]}}', 400),
        (JSON, b'{"00741000": 1}', 400),
        (JSON, b'{"0040A30A": {"vr": "DS", "Value": ["1\\u0000"]}}', 400),
        (JSON, b'{"00741210":' * 30 + b"1" + b"}" * 30, 400),
        (JSON, b" " * ((1 << 20) + 1), 413),
        ("text/plain", b"{}", 415),
        ("application/dicom+xml", b"<a/>", 400),
        ("application/dicom+xml", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 400),
        ("application/dicom+xml", b"<a>" * 10_000, 400),
        ('multipart/related; type="application/dicom+xml"; boundary=x', b"--x", 400),
    ],
)
def test_a_body_that_is_no_workitem_is_refused(
    program: httpx.Client, kind: str, body: bytes, status: int
) -> None:
    answer = program.post("/dicomweb/workitems", content=body, headers={"Content-Type": kind})

    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("number", ["9" * 13, "9" * 400, "9" * 5000])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_whole_number_longer_than_any_is_refused(
    program: httpx.Client, number: str, as_text: bool
) -> None:
    text = f'"{number}"' if as_text else number
    model = {**a_model(), "00081199": {"vr": "SQ", "Value": ["ITEM"]}}
    item = f'{{"00081160":{{"vr":"IS","Value":[{text}]}}}}'
    body = json.dumps(model).replace('"ITEM"', item)

    answer = program.post("/dicomweb/workitems", content=body, headers={"Content-Type": JSON})
    assert answer.status_code == 400, answer.text


def test_no_token_no_workitems_and_no_writing_with_one_for_reading(shared: Clinic) -> None:
    nobody, reader = shared.browser().client, shared.program("dicomweb:read")

    assert send(nobody, "GET", "/workitems").status_code == 401
    assert send(nobody, "POST", "/workitems", a_model()).status_code == 401
    assert send(reader, "GET", "/workitems").status_code == 200
    assert send(reader, "POST", "/workitems", a_model()).status_code == 403
    assert send(reader, "PUT", "/workitems/1.2/state", {}).status_code == 403


def test_subscriptions_are_opened_under_a_title_and_belong_to_who_opened_them(
    shared: Clinic, program: httpx.Client
) -> None:
    uid = created(program)
    somebody_else = shared.program("dicomweb:read dicomweb:write")

    opened = send(program, "POST", f"/workitems/{uid}/subscribers/DESK1?deletionlock=true")
    assert opened.status_code == 201
    assert opened.headers["content-location"].startswith("ws://")
    assert opened.headers["content-location"].endswith("/ws/subscribers/DESK1")
    path = f"/workitems/{uid}/subscribers/DESK1"
    assert send(somebody_else, "POST", path).status_code == 403
    assert send(somebody_else, "DELETE", path).status_code == 403
    assert send(program, "POST", f"{path}?deletionlock=perhaps").status_code == 400
    assert send(program, "POST", f"/workitems/{uid}/subscribers/{'A' * 17}").status_code == 400
    assert send(program, "POST", f"{path}/suspend").status_code == 400
    assert send(program, "POST", f"/workitems/{GLOBAL}/subscribers/DESK1").status_code == 201
    assert (
        send(program, "POST", f"/workitems/{GLOBAL}/subscribers/DESK1/suspend").status_code == 200
    )
    filtered = f"/workitems/{FILTERED}/subscribers/DESK1"
    assert send(program, "POST", filtered).status_code == 400
    assert send(program, "POST", f"{filtered}?filter=WorklistLabel=NIGHT").status_code == 201
    assert send(program, "DELETE", path).status_code == 200
    assert send(program, "DELETE", f"/workitems/{GLOBAL}/subscribers/NOBODY").status_code == 404
    assert send(program, "DELETE", filtered).status_code == 200


def test_who_subscribes_under_many_titles_leaves_room_for_others(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path / "data")
    try:
        many, other = (clinic.program("dicomweb:read dicomweb:write") for _ in range(2))

        def opened(client: httpx.Client, title: str) -> int:
            path = f"/workitems/{GLOBAL}/subscribers/{title}"
            return send(client, "POST", path).status_code

        for number in range(MAX_OWN_SUBSCRIBERS):
            assert opened(many, f"MANY{number}") == 201
        assert opened(many, "ONEMORE") == 409
        assert opened(many, "MANY0") == 201  # known already
        assert opened(other, "OTHER") == 201
        path = f"/workitems/{GLOBAL}/subscribers/MANY0"
        assert send(many, "DELETE", path).status_code == 200
        assert opened(many, "ONEMORE") == 201
        created(many)
        with clinic.parts.database.reading() as tx:
            assert store.waiting(tx, "web:MANY0") == []
            told = [
                [e.event_type for e in store.waiting(tx, f"web:{t}")] for t in ("MANY1", "OTHER")
            ]
        assert told[0] == told[1] != []
    finally:
        clinic.close()


def test_a_program_of_an_organisation_sees_and_hears_of_its_own_workitems(
    shared: Clinic, program: httpx.Client
) -> None:
    east = shared.program("dicomweb:read dicomweb:write", "east")
    west = shared.program("dicomweb:read dicomweb:write", "west")
    uid = created(east, WorklistLabel="EASTERN")

    assert send(east, "GET", f"/workitems/{uid}").status_code == 200
    assert send(program, "GET", f"/workitems/{uid}").status_code == 200
    assert send(west, "GET", f"/workitems/{uid}").status_code == 404
    assert send(west, "GET", "/workitems?WorklistLabel=EASTERN").json() == []
    assert change(west, uid, "IN PROGRESS", LOCK).status_code == 404
    assert update(west, uid, {}).status_code == 404
    assert send(west, "POST", f"/workitems/{uid}/cancelrequest").status_code == 404
    assert send(west, "POST", f"/workitems/{uid}/subscribers/WEST").status_code == 404
    assert send(west, "POST", f"/workitems/{GLOBAL}/subscribers/WEST").status_code == 201
    assert change(east, uid, "IN PROGRESS", LOCK).status_code == 200
    with shared.parts.database.reading() as tx:
        assert store.waiting(tx, "web:WEST") == []
