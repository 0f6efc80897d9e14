"""A process that only receives stays small: what it imports is asserted, for memory follows it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.serving import LISTENING, Duty
from dicom_node import commands
from dicom_node.peers import Peer
from kernel.people import ENGINE
from storage.engine import Database
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent

HEAVY = {
    "alembic",
    "cryptography",
    "fastapi",
    "gdcm",
    "httpx",
    "numpy",
    "onnxruntime",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "pydicom",
    "pynetdicom",
    "rich",
    "starlette",
    "typst",
    "uvicorn",
    "worklist",
}
OF_ORTHANCS = {"dicom_node.following", "dicom_node.orthanc"}


@pytest.mark.parametrize("duties", [{Duty.NODE}, LISTENING])
def test_a_node_that_took_an_instance_has_imported_no_toolkit_and_nothing_to_follow_nobody(
    database: Database, tmp_path: Path, duties: set[Duty]
) -> None:
    with database.transaction() as tx:
        peer = Peer(
            ae_title="VAN1", host="127.0.0.1", port=104, organisation_id="o-1", issuer="site-1"
        )
        commands.add_peer(tx, peer, actor=ENGINE)
    announced, data = as_sent(as_file(a_slice()))
    command = [sys.executable, "-m", "tests.app.lean_node", ",".join(sorted(duties))]
    told = subprocess.run(
        [*command, tmp_path, "VAN1", CT, announced.sop_instance_uid],
        input=data,
        capture_output=True,
        check=True,
    )

    status, modules = json.loads(told.stdout.splitlines()[-1])
    assert status == 0
    assert not HEAVY & {name.split(".")[0] for name in modules}
    assert not OF_ORTHANCS & set(modules)


def test_the_command_keeps_nothing_of_what_read_its_settings(
    database: Database, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "app", "listen", "--data", tmp_path, "--dicom-port", "0"]
    with subprocess.Popen([*map(str, command), "--json"], stdout=subprocess.PIPE) as listening:
        assert listening.stdout is not None
        told = json.loads(listening.stdout.readline())
        maps = Path(f"/proc/{listening.pid}/maps").read_text()
        listening.terminate()

    assert (told["pid"], listening.returncode) == (listening.pid, 0)
    assert "pydantic" not in maps
