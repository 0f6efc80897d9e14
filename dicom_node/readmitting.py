"""Instances that named another patient than their study, admitted once the two are one person.

What was kept aside is read again as when it came, by what was noted then, and is a late image of
its study from now on: it makes the next manifest, and its reader is told.

References
----------
PS3.4 section B.2.3 (what the sender was told); IHE PIR (patient reconciliation).
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from dicom_node import admission, headers
from dicom_node.admission import Arrival
from dicom_node.elements import MAX_HEADER_LENGTH, HeadTooShort
from dicom_node.errors import Unreadable
from dicom_node.headers import InstanceHeader
from dicom_node.note import from_note
from dicom_node.part10 import split
from kernel.people import ENGINE
from storage import audit, readmission
from storage.digests import digest_of_all
from storage.engine import Database, Transaction
from storage.objects import ObjectStore
from storage.packs import pack_problem
from storage.readmission import Waiting
from storage.work import DueWork

LEASE = timedelta(minutes=10)
"""After so long another may try: whoever had it was killed, or could not read the bytes."""

_FIRST_HEAD = 64 << 10
_PIECE_BYTES = 4 << 20

log = structlog.get_logger()


class Readmission:
    """Admits what was kept aside for its patient alone.

    Parameters
    ----------
    node
        Which re-reads the bytes from time to time, as those of its packs.
    """

    def __init__(self, database: Database, objects: ObjectStore, *, node: str) -> None:
        self._database = database
        self._objects = objects
        self._node = node

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.readmit",
                queue="default",
                due=readmission.due,
                run=self.readmit,
                signs=readmission.SIGNS,
            )
        ]

    def readmit(self, id: str) -> None:
        """Admit one if nothing is wrong with it any more; done twice, it is done once."""
        with self._database.transaction() as tx:
            waiting = readmission.claim(tx, id, until=tx.at + LEASE)
        if waiting is None:
            return
        problem = pack_problem(
            self._objects, waiting.object_key, waiting.place.digest, waiting.place.length
        )
        if problem is not None:  # it stays in quarantine, and is tried again after the lease
            log.error("readmission.damaged", digest=waiting.place.digest, reason=problem)
            return
        try:
            header = self._header(waiting)
        except Unreadable as refusal:
            log.error("readmission.unreadable", digest=waiting.place.digest, code=refusal.code)
            return
        with self._database.transaction() as tx:
            if readmission.fits(tx, waiting):
                self._admit(tx, waiting, header)

    def _admit(self, tx: Transaction, waiting: Waiting, header: InstanceHeader) -> None:
        _, source, _ = from_note(waiting.note)
        # It comes to its study now: what was frozen of that before did not hold it.
        (admitted,) = admission.admit(
            tx,
            [Arrival(header, source._replace(begins=False), tx.at, waiting.place)],
            digest_like=lambda _place, other: self._digest_like(waiting, other),
        )
        readmission.settle(tx, waiting, admitted, node=self._node)
        if admitted.conflict is not None:
            return  # the audit chain has it as another quarantine
        audit.record(
            tx,
            actor=ENGINE,
            action="instance.readmitted",
            subject=f"instance:{header.instance_uid}",
            detail={
                "digest": waiting.place.digest,
                "study": header.study_uid,
                "outcome": admitted.admission.value,
                "reason": readmission.REASON,
            },
        )

    def _digest_like(self, waiting: Waiting, other: str) -> str:
        """Return the digest of one by the algorithm of another digest."""
        get, key, length = self._objects.get, waiting.object_key, waiting.place.length
        starts = range(0, length, _PIECE_BYTES)
        pieces = (get(key, start=at, length=min(_PIECE_BYTES, length - at)) for at in starts)
        return digest_of_all(pieces, like=other)

    def _header(self, waiting: Waiting) -> InstanceHeader:
        _, source, _ = from_note(waiting.note)
        length, wanted = waiting.place.length, _FIRST_HEAD
        while True:
            head = self._objects.get(waiting.object_key, start=0, length=min(wanted, length))
            file = split(head)
            begin = file.data_set_offset
            try:
                return headers.read(
                    memoryview(head)[begin:],
                    file.transfer_syntax_uid,
                    source.defaults,
                    total=length - begin,
                )
            except HeadTooShort:
                wanted = min(4 * wanted, MAX_HEADER_LENGTH + begin)
