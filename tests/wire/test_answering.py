"""The services that answer queries end them in one way, and put them on record in one way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pydicom.dataset import Dataset

from dicom_node import store
from dicom_node.uids import MODALITY_WORKLIST, STUDY_ROOT_FIND, UPS_PULL
from storage import audit, patients
from tests.wire.conftest import Node, start
from tests.wire.holdings import HELD, stock
from tests.wire.inquirer import connect, identifier
from tests.wire.performer import Performer, a_workitem
from tests.wire.speaker import CALLING
from tests.wire.test_worklist_query import STEP, wanted

PENDING, TOO_MANY = 0xFF00, 0xA700
LIMIT = 2


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = start(tmp_path_factory.mktemp("answering"), max_matches=LIMIT)
    stock(node, HELD)
    with node.database.transaction() as tx:
        ref = patients.register(
            tx, issuer="site-1", patient_id="P-1", name="A^B", sex="F", birth_date=None
        )
        for number in range(LIMIT + 1):
            step = replace(STEP, request_id=f"r-{number}", patient_ref=ref)
            store.save_step(tx, step, at=tx.at)
    for _ in range(LIMIT + 1):
        Performer(node.port).create(a_workitem())
    yield node
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


def a_workitem_query() -> Dataset:
    asked = Dataset()
    asked.ProcedureStepState = "SCHEDULED"
    return asked


@pytest.mark.parametrize(
    ("service", "asked", "action"),
    [
        (STUDY_ROOT_FIND, identifier("STUDY", StudyInstanceUID=""), "studies.queried"),
        (MODALITY_WORKLIST, wanted(), "worklist.queried"),
        (UPS_PULL, a_workitem_query(), "workitems.searched"),
    ],
)
def test_what_matches_too_much_is_answered_to_the_limit_and_says_so(
    node: Node, service: str, asked: Dataset, action: str
) -> None:
    association = connect(node, service)
    told = [status for status, _ in association.send_c_find(asked, service)]
    association.release()

    assert [int(status.Status) for status in told] == [*[PENDING] * LIMIT, TOO_MANY]
    assert told[-1].ErrorComment == f"more than {LIMIT} match: ask for less"
    with node.database.reading() as tx:
        entry = audit.latest(tx, limit=1)[0]
    assert (entry.actor, entry.organisation) == (f"ae:{CALLING}", "o-1")
    assert (entry.action, entry.subject) == (action, f"ae:{CALLING}")
    assert (entry.outcome, entry.detail["matches"]) == ("success", LIMIT)
