"""The object store: immutable objects under keys, verified on the way in and on the way out."""

import errno
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kernel.errors import Corrupt, Refused, Transient
from kernel.ids import fresh
from storage.digests import digest_of, digest_of_file
from storage.disk import is_lost

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_MAX_KEY_LENGTH = 512


NEAR_BYTES = 768 << 10
"""So much is read at once where a reading costs little: what is small costs one together."""

FAR_BYTES = 4 << 20
"""So much is read at once where each reading is a question over a network."""


class ObjectStoreUnavailable(Transient):
    """The object store does not answer, or has no room."""

    code = "storage.objects_unavailable"


class ObjectMissing(Corrupt):
    """No object has this key.

    Keys come from the index and from nobody who asks: what it names and the store lacks is no
    "not found" of theirs.  Nothing is mended by asking this host again either, so it is not
    `Transient`: the object is lost, or this host does not share the store of the one that put it.
    """

    code = "storage.object_missing"


class ObjectDiffers(Corrupt):
    """The bytes are not those that the digest, or an earlier object of the key, says."""

    code = "storage.object_differs"


class ObjectUnreadable(Corrupt):
    """The disk does not give back what was stored."""

    code = "storage.object_unreadable"


class BadKey(Refused):
    """An object key holds something that no key may hold."""

    code = "storage.bad_key"


@dataclass(frozen=True, slots=True)
class StoreAbilities:
    """What a store said, when it was tried at the start, that it can do."""

    kind: str
    versioning: bool
    object_lock: bool
    conditional_put: bool


class ObjectStore(Protocol):
    """Where packs and documents lie; every implementation passes one contract suite."""

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        """Store `data` under `key` for good; the same bytes again are the same answer.

        Raises
        ------
        ObjectDiffers
            `data` does not have this digest, or the key holds other bytes already.
        ObjectUnreadable
            The key holds something already, which the disk does not give back.
        ObjectStoreUnavailable
            The store does not answer or is full; nothing was stored.
        """

    def replace(self, key: str, data: bytes | Path, digest: str) -> None:
        """Store `data` again under a key of which the store holds other bytes than were put.

        For keys that hold the digest of what lies there: nobody can want what is replaced.

        Raises
        ------
        ObjectDiffers
            `data` does not have this digest.
        ObjectStoreUnavailable
            The store does not answer or is full; what there was is still there.
        """

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Return an object or a range of it (bytes).

        Raises
        ------
        ObjectMissing
            No object has this key.
        ObjectUnreadable
            What was stored is lost.
        ObjectStoreUnavailable
            The store does not answer.
        """

    def get_into(self, key: str, room: memoryview, *, start: int = 0) -> int:
        """Fill memory with an object from `start` (bytes) on; return how many bytes there were.

        Raises
        ------
        ObjectMissing, ObjectUnreadable, ObjectStoreUnavailable
            See `get`.
        """

    def at_once(self, key: str) -> int:
        """Return how much of an object (bytes) who reads several parts of it reads at once."""

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes, None if there is none."""

    def delete(self, key: str) -> None:
        """Remove an object; removing what is not there is no error."""

    def forget(self, key: str) -> None:
        """Throw away a copy at hand, which turned out to be damaged; the object itself stays."""

    def probe(self) -> StoreAbilities:
        """Try the store; say what it can do."""


def checked_key(key: str) -> str:
    """Return `key` if it may be one: letters, digits, dot, dash, underscore between slashes.

    Raises
    ------
    BadKey
        It may not; keys are made from ids, never from what a sender wrote.
    """
    if len(key) > _MAX_KEY_LENGTH or _KEY.fullmatch(key) is None:
        raise BadKey("an object key may hold letters, digits, dots, dashes and slashes only")
    return key


def checked_digest(data: bytes | Path, digest: str) -> int:
    """Return the size in bytes of what is to be stored.

    Raises
    ------
    ObjectDiffers
        It does not have the digest that it was given.
    """
    if isinstance(data, bytes):
        found, size = digest_of(data, like=digest), len(data)
    else:
        found, size = digest_of_file(data, like=digest), data.stat().st_size
    if found != digest:
        raise ObjectDiffers("the bytes to store do not have the digest they were given")
    return size


def verified(objects: ObjectStore, key: str, *, start: int, length: int, digest: str) -> bytes:
    """Return a range of an object that has a digest of its own.

    A copy at hand that is damaged is thrown away and the object read again.

    Raises
    ------
    ObjectDiffers
        The object itself holds other bytes.
    """
    for _ in range(2):
        data = objects.get(key, start=start, length=length)
        if digest_of(data, like=digest) == digest:
            return data
        objects.forget(key)
    raise ObjectDiffers("an object does not hold the bytes that were stored", key=key)


def copied(data: bytes, room: memoryview) -> int:
    """Put bytes at the beginning of memory; return how many they are."""
    room[: len(data)] = data
    return len(data)


def read_into(path: str | Path, room: memoryview, start: int) -> int:
    """Fill memory with a file from `start` on; return how many bytes there were."""
    fd = os.open(path, os.O_RDONLY)
    try:
        got = 0
        while got < len(room) and (count := os.preadv(fd, [room[got:]], start + got)):
            got += count
        return got
    finally:
        os.close(fd)


class LocalObjects:
    """Objects as files of one directory tree on local disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._prefix = f"{directory}/"
        directory.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        """See `ObjectStore.put`."""
        target = self._path(key)
        checked_digest(data, digest)
        try:
            held = digest_of_file(target, like=digest) if target.exists() else None
        except OSError as error:
            raise _unreadable(error, key) from error
        if held is None:
            self._put(target, data)
        elif held != digest:
            raise ObjectDiffers("this key holds other bytes already", key=key)

    def replace(self, key: str, data: bytes | Path, digest: str) -> None:
        """See `ObjectStore.replace`."""
        checked_digest(data, digest)
        self._put(self._path(key), data)

    def _put(self, target: Path, data: bytes | Path) -> None:
        try:
            self._write(target, data)
        except OSError as error:
            raise unavailable(error) from error

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read() if length is None else file.read(length)
        except OSError as error:
            raise _unreadable(error, key) from error

    def get_into(self, key: str, room: memoryview, *, start: int = 0) -> int:
        """See `ObjectStore.get_into`."""
        try:
            return read_into(f"{self._prefix}{checked_key(key)}", room, start)
        except OSError as error:
            raise _unreadable(error, key) from error

    def at_once(self, key: str) -> int:
        """See `ObjectStore.at_once`."""
        return NEAR_BYTES

    def size(self, key: str) -> int | None:
        """See `ObjectStore.size`."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(error, key) from error

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise unavailable(error) from error

    def forget(self, key: str) -> None:
        """See `ObjectStore.forget`: there are no copies."""

    def probe(self) -> StoreAbilities:
        """Write, read and remove one small object."""
        key, data = f"probe/{fresh()}", b"telerad"
        self.put(key, data, digest_of(data))
        self.delete(key)
        return StoreAbilities("local", versioning=False, object_lock=False, conditional_put=True)

    def _path(self, key: str) -> Path:
        return self._directory / checked_key(key)

    def _write(self, target: Path, data: bytes | Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{fresh()}")
        try:
            with part.open("xb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    with data.open("rb") as source:
                        while chunk := source.read(1 << 20):
                            file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
            self._sync_up(target.parent)
        finally:
            part.unlink(missing_ok=True)

    def _sync_up(self, directory: Path) -> None:
        """Flush a directory and those above it, up to the store's own: they may be new too."""
        while True:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            if directory == self._directory:
                return
            directory = directory.parent


class MemoryObjects:
    """The twin for tests: the same promises, but for the lifetime of the process."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        """See `ObjectStore.put`."""
        checked_digest(data, digest)
        content = data if isinstance(data, bytes) else data.read_bytes()
        with self._lock:
            if self._objects.setdefault(checked_key(key), content) != content:
                raise ObjectDiffers("this key holds other bytes already", key=key)

    def replace(self, key: str, data: bytes | Path, digest: str) -> None:
        """See `ObjectStore.replace`."""
        checked_digest(data, digest)
        content = data if isinstance(data, bytes) else data.read_bytes()
        with self._lock:
            self._objects[checked_key(key)] = content

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`."""
        content = self._objects.get(checked_key(key))
        if content is None:
            raise ObjectMissing("no object has this key", key=key)
        return content[start:] if length is None else content[start : start + length]

    def get_into(self, key: str, room: memoryview, *, start: int = 0) -> int:
        """See `ObjectStore.get_into`."""
        return copied(self.get(key, start=start, length=len(room)), room)

    def at_once(self, key: str) -> int:
        """See `ObjectStore.at_once`."""
        return NEAR_BYTES

    def size(self, key: str) -> int | None:
        """See `ObjectStore.size`."""
        content = self._objects.get(checked_key(key))
        return None if content is None else len(content)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self._objects.pop(checked_key(key), None)

    def forget(self, key: str) -> None:
        """See `ObjectStore.forget`: there are no copies."""

    def probe(self) -> StoreAbilities:
        """Say that nothing outlives the process."""
        return StoreAbilities("memory", versioning=False, object_lock=False, conditional_put=True)


def unavailable(error: OSError) -> Exception:
    """Return what a failed write means to whom it concerns."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ObjectStoreUnavailable("the disk of the object store is full: nothing was stored")
    return ObjectStoreUnavailable(f"the object store could not write: {error.strerror}")


def _unreadable(error: OSError, key: str) -> Exception:
    if isinstance(error, FileNotFoundError):
        return ObjectMissing("no object has this key", key=key)
    if is_lost(error):
        return ObjectUnreadable("the disk does not give an object back", key=key)
    return ObjectStoreUnavailable(f"the object store could not read: {error.strerror}")
