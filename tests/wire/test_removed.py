"""A device that was taken away: what it was to be told and asked ends, what it sent stays."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.keeping import keeping_of
from dicom_node import commands, errands
from dicom_node.commitments import GIVEN_UP
from dicom_node.errands import UNWANTED
from dicom_node.errors import PeerRemoved, PeerUnknown
from dicom_node.removal import remove_peer
from dicom_node.workitems import store as workitems
from dicom_node.workitems.subscriber import GLOBAL
from kernel.people import ENGINE
from storage import archive, audit
from tests.dicom_node.samples import CT
from tests.wire import test_commitment as commitments
from tests.wire import test_telling_peers as telling
from tests.wire.conftest import Node, start
from tests.wire.holdings import HELD, stock
from tests.wire.inquirer import ask, identifier
from tests.wire.performer import Performer, a_workitem, tell_due, watching
from tests.wire.speaker import CALLING
from tests.wire.test_retrieve import move

REJECTED = 3
OWN = {held.uid for held in HELD if held.sent_by == CALLING}
DESTINATION_UNKNOWN = 0xA801


@pytest.fixture
def stocked(tmp_path: Path) -> Iterator[Node]:
    """A node with frozen studies."""
    node = start(tmp_path)
    stock(node)
    with node.database.transaction() as tx:
        for held in HELD:
            archive.freeze_manifest(tx, held.uid)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def remove(node: Node, title: str) -> None:
    with node.database.transaction() as tx:
        remove_peer(tx, title, actor=ENGINE)


def seen_by(node: Node, title: str) -> set[str]:
    return {
        str(study.StudyInstanceUID)
        for study in ask(node, identifier("STUDY", StudyInstanceUID=""), calling=title)[1]
    }


def test_what_a_removed_device_sent_stays_in_sight_of_its_organisation(stocked: Node) -> None:
    remove(stocked, CALLING)

    assert seen_by(stocked, "VAN2") == OWN
    assert seen_by(stocked, "OTHER_SITE").isdisjoint(OWN)


def test_a_removed_device_is_rejected_by_the_rule_until_it_is_registered_again(
    stocked: Node,
) -> None:
    with stocked.database.reading() as tx:
        before = commands.get_peer(tx, "VAN2")
    with stocked.speak("VAN2") as running:
        running.associate()
        remove(stocked, "VAN2")
        assert running.echo() == 0  # what had begun ends by itself
        with capture_logs() as logs, stocked.speak("VAN2") as speaker:
            assert speaker.associate() == REJECTED
    assert any("VAN2 was removed on" in str(each.get("reason")) for each in logs)

    with stocked.database.transaction() as tx:
        assert commands.find_peer(tx, "VAN2") is None
        assert "VAN2" not in {each.ae_title for each in commands.list_peers(tx)}
        with pytest.raises(PeerRemoved):
            commands.get_peer(tx, "VAN2")
        with pytest.raises(PeerRemoved):
            remove_peer(tx, "VAN2", actor=ENGINE)
        with pytest.raises(PeerUnknown):
            remove_peer(tx, "NOBODY", actor=ENGINE)
        ((gone, _),) = commands.list_removed(tx)
        assert gone == before
        (entry,) = [each for each in audit.latest(tx) if each.action == "peer.removed"]
        assert entry.subject == "ae:VAN2"

        commands.add_peer(tx, before, actor=ENGINE)
        assert commands.list_removed(tx) == []
    with stocked.speak("VAN2") as speaker:
        speaker.associate()
        assert speaker.echo() == 0


def test_a_removed_device_that_comes_back_at_another_site_takes_its_studies_along(
    stocked: Node,
) -> None:
    with stocked.database.transaction() as tx:
        before = commands.get_peer(tx, CALLING)
        remove_peer(tx, CALLING, actor=ENGINE)
        commands.add_peer(tx, replace(before, organisation_id="o-2"), actor=ENGINE)

    assert seen_by(stocked, "VAN2") == set()
    assert seen_by(stocked, "OTHER_SITE") > OWN


def test_nothing_is_moved_to_a_removed_device(stocked: Node) -> None:
    remove(stocked, "VAN2")
    asked = identifier("STUDY", StudyInstanceUID=HELD[0].uid)

    (answer,), _ = move(stocked, asked, "VAN2")

    assert answer.Status == DESTINATION_UNKNOWN


def test_what_a_removed_device_was_to_be_told_and_asked_ends_at_the_next_attempt(
    stocked: Node,
) -> None:
    with telling.a_pacs() as pacs, commitments.listening(stocked.database) as modality:
        telling.register(stocked, pacs.port)
        telling.complete(stocked)
        transaction = telling.asked(stocked)
        assert commitments.ask(stocked.port, commitments.information("1.2.3.1", (CT, "1.2"))) == 0
        remove(stocked, "PACS")
        remove(stocked, CALLING)
        runs = (
            lambda: telling.run_notices(stocked.database),
            lambda: telling.run_requests(stocked.database),
            lambda: commitments.run_due(stocked.database),
        )
        assert [(run(), run()) for run in runs] == [(1, 0)] * 3

    assert (pacs.notices, pacs.asked, modality.reports) == ([], [], [])
    with stocked.database.reading() as tx:
        found = errands.find_asked(tx, transaction)
        assert found is not None
        assert found.state == GIVEN_UP
        told = {each.action: each for each in audit.latest(tx, limit=10)}
    assert told["study.availability_told"].outcome == UNWANTED
    for action in ("commitment.answered", "commitment.reported"):
        assert told[action].outcome == GIVEN_UP
        assert told[action].detail["why"] == PeerUnknown.code


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_subscription_ends_with_the_device_at_its_site(stocked: Node, how: str) -> None:
    client = Performer(stocked.port)
    with watching(stocked.database, "VAN2") as watcher:
        client.watch(GLOBAL, 3, "VAN2")
        client.create(a_workitem())
        with stocked.database.transaction() as tx:
            before = commands.get_peer(tx, "VAN2")
            if how == "removed":
                remove_peer(tx, "VAN2", actor=ENGINE)
            else:
                commands.add_peer(tx, replace(before, organisation_id="o-2"), actor=ENGINE)
        tell_due(stocked.database)
        client.create(a_workitem())
        with stocked.database.transaction() as tx:
            commands.add_peer(tx, before, actor=ENGINE)
        assert tell_due(stocked.database) == 0

    assert watcher.heard == []
    with stocked.database.reading() as tx:
        assert workitems.find_subscriber(tx, "ae:VAN2") is None
        assert workitems.waiting(tx, "ae:VAN2") == []


def test_a_certificate_is_taken_back_with_its_device(tmp_path: Path) -> None:
    node = start(tmp_path, kind="tls")
    with node.database.transaction() as tx:
        before = commands.get_peer(tx, "VAN2")
        remove_peer(tx, "VAN2", actor=ENGINE)
        commands.add_peer(tx, before, actor=ENGINE)
        states = {each.ae_title: each.revoked_at for each in commands.list_bindings(tx)}
    assert states.pop("VAN2") is not None
    assert set(states.values()) == {None}  # one certificate of several titles goes on for them

    with capture_logs() as logs, node.speak("VAN2") as speaker:
        assert speaker.associate() == REJECTED
    assert "dicom_node.certificate_revoked" in {each.get("code") for each in logs}
    with node.speak() as speaker:
        speaker.associate()
        assert speaker.echo() == 0
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def test_what_a_removed_device_sent_is_its_organisations_to_withdraw(stocked: Node) -> None:
    remove(stocked, CALLING)

    with stocked.database.transaction() as tx:
        assert keeping_of(tx, HELD[0].uid).owner == "o-1"
