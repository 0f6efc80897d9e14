"""DCMTK's own programs against the node."""

import gc
import os
import shutil
import socket
import subprocess
from io import BytesIO
from pathlib import Path

import pydicom.data
import pytest

from dicom_node import send
from dicom_node.errors import AssociationRefused, PeerUnreachable
from dicom_node.part10 import split
from dicom_node.peers import Peer
from dicom_node.send import Outgoing, SendSettings
from tests.dicom_node.samples import a_slice, as_file
from tests.wire.conftest import Node
from tests.wire.speaker import until

pytestmark = pytest.mark.skipif(shutil.which("storescu") is None, reason="needs DCMTK")

FILES = Path(str(pydicom.data.__file__)).parent / "test_files"
# What storescu has to propose so that it can send a file of this transfer syntax.
SYNTAXES = {
    "CT_small.dcm": "-xe",
    "MR_small_implicit.dcm": "-xi",
    "MR_small_bigendian.dcm": "-xb",
    "image_dfl.dcm": "-xd",
    "MR_small_RLE.dcm": "-xr",
    "SC_rgb_jpeg_gdcm.dcm": "-xs",
    "JPEG-lossy.dcm": "-xx",
    "JPEG2000.dcm": "-xw",
    "693_J2KI.dcm": "-xw",
    "MR_small_jpeg_ls_lossless.dcm": "-xt",
    "reportsi.dcm": "-xe",
    "rtdose.dcm": "-xi",
}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TCP_NODELAY": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30)


def scu(program: str, node: Node, *more: str, called: str = "TELERAD", calling: str = "VAN1"):  # type: ignore[no-untyped-def]
    address = ["-aec", called, "-aet", calling, *node.dcmtk(), "127.0.0.1", str(node.port)]
    return run(program, "-v", *address, *more)


def test_echo(node: Node) -> None:
    done = scu("echoscu", node)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SYNTAXES)
def test_every_transfer_syntax_is_stored_as_sent(own_node: Node, name: str) -> None:
    node = own_node  # pydicom's files are one instance in many syntaxes
    path = FILES / name
    done = scu("storescu", node, SYNTAXES[name], str(path))

    assert done.returncode == 0, done.stdout + done.stderr
    sent = path.read_bytes()
    part = split(sent)
    data_set = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    stored = node.archive.read(str(data_set.SOPInstanceUID).strip())
    assert split(stored).transfer_syntax_uid == part.transfer_syntax_uid
    # DCMTK writes sequences and charsets its own way; the pixels it must not touch.
    assert pixels(stored) == pixels(sent)


def pixels(file: bytes) -> bytes:
    data_set = pydicom.dcmread(BytesIO(file))
    return bytes(data_set.get("PixelData", b""))


@pytest.mark.parametrize(
    ("called", "calling", "reason"),
    [("OTHER", "VAN1", "Called AE Title"), ("TELERAD", "STRANGER", "Calling AE Title")],
)
def test_wrong_titles_are_refused_with_their_reason(
    node: Node, called: str, calling: str, reason: str
) -> None:
    done = scu("echoscu", node, called=called, calling=calling)

    assert done.returncode != 0
    assert reason in done.stderr + done.stdout


def test_a_series_goes_over_one_association_in_small_pdus(node: Node, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.dcm").write_bytes(as_file(a_slice(number, study=40, side=64)))

    done = scu("storescu", node, "--max-send-pdu", "4096", "+sd", str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert len(node.archive.instances_of(str(a_slice(study=40).StudyInstanceUID))) == 12


def a_peer(node: Node, called: str = "TELERAD") -> Peer:
    return Peer(
        ae_title=called,
        host="127.0.0.1",
        port=node.port,
        organisation_id="o-1",
        issuer="i",
        tls=node.keys is not None,
    )


def test_our_own_sender_accounts_for_each_instance(node: Node) -> None:
    settings = node.caller("VAN2")
    files = {f"{number}": as_file(a_slice(number, study=41)) for number in range(3)}
    uids = {name: split(file).sop_instance_uid for name, file in files.items()}
    outgoing = [Outgoing(uids[name], file) for name, file in files.items()]
    conflicting = Outgoing(uids["1"], as_file(a_slice(1, study=41, seed=99)))

    send.echo(a_peer(node), settings)
    accounts = send.send([*outgoing, Outgoing("junk", b"no file")], a_peer(node), settings)
    again = send.send([conflicting], a_peer(node), settings)

    assert [account.ok for account in accounts] == [True, True, True, False]
    assert "DICM" in accounts[3].reason
    assert (again[0].ok, again[0].status) == (False, 0xC111)
    assert again[0].reason


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_our_own_sender_says_who_did_not_want_it(node: Node) -> None:
    outgoing = [Outgoing("1.2", as_file(a_slice()))]

    with pytest.raises(AssociationRefused):
        send.send(outgoing, a_peer(node, "OTHER"), node.caller())
    closed = Peer(ae_title="X", host="127.0.0.1", port=1, organisation_id="o", issuer="i")
    with pytest.raises(PeerUnreachable):
        send.send(outgoing, closed, SendSettings(ae_title="VAN1"))
    gc.collect()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def storescp(tmp_path: Path):  # type: ignore[no-untyped-def]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    out = tmp_path / "received"
    out.mkdir()
    server = subprocess.Popen(
        ["storescp", "+B", "-aet", "ARCHIVE", "-od", str(out), str(port)],
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    peer = Peer(ae_title="ARCHIVE", host="127.0.0.1", port=port, organisation_id="o", issuer="i")
    until(lambda: _listens(port))
    yield peer, out
    server.terminate()
    server.wait()


def test_dcmtk_receives_what_we_send_verbatim(storescp) -> None:  # type: ignore[no-untyped-def]
    peer, out = storescp
    file = as_file(a_slice(side=300))
    uid = split(file).sop_instance_uid

    (account,) = send.send([Outgoing(uid, file)], peer, SendSettings(ae_title="TELERAD"))

    assert account.ok
    (received,) = out.iterdir()
    assert received.read_bytes().endswith(file[split(file).data_set_offset :])
