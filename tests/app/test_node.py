"""A process that only receives stays small: what it imports is asserted, for memory follows it."""

import json
import subprocess
import sys
from pathlib import Path

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
    "pydicom",
    "pynetdicom",
    "rich",
    "starlette",
    "typst",
    "uvicorn",
    "worklist",
}


def test_a_node_that_took_an_instance_has_imported_no_toolkit(
    database: Database, tmp_path: Path
) -> None:
    with database.transaction() as tx:
        peer = Peer(
            ae_title="VAN1", host="127.0.0.1", port=104, organisation_id="o-1", issuer="site-1"
        )
        commands.add_peer(tx, peer, actor=ENGINE)
    announced, data = as_sent(as_file(a_slice()))
    command = [sys.executable, "-m", "tests.app.lean_node", tmp_path, "VAN1", CT]
    told = subprocess.run(
        [*map(str, command), announced.sop_instance_uid],
        input=data,
        capture_output=True,
        check=True,
    )

    status, modules = json.loads(told.stdout.splitlines()[-1])
    assert status == 0
    assert not HEAVY & {name.split(".")[0] for name in modules}
