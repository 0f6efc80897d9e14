"""Instances as they leave: as they came, or with the corrections in force applied.

Whatever serves an instance asks here, so that no way out shows what another has right.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from dicom_node.corrected import Rewritten, corrected, rewritten
from dicom_node.messages import Pieces
from dicom_node.part10 import file_head, split
from dicom_node.uids import DEFLATED_LITTLE
from kernel.errors import EngineError
from storage import instance_file
from storage.archive import Archive, InstanceDamaged
from storage.digests import hashing, spelled
from storage.instance_file import WHOLE
from storage.series_queries import Held
from storage.shown import Shown, StudyShown, study_shown
from storage.together import read_together

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Leaving:
    """A file that leaves, in pieces, and its length (bytes)."""

    length: int
    pieces: Iterator[bytes | memoryview]

    def begun(self) -> "Leaving":
        """Return it with its first piece read, so that what cannot be read at all is known now."""
        return Leaving(self.length, chain((next(self.pieces),), self.pieces))

    def data_set(self, held: Held) -> Pieces:
        """Return its data set, without preamble and file meta information.

        The first piece of a file holds these two, and more; almost all are as we make them.
        """
        first = next(self.pieces)
        head = file_head(
            sop_class_uid=held.sop_class_uid,
            sop_instance_uid=held.instance_uid,
            transfer_syntax_uid=held.transfer_syntax_uid,
        )
        as_made = first[: len(head)] == head
        offset = len(head) if as_made else split(first).data_set_offset
        return Pieces(self.length - offset, chain((memoryview(first)[offset:],), self.pieces))

    def whole(self) -> bytes:
        """Return the file in one piece."""
        return b"".join(self.pieces)


def shown_of(archive: Archive, study_uid: str) -> StudyShown | None:
    """Return how a study is shown; None if all of it leaves as it came."""
    with archive.database.reading() as tx:
        return study_shown(tx, study_uid)


def own_of(shown: StudyShown | None, instance: Held) -> Shown | None:
    """Return how one instance is shown; None if it leaves as it came."""
    return None if shown is None else shown.of(instance.instance_uid)


def whole(archive: Archive, instance: Held, shown: StudyShown | None) -> bytes:
    """Return the file of an instance, verified, as it leaves.

    Raises
    ------
    CorrectionNotShown
        It cannot be rewritten.
    """
    file, own = instance_file.whole(archive, instance), own_of(shown, instance)
    return file if own is None else corrected(file, own)


def outgoing(archive: Archive, instance: Held, shown: StudyShown | None) -> Leaving:
    """Return the file of an instance as it leaves; a large one is never in memory as a whole.

    Raises
    ------
    CorrectionNotShown
        It cannot be rewritten.
    """
    own = own_of(shown, instance)
    if own is None:
        return Leaving(instance.length, instance_file.chunks(archive, instance))
    if instance.length <= WHOLE or instance.transfer_syntax_uid == DEFLATED_LITTLE:
        file = whole(archive, instance, shown)
        return Leaving(len(file), iter((file,)))
    made = rewritten(
        lambda length: instance_file.stretch(archive, instance, 0, length), instance.length, own
    )
    return Leaving(len(made.head) + instance.length - made.tail, _pieces(archive, instance, made))


def all_outgoing(
    archive: Archive,
    instances: Sequence[Held],
    shown: Callable[[str], StudyShown | None],
    room: memoryview | None = None,
) -> Iterator[tuple[Held, Leaving | EngineError]]:
    """Yield each instance as it leaves, begun; in place of an unreadable one the reason.

    The caller bounds their bytes: those side by side are read at once.

    Parameters
    ----------
    shown
        Tells how a study is shown, None if it leaves as it came.
    room
        Memory for what is read at once; see `storage.together.read_together`.
    """
    files = read_together(archive, instances, room)
    for each in instances:
        try:
            own = own_of(shown(each.study_uid), each)
            file = files.pop(each.instance_uid, None)
            if isinstance(file, EngineError):
                yield each, file
            elif file is None:
                yield each, outgoing(archive, each, shown(each.study_uid)).begun()
            else:
                made = file if own is None else corrected(bytes(file), own)
                yield each, Leaving(len(made), iter((made,)))
        except EngineError as error:
            yield each, error


def _pieces(archive: Archive, instance: Held, made: Rewritten) -> Iterator[bytes]:
    """Yield a rewritten file; its last piece only if what was stored is what was received."""
    hasher = hashing(instance.digest)
    hasher.update(instance_file.stretch(archive, instance, 0, made.tail))
    waiting = made.head
    for start in range(made.tail, instance.length, _CHUNK):
        piece = instance_file.stretch(archive, instance, start, _CHUNK)
        hasher.update(piece)
        yield waiting
        waiting = piece
    if spelled(hasher) != instance.digest:
        raise InstanceDamaged("the stored bytes are not those that were received")
    yield waiting
