"""The corpus of odd files against a running engine: every demand of its index is checked.

Each file comes by C-STORE and by STOW-RS; what its index says must hold is looked at from outside:
what is found, served, shown on pages and logged, and how much memory the engine takes for it.
"""

import html
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from dicom_node.part10 import split
from kernel.clock import monotonic_s
from tests.app.clinic import Browser, multipart
from tests.cli.command import Up, listed, running, telerad
from tests.wire.inquirer import ask, identifier
from tests.wire.odd import ROWS, AsSent, OddFile, as_sent
from tests.wire.speaker import Speaker

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not ROWS, reason="the odd files are not here"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # pydicom's, about the files themselves
]

MAX_GROWTH = 300 << 20
PATIENCE_S = 60
PASSWORD = "correct horse battery"
SEES_ALL = {"TELERAD_DICOM__VIEWS_ALL": '["site"]'}
NETWORK = """
[[organisation]]
id = "site"
name = "Site"
kind = "requesting"
zone = "Asia/Almaty"

[[organisation]]
id = "centre"
name = "Centre"
kind = "consulting"
zone = "Asia/Almaty"

[[profile]]
id = "general"
name = "General radiology"
takes = [{ modality = "CT", default = true }]
"""


@dataclass
class Engine:
    """A running engine, a program that stores and reads, and people who look."""

    up: Up
    program: httpx.Client
    people: dict[str, Browser]
    taken: dict[str, "Taken"] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """The port of the node."""
        return self.up.dicom_port

    def get(self, path: str, accept: str = "*/*", **more: Any) -> httpx.Response:
        """Ask for something of DICOMweb."""
        return self.program.get(f"/dicomweb/{path}", headers={"Accept": accept}, **more)

    def page(self, path: str, login: str = "head") -> str:
        """Open a page."""
        shown = self.people[login].get(path)
        assert shown.status_code == httpx.codes.OK, path
        return str(shown.text)

    def log(self) -> str:
        """Return what it said so far."""
        return self.up.errors.read_text()

    def answers(self) -> bool:
        """Say whether node and web still serve."""
        with Speaker(self.up.dicom_port) as speaker:
            speaker.associate()
            return speaker.echo() == 0 and self.program.get("/health/live").status_code == 200

    def peak_memory(self) -> int:
        """Return the most that its processes held since `forget_peak`, in bytes."""
        return sum(_peak(pid) for pid in _tree(self.up.pid))

    def forget_peak(self) -> int:
        """Count anew; return what its processes hold now, in bytes."""
        for pid in _tree(self.up.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self.peak_memory()


@dataclass(frozen=True)
class Taken:
    """A file and what became of it."""

    engine: Engine
    row: OddFile
    route: str
    sent: AsSent | None
    accepted: bool

    @property
    def path(self) -> str:
        """The address of the instance; its series is told by a search."""
        assert self.sent is not None
        uid = self.sent.announced.sop_instance_uid
        (found,) = self.engine.get(
            f"instances?SOPInstanceUID={uid}", "application/dicom+json"
        ).json()
        series = found["0020000E"]["Value"][0]
        return f"studies/{self.sent.study_uid}/series/{series}/instances/{uid}"

    @property
    def study(self) -> dict[str, Any]:
        """The study as a search shows it."""
        assert self.sent is not None
        (found,) = self.engine.get(f"studies?StudyInstanceUID={self.sent.study_uid}").json()
        assert isinstance(found, dict)
        return found

    def whole(self) -> bytes:
        """Return the file as it is served."""
        got = self.engine.get(self.path, 'application/dicom; transfer-syntax="*"')
        assert got.status_code == httpx.codes.OK, got.text
        return got.content


class Engines:
    """As many engines as one instance has files in the corpus, each started when it is needed."""

    def __init__(self, folder: Path, route: str) -> None:
        self._folder = folder
        self.route = route
        self._stack = ExitStack()
        self._engines: dict[int, Engine] = {}

    def take(self, row: OddFile) -> Taken:
        """Send a file once; say what became of it."""
        engine = self._engine(row.rank)
        if row.name not in engine.taken:
            engine.taken[row.name] = self._sent(engine, row)
        return engine.taken[row.name]

    def close(self) -> None:
        """End all of them."""
        self._stack.close()

    @staticmethod
    def send(engine: Engine, row: OddFile, route: str) -> bool:
        """Send a file; say whether it was taken."""
        if route == "stow":
            return _stowed(engine, row.data)
        sent = as_sent(row.data)
        return sent is not None and _stored(engine, sent)

    def _sent(self, engine: Engine, row: OddFile) -> Taken:
        if row.name.endswith("_b.dcm"):
            self.take(row.twin("a"))
        accepted = self.send(engine, row, self.route)
        return Taken(engine, row, self.route, as_sent(row.data), accepted)

    def _engine(self, rank: int) -> Engine:
        if rank not in self._engines:
            folder = self._folder / str(rank)
            self._engines[rank] = self._stack.enter_context(_engine(folder))
        return self._engines[rank]


@contextmanager
def _engine(folder: Path) -> Iterator[Engine]:
    folder.mkdir()
    network = folder / "network.toml"
    network.write_text(NETWORK)
    with ExitStack() as stack:
        up = stack.enter_context(running(folder / "data", **SEES_ALL))
        _done("network", "load", network, "--data", up.data)
        peer = ("--ae", "VAN1", "--host", "127.0.0.1", "--port", "104", "--organisation", "site")
        _done("peer", "add", "--data", up.data, *peer, "--charset", "CP1251")
        head = ("head", "--name", "Head", "--role", "administrator", "--organisation", "centre")
        _done("user", "add", "--data", up.data, *head, "--password-stdin", given=PASSWORD)
        doctor = ("doctor", "--name", "Doctor", "--role", "attending", "--organisation", "site")
        _done("user", "add", "--data", up.data, *doctor, "--password-stdin", given=PASSWORD)
        token = _done("token", "add", "--data", up.data, "--scopes", "dicomweb:read dicomweb:write")
        bearer = {"Authorization": f"Bearer {token.split()[-1]}"}
        base = up.ready["http"]
        program = stack.enter_context(httpx.Client(base_url=base, headers=bearer, timeout=60))
        people = {
            login: Browser(stack.enter_context(httpx.Client(base_url=base, timeout=60)))
            for login in ("head", "doctor")
        }
        for login, browser in people.items():
            browser.sign_in(login, PASSWORD)
        yield Engine(up, program, people)


@pytest.fixture(scope="module", params=["dimse", "stow"])
def engines(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Engines]:
    engines = Engines(tmp_path_factory.mktemp(request.param), request.param)
    yield engines
    engines.close()


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_what_the_index_demands_of_an_odd_file_holds(engines: Engines, row: OddFile) -> None:
    taken = engines.take(row)

    if row.expect != "either" and _announceable(engines, taken):
        assert taken.accepted == (row.expect == "accept")
    for demand in _demands(row.must):
        DEMANDS[demand](taken)
    assert taken.engine.answers()


def _announceable(engines: Engines, taken: Taken) -> bool:
    """A C-STORE cannot even be asked for with some files; they are refused by that."""
    return engines.route == "stow" or taken.sent is not None


def _demands(must: str) -> list[str]:
    """Return the demands of the index; one that nobody checks is a failure, not a pass."""
    found = [demand for demand in DEMANDS if demand in must]
    left = must
    for demand in found:
        left = left.replace(demand, "")
    assert not left.strip(" ,;"), f"nobody checks: {left}"
    return found


def _stays_up(taken: Taken) -> None:
    """Sent once more, with memory counted from here on."""
    engine = taken.engine
    before = engine.forget_peak()
    Engines.send(engine, taken.row, taken.route)
    assert engine.answers()
    assert engine.peak_memory() - before < MAX_GROWTH


def _metadata_in_time(taken: Taken) -> None:
    got = taken.engine.get(f"{taken.path}/metadata", JSON, timeout=10)
    assert got.status_code == httpx.codes.OK
    json.loads(got.content)


def _matched_trimmed(taken: Taken) -> None:
    assert taken.sent is not None
    uid = taken.sent.announced.sop_instance_uid
    assert uid == uid.strip()
    found = taken.engine.get(f"instances?SOPInstanceUID={uid}").json()
    assert len(found) == 1
    study = taken.study["0020000D"]["Value"][0]
    assert study == study.strip()


def _one_uid_wins(taken: Taken) -> None:
    assert taken.sent is not None
    file = split(taken.row.data)
    uids = {file.sop_instance_uid, taken.sent.announced.sop_instance_uid}
    found = [taken.engine.get(f"instances?SOPInstanceUID={uid}").json() for uid in uids]
    assert sum(map(len, found)) == int(taken.accepted)
    if taken.route == "stow":
        assert _remarked(taken, "meta_disagrees")


def _first_stays(taken: Taken) -> None:
    if not taken.row.name.endswith("_b.dcm"):
        return
    assert not taken.accepted
    first = as_sent(taken.row.twin("a").data)
    assert first is not None
    assert taken.whole().endswith(first.data_set)
    assert "archive.uid_conflict" in taken.engine.page("/desk")


def _conflict_of_patients(taken: Taken) -> None:
    if not taken.row.name.endswith("_b.dcm"):
        return
    assert not taken.accepted
    assert "archive.patient_conflict" in taken.engine.page("/desk")
    assert taken.study["00100020"]["Value"] == ["ODDS13"]
    assert taken.study["00201208"]["Value"] == [1]


def _never_executable(taken: Taken) -> None:
    if taken.accepted:
        assert not any(taken.whole()[:128])
    for file in list(taken.engine.up.data.rglob("*")):
        if file.suffix in (".zip", ".seg"):
            with suppress(FileNotFoundError):  # packed or freed at this moment
                assert taken.row.data[:32] not in file.read_bytes(), file.name


def _flagged(taken: Taken) -> None:
    if taken.route == "stow":  # the preamble of a file does not travel in a C-STORE
        assert _remarked(taken, "active_preamble")


def _nosniff(taken: Taken) -> None:
    got = taken.engine.get(taken.path, "application/dicom")
    assert got.headers["x-content-type-options"] == "nosniff"


def _peak_of_bomb(taken: Taken) -> None:
    engine = taken.engine
    before = engine.forget_peak()
    shown = engine.get(f"{taken.path}/rendered", "image/png", timeout=30)
    assert 200 <= shown.status_code < 500
    assert engine.get(f"{taken.path}/metadata", JSON, timeout=30).status_code < 500
    assert engine.peak_memory() - before < MAX_GROWTH


def _rendering_is_refused(taken: Taken) -> None:
    engine = taken.engine
    before = engine.forget_peak()
    if taken.accepted:
        for path in ("rendered", "thumbnail", "frames/1/rendered"):
            got = engine.get(f"{taken.path}/{path}", "image/png")
            assert 400 <= got.status_code < 500, path
            assert got.headers["content-type"] == "application/problem+json"
    assert engine.peak_memory() - before < MAX_GROWTH


def _flagged_and_not_whole(taken: Taken) -> None:
    if taken.accepted:
        _rendering_is_refused(taken)
        frame = taken.engine.get(f"{taken.path}/frames/1", "application/octet-stream")
        assert 400 <= frame.status_code < 500
        assert _remarked(taken, "pixels_short")


def _unchanged(taken: Taken) -> None:
    """All elements come back, private ones too, in the transfer syntax that they came in."""
    if not taken.accepted:
        assert taken.row.expect == "either"
        return
    assert taken.sent is not None
    back = taken.whole()
    assert back.endswith(taken.sent.data_set)
    assert split(back).transfer_syntax_uid == taken.sent.announced.transfer_syntax_uid


def _found_by_name(taken: Taken) -> None:
    name = str(dcmread(BytesIO(taken.row.data)).PatientName)
    family = name.split("^")[0].split("=")[0]
    for asked in (family + "*", family.lower() + "*", name.split("=")[0]):
        found = taken.engine.get("studies", params={"PatientName": asked}).json()
        uids = {each["0020000D"]["Value"][0] for each in found}
        assert taken.sent is not None
        assert taken.sent.study_uid in uids, asked
        assert taken.sent.study_uid in _c_find(taken.engine, asked), asked


def _shown_in_utf8(taken: Taken) -> None:
    _found_by_name(taken)
    shown = taken.study["00100010"]["Value"][0]
    assert "\N{REPLACEMENT CHARACTER}" not in json.dumps(shown, ensure_ascii=False)
    _unchanged(taken)


def _shown_as_guessed(taken: Taken) -> None:
    shown = taken.study["00100010"]["Value"][0]["Alphabetic"]
    assert shown in ("Смирнов^Пётр", "Волков^Илья")
    assert _remarked(taken, "character_set_guessed")
    assert "\N{REPLACEMENT CHARACTER}" not in taken.engine.get(f"{taken.path}/metadata").text
    _unchanged(taken)


def _text_everywhere(taken: Taken) -> None:
    assert taken.sent is not None
    data_set = dcmread(BytesIO(taken.row.data))
    name, patient_id = str(data_set.PatientName), str(data_set.PatientID)
    found = taken.engine.get("studies", params={"PatientID": patient_id}).json()
    assert [each["0020000D"]["Value"][0] for each in found] == [taken.sent.study_uid]
    case = _case_of(taken, patient_id=patient_id, name=name)
    case_page = taken.engine.page(f"/cases/{case['id']}", "doctor")
    for text in (taken.engine.page("/desk"), case_page):
        assert "<script>alert(1)" not in text
        assert "<img src=x" not in text
        assert "' OR 1=1" not in text
    assert patient_id in html.unescape(case_page)
    for line in taken.engine.log().splitlines():
        assert "alert(1)" not in line
        assert "OR 1=1" not in line
    _unchanged(taken)


def _impossible_date(taken: Taken) -> None:
    assert taken.study["00080020"]["Value"] == ["20240230"]
    for asked in ("20240101-20241231", "20240230", "-20231231", "20240301-"):
        got = taken.engine.get("studies", params={"StudyDate": asked})
        assert got.status_code == httpx.codes.OK, asked
    assert _remarked(taken, "date_impossible")


def _default_rule(taken: Taken) -> None:
    case = _case_of(taken, patient_id="ODDS73", name="Odd^S73", modality="CT")
    assert case["profile"] == "general"


def _attachment(taken: Taken) -> None:
    for path, accept in (("bulkdata/00420011", "*/*"), ("rendered", "application/pdf")):
        got = taken.engine.get(f"{taken.path}/{path}", accept)
        assert got.status_code == httpx.codes.OK, got.text
        assert got.headers["content-disposition"].startswith("attachment")
        assert got.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in got.headers["content-security-policy"]


def _no_silent_loss(taken: Taken) -> None:
    if not taken.accepted:
        assert "dicom_node.unreadable" in taken.engine.page("/desk")


JSON = "application/dicom+json"
DEMANDS: dict[str, Callable[[Taken], None]] = {
    "node stays up, answers the next request, memory < +300 MiB": _stays_up,
    "metadata request < 10 s": _metadata_in_time,
    "matched as the trimmed UID; not a second study": _matched_trimmed,
    "one UID wins and the choice is logged": _one_uid_wins,
    "a stays retrievable; b refused or kept beside it, and an alert is raised": _first_stays,
    "conflict is raised to a human; reports never mix the two patients": _conflict_of_patients,
    "stored or refused, but never executed, and never served as application/dicom with an "
    "executable preamble": _never_executable,
    "scanner flag raised": _flagged,
    "X-Content-Type-Options: nosniff": _nosniff,
    "peak memory < +300 MiB or refused; done in < 30 s": _peak_of_bomb,
    "no allocation by the claimed size; rendering answers 4xx": _rendering_is_refused,
    "rendering answers 4xx, not 500": _rendering_is_refused,
    "rendering answers 4xx": _rendering_is_refused,
    "if accepted, flagged and not rendered as whole": _flagged_and_not_whole,
    "if accepted, never rendered as whole": _flagged_and_not_whole,
    "stored bytes come back unchanged (all elements, private ones too); "
    "same transfer syntax offered": _unchanged,
    "found by the Cyrillic name through QIDO-RS and C-FIND": _found_by_name,
    "found by the name": _found_by_name,
    "shown as text in the declared or a guessed set with a warning; stored bytes unchanged; "
    "never U+FFFD written back": _shown_as_guessed,
    "shown as text in every page, PDF, CSV, HL7, FHIR and log; no header or log line split; "
    "bytes unchanged": _text_everywhere,
    "kept as sent; sorted and searched without a crash; flagged": _impossible_date,
    "in the worklist, routed to the default rule": _default_rule,
    "served as attachment with nosniff and a sandbox CSP": _attachment,
    "PatientName shown and searchable in UTF-8; stored bytes unchanged": _shown_in_utf8,
    "no loss without a warning": _no_silent_loss,
}


def _remarked(taken: Taken, code: str) -> bool:
    """Say whether the study's remarks, as an administrator reads them, come to name a code."""
    assert taken.sent is not None
    deadline = monotonic_s() + PATIENCE_S  # what lies within is examined once the study is whole
    while monotonic_s() < deadline:
        told = listed("study", "show", taken.sent.study_uid, "--data", taken.engine.up.data)
        if code in {remark["code"] for remark in told["remarks"]}:
            return True
        time.sleep(0.1)
    return False


def _case_of(taken: Taken, *, patient_id: str, name: str, modality: str = "CT") -> dict[str, Any]:
    """Ask for a reading of the study; wait for its case."""
    assert taken.sent is not None
    up = taken.engine.up
    order = {
        "study_uid": taken.sent.study_uid,
        "patient_id": patient_id,
        "name": name,
        "modality": modality,
        "organisation": "site",
    }
    _done("order", "add", "-", "--data", up.data, given=json.dumps(order))
    deadline = monotonic_s() + PATIENCE_S
    while monotonic_s() < deadline:
        for case in listed("case", "list", "--data", up.data):
            if case["study_uid"] == taken.sent.study_uid and case["state"] != "received":
                assert isinstance(case, dict)
                return case
        time.sleep(0.1)
    raise AssertionError(f"no such case: {up.errors.read_text()[-3000:]}")


def _c_find(engine: Engine, name: str) -> set[str]:
    asked = identifier("STUDY", PatientName=name, StudyInstanceUID="")
    status, found, _ = ask(engine, asked)
    assert status == 0
    return {str(each.StudyInstanceUID) for each in found}


def _stored(engine: Engine, sent: AsSent) -> bool:
    with Speaker(engine.up.dicom_port) as speaker:
        speaker.associate((sent.announced.sop_class_uid, sent.announced.transfer_syntax_uid))
        if speaker.results[1][0]:
            return False
        return speaker.store(sent.announced, sent.data_set) == 0


def _stowed(engine: Engine, file: bytes) -> bool:
    got = engine.program.post("/dicomweb/studies", **multipart(file))  # type: ignore[arg-type]
    assert got.status_code in (200, 202, 409), got.text
    return got.status_code == httpx.codes.OK


def _done(*arguments: object, given: str = "") -> str:
    done = telerad(*arguments, given=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(
        int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")
    )
