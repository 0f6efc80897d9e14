"""An instance as a file to be read here and there, however large it is and wherever it lies."""

import io
from collections.abc import Iterator

from storage.archive import Archive, InstanceDamaged, InstanceWithdrawn, in_pack
from storage.digests import hashing, spelled
from storage.journal import NoSuchPlace
from storage.objects import ObjectMissing
from storage.series_queries import Held, held

BUFFER = 64 * 1024
WHOLE = 8 * 1024 * 1024
"""Instances of up to so many bytes are read at once and verified before a byte is given."""

_CHUNK = 1024 * 1024


def opened(archive: Archive, instance: Held) -> io.BufferedReader:
    """Open an instance for reading parts of it; these are not verified against its digest."""
    return io.BufferedReader(_Stretches(archive, instance), BUFFER)


def stretch(archive: Archive, instance: Held, start: int, length: int) -> bytes:
    """Return `length` bytes of an instance from `start` on, fewer at its end.

    Raises
    ------
    SegmentElsewhere
        They lie in another node's journal and are not packed yet: try later.
    """
    length = max(0, min(length, instance.length - start))
    try:
        return _stretch(archive, instance, start, length)
    except (NoSuchPlace, ObjectMissing):
        return _stretch(archive, _again(archive, instance), start, length)


def whole(archive: Archive, instance: Held) -> bytes:
    """Return the verified Part 10 file of an instance whose row is at hand already.

    Raises
    ------
    InstanceDamaged, PlaceLost
        The stored bytes are not those that were received.
    """
    if instance.pack_key is None:
        try:
            return archive.journal.read(instance.place)
        except NoSuchPlace:
            return archive.read(instance.instance_uid)
    try:
        return in_pack(
            archive.objects, instance.pack_key, instance.offset, instance.length, instance.digest
        )
    except ObjectMissing:
        return archive.read(instance.instance_uid)


def chunks(archive: Archive, instance: Held) -> Iterator[bytes]:
    """Yield an instance; a large one in pieces, so that it is never in memory as a whole.

    Raises
    ------
    InstanceDamaged
        The bytes are not those that were received; of a large one the last piece is then not
        given, so that what was given before can not be taken for the instance.
    """
    if instance.length <= WHOLE:
        yield whole(archive, instance)
        return
    hasher = hashing(instance.digest)
    waiting = b""
    for start in range(0, instance.length, _CHUNK):
        piece = stretch(archive, instance, start, _CHUNK)
        hasher.update(piece)
        if waiting:
            yield waiting
        waiting = piece
    if spelled(hasher) != instance.digest:
        raise InstanceDamaged("the stored bytes are not those that were received")
    yield waiting


def _again(archive: Archive, instance: Held) -> Held:
    """Look again where an instance lies: it was packed, or its pack rewritten, in between."""
    with archive.database.reading() as tx:
        found = held(tx, instance.study_uid, instance.series_uid, instance.instance_uid)
    if not found:
        raise InstanceWithdrawn("this instance was withdrawn", instance_uid=instance.instance_uid)
    return found[0]


class _Stretches(io.RawIOBase):
    """Reads stretches of one instance on demand."""

    def __init__(self, archive: Archive, instance: Held) -> None:
        super().__init__()
        self.name = ""  # readers of files ask for one; there is none
        self._archive = archive
        self._instance = instance
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._instance.length}
        self._at = max(0, origin[whence] + offset)
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = stretch(self._archive, self._instance, self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _stretch(archive: Archive, instance: Held, start: int, length: int) -> bytes:
    if not length:
        return b""
    if instance.pack_key is None:
        data = archive.journal.read(instance.place, start=start, length=length)
    else:
        data = archive.objects.get(instance.pack_key, start=instance.offset + start, length=length)
    if len(data) != length:
        raise InstanceDamaged("the stored instance is shorter than its index says")
    return data
