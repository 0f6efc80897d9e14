"""STOW-RS to a server that is killed wherever it is: what is stored is on record, and by whom."""

from pathlib import Path

import httpx
import pytest

from app import node
from storage import audit
from tests.app.clinic import multipart
from tests.cli.command import PATIENCE_S, opened, telerad
from tests.dicom_node.samples import ROOT, a_slice, as_file
from tests.flows.deployment import KillPoint, one_machine

STUDY = f"{ROOT}.1"
FILES = [as_file(a_slice(number)) for number in (1, 2, 3)]
KILLS = [
    (KillPoint("dicom_node.group_commit", "GroupCommit._commit", "call"), 1),
    (KillPoint("dicom_node.admission", "admit", "return"), 1),
    (KillPoint("app.http.dicom_stored", "store_all", "return"), 3),
]


@pytest.mark.parametrize(("kill", "held"), KILLS)
def test_who_began_to_store_is_on_record_wherever_the_server_was_killed(
    tmp_path: Path, kill: KillPoint, held: int
) -> None:
    data = tmp_path / "data"
    assert telerad("migrate", "--data", data).returncode == 0
    token = telerad("token", "add", "--data", data, "--scopes", "dicomweb:write").stdout.split()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    sent = multipart(*FILES)
    sent["headers"] = {**sent.get("headers", {}), **headers}
    deployment = one_machine(data)
    up = deployment.doing("serve")
    try:
        up.start(kill)
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{deployment.web}/dicomweb/studies", **sent, timeout=PATIENCE_S)
    finally:
        deployment.stop()

    with opened(data) as parts:
        node.recover(parts)
        with parts.database.reading() as tx:
            assert list(audit.verify(tx)) == []
            entries = [
                e for e in audit.latest(tx) if e.action.startswith(("instance", "study.sto"))
            ]
        assert len(parts.archive.instances_of(STUDY)) == held

    (entry,) = entries
    assert (entry.action, entry.subject) == ("study.storing_began", f"study:{STUDY}")
    assert entry.actor.startswith("client:")
