"""The way in: bytes become durable, then indexed, and only then is the sender told."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import NamedTuple

import structlog

from dicom_node import admission, headers
from dicom_node.admission import Announced, Arrival, Source
from dicom_node.elements import MAX_HEADER_LENGTH, Bytes, HeadTooShort
from dicom_node.errors import Unreadable
from dicom_node.group_commit import GroupCommit, flushed
from dicom_node.headers import InstanceHeader
from dicom_node.note import encoded_note_of
from dicom_node.part10 import file_head
from dicom_node.statuses import Outcome, outcome_of
from kernel.clock import Clock, system_clock
from kernel.errors import Transient
from kernel.pulse import Pulse
from storage import remarks
from storage.archive import Admission, Conflict
from storage.engine import Database
from storage.frame import Frame
from storage.journal import Journal, JournalFull, Place

_FIRST_HEAD = 64 << 10
_PIECE = 128 << 10

_OUTCOMES = {
    Admission.STORED: Outcome.STORED,
    Admission.DUPLICATE: Outcome.DUPLICATE,
    Admission.QUARANTINED: Outcome.CONFLICTING,
}
# Short enough for an error comment (PS3.7 Annex E: VR LO, 64 characters).
_REASONS = {
    None: "",
    Conflict.OTHER_CONTENT: "this SOP instance UID has other content here",
    Conflict.OTHER_PATIENT: "this study instance UID is of another patient here",
    Conflict.WITHDRAWN: "this SOP instance was withdrawn here",
}

log = structlog.get_logger()


class Answer(NamedTuple):
    """What became of one instance; `reason` is a sentence without patient data, empty if well."""

    outcome: Outcome
    reason: str = ""
    header: InstanceHeader | None = None


# Its bytes are durable and stay in the journal; the next start tries to index them again.
_NOT_INDEXED = Answer(Outcome.FAILED, "the index cannot hold this instance")


class Intake:
    """Stores instances for every entrance: C-STORE, STOW-RS, imports.

    It answers success only when the journal has the bytes durable and the index row is committed.

    Parameters
    ----------
    pulse
        Beats with every group that is committed.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        clock: Clock = system_clock,
        pulse: Pulse | None = None,
    ) -> None:
        self._journal = journal
        self._index = GroupCommit(database, journal.digest_like, pulse)
        self._clock = clock

    def store(self, announced: Announced, source: Source, data: Bytes) -> Answer:
        """Store one instance whose data set is all here."""
        found = _examined(announced, source, data)
        return self._durably(announced, source, found, [_head(announced), data])

    def keep_unreadable(self, source: Source, data: Bytes, refusal: Unreadable) -> Answer:
        """Keep bytes that are no Part 10 file, as they came."""
        return self._durably(Announced("", "", ""), source, refusal, [data])

    def remark(self, answer: Answer, odd: Collection[str]) -> None:
        """Note what was odd in the wrapping of an instance that is stored now."""
        if answer.header is None or answer.outcome not in (Outcome.STORED, Outcome.DUPLICATE):
            return
        uid = answer.header.instance_uid
        self._index.run(lambda tx: remarks.note(tx, [(uid, code) for code in odd]))
        log.warning("instance.remarked", instance=uid, codes=sorted(odd))

    def begin(self, announced: Announced, source: Source, frame: Frame) -> "Arriving":
        """Begin an instance whose data set comes in pieces, into a frame."""
        return Arriving(self, announced, source, frame)

    def _durably(
        self,
        announced: Announced,
        source: Source,
        found: InstanceHeader | Unreadable,
        parts: list[Bytes],
    ) -> Answer:
        at = self._clock()
        try:
            place = self._journal.append(encoded_note_of(announced, source, at), *parts)
            return self._indexed(announced, source, found, place, at, flushed)
        except (Transient, OSError) as error:
            return _not_stored(error)
        except Exception:
            log.exception("intake.not_indexed")
            return _NOT_INDEXED

    def _indexed(
        self,
        announced: Announced,
        source: Source,
        found: InstanceHeader | Unreadable,
        place: Place,
        at: datetime,
        flush: Callable[[], None],
    ) -> Answer:
        if isinstance(found, Unreadable):
            refusal = found
            flush()
            self._index.run(
                lambda tx: admission.quarantine(
                    tx,
                    place,
                    source=source,
                    announced_uid=announced.sop_instance_uid,
                    refusal=refusal,
                    received_at=at,
                )
            )
            return Answer(outcome_of(refusal.reason), refusal.sentence)
        admitted = self._index.admit(Arrival(found, source, at, place), flush)
        return Answer(_OUTCOMES[admitted.admission], _REASONS[admitted.conflict], found)


class Arriving:
    """One instance while its data set arrives, of whatever length.

    A full disk does not raise: the rest is passed over, so that the association lives on and the
    sender is told when its message ends.
    """

    def __init__(self, intake: Intake, announced: Announced, source: Source, frame: Frame) -> None:
        self._intake = intake
        self._announced = announced
        self._source = source
        self._frame = frame
        self._at = intake._clock()
        note = encoded_note_of(announced, source, self._at)
        self._record = intake._journal.begin(note, _head(announced), frame)
        self._failure: Transient | OSError | None = None
        self._head = b""

    def room(self, size: int) -> memoryview:
        """Return memory for the next `size` bytes of the data set, or for more."""
        if self._failure is not None:
            return self._frame.body[:size]
        if not self._head and len(self._record.in_memory) + size > len(self._frame.body):
            self._head = bytes(self._record.in_memory[:_FIRST_HEAD])
        try:
            return self._record.next_room(size)
        except (Transient, OSError) as failure:
            self._failure = failure
            self.discard()
            return self._frame.body[:size]

    def filled(self, size: int) -> None:
        """Take the next `size` bytes as filled."""
        if self._failure is None:
            self._record.filled(size)

    def write(self, data: Bytes) -> None:
        """Add bytes that lie elsewhere."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self.room(len(piece))[: len(piece)] = piece
            self.filled(len(piece))

    def finish(self) -> Answer:
        """Make the instance durable and index it."""
        if self._failure is not None:
            return _not_stored(self._failure)
        try:
            if self._record.is_whole_in_memory:
                found = _examined(self._announced, self._source, self._record.in_memory)
                place = self._record.write()
            else:
                place = self._record.write()
                found = self._examined(place)
            return self._intake._indexed(
                self._announced, self._source, found, place, self._at, self._record.flush
            )
        except (Transient, OSError) as failure:
            return _not_stored(failure)
        except Exception:
            log.exception("intake.not_indexed")
            return _NOT_INDEXED

    def discard(self) -> None:
        """Give the instance up, as when the association was cut."""
        self._record.discard()

    def _examined(self, place: Place) -> InstanceHeader | Unreadable:
        head, length = self._head, self._record.length
        while True:
            try:
                return _examined(self._announced, self._source, head, total=length)
            except HeadTooShort:
                more = min(4 * len(head), MAX_HEADER_LENGTH, length)
                head = self._intake._journal.read(place, start=place.length - length, length=more)


def _head(announced: Announced) -> bytes:
    return file_head(
        sop_class_uid=announced.sop_class_uid,
        sop_instance_uid=announced.sop_instance_uid,
        transfer_syntax_uid=announced.transfer_syntax_uid,
    )


def _examined(
    announced: Announced, source: Source, data: Bytes, *, total: int | None = None
) -> InstanceHeader | Unreadable:
    try:
        header = headers.read(data, announced.transfer_syntax_uid, source.defaults, total=total)
        return admission.checked(header, announced)
    except Unreadable as refusal:
        return refusal


def _not_stored(error: Transient | OSError) -> Answer:
    if isinstance(error, JournalFull):
        log.warning("intake.no_room")
        return Answer(Outcome.NO_ROOM, "the disk has no room")
    if isinstance(error, Transient):
        log.warning("intake.unavailable", code=error.code)
        return Answer(Outcome.UNAVAILABLE, "the index cannot be written now")
    log.error("intake.failed", error=type(error).__name__, errno=error.errno)
    return Answer(Outcome.FAILED, "the storage of this node failed")
