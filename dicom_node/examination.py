"""Examining the instances of complete studies for what is odd in them, off the way in."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from dicom_node import remarks
from kernel.errors import EngineError
from kernel.facts import Fact, StudyAmended, StudyCompleted
from storage import remarks as kept
from storage.archive import Archive
from storage.engine import Transaction
from storage.instance_file import opened
from storage.series_queries import Held, held
from storage.work import DueWork, Reactions

CONSUMER = "dicom_node.remarks"
LEASE = timedelta(minutes=10)

log = structlog.get_logger()


def reactions() -> Reactions:
    """Return the reactions that have studies examined."""
    return {CONSUMER: {StudyCompleted: _ask, StudyAmended: _ask}}


class Examination:
    """Examines each study that has a new manifest; killed half way, it begins that one again."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        name = "dicom_node.examine_studies"
        run = self.examine
        return [DueWork(name=name, queue="default", due=kept.due, run=run, can_wait=True)]

    def examine(self, study_uid: str) -> None:
        """Note what is odd in a study."""
        with self._archive.database.transaction() as tx:
            asked_at = kept.claim(tx, study_uid, lease=LEASE)
            instances = held(tx, study_uid) if asked_at is not None else []
        if asked_at is None:
            return
        found = [(each.instance_uid, code) for each in instances for code in self._odd(each)]
        with self._archive.database.transaction() as tx:
            kept.note(tx, found)
            kept.done(tx, study_uid, asked_at=asked_at)
        if found:
            codes = sorted({code for _, code in found})
            log.warning("study.remarked", study=study_uid, codes=codes, instances=len(found))

    def _odd(self, instance: Held) -> Sequence[str]:
        try:
            with opened(self._archive, instance) as file:
                return sorted(remarks.of_instance(file, instance.length))
        except EngineError as error:
            log.warning("study.not_examined", instance=instance.instance_uid, code=error.code)
            return ()


def _ask(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, StudyCompleted | StudyAmended)
    kept.ask_for(tx, fact.study_uid)
