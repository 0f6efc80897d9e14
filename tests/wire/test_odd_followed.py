"""The corpus of odd files in an Orthanc that is followed: what it takes in comes as it must."""

from urllib.error import HTTPError

import pytest

from tests.services.orthanc import Orthanc as Server
from tests.services.orthanc import RestartableOrthanc
from tests.wire.odd import ROWS, AsSent, OddFile, as_sent
from tests.wire.test_orthanc import Node, followed, node, server, until

__all__ = ["node", "server"]

pytestmark = [
    pytest.mark.service,
    pytest.mark.shared,
    pytest.mark.skipif(not ROWS, reason="the odd files are not here"),
]

SPARED = {
    "made_012_dup_sop_other_pixels_b.dcm",  # there is one file of an instance in an Orthanc
    "made_027_nested_300.dcm",  # Orthanc dies of it
    "made_029_items_50000.dcm",  # it takes ten seconds to take it in
    "made_034_length_past_eof.dcm",  # and as long to refuse it
}


def test_what_an_orthanc_took_in_is_pulled_or_kept_aside_and_holds_nothing_up(
    node: Node, server: RestartableOrthanc
) -> None:
    there = uploaded(server.server)
    node.register(server.server)
    with followed(node):
        until(lambda: all_followed(node, server.server), node.progress)
    held, kept = node.held(), node.quarantined()

    assert len(there) > len(ROWS) // 2
    for row, sent in there:
        if sent is None or (uid := sent.announced.sop_instance_uid) not in held:
            assert row.expect != "accept", row.name
            continue
        assert row.expect != "reject", row.name
        back = node.archive.read(uid)
        assert back.endswith(sent.data_set), row.name
        assert not any(back[:128]), row.name
    assert len(held) + len(kept) == len(there)
    assert "archive.patient_conflict" in kept


def uploaded(server: Server) -> list[tuple[OddFile, AsSent | None]]:
    """Put one file of each instance into an Orthanc; return those that it took."""
    there = []
    for row in ROWS:
        if row.rank or row.name in SPARED:
            continue
        try:
            server.upload(row.data)
        except HTTPError:
            continue
        there.append((row, as_sent(row.data)))
    return there


def all_followed(node: Node, server: Server) -> bool:
    """Say whether each study there became stable and was looked at."""
    told = server.ask("GET", "/changes?since=0&limit=1000")
    stable = {each["ID"] for each in told["Changes"] if each["ChangeType"] == "StableStudy"}
    far = node.progress()
    return far.last_change == told["Last"] and stable == set(server.ask("GET", "/studies"))
