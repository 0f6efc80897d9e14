"""What the node tells its peers and asks of them: which studies are here, who answers for what."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from sqlalchemy import text

from dicom_node import commands, committing, errands
from dicom_node.commitments import HORIZON, INSTANCE
from dicom_node.committing import CommitmentRequests
from dicom_node.errands import ASKED, COMMITTED, FAILED, GIVEN_UP, UNWANTED
from dicom_node.notices import Notices, reactions
from dicom_node.peers import Peer
from dicom_node.send import SendSettings
from dicom_node.study_sending import send_study
from dicom_node.uids import AVAILABILITY, EXPLICIT_LITTLE, STORAGE_COMMITMENT, VERIFICATION
from dicom_node.views import View
from kernel.facts import StudyCompleted
from kernel.people import ENGINE
from storage import archive, audit, corrections, outbox, patients, withdrawals
from storage.engine import Database, Transaction
from storage.retention import Keeping, Reason, Retention
from storage.withdrawals import Withdrawal
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.services.missing import required
from tests.services.orthanc import orthanc
from tests.wire.conftest import Node, start
from tests.wire.holdings import CR, HELD, stock
from tests.wire.inquirer import without_delay
from tests.wire.speaker import until
from tests.wire.test_commitment import ahead

SEND = SendSettings(ae_title="TELERAD", answer=timedelta(seconds=10))
STUDY = HELD[2]
MINUTES = timedelta(minutes=10)


@dataclass
class Pacs:
    """A foreign archive that stores, hears notices, and answers for what it took."""

    port: int = 0
    answer: int = 0
    notices: list[Dataset] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    asked: list[Dataset] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    says: Dataset | None = None
    """Beside its answers, which need none."""

    def store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid in self.refuses:
            return 0xA700
        self.taken.append(uid)
        return 0

    def create(self, event: evt.Event) -> tuple[int, Dataset | None]:
        if not self.answer:
            self.notices.append(event.attribute_list)
        return self.answer, self.says

    def act(self, event: evt.Event) -> tuple[int, Dataset | None]:
        if not self.answer:
            self.asked.append(event.action_information)
        return self.answer, self.says

    def report(self, node: Node, *failed: str, calling: str = "PACS") -> int:
        """Answer the last request on an association of its own."""
        asked = self.asked[-1]
        told = Dataset()
        told.TransactionUID = asked.TransactionUID
        told.ReferencedSOPSequence = [
            each
            for each in asked.ReferencedSOPSequence
            if each.ReferencedSOPInstanceUID not in failed
        ]
        entity = AE(ae_title=calling)
        entity.add_requested_context(STORAGE_COMMITMENT)
        association = entity.associate(
            "127.0.0.1",
            node.port,
            ae_title="TELERAD",
            ext_neg=[build_role(STORAGE_COMMITMENT, scp_role=True)],
            evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)],
        )
        assert association.is_established
        status, _ = association.send_n_event_report(
            told, 2 if failed else 1, STORAGE_COMMITMENT, INSTANCE
        )
        association.release()
        return int(status.Status)


@contextmanager
def a_pacs(*contexts: str) -> Iterator[Pacs]:
    pacs = Pacs()
    entity = AE(ae_title="PACS")
    for uid in contexts or (VERIFICATION, AVAILABILITY, STORAGE_COMMITMENT, CT, CR):
        entity.add_supported_context(uid, EXPLICIT_LITTLE)
    handlers = [
        (evt.EVT_C_STORE, pacs.store),
        (evt.EVT_N_CREATE, pacs.create),
        (evt.EVT_N_ACTION, pacs.act),
        (evt.EVT_CONN_OPEN, without_delay),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    pacs.port = server.socket.getsockname()[1]
    try:
        yield pacs
    finally:
        server.shutdown()


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Node]:
    """A node whose studies are frozen."""
    node = start(tmp_path)
    stock(node)
    with node.database.transaction() as tx:
        for held in HELD:
            archive.freeze_manifest(tx, held.uid)
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def register(node: Node, port: int, *, notify: bool = True, organisation: str = "o-1") -> Peer:
    peer = Peer(
        ae_title="PACS",
        host="127.0.0.1",
        port=port,
        organisation_id=organisation,
        issuer="site-1",
        notify=notify,
    )
    with node.database.transaction() as tx:
        return commands.add_peer(tx, peer, actor=ENGINE)


def complete(node: Node, study_uid: str = STUDY.uid) -> None:
    with node.database.transaction() as tx:
        manifest = archive.manifest(tx, study_uid)
        fact = StudyCompleted(
            subject=study_uid,
            at=tx.at,
            actor="system:test",
            study_uid=study_uid,
            manifest_version=manifest.version,
            manifest_digest=manifest.digest,
            verdict="quiet_without_order",
        )
        ((reacts_to),) = reactions({"o-centre": View.ALL}).values()
        for _ in range(2):  # told twice, it is one notice
            reacts_to[StudyCompleted](tx, fact)


def unreadable() -> Dataset:
    """Return a data set of which we read no more than its beginning."""
    told = Dataset()
    for _ in range(20):
        inner, told = told, Dataset()
        told.ReferencedSeriesSequence = [inner]
    return told


def run_notices(database: Database) -> int:
    (work,) = Notices(database, SEND).due_work()
    with database.reading() as tx:
        due = work.due(tx)
    for each in due:
        work.run(each)
    return len(due)


@pytest.mark.parametrize("organisation", ["o-1", "o-centre"])
def test_a_peer_that_asked_for_it_is_told_of_a_complete_study(
    stored: Node, organisation: str
) -> None:
    with a_pacs() as pacs:
        register(stored, pacs.port, organisation=organisation)
        complete(stored)
        assert run_notices(stored.database) == 1
        assert run_notices(stored.database) == 0

    (notice,) = pacs.notices
    assert notice.StudyInstanceUID == STUDY.uid
    assert notice["ReferencedPerformedProcedureStepSequence"].value == []
    told = {
        (str(series.SeriesInstanceUID), str(each.ReferencedSOPInstanceUID))
        for series in notice.ReferencedSeriesSequence
        for each in series.ReferencedSOPSequence
    }
    assert told == {
        (str(each.SeriesInstanceUID), str(each.SOPInstanceUID)) for each in STUDY.instances()
    }
    one = notice.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert (one.InstanceAvailability, one.RetrieveAETitle) == ("ONLINE", "TELERAD")


def test_a_notice_that_is_told_late_says_what_was_withdrawn_meanwhile(stored: Node) -> None:
    gone, *left = (str(each.SOPInstanceUID) for each in STUDY.instances())
    assert left
    with a_pacs() as pacs:
        register(stored, pacs.port)
        complete(stored)
        with stored.database.transaction() as tx:
            withdrawals.withdraw(
                tx,
                Keeping(
                    study_uid=STUDY.uid, owner="o-1", modalities=("CT",), last_arrival_at=tx.at
                ),
                Reason.QUALITY,
                Retention(),
                instance_uids=frozenset({gone}),
                actor=ENGINE,
            )
        assert run_notices(stored.database) == 1

    told = {
        str(each.ReferencedSOPInstanceUID): each.InstanceAvailability
        for series in pacs.notices[0].ReferencedSeriesSequence
        for each in series.ReferencedSOPSequence
    }
    assert told == {gone: "UNAVAILABLE", **dict.fromkeys(left, "ONLINE")}


@pytest.mark.parametrize("told_before", [True, False])
def test_a_notice_of_a_corrected_study_says_what_can_be_had_and_of_nobody(
    stored: Node, told_before: bool
) -> None:
    with a_pacs() as pacs:
        register(stored, pacs.port)
        if told_before:
            complete(stored)
            assert run_notices(stored.database) == 1
        with stored.database.transaction() as tx:
            right = patients.register(
                tx, issuer="site-1", patient_id="P-77", name="Right^One", sex="", birth_date=None
            )
            corrections.move_study(tx, STUDY.uid, right, reason="wrong line", actor=ENGINE)
        late = a_slice(77)
        late.StudyInstanceUID = STUDY.uid
        late.PatientID = next(iter(STUDY.instances())).PatientID  # its device goes on as before
        announced, data_set = as_sent(as_file(late))
        with stored.speak() as speaker:
            speaker.associate((announced.sop_class_uid, announced.transfer_syntax_uid))
            assert speaker.store(announced, data_set) == 0
        with stored.database.transaction() as tx:
            assert archive.freeze_manifest(tx, STUDY.uid) is not None
        complete(stored)
        assert run_notices(stored.database) == 1

    every = [str(each.SOPInstanceUID) for each in (*STUDY.instances(), late)]
    assert availability(pacs.notices[-1]) == dict.fromkeys(every, "ONLINE")
    assert "Patient" not in str(pacs.notices[-1])


def withdraw(node: Node, *instance_uids: str) -> Withdrawal:
    """Withdraw instances of the study, all of it where none is named, and tell of it."""
    with node.database.transaction() as tx:
        made = withdrawals.withdraw(
            tx,
            Keeping(study_uid=STUDY.uid, owner="o-1", modalities=("CT",), last_arrival_at=tx.at),
            Reason.QUALITY,
            Retention(),
            instance_uids=frozenset(instance_uids) or None,
            actor=ENGINE,
        )
        tell_last(tx)
    return made


def restore(node: Node, made: Withdrawal) -> None:
    with node.database.transaction() as tx:
        withdrawals.restore(tx, made.number, actor=ENGINE)
        tell_last(tx)


def tell_last(tx: Transaction) -> None:
    """Have the last fact of the study reacted to, twice: it is one notice."""
    fact = outbox.facts_of(tx, STUDY.uid)[-1]
    ((reacts_to),) = reactions({"o-centre": View.ALL}).values()
    for _ in range(2):
        reacts_to[type(fact)](tx, fact)


def availability(notice: Dataset) -> dict[str, str]:
    return {
        str(each.ReferencedSOPInstanceUID): str(each.InstanceAvailability)
        for series in notice.ReferencedSeriesSequence
        for each in series.ReferencedSOPSequence
    }


@pytest.mark.parametrize("organisation", ["o-1", "o-centre"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_peer_is_told_what_is_withdrawn_and_that_it_is_back(
    stored: Node, whole: bool, organisation: str
) -> None:
    every = [str(each.SOPInstanceUID) for each in STUDY.instances()]
    gone = every if whole else every[:1]
    with a_pacs() as pacs:
        register(stored, pacs.port, organisation=organisation)
        complete(stored)
        assert run_notices(stored.database) == 1
        made = withdraw(stored, *([] if whole else gone))
        assert run_notices(stored.database) == 1
        restore(stored, made)
        assert run_notices(stored.database) == 1

    here = dict.fromkeys(every, "ONLINE")
    first, second, third = map(availability, pacs.notices)
    assert (first, third) == (here, here)
    assert second == here | dict.fromkeys(gone, "UNAVAILABLE")
    (series, *_) = pacs.notices[1].ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].RetrieveAETitle == "TELERAD"


@pytest.mark.parametrize("how", [{"notify": False}, {"organisation": "o-2"}])
def test_who_did_not_ask_or_may_not_see_it_is_not_told_of_a_withdrawal(
    stored: Node, how: dict[str, object]
) -> None:
    register(stored, 1, **how)  # type: ignore[arg-type]
    withdraw(stored)

    assert run_notices(stored.database) == 0


def test_of_a_study_that_never_counted_as_whole_nobody_is_told(tmp_path: Path) -> None:
    node = start(tmp_path)
    stock(node)
    register(node, 1)
    withdraw(node)
    assert run_notices(node.database) == 0
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def test_what_a_peer_says_beside_its_answer_is_no_matter(stored: Node) -> None:
    with a_pacs() as pacs:
        pacs.says = unreadable()
        register(stored, pacs.port)
        complete(stored)
        assert run_notices(stored.database) == 1
        transaction = asked(stored)
        assert run_requests(stored.database) == 1
        later = Database(stored.database.url, clock=ahead(stored.database.clock, MINUTES))
        assert run_notices(later) == 0
        assert run_requests(later) == 0  # its answer is waited for
        later.dispose()

    assert len(pacs.notices) == len(pacs.asked) == 1
    assert state(stored, transaction) == (ASKED, ())


@pytest.mark.parametrize(
    ("how", "study_uid"),
    [
        ({"notify": False}, STUDY.uid),
        ({"organisation": "o-2"}, STUDY.uid),
        ({"organisation": "o-1"}, HELD[5].uid),
    ],
)
def test_who_did_not_ask_or_may_not_see_it_is_not_told(
    stored: Node, how: dict[str, object], study_uid: str
) -> None:
    register(stored, 1, **how)  # type: ignore[arg-type]
    complete(stored, study_uid)

    assert run_notices(stored.database) == 0


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("serves", [True, False])
def test_a_notice_that_is_not_taken_is_told_later_and_at_last_given_up(
    stored: Node, serves: bool
) -> None:
    database = stored.database
    with a_pacs(*([] if serves else [VERIFICATION])) as pacs:
        pacs.answer = 0x0110
        register(stored, pacs.port)
        complete(stored)
        assert run_notices(database) == 1
        assert run_notices(database) == 0
        later = Database(database.url, clock=ahead(database.clock, timedelta(minutes=2)))
        pacs.answer = 0
        assert run_notices(later) == 1
    assert len(pacs.notices) == serves
    much_later = Database(database.url, clock=ahead(database.clock, 2 * HORIZON))
    assert run_notices(much_later) == (not serves)
    assert run_notices(much_later) == 0
    later.dispose()
    much_later.dispose()


@pytest.mark.parametrize("removed", [True, False])
def test_a_notice_that_its_peer_no_longer_wants_ends_unwanted_and_not_taken(
    stored: Node, removed: bool
) -> None:
    with a_pacs() as pacs:
        peer = register(stored, pacs.port)
        complete(stored)
        with stored.database.transaction() as tx:
            if removed:
                tx.execute(text("DELETE FROM peers WHERE ae_title = 'PACS'"))
            else:
                commands.add_peer(tx, replace(peer, notify=False), actor=ENGINE)
        assert run_notices(stored.database) == 1
        assert run_notices(stored.database) == 0

    assert pacs.notices == []
    with stored.database.reading() as tx:
        (state,) = tx.execute(text("SELECT state FROM availability_notices")).scalars()
        told = [each for each in audit.latest(tx) if each.action == "study.availability_told"]
    assert state == UNWANTED
    assert [entry.outcome for entry in told] == [UNWANTED]


def test_every_instance_of_a_manifest_has_its_account(stored: Node) -> None:
    with stored.database.reading() as tx:
        manifest = archive.manifest(tx, STUDY.uid)
    with a_pacs() as pacs:
        peer = register(stored, pacs.port)
        pacs.refuses = {manifest.entries[0].instance_uid}
        accounts = list(send_study(stored.archive, manifest, peer, SEND))

    ok = {each.instance_uid for each in accounts if each.ok}
    assert {each.instance_uid for each in accounts} == {e.instance_uid for e in manifest.entries}
    assert len(accounts) == len(manifest.entries)
    assert ok == set(pacs.taken)
    assert all(each.reason or each.status for each in accounts if not each.ok)


def test_a_peer_that_is_gone_leaves_an_account_of_each_instance(stored: Node) -> None:
    with stored.database.reading() as tx:
        manifest = archive.manifest(tx, STUDY.uid)

    accounts = list(send_study(stored.archive, manifest, register(stored, 1), SEND))

    assert len(accounts) == len(manifest.entries)
    assert not any(each.ok for each in accounts)


PAIRS = [(CT, "1.2.3.1"), (CT, "1.2.3.2")]


def run_requests(database: Database, linger: timedelta = timedelta()) -> int:
    (work,) = CommitmentRequests(database, SEND, linger=linger).due_work()
    with database.reading() as tx:
        due = work.due(tx)
    for each in due:
        work.run(each)
    return len(due)


def asked(node: Node, peer: str = "PACS") -> str:
    with node.database.transaction() as tx:
        (transaction_uid,) = committing.ask(tx, peer, PAIRS)
    return transaction_uid


def state(node: Node, transaction_uid: str) -> tuple[str, tuple[str, ...]]:
    with node.database.reading() as tx:
        found = errands.find_asked(tx, transaction_uid)
    assert found is not None
    return found.state, found.failed


@pytest.mark.parametrize(("failed", "outcome"), [((), COMMITTED), (("1.2.3.2",), FAILED)])
def test_a_peer_answers_for_what_it_took_on_an_association_of_its_own(
    stored: Node, failed: tuple[str, ...], outcome: str
) -> None:
    with a_pacs() as pacs:
        register(stored, pacs.port)
        transaction = asked(stored)
        assert run_requests(stored.database) == 1
        assert run_requests(stored.database) == 0
        assert state(stored, transaction) == (ASKED, ())
        assert pacs.report(stored, calling="VAN2") == 0x0110  # it was not asked
        assert state(stored, transaction) == (ASKED, ())
        for _ in range(2):
            assert pacs.report(stored, *failed) == 0

    assert pacs.asked[0].TransactionUID == transaction
    assert len(pacs.asked[0].ReferencedSOPSequence) == 2
    assert state(stored, transaction) == (outcome, failed)


@pytest.mark.parametrize(("readable", "word"), [(True, 0), (False, 0x0110)])
def test_an_answer_on_the_same_association_is_heard(
    stored: Node, readable: bool, word: int
) -> None:
    statuses: list[int] = []

    asked_for: list[Dataset] = []

    def act(event: evt.Event) -> tuple[int, None]:
        asked_for.append(event.action_information)
        return 0, None

    def report(event: evt.Event) -> None:
        if asked_for and type(event.pdu).__name__ == "P_DATA_TF":  # the request is answered
            event.assoc.unbind(evt.EVT_PDU_SENT, report)
            threading.Thread(target=answer, args=(event.assoc,)).start()

    def answer(association: Association) -> None:
        told = asked_for[0] if readable else unreadable()
        status, _ = association.send_n_event_report(told, 1, STORAGE_COMMITMENT, INSTANCE)
        statuses.append(int(status.Status))

    entity = AE(ae_title="PACS")
    entity.add_supported_context(STORAGE_COMMITMENT, EXPLICIT_LITTLE)
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[
            (evt.EVT_N_ACTION, act),
            (evt.EVT_PDU_SENT, report),
            (evt.EVT_CONN_OPEN, without_delay),
        ],
    )
    register(stored, server.socket.getsockname()[1])
    transaction = asked(stored)
    assert run_requests(stored.database, linger=timedelta(seconds=10)) == 1
    until(lambda: bool(statuses))
    server.shutdown()

    assert statuses == [word]
    assert state(stored, transaction) == (COMMITTED if readable else ASKED, ())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_not_answered_is_asked_again_and_at_last_given_up(stored: Node) -> None:
    database = stored.database
    with a_pacs() as pacs:
        register(stored, pacs.port)
        transaction = asked(stored)
        pacs.answer = 0x0110
        assert run_requests(database) == 1
        later = Database(database.url, clock=ahead(database.clock, timedelta(minutes=2)))
        pacs.answer = 0
        assert run_requests(later) == 1
        assert run_requests(later) == 0
    much_later = Database(database.url, clock=ahead(database.clock, 2 * HORIZON))
    assert run_requests(much_later) == 1
    assert run_requests(much_later) == 0
    assert state(stored, transaction) == (GIVEN_UP, tuple(uid for _, uid in PAIRS))
    later.dispose()
    much_later.dispose()


@pytest.mark.service
def test_an_orthanc_answers_for_what_it_took(stored: Node) -> None:
    with stored.database.reading() as tx:
        manifest = archive.manifest(tx, STUDY.uid)
    with required(), orthanc(ae_title="PACS", listens=True) as server:
        server.knows("node", ae_title="TELERAD", port=stored.port)
        assert server.dicom_port is not None
        peer = register(stored, server.dicom_port)
        assert all(each.ok for each in send_study(stored.archive, manifest, peer, SEND))
        pairs = [(entry.sop_class_uid, entry.instance_uid) for entry in manifest.entries]
        with stored.database.transaction() as tx:
            (whole,) = committing.ask(tx, "PACS", pairs)
            (partly,) = committing.ask(tx, "PACS", [*pairs, (CT, "1.2.3.4.5")])
        assert run_requests(stored.database) == 2
        until(lambda: ASKED not in (state(stored, whole)[0], state(stored, partly)[0]))

    assert state(stored, whole) == (COMMITTED, ())
    assert state(stored, partly) == (FAILED, ("1.2.3.4.5",))
