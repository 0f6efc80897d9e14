"""Storage commitment: asked on one association, reported on another, whatever happens between."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from dicom_node import commands, store
from dicom_node.commitment import CommitmentReports
from dicom_node.commitments import HORIZON, INSTANCE, Commitment
from dicom_node.peers import Peer
from dicom_node.send import SendSettings
from dicom_node.uids import EXPLICIT_LITTLE, STORAGE_COMMITMENT
from kernel.clock import Clock
from kernel.people import ENGINE
from storage.engine import Database
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.wire.conftest import Node
from tests.wire.holdings import CR, HELD
from tests.wire.inquirer import without_delay
from tests.wire.speaker import CALLING, Speaker
from tests.wire.victims import victim

KNOWN = next(HELD[0].instances()).SOPInstanceUID


@dataclass
class Modality:
    """A device that asks for commitment and takes the report."""

    ae_title: str = CALLING
    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    answer: int = 0

    def hear(self, event: evt.Event) -> tuple[int, None]:
        if not self.answer:
            self.reports.append((event.event_type, event.event_information))
        return self.answer, None


@contextmanager
def listening(database: Database, ae_title: str = CALLING) -> Iterator[Modality]:
    """Run a modality where the node finds it."""
    modality = Modality(ae_title)
    entity = AE(ae_title=ae_title)
    entity.add_supported_context(STORAGE_COMMITMENT, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, modality.hear), (evt.EVT_CONN_OPEN, without_delay)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    port = server.socket.getsockname()[1]
    with database.transaction() as tx:
        peer = Peer(
            ae_title=ae_title, host="127.0.0.1", port=port, organisation_id="o-1", issuer="site-1"
        )
        commands.add_peer(tx, peer, actor=ENGINE)
    try:
        yield modality
    finally:
        server.shutdown()


def information(transaction_uid: str, *pairs: tuple[str, str]) -> Dataset:
    asked = Dataset()
    asked.TransactionUID = transaction_uid
    asked.ReferencedSOPSequence = []
    for sop_class, uid in pairs:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


def ask(port: int, asked: Dataset, *, action: int = 1, instance: str = INSTANCE) -> int:
    entity = AE(ae_title=CALLING)
    entity.add_requested_context(STORAGE_COMMITMENT)
    association = entity.associate(
        "127.0.0.1", port, ae_title="TELERAD", evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)]
    )
    assert association.is_established
    status, _ = association.send_n_action(asked, action, STORAGE_COMMITMENT, instance)
    association.release()
    return int(status.Status)


def reports(database: Database) -> CommitmentReports:
    return CommitmentReports(database, SendSettings(ae_title="TELERAD"))


def due(database: Database) -> list[str]:
    with database.reading() as tx:
        return store.commitments_due(tx)


def run_due(database: Database) -> int:
    (work,) = reports(database).due_work()
    with database.reading() as tx:
        ids = work.due(tx)
    for each in ids:
        work.run(each)
    return len(ids)


def test_what_is_stored_is_committed_on_an_association_of_its_own(stocked: Node) -> None:
    with listening(stocked.database) as modality:
        assert ask(stocked.port, information("1.2.3.1", (CT, KNOWN))) == 0
        assert run_due(stocked.database) == 1

    ((event, report),) = modality.reports
    assert event == 1
    assert report.TransactionUID == "1.2.3.1"
    assert report.RetrieveAETitle == "TELERAD"
    (item,) = report.ReferencedSOPSequence
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (CT, KNOWN)
    assert "FailedSOPSequence" not in report
    assert due(stocked.database) == []


def test_what_is_not_stored_is_named_with_its_reason(stocked: Node) -> None:
    asked = information("1.2.3.2", (CT, KNOWN), (CT, "1.2.9.9"), (CR, KNOWN))
    with listening(stocked.database) as modality:
        assert ask(stocked.port, asked) == 0
        run_due(stocked.database)

    ((event, report),) = modality.reports
    assert event == 2
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [KNOWN]
    failed = {
        (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID): item.FailureReason
        for item in report.FailedSOPSequence
    }
    assert failed == {(CT, "1.2.9.9"): 0x0112, (CR, KNOWN): 0x0119}


@pytest.mark.parametrize(
    ("asked", "how", "status"),
    [
        (information("1.2.3.3"), {}, 0x0120),
        (information("", (CT, "1.2")), {}, 0x0120),
        (information("1.2.3.3", (CT, "")), {}, 0x0120),
        (information("1.2.3.3", (CT, "1.2")), {"action": 2}, 0x0123),
        (information("1.2.3.3", (CT, "1.2")), {"instance": "1.2.3"}, 0x0112),
    ],
)
def test_what_asks_for_nothing_is_refused(
    stocked: Node, asked: Dataset, how: dict[str, object], status: int
) -> None:
    assert ask(stocked.port, asked, **how) == status  # type: ignore[arg-type]
    assert due(stocked.database) == []


def test_the_same_transaction_again_is_reported_again_and_another_content_refused(
    stocked: Node,
) -> None:
    asked = information("1.2.3.4", (CT, KNOWN))
    with listening(stocked.database) as modality:
        for _ in range(2):
            assert ask(stocked.port, asked) == 0
            run_due(stocked.database)
        assert ask(stocked.port, information("1.2.3.4", (CT, "1.2.9"))) == 0x0131

    assert len(modality.reports) == 2


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_report_that_is_not_taken_is_tried_again(stocked: Node) -> None:
    database = stocked.database
    with listening(database) as modality:
        modality.answer = 0x0110
        assert ask(stocked.port, information("1.2.3.5", (CT, KNOWN))) == 0
        assert run_due(database) == 1
        assert run_due(database) == 0  # it waits
        modality.answer = 0
        later = Database(database.url, clock=ahead(database.clock, timedelta(minutes=1)))
        assert run_due(later) == 1
        assert len(modality.reports) == 1
    assert ask(stocked.port, information("1.2.3.6", (CT, KNOWN))) == 0
    assert run_due(later) == 1  # nobody listens there now
    for _ in range(2):
        much_later = Database(database.url, clock=ahead(database.clock, 2 * HORIZON))
        run_due(much_later)
        assert due(much_later) == []  # given up
        much_later.dispose()
    later.dispose()


def ahead(clock: Clock, by: timedelta) -> Clock:
    return lambda: clock() + by


def test_two_reporters_report_once(stocked: Node) -> None:
    with listening(stocked.database) as modality:
        ask(stocked.port, information("1.2.3.7", (CT, KNOWN)))
        (each,) = due(stocked.database)
        threads = [
            threading.Thread(target=reports(stocked.database).report, args=(each,))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(modality.reports) == 1


def test_what_was_asked_survives_a_kill(tmp_path: Path) -> None:
    with victim(tmp_path) as port:
        announced, data = as_sent(as_file(a_slice(study=70)))
        with Speaker(port) as speaker:
            speaker.associate((CT, EXPLICIT_LITTLE))
            assert speaker.store(announced, data) == 0
        assert ask(port, information("1.2.3.8", (CT, announced.sop_instance_uid))) == 0

    database = Database(f"sqlite:///{tmp_path / 'telerad.db'}")
    with listening(database) as modality:
        assert run_due(database) == 1
    database.dispose()

    ((event, _),) = modality.reports
    assert event == 1


def test_pauses_grow_and_end_at_the_horizon() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    commitment = Commitment(
        id="c", ae_title="A", transaction_uid="1.2", asked=(), attempts=1, asked_at=at
    )
    pauses = []
    now = at
    while (following := commitment.next_attempt(now)) is not None:
        pauses.append(following - now)
        now = following
        commitment = replace(commitment, attempts=commitment.attempts + 1)

    assert pauses == sorted(pauses)
    assert timedelta() < HORIZON - (now - at) < pauses[-1]
