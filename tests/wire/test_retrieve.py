"""C-MOVE and C-GET: what was stored comes back, verbatim where the receiver takes it so."""

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from sqlalchemy import text

from dicom_node import commands, large_requests
from dicom_node.messages import nothing
from dicom_node.part10 import split
from dicom_node.peers import Peer
from dicom_node.study_sending import send_study
from dicom_node.uids import (
    COMPRESSIONS,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    JPEG_2000_LOSSLESS,
    PATIENT_ROOT_MOVE,
    RLE_LOSSLESS,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)
from kernel.people import ENGINE
from storage import archive, audit, corrections, patients
from storage.series_queries import held
from tests.dicom_node.samples import CT, ROOT, a_slice, as_file, as_sent
from tests.services.missing import required
from tests.services.orthanc import orthanc
from tests.wire.conftest import Node, start
from tests.wire.holdings import CR, HELD, stock
from tests.wire.inquirer import ask, identifier, without_delay
from tests.wire.speaker import CALLING, until

SUCCESS, PENDING, CANCELLED, SOME_FAILED = 0x0000, 0xFF00, 0xFE00, 0xB000
ALL_FAILED, NO_DESTINATION, REFUSED = 0xA702, 0xA801, 0xA900


@pytest.fixture
def plain_node(tmp_path: Path) -> Iterator[Node]:
    """A node that a test may fill, for clients that speak without TLS."""
    node = start(tmp_path)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


@dataclass
class Receiver:
    """A storage SCP that keeps what comes, or answers what a test tells it to."""

    ae_title: str
    files: dict[str, bytes] = field(default_factory=dict)
    originators: set[tuple[str, int]] = field(default_factory=set)
    syntaxes: set[str] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    priorities: set[int] = field(default_factory=set)
    on_store: Callable[[], object] = nothing

    def keep(self, event: evt.Event) -> int:
        self.on_store()
        request = event.request
        uid = str(request.AffectedSOPInstanceUID)
        if uid in self.refuses:
            return 0xA700
        self.files[uid] = request.DataSet.getvalue()
        self.priorities.add(request.Priority)
        self.syntaxes.add(str(event.context.transfer_syntax))
        if request.MoveOriginatorMessageID is not None:
            origin = (
                str(request.MoveOriginatorApplicationEntityTitle),
                request.MoveOriginatorMessageID,
            )
            self.originators.add(origin)
        return 0


@contextmanager
def receiving(
    node: Node, ae_title: str = "ARCHIVE", syntaxes: tuple[str, ...] = (EXPLICIT_LITTLE,)
) -> Iterator[Receiver]:
    """Run a storage SCP that the node knows."""
    receiver = Receiver(ae_title)
    entity = AE(ae_title=ae_title)
    for sop_class in (CT, CR):
        entity.add_supported_context(sop_class, list(syntaxes))
    handlers = [(evt.EVT_C_STORE, receiver.keep), (evt.EVT_CONN_OPEN, without_delay)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    port = server.socket.getsockname()[1]
    with node.database.transaction() as tx:
        peer = Peer(
            ae_title=ae_title, host="127.0.0.1", port=port, organisation_id="o-1", issuer="i"
        )
        commands.add_peer(tx, peer, actor=ENGINE)
    try:
        yield receiver
    finally:
        server.shutdown()


def opened(node: Node, abstract: str, calling: str = CALLING) -> Association:
    entity = AE(ae_title=calling)
    entity.add_requested_context(abstract)
    association = entity.associate(
        "127.0.0.1",
        node.port,
        ae_title="TELERAD",
        evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)],
    )
    assert association.is_established
    return association


def move(
    node: Node,
    asked: Dataset,
    destination: str,
    *,
    root: str = STUDY_ROOT_MOVE,
    calling: str = CALLING,
    priority: int = 0,
) -> tuple[list[Dataset], Dataset | None]:
    """Return every response, and the identifier of the last."""
    association = opened(node, root, calling)
    responses, last = [], None
    for status, answer in association.send_c_move(asked, destination, root, priority=priority):
        responses.append(status)
        last = answer
    association.release()
    return responses, last


def stored(node: Node, uid: str) -> bytes:
    file = node.archive.read(uid)
    return file[split(file).data_set_offset :]


def uids_of(number: int) -> set[str]:
    held = next(each for each in HELD if each.number == number)
    return {str(each.SOPInstanceUID) for each in held.instances()}


def test_a_study_moves_verbatim_and_is_counted(stocked: Node) -> None:
    with receiving(stocked) as receiver:
        responses, _ = move(stocked, identifier("STUDY", StudyInstanceUID=HELD[0].uid), "ARCHIVE")

    assert set(receiver.files) == uids_of(1)
    assert all(data == stored(stocked, uid) for uid, data in receiver.files.items())
    assert {title for title, _ in receiver.originators} == {CALLING}
    assert [int(each.Status) for each in responses] == [PENDING, SUCCESS]
    assert responses[0].NumberOfRemainingSuboperations == 1
    last = responses[-1]
    assert last.NumberOfCompletedSuboperations == 2
    assert (last.NumberOfFailedSuboperations, last.NumberOfWarningSuboperations) == (0, 0)


@pytest.mark.parametrize("way", ["move", "get"])
def test_what_a_large_request_names_is_sent_without_keeping_others_waiting(
    plain_node: Node, way: str
) -> None:
    stock(plain_node)
    large = plain_node.listener._large = large_requests.LargeRequests(
        at_once=1, patience=timedelta(0)
    )
    had_room: list[bool] = []

    def on_store() -> None:
        with large.place(large_requests.LARGE):
            had_room.append(True)

    wanted = identifier("STUDY", StudyInstanceUID=[HELD[0].uid, *["1.2.3"] * 30_000])
    if way == "move":
        with receiving(plain_node) as receiver:
            receiver.on_store = on_store
            responses, _ = move(plain_node, wanted, receiver.ae_title)
        assert int(responses[-1].Status) == SUCCESS
    else:
        assert int(get(plain_node, wanted, on_store=on_store).statuses[-1].Status) == SUCCESS
    assert had_room == [True, True]


@pytest.mark.parametrize(
    ("root", "asked", "numbers"),
    [
        (PATIENT_ROOT_MOVE, identifier("PATIENT", PatientID="P-1"), (1, 2)),
        (STUDY_ROOT_MOVE, identifier("STUDY", StudyInstanceUID=[HELD[0].uid, HELD[1].uid]), (1, 2)),
        (
            STUDY_ROOT_MOVE,
            identifier(
                "SERIES", StudyInstanceUID=HELD[1].uid, SeriesInstanceUID=f"{HELD[1].uid}.1"
            ),
            (2,),
        ),
        (STUDY_ROOT_MOVE, identifier("STUDY", StudyInstanceUID="1.2.3.4"), ()),
        (STUDY_ROOT_MOVE, identifier("STUDY", StudyInstanceUID=HELD[5].uid), ()),  # not ours
    ],
)
def test_each_level_moves_what_it_names(
    stocked: Node, root: str, asked: Dataset, numbers: tuple[int, ...]
) -> None:
    with receiving(stocked) as receiver:
        responses, _ = move(stocked, asked, "ARCHIVE", root=root)

    assert int(responses[-1].Status) == SUCCESS
    assert set(receiver.files) == set().union(*(uids_of(number) for number in numbers))


@pytest.mark.parametrize(
    "asked",
    [
        identifier("STUDY", StudyInstanceUID=""),
        identifier("STUDY", StudyInstanceUID="*"),
        identifier("SERIES", SeriesInstanceUID="1.2"),
        identifier("SERIES", StudyInstanceUID="1.2"),
    ],
)
def test_what_names_nothing_moves_nothing(stocked: Node, asked: Dataset) -> None:
    with receiving(stocked) as receiver:
        responses, _ = move(stocked, asked, "ARCHIVE")

    assert [int(each.Status) for each in responses] == [REFUSED]
    assert not receiver.files


def test_only_registered_peers_are_destinations(stocked: Node) -> None:
    asked = identifier("STUDY", StudyInstanceUID=HELD[0].uid)

    responses, _ = move(stocked, asked, "NOWHERE")

    assert [int(each.Status) for each in responses] == [NO_DESTINATION]


def test_what_the_destination_refuses_is_listed(stocked: Node) -> None:
    refused = sorted(uids_of(1))[0]
    asked = identifier("STUDY", StudyInstanceUID=HELD[0].uid)
    with receiving(stocked) as receiver:
        receiver.refuses.add(refused)
        responses, last = move(stocked, asked, "ARCHIVE")

    assert int(responses[-1].Status) == SOME_FAILED
    assert responses[-1].NumberOfFailedSuboperations == 1
    assert last is not None
    assert last.FailedSOPInstanceUIDList == refused


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_destination_that_is_away_fails_all_of_it(stocked: Node) -> None:
    asked = identifier("STUDY", StudyInstanceUID=HELD[0].uid)
    with receiving(stocked, "AWAY"):
        pass

    responses, last = move(stocked, asked, "AWAY")

    assert int(responses[-1].Status) == ALL_FAILED
    assert last is not None
    assert set(last.FailedSOPInstanceUIDList) == uids_of(1)


def test_a_receiver_of_the_default_syntax_gets_that(stocked: Node) -> None:
    asked = identifier("STUDY", StudyInstanceUID=HELD[0].uid)
    with receiving(stocked, "PLAIN", (IMPLICIT_LITTLE,)) as receiver:
        responses, _ = move(stocked, asked, "PLAIN")

    assert int(responses[-1].Status) == SUCCESS
    assert receiver.syntaxes == {IMPLICIT_LITTLE}


def trace(node: Node) -> list[audit.Entry]:
    with node.database.reading() as tx:
        return [each for each in audit.latest(tx) if each.action == "study.retrieved"]


def test_a_retrieval_leaves_a_trace(stocked: Node) -> None:
    before = len(trace(stocked))
    with receiving(stocked):
        move(stocked, identifier("STUDY", StudyInstanceUID=HELD[2].uid), "ARCHIVE")
    assert len(trace(stocked)) == before + 1  # it is there before the last answer is

    entry = trace(stocked)[0]
    assert (entry.subject, entry.outcome) == (f"study:{HELD[2].uid}", "success")
    assert entry.detail == {"destination": "ARCHIVE", "instances": 4}


def test_a_peer_that_breaks_a_retrieval_off_leaves_a_trace_all_the_same(stocked: Node) -> None:
    before = len(trace(stocked))
    get(stocked, identifier("STUDY", StudyInstanceUID=HELD[1].uid), abort=True)
    until(lambda: len(trace(stocked)) > before)

    entry = trace(stocked)[0]
    assert (entry.subject, entry.outcome) == (f"study:{HELD[1].uid}", "broken_off")
    assert entry.detail == {"destination": CALLING, "instances": 0}


@pytest.mark.parametrize("priority", [0, 1, 2])
def test_what_a_retrieval_sends_has_its_priority(stocked: Node, priority: int) -> None:
    asked = identifier("STUDY", StudyInstanceUID=HELD[1].uid)
    with receiving(stocked) as receiver:
        move(stocked, asked, "ARCHIVE", priority=priority)

    assert receiver.priorities == {priority}
    assert get(stocked, asked, priority=priority).priorities == {priority}


@dataclass
class Got:
    """What came back on a C-GET."""

    statuses: list[Dataset]
    files: dict[str, bytes]
    syntaxes: set[str]
    last: Dataset | None
    priorities: set[int] = field(default_factory=set)


def get(
    node: Node,
    asked: Dataset,
    *,
    syntax: str = EXPLICIT_LITTLE,
    cancel_after: int | None = None,
    answer: int = 0,
    with_role: bool = True,
    abort: bool = False,
    priority: int = 0,
    on_store: Callable[[], None] = nothing,
) -> Got:
    got = Got([], {}, set(), None)

    def keep(event: evt.Event) -> int:
        on_store()
        got.files[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        got.syntaxes.add(str(event.context.transfer_syntax))
        got.priorities.add(event.request.Priority)
        if abort:
            event.assoc.abort()
        if cancel_after is not None and len(got.files) == cancel_after:
            event.assoc.send_c_cancel(1, query_model=STUDY_ROOT_GET)
        return answer

    entity = AE(ae_title=CALLING)
    entity.add_requested_context(STUDY_ROOT_GET)
    for sop_class in (CT, CR):
        entity.add_requested_context(sop_class, syntax)
    roles = [build_role(sop_class, scp_role=True) for sop_class in (CT, CR)] if with_role else []
    association = entity.associate(
        "127.0.0.1",
        node.port,
        ae_title="TELERAD",
        ext_neg=roles,
        evt_handlers=[(evt.EVT_C_STORE, keep), (evt.EVT_CONN_OPEN, without_delay)],
    )
    assert association.is_established
    for status, last in association.send_c_get(asked, STUDY_ROOT_GET, priority=priority):
        got.statuses.append(status)
        got.last = last
    association.release()
    return got


def test_a_study_is_got_back_verbatim_on_the_same_association(stocked: Node) -> None:
    got = get(stocked, identifier("STUDY", StudyInstanceUID=HELD[0].uid))

    assert int(got.statuses[-1].Status) == SUCCESS
    assert got.statuses[-1].NumberOfCompletedSuboperations == 2
    assert set(got.files) == uids_of(1)
    assert all(data == stored(stocked, uid) for uid, data in got.files.items())


def test_what_the_peer_does_not_take_back_is_listed(stocked: Node) -> None:
    sr = f"{HELD[2].uid}.3.1"
    got = get(stocked, identifier("STUDY", StudyInstanceUID=HELD[2].uid))
    assert int(got.statuses[-1].Status) == SUCCESS  # the SR of the holdings is of class CT
    assert sr in got.files

    got = get(stocked, identifier("STUDY", StudyInstanceUID=HELD[2].uid), with_role=False)
    assert int(got.statuses[-1].Status) == ALL_FAILED
    assert got.last is not None
    assert len(got.last.FailedSOPInstanceUIDList) == 4


def test_a_refused_sub_operation_is_listed_and_the_rest_goes_on(stocked: Node) -> None:
    got = get(stocked, identifier("STUDY", StudyInstanceUID=HELD[0].uid), answer=0xA700)

    assert len(got.files) == 2
    assert int(got.statuses[-1].Status) == ALL_FAILED
    assert got.statuses[-1].NumberOfFailedSuboperations == 2


def test_nothing_ends_well_that_cannot_be_put_on_record(plain_node: Node) -> None:
    stock(plain_node, HELD[:1])
    with plain_node.database.transaction() as tx:
        tx.execute(text("ALTER TABLE audit RENAME TO elsewhere"))
    asked = identifier("STUDY", StudyInstanceUID=HELD[0].uid)

    assert int(get(plain_node, asked).statuses[-1].Status) == 0xA700
    assert ask(plain_node, asked)[0] == 0xA700
    assert plain_node.answers()


def test_a_cancelled_get_says_what_remains(stocked: Node) -> None:
    got = get(stocked, identifier("STUDY", StudyInstanceUID=HELD[2].uid), cancel_after=2)

    last = got.statuses[-1]
    assert int(last.Status) == CANCELLED
    assert 2 <= last.NumberOfCompletedSuboperations < 4
    assert last.NumberOfCompletedSuboperations + last.NumberOfRemainingSuboperations == 4


def moving(node: Node, association: Association) -> Iterator[tuple[Dataset, Dataset | None]]:
    asked = identifier("STUDY", StudyInstanceUID=HELD[2].uid)
    return association.send_c_move(asked, "ARCHIVE", STUDY_ROOT_MOVE)


def cancel(association: Association) -> None:
    association.send_c_cancel(1, query_model=STUDY_ROOT_MOVE)


@pytest.mark.parametrize("hangs", [True, False])
def test_a_cancelled_move_waits_for_no_destination_that_hangs(stocked: Node, hangs: bool) -> None:
    association, over = opened(stocked, STUDY_ROOT_MOVE), threading.Event()

    def called_off() -> None:
        if not receiver.files:
            cancel(association)
        over.wait(60 if hangs else 0.1)

    with receiving(stocked) as receiver:
        receiver.on_store = called_off
        *_, (last, which) = moving(stocked, association)
        over.set()
        association.release()

    assert int(last.Status) == CANCELLED
    assert last.NumberOfFailedSuboperations == hangs
    assert last.NumberOfCompletedSuboperations + last.NumberOfRemainingSuboperations == 4 - hangs
    if hangs:  # it may have it or not: asked again, it is the same instance
        assert last.NumberOfRemainingSuboperations == 3
        assert which is not None
        assert which.FailedSOPInstanceUIDList in uids_of(3)


def test_a_cancelled_move_waits_for_no_destination_that_does_not_negotiate(stocked: Node) -> None:
    association = opened(stocked, STUDY_ROOT_MOVE)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with stocked.database.transaction() as tx:
            port = silent.getsockname()[1]
            peer = Peer(
                ae_title="ARCHIVE", host="127.0.0.1", port=port, organisation_id="o-1", issuer="i"
            )
            commands.add_peer(tx, peer, actor=ENGINE)

        def call_off() -> None:
            kept.append(silent.accept()[0])
            cancel(association)

        kept: list[socket.socket] = []
        calling_off = threading.Thread(target=call_off)
        calling_off.start()
        *_, (last, _) = moving(stocked, association)
        calling_off.join()
        association.release()
        kept[0].close()

    assert int(last.Status) == CANCELLED
    assert last.NumberOfCompletedSuboperations == 0


def test_a_move_whose_requester_is_gone_waits_for_no_destination_that_hangs(stocked: Node) -> None:
    association, over = opened(stocked, STUDY_ROOT_MOVE), threading.Event()
    association.dimse_timeout = 0.5  # then it aborts

    with receiving(stocked) as receiver:
        receiver.on_store = lambda: over.wait(60)
        list(moving(stocked, association))
        until(lambda: stocked.listener.associations() == 0)
        over.set()


def test_compressed_pixels_are_given_decoded_where_nothing_else_is_taken(tmp_path: Path) -> None:
    node = start(tmp_path)
    try:
        path = Path(str(pydicom.data.__file__)).parent / "test_files/MR_small_RLE.dcm"
        announced, data = as_sent(path.read_bytes())
        with node.speak() as speaker:
            speaker.associate((announced.sop_class_uid, announced.transfer_syntax_uid))
            assert speaker.store(announced, data) == 0
        plain = pydicom.dcmread(path)
        asked = identifier("STUDY", StudyInstanceUID=str(plain.StudyInstanceUID))
        entity = AE(ae_title=CALLING)
        entity.add_requested_context(STUDY_ROOT_GET)
        entity.add_requested_context(announced.sop_class_uid, IMPLICIT_LITTLE)
        came: list[Dataset] = []

        def keep(event: evt.Event) -> int:
            came.append(event.dataset)
            return 0

        association = entity.associate(
            "127.0.0.1",
            node.port,
            ae_title="TELERAD",
            ext_neg=[build_role(announced.sop_class_uid, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, keep)],
        )
        statuses = [
            int(status.Status) for status, _ in association.send_c_get(asked, STUDY_ROOT_GET)
        ]
        association.release()
    finally:
        node.listener.stop(timedelta(seconds=5))
        node.journal.close()
        node.database.dispose()

    plain.decompress(generate_instance_uid=False)
    assert statuses[-1] == SUCCESS
    assert came[0].PixelData == plain.PixelData
    assert came[0].SOPInstanceUID == plain.SOPInstanceUID


@pytest.mark.parametrize("syntax", sorted(COMPRESSIONS))
def test_a_peer_that_takes_one_lossless_compression_alone_gets_that(
    plain_node: Node, syntax: str
) -> None:
    announced, data = as_sent(as_file(a_slice(side=64)))
    with plain_node.speak() as speaker:
        speaker.associate((announced.sop_class_uid, announced.transfer_syntax_uid))
        assert speaker.store(announced, data) == 0

    got = get(
        plain_node, identifier("STUDY", StudyInstanceUID=a_slice().StudyInstanceUID), syntax=syntax
    )

    assert int(got.statuses[-1].Status) == SUCCESS
    assert got.syntaxes == {syntax}
    came = pydicom.dcmread(BytesIO(got.files[announced.sop_instance_uid]), force=True)
    came.file_meta.TransferSyntaxUID = syntax
    assert (pixel_array(came).tobytes()) == a_slice(side=64).PixelData


def test_what_one_compression_would_not_keep_goes_in_the_next_that_is_taken(
    plain_node: Node,
) -> None:
    odd = a_slice(side=64)
    odd.HighBit = 15  # above the twelve bits of a sample
    announced, data = as_sent(as_file(odd))
    with plain_node.speak() as speaker:
        speaker.associate((announced.sop_class_uid, announced.transfer_syntax_uid))
        assert speaker.store(announced, data) == 0
    came: list[str] = []

    def keep(event: evt.Event) -> int:
        came.append(str(event.context.transfer_syntax))
        return 0

    entity = AE(ae_title=CALLING)
    entity.add_requested_context(STUDY_ROOT_GET)
    entity.requested_contexts = [
        *entity.requested_contexts,
        build_context(announced.sop_class_uid, JPEG_2000_LOSSLESS),
        build_context(announced.sop_class_uid, RLE_LOSSLESS),
    ]
    association = entity.associate(
        "127.0.0.1",
        plain_node.port,
        ae_title="TELERAD",
        ext_neg=[build_role(announced.sop_class_uid, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    asked = identifier("STUDY", StudyInstanceUID=str(odd.StudyInstanceUID))
    statuses = [int(each.Status) for each, _ in association.send_c_get(asked, STUDY_ROOT_GET)]
    association.release()

    assert (statuses[-1], came) == (SUCCESS, [RLE_LOSSLESS])


def dcmtk(program: str, node: Node, *more: str) -> subprocess.CompletedProcess[str]:
    address = ["-aec", "TELERAD", "-aet", CALLING, "127.0.0.1", str(node.port)]
    return subprocess.run(
        [program, "-v", "-S", *address, *more],
        capture_output=True,
        text=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=60,
    )


STUDY_KEYS = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={HELD[2].uid}"]


@pytest.mark.skipif(shutil.which("getscu") is None, reason="needs DCMTK")
def test_getscu_gets(stocked: Node, tmp_path: Path) -> None:
    done = dcmtk("getscu", stocked, *STUDY_KEYS, "-od", str(tmp_path))

    assert done.returncode == 0, done.stderr
    came = {str(pydicom.dcmread(path).SOPInstanceUID) for path in tmp_path.iterdir()}
    assert came == uids_of(3)


@pytest.mark.skipif(shutil.which("movescu") is None, reason="needs DCMTK")
def test_movescu_moves_to_itself(stocked: Node, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with stocked.database.transaction() as tx:
        peer = Peer(
            ae_title="MOVESCU", host="127.0.0.1", port=port, organisation_id="o-1", issuer="i"
        )
        commands.add_peer(tx, peer, actor=ENGINE)

    done = dcmtk(
        "movescu", stocked, *STUDY_KEYS, "-aem", "MOVESCU", "+P", str(port), "-od", str(tmp_path)
    )

    assert done.returncode == 0, done.stderr
    came = {str(pydicom.dcmread(path).SOPInstanceUID) for path in tmp_path.iterdir()}
    assert came == uids_of(3)


@pytest.mark.service
def test_an_orthanc_queries_and_retrieves(stocked: Node) -> None:
    with required(), orthanc(ae_title="ORTHANC", listens=True) as server:
        assert server.dicom_port is not None
        with stocked.database.transaction() as tx:
            peer = Peer(
                ae_title="ORTHANC",
                host="127.0.0.1",
                port=server.dicom_port,
                organisation_id="o-1",
                issuer="i",
            )
            commands.add_peer(tx, peer, actor=ENGINE)
        server.knows("node", ae_title="TELERAD", port=stocked.port)
        asked = {"Level": "Study", "Query": {"PatientID": "P-2"}}
        query = server.ask("POST", "/modalities/node/query", json.dumps(asked).encode())["ID"]
        assert server.ask("GET", f"/queries/{query}/answers") == ["0"]
        order = {"TargetAet": "ORTHANC", "Synchronous": True}
        server.ask("POST", f"/queries/{query}/retrieve", json.dumps(order).encode())
        came = server.ask("GET", "/instances?expand")

    uids = {each["MainDicomTags"]["SOPInstanceUID"] for each in came}
    assert uids == uids_of(3)


def test_a_corrected_study_moves_and_comes_as_it_is_now_known(plain_node: Node) -> None:
    stock(plain_node)
    with plain_node.database.transaction() as tx:
        right = patients.register(
            tx, issuer="H", patient_id="P-77", name="Right^One", sex="F", birth_date=None
        )
        corrections.move_study(tx, HELD[0].uid, right, reason="wrong line", actor=ENGINE)
    asked = identifier("STUDY", StudyInstanceUID=HELD[0].uid)
    with receiving(plain_node) as receiver:
        responses, _ = move(plain_node, asked, "ARCHIVE")
    got = get(plain_node, asked)

    assert int(responses[-1].Status) == SUCCESS
    assert set(receiver.files) == set(got.files) == uids_of(1)
    for data in (*receiver.files.values(), *got.files.values()):
        found = pydicom.dcmread(BytesIO(data), force=True)
        assert found.PatientID == "P-77"
        was = found.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
        assert was.PatientID == HELD[0].patient_id
    _, found_by_id, _ = ask(plain_node, identifier("STUDY", PatientID="P-77", StudyInstanceUID=""))
    assert [each.StudyInstanceUID for each in found_by_id] == [HELD[0].uid]


def test_what_names_a_merged_patient_leaves_as_the_one_who_stays(plain_node: Node) -> None:
    def keep(*data_sets: Dataset) -> None:
        with plain_node.speak() as speaker:
            speaker.associate((CT, EXPLICIT_LITTLE))
            for data_set in data_sets:
                announced, data = as_sent(as_file(data_set))
                assert speaker.store(announced, data) == 0
            speaker.release()

    late, begun = a_slice(2, study=8), a_slice(1, study=9)
    late.PatientID = begun.PatientID = "P-OLD"
    other = a_slice(1, study=7)
    other.PatientID = "P-OLD"
    keep(a_slice(1, study=8), other)
    with plain_node.database.transaction() as tx:
        (goes,), (stays,) = patients.find(tx, "P-OLD"), patients.find(tx, "P8")
        made = corrections.merge(tx, goes.ref, stays.ref, reason="one person", actor=ENGINE)
    keep(late, begun)
    uids = [f"{ROOT}.{study}" for study in (7, 8, 9)]
    asked = identifier("STUDY", StudyInstanceUID=uids)

    def leaving() -> set[str]:
        with receiving(plain_node) as receiver:
            move(plain_node, asked, "ARCHIVE")
        got = get(plain_node, asked)
        assert len(receiver.files) == len(got.files) == 4
        files = (*receiver.files.values(), *got.files.values())
        return {pydicom.dcmread(BytesIO(data), force=True).PatientID for data in files}

    assert leaving() == {"P8"}
    assert _sent(plain_node, uids[1]) == {"P8"}
    _, found, _ = ask(plain_node, identifier("STUDY", PatientID="P8", StudyInstanceUID=""))
    assert sorted(each.StudyInstanceUID for each in found) == uids
    wanted = identifier("IMAGE", PatientID="", StudyInstanceUID=uids[1])
    wanted.SeriesInstanceUID, wanted.SOPInstanceUID = f"{uids[1]}.1", ""
    _, found, _ = ask(plain_node, wanted)
    assert [each.PatientID for each in found] == ["P8", "P8"]
    with plain_node.database.transaction() as tx:
        corrections.withdraw(tx, made.number, reason="they are two", actor=ENGINE)
    assert leaving() == {"P8", "P-OLD"}
    assert _sent(plain_node, uids[1]) == {"P8", "P-OLD"}


def _sent(node: Node, study_uid: str) -> set[str]:
    """Return the patient ids that a peer gets to whom a study is sent."""
    with node.database.transaction() as tx:
        archive.freeze_manifest(tx, study_uid)
        manifest = archive.manifest(tx, study_uid)
    with receiving(node) as receiver, node.database.reading() as tx:
        peer = commands.find_peer(tx, receiver.ae_title)
        assert peer is not None
        sent = list(send_study(node.archive, manifest, peer, node.caller()))
    assert all(each.ok for each in sent)
    files = receiver.files.values()
    return {pydicom.dcmread(BytesIO(data), force=True).PatientID for data in files}


LARGE = f"{ROOT}.7.2.1"


def keep_large(node: Node) -> None:
    """Store a slice, and an instance that is never in memory as a whole."""
    large = a_slice(1, study=7)
    large.SeriesInstanceUID, large.SOPInstanceUID = f"{ROOT}.7.2", LARGE
    large.Rows = large.Columns = 2400
    large.PixelData = bytes(range(256)) * (2400 * 2400 * 2 // 256)
    with node.speak() as speaker:
        speaker.associate((CT, EXPLICIT_LITTLE))
        for data_set in (large, a_slice(1, study=7), a_slice(2, study=7)):
            announced, data = as_sent(as_file(data_set))
            assert speaker.store(announced, data) == 0
        speaker.release()


def damage(node: Node) -> None:
    """Change one byte in the last tenth of the large instance where it is stored."""
    with node.database.reading() as tx:
        (found,) = held(tx, f"{ROOT}.7", None, LARGE)
    with (node.journal.directory / str(found.segment)).open("r+b") as segment:
        segment.seek(found.offset + found.length * 9 // 10)
        segment.write(b"!")


def test_a_large_instance_goes_out_whole_both_ways(plain_node: Node) -> None:
    keep_large(plain_node)
    asked = identifier("STUDY", StudyInstanceUID=f"{ROOT}.7")

    with receiving(plain_node) as receiver:
        move(plain_node, asked, "ARCHIVE")
    got = get(plain_node, asked)

    assert receiver.files[LARGE] == got.files[LARGE] == stored(plain_node, LARGE)
    assert len(receiver.files) == len(got.files) == 3


def test_a_damaged_instance_is_never_ended_well_and_the_others_are_moved(plain_node: Node) -> None:
    keep_large(plain_node)
    damage(plain_node)
    asked = identifier("STUDY", StudyInstanceUID=f"{ROOT}.7")

    with receiving(plain_node) as receiver:
        responses, last = move(plain_node, asked, "ARCHIVE")

    assert set(receiver.files) == {f"{ROOT}.7.1.1", f"{ROOT}.7.1.2"}
    assert int(responses[-1].Status) == SOME_FAILED
    assert last is not None
    assert last.FailedSOPInstanceUIDList == LARGE


def test_what_the_index_has_and_this_host_has_not_fails(plain_node: Node) -> None:
    keep_large(plain_node)
    with plain_node.database.reading() as tx:
        segments = {str(each.segment) for each in held(tx, f"{ROOT}.7")}
    for segment in segments:
        (plain_node.journal.directory / segment).unlink()
    asked = identifier("STUDY", StudyInstanceUID=f"{ROOT}.7")

    with receiving(plain_node) as receiver:
        responses, last = move(plain_node, asked, "ARCHIVE")
    got = get(plain_node, asked)

    assert receiver.files == got.files == {}
    for status, failed in ((responses[-1], last), (got.statuses[-1], got.last)):
        assert failed is not None
        assert (int(status.Status), len(failed.FailedSOPInstanceUIDList)) == (0xA702, 3)


# pynetdicom tells of the abort by an answer without a status.
def test_a_damaged_instance_ends_a_get(plain_node: Node) -> None:
    keep_large(plain_node)
    damage(plain_node)

    got = get(plain_node, identifier("STUDY", StudyInstanceUID=f"{ROOT}.7"))

    assert LARGE not in got.files
    assert "Status" not in got.statuses[-1]
    assert plain_node.answers()


def test_a_damaged_instance_that_has_to_be_given_otherwise_fails_alone(plain_node: Node) -> None:
    keep_large(plain_node)
    damage(plain_node)

    asked = identifier("STUDY", StudyInstanceUID=f"{ROOT}.7")
    got = get(plain_node, asked, syntax=IMPLICIT_LITTLE)

    assert set(got.files) == {f"{ROOT}.7.1.1", f"{ROOT}.7.1.2"}
    assert int(got.statuses[-1].Status) == SOME_FAILED
    assert got.last is not None
    assert got.last.FailedSOPInstanceUIDList == LARGE
