"""Examining the instances of complete studies for what is odd in them, off the way in."""

from collections.abc import Sequence
from datetime import timedelta
from typing import BinaryIO

import structlog

from dicom_node.archived_header import header_of
from dicom_node.errors import PictureRefused
from dicom_node.frames import Frames
from dicom_node.headers import Defaults, calendar_date
from dicom_node.remarks import Remark
from kernel.errors import EngineError, Transient
from kernel.facts import Fact, StudyAmended, StudyCompleted
from storage import remarks
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
        return [
            DueWork(
                name="dicom_node.examine_studies",
                queue="default",
                due=remarks.due,
                run=self.examine,
                can_wait=True,
                signs=remarks.SIGNS,
            )
        ]

    def examine(self, study_uid: str) -> None:
        """Note what is odd in a study.

        Raises
        ------
        SegmentElsewhere, ObjectStoreUnavailable
            It is out of reach for now: it is examined once the lease is over.
        """
        with self._archive.database.transaction() as tx:
            asked_at = remarks.claim(tx, study_uid, lease=LEASE)
            instances = held(tx, study_uid) if asked_at is not None else []
        if asked_at is None:
            return
        found = [(each.instance_uid, code) for each in instances for code in self._odd(each)]
        with self._archive.database.transaction() as tx:
            remarks.note(tx, found)
            remarks.done(tx, study_uid, asked_at=asked_at)
        if found:
            codes = sorted({code for _, code in found})
            log.warning("study.remarked", study=study_uid, codes=codes, instances=len(found))

    def _odd(self, instance: Held) -> Sequence[str]:
        try:
            with opened(self._archive, instance) as file:
                return sorted(of_instance(file, instance.length))
        except Transient:
            raise
        except EngineError as error:
            log.warning("study.not_examined", instance=instance.instance_uid, code=error.code)
            return ()


def of_instance(file: BinaryIO, length: int) -> frozenset[Remark]:
    """Return what is odd in an archived instance; only as much of it is read as that needs.

    Parameters
    ----------
    length
        Bytes of the whole file.

    Raises
    ------
    Unreadable
        It is no instance, which it was when it was admitted.
    """
    found = set()
    header = header_of(file, length, Defaults("", ""))
    if header is not None:
        said = (header.patient_name, header.study_description, header.series_description)
        if not header.character_set_defined and not "".join(said).isascii():
            found.add(Remark.CHARACTER_SET_GUESSED)
        if header.study_date and calendar_date(header.study_date) is None:
            found.add(Remark.DATE_IMPOSSIBLE)
    if _is_short(file):
        found.add(Remark.PIXELS_SHORT)
    return frozenset(found)


def _is_short(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        return Frames(file).is_short
    except PictureRefused:
        return False  # it has no pixels, or none that could be counted


def _ask(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, StudyCompleted | StudyAmended)
    remarks.ask_for(tx, fact.study_uid)
