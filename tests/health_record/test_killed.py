"""A worker killed with -9: after its lease the document is filed exactly once, and whole."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from health_record.adapters.folder import BUNDLE, FolderRecord
from health_record.commands import list_deliveries, schedule
from health_record.delivery import DeliveryState
from health_record.tasks import Deliveries
from kernel.facts import DocumentFiled
from storage import outbox
from storage.engine import Database
from storage.objects import LocalObjects
from tests.health_record.killed import MOMENTS
from tests.health_record.samples import (
    PDF,
    Hands,
    a_signed_case,
    an_evidence,
    collecting,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_a_killed_worker_began_is_filed_once(database: Database, tmp_path: Path, moment: str):
    clock = Hands()
    database.clock = clock
    evidence, objects = an_evidence(), LocalObjects(tmp_path / "objects")
    objects.put(evidence.sealed.pdf_key, PDF, evidence.sealed.pdf_sha256)
    with database.transaction() as tx:
        schedule(tx, a_signed_case(), ["record"])

    worker = subprocess.run(
        [sys.executable, "-m", "tests.health_record.killed", database.url, tmp_path, moment],
        cwd=ROOT,
        capture_output=True,
    )

    assert worker.returncode == -signal.SIGKILL, worker.stderr.decode()
    deliveries = Deliveries(
        database,
        objects,
        {"record": FolderRecord(tmp_path / "record")},
        collect=collecting(evidence),
    )
    with database.reading() as tx:
        assert deliveries.due_deliveries(tx) == []  # the dead worker's lease still stands
    clock.forward(timedelta(minutes=2))
    with database.reading() as tx:
        (due,) = deliveries.due_deliveries(tx)
    deliveries.attempt(due)

    with database.reading() as tx:
        (delivery,) = list_deliveries(tx)
        facts = outbox.facts_of(tx, delivery.case_id)
    assert delivery.state is DeliveryState.FILED
    assert [type(fact) for fact in facts] == [DocumentFiled]
    assert len(list((tmp_path / "record").glob(f"*/*/{BUNDLE}"))) == 1
    assert not (tmp_path / "record" / ".arriving").exists()
