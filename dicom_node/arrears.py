"""What an earlier version did not note, read from the headers that are stored, when nobody waits.

Of a study in which that may be: whom each instance names.  Of what was kept aside because it names
another patient than its study: what it takes to admit it once the two are one.  Done twice, it is
done once; killed anywhere, it goes on behind what was committed.

References
----------
docs/adr, corrections lie on top.
"""

from collections.abc import Sequence
from datetime import timedelta
from io import BytesIO

import structlog

from dicom_node import admission, past_senders
from dicom_node.archived_header import header_of
from dicom_node.elements import MAX_HEADER_LENGTH
from dicom_node.headers import Defaults, InstanceHeader
from dicom_node.note import note_of
from dicom_node.source import Announced
from kernel.errors import EngineError, Transient
from storage import arrears
from storage import kept_aside as quarantine
from storage.archive import Archive
from storage.arrears import Arrear, KeptAside, Sender
from storage.engine import Transaction
from storage.instance_file import opened
from storage.objects import ObjectStore
from storage.series_queries import Held, held
from storage.work import DueWork

LEASE = timedelta(minutes=10)
"""After so long another may go on: whoever had it was killed."""

_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=6)
_FIRST_HEAD = 64 << 10
_SILENT = Defaults("", "")

log = structlog.get_logger()


class Arrears:
    """Reads again what an earlier version did not write down.

    Parameters
    ----------
    objects
        Where the bytes lie that were kept aside.
    at_once
        So many headers are read before others have their turn.
    """

    def __init__(self, archive: Archive, objects: ObjectStore, *, at_once: int = 100) -> None:
        self._archive = archive
        self._database = archive.database
        self._objects = objects
        self._at_once = at_once

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.read_arrears",
                queue="default",
                due=arrears.due,
                run=self.read,
                can_wait=True,
                signs=arrears.SIGNS,
            )
        ]

    def read(self, id: str) -> None:
        """Read one, or as much of a large study as may be read at once, if it is due."""
        with self._database.transaction() as tx:
            arrear = arrears.claim(tx, id, until=tx.at + LEASE)
        if arrear is None:
            return
        if arrear.study_uid:
            self._read_study(arrear)
        else:
            self._read_arrival(arrear)

    def _read_study(self, arrear: Arrear) -> None:
        with self._database.reading() as tx:
            sender = arrears.sender(tx, arrear.study_uid)
            every = held(tx, arrear.study_uid, withdrawn=True)
        rest = [each for each in every if each.instance_uid > arrear.after and _has_bytes(each)]
        some = sorted(rest, key=lambda each: each.instance_uid)[: self._at_once]
        told, after, away = self._headers(some, arrear.after)
        with self._database.transaction() as tx:
            if sender is not None:
                arrears.name(tx, arrear.study_uid, _others(tx, sender, told))
            if away:
                due_at = tx.at + _pause(arrear.attempts)
                arrears.go_on(tx, arrear, after=after, due_at=due_at, failed=True)
            elif len(some) < len(rest):
                arrears.go_on(tx, arrear, after=after, due_at=tx.at, failed=False)
            else:
                arrears.end(tx, arrear)

    def _headers(
        self, instances: Sequence[Held], after: str
    ) -> tuple[list[InstanceHeader], str, bool]:
        """Return headers, the last instance that was read, and whether the next is out of reach."""
        told: list[InstanceHeader] = []
        for each in instances:
            try:
                with opened(self._archive, each) as file:
                    header = header_of(file, each.length, _SILENT)
            except Transient:
                return told, after, True
            except EngineError as error:  # scrub, and whoever asks for it, say that it is damaged
                log.warning("arrears.not_read", instance=each.instance_uid, code=error.code)
                header = None
            told += [] if header is None else [header]
            after = each.instance_uid
        return told, after, False

    def _read_arrival(self, arrear: Arrear) -> None:
        with self._database.reading() as tx:
            kept = arrears.kept_aside(tx, arrear)
        header, away = (None, False) if kept is None else self._header_of(kept)
        with self._database.transaction() as tx:
            if away:
                due_at = tx.at + _pause(arrear.attempts)
                arrears.go_on(tx, arrear, after="", due_at=due_at, failed=True)
                return
            if kept is not None and header is not None:
                _keep(tx, kept, header)
            arrears.end(tx, arrear)

    def _header_of(self, kept: KeptAside) -> tuple[InstanceHeader | None, bool]:
        """Return the header of what was kept aside, and whether it is out of reach for now."""
        if kept.object_key is None:
            return None, True  # still in the journal of its node
        length = kept.place.length
        try:
            for wanted in (_FIRST_HEAD, MAX_HEADER_LENGTH + _FIRST_HEAD):
                head = self._objects.get(kept.object_key, start=0, length=min(wanted, length))
                header = header_of(BytesIO(head), length, _SILENT)
                if header is not None:
                    return header, False
        except Transient:
            return None, True
        except EngineError as error:
            log.warning("arrears.not_read", digest=kept.place.digest, code=error.code)
        return None, False


def _has_bytes(instance: Held) -> bool:
    return instance.pack_key is not None or instance.segment is not None


def _pause(attempts: int) -> timedelta:
    return min(_PAUSE * (1 << min(attempts, 12)), _LONGEST_PAUSE)


def _others(
    tx: Transaction, sender: Sender, headers: Sequence[InstanceHeader]
) -> list[tuple[str, str]]:
    """Return which instances name another patient than the first of their study, and whom."""
    found = []
    for each in headers:
        ref = past_senders.whom(tx, sender, each)
        if ref is not None and ref != sender.received_ref:
            found.append((each.instance_uid, ref))
    return found


def _keep(tx: Transaction, kept: KeptAside, header: InstanceHeader) -> None:
    """Note beside an arrival what admits it, as is done of those that come today."""
    sender = arrears.sender(tx, header.study_uid)
    if sender is None:
        return  # its study never came: it is no study's conflict
    named = arrears.with_id(tx, header.patient_id)
    source = past_senders.source_of(tx, kept, sender)
    ref = admission.patient_ref(header._replace(issuer=header.issuer or source.defaults.issuer))
    if ref not in named:
        log.warning("arrears.patient_unknown", digest=kept.place.digest)
        return
    announced = Announced(header.sop_class_uid, header.instance_uid, header.transfer_syntax_uid)
    quarantine.keep(
        tx,
        kept.place,
        study_uid=header.study_uid,
        patient_ref=ref,
        note=note_of(announced, source, kept.received_at),
    )
