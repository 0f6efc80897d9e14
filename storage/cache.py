"""Packs at hand: a bounded copy of the packs of a remote object store on local disk.

A pack's key holds its digest, so a copy is verified without asking anybody.  The bound holds for
what is there and what is on its way, across processes: room is made under a lock before a pack is
fetched, the longest unused first.  A copy appears under its name only when it is whole; what a
crash left half fetched is not locked by anybody and is thrown away.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from storage.digests import hashing, spelled
from storage.objects import (
    NEAR_BYTES,
    ObjectDiffers,
    ObjectMissing,
    ObjectStore,
    StoreAbilities,
    checked_key,
    copied,
)
from storage.places import Places
from storage.segment import sync_directory

CHUNK = 8 << 20
_PACK = re.compile(r"packs/[^/]+/((?:blake3-)?[0-9a-f]{64})\.zip")
_TRIES = 3
_LARGE_KNOWN = 1000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Held:
    """How many packs are at hand, and their bytes."""

    packs: int
    bytes: int


class PackCache:
    """An object store that keeps the packs read last on local disk.

    Parameters
    ----------
    inner
        The remote store, which holds the truth.
    directory
        Where copies lie; made if missing, may be deleted while nothing runs.
    limit
        The most bytes that copies take; a larger pack is read from the remote store.
    """

    def __init__(self, inner: ObjectStore, directory: Path, *, limit: int) -> None:
        self.inner = inner
        self._directory = directory
        self._limit = limit
        self._places = Places()
        self._large: dict[str, None] = {}
        directory.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, data: bytes | Path, digest: str) -> None:
        """See `ObjectStore.put`; a new pack is at hand at once."""
        self.inner.put(key, data, digest)
        if isinstance(data, Path) and _PACK.fullmatch(key):
            self._keep(key, data)

    def replace(self, key: str, data: bytes | Path, digest: str) -> None:
        """See `ObjectStore.replace`; the new one is at hand."""
        self.forget(key)
        self.inner.replace(key, data, digest)
        if isinstance(data, Path) and _PACK.fullmatch(key):
            self._keep(key, data)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `ObjectStore.get`; of a pack from the copy at hand, which is fetched if it is not.

        Raises
        ------
        ObjectDiffers
            The remote store gives other bytes than were stored.
        """
        if _PACK.fullmatch(checked_key(key)) is None or self._is_large(key):
            return self._from_afar(key, start, length)
        for _ in range(_TRIES):
            try:
                return _read(self._path(key), start, length)
            except FileNotFoundError:
                with self._places:
                    if not self.fetch(key):
                        break
            except OSError as error:
                log.warning("cache.unreadable", key=key, error=error.strerror)
                break
        return self._from_afar(key, start, length)

    def get_into(self, key: str, room: memoryview, *, start: int = 0) -> int:
        """See `ObjectStore.get_into`."""
        if self._is_large(key):
            with self._places:
                return self.inner.get_into(key, room, start=start)
        return copied(self.get(key, start=start, length=len(room)), room)

    def at_once(self, key: str) -> int:
        """See `ObjectStore.at_once`; that a pack is not at hand is known once it was read."""
        return self.inner.at_once(key) if self._is_large(key) else NEAR_BYTES

    def fetch(self, key: str) -> bool:
        """Have a pack at hand; False if it does not fit.

        Called for one pack by several at once, it is fetched once and all wait for it.

        Raises
        ------
        ObjectMissing
            No object has this key.
        ObjectDiffers
            The remote store gives other bytes than were stored.
        """
        if self._path(key).exists():
            return True
        size = self.inner.size(key)
        if size is None:
            raise ObjectMissing("no object has this key", key=key)
        try:
            return self._filled(key, size)
        except OSError as error:
            log.warning("cache.not_kept", key=key, error=error.strerror)
            return False

    def size(self, key: str) -> int | None:
        """See `ObjectStore.size`: what the remote store says."""
        return self.inner.size(key)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`."""
        self.forget(key)
        self.inner.delete(key)

    def forget(self, key: str) -> None:
        """See `ObjectStore.forget`."""
        if _PACK.fullmatch(key):
            self._path(key).unlink(missing_ok=True)

    def probe(self) -> StoreAbilities:
        """See `ObjectStore.probe`."""
        return self.inner.probe()

    def held(self) -> Held:
        """Return what is at hand."""
        sizes = [found.st_size for _, found in _files(self._directory) if found is not None]
        return Held(len(sizes), sum(sizes))

    def _from_afar(self, key: str, start: int, length: int | None) -> bytes:
        with self._places:
            return self.inner.get(key, start=start, length=length)

    def _is_large(self, key: str) -> bool:
        """Say whether a pack is known to be too large: what has its key never has another size."""
        return key in self._large

    def _note_large(self, key: str) -> None:
        self._large[key] = None
        while len(self._large) > _LARGE_KNOWN:
            self._large.pop(next(iter(self._large)), None)

    def _path(self, key: str) -> Path:
        found = _PACK.fullmatch(key)
        assert found is not None
        return self._directory / f"{found.group(1)}.zip"

    def _keep(self, key: str, data: Path) -> None:
        try:
            self._filled(key, data.stat().st_size, source=data)
        except OSError as error:
            log.warning("cache.not_kept", key=key, error=error.strerror)

    def _filled(self, key: str, size: int, source: Path | None = None) -> bool:
        if size > self._limit:
            self._note_large(key)
            return False
        path = self._path(key)
        part = path.with_suffix(".part")
        while True:
            fd = self._reserved(path, part, size)
            if fd is not None:
                break
            if path.exists():
                return True
            _wait_for(part)
        try:
            self._fill(fd, key, path, part, size, source)
        finally:
            os.close(fd)
        return True

    def _reserved(self, path: Path, part: Path, size: int) -> int | None:
        """Make room and begin a copy; None if it is there, or on its way by another."""
        with self._locked():
            if part.exists() and not _abandoned(part):
                return None
            if path.exists():  # asked last: the part takes this name at any moment
                return None
            self._make_room(size)
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                if size:
                    os.posix_fallocate(fd, 0, size)
            except OSError:
                part.unlink(missing_ok=True)
                os.close(fd)
                raise
            return fd

    def _make_room(self, size: int) -> None:
        held = [(path, found) for path, found in _files(self._directory) if found is not None]
        used = sum(found.st_size for _, found in held)
        for path, found in sorted(held, key=lambda each: each[1].st_mtime_ns):
            on_its_way = path.suffix == ".part" and not _abandoned(path)
            if on_its_way or (path.suffix != ".part" and used + size <= self._limit):
                continue
            path.unlink(missing_ok=True)
            used -= found.st_size
        if used + size > self._limit:
            raise OSError(0, "everything at hand is still on its way")

    def _fill(
        self, fd: int, key: str, path: Path, part: Path, size: int, source: Path | None
    ) -> None:
        try:
            hasher = hashing(path.stem)
            for start in range(0, size, CHUNK):
                piece = _piece(source, self.inner, key, start)
                hasher.update(piece)
                if os.pwrite(fd, piece, start) != len(piece):
                    raise OSError(0, "the copy was written in part only")
            if spelled(hasher) != path.stem:
                raise ObjectDiffers("the object store gives other bytes than were stored", key=key)
            os.fsync(fd)
            part.rename(path)
            sync_directory(self._directory)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _piece(source: Path | None, inner: ObjectStore, key: str, start: int) -> bytes:
    if source is None:
        return inner.get(key, start=start, length=CHUNK)
    with source.open("rb") as file:
        file.seek(start)
        return file.read(CHUNK)


def _read(path: Path, start: int, length: int | None) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.utime(fd)  # used just now: the last to go
        size = os.fstat(fd).st_size
        end = size if length is None else min(size, start + length)
        pieces = []
        while start < end:
            pieces.append(os.pread(fd, min(end - start, 1 << 30), start))
            start += len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(fd)


def _files(directory: Path) -> Iterator[tuple[Path, os.stat_result | None]]:
    for path in directory.iterdir():
        if path.suffix in {".zip", ".part"}:
            try:
                yield path, path.stat()
            except FileNotFoundError:
                yield path, None


def _abandoned(part: Path) -> bool:
    """Say whether nobody fetches into a part any more: its process holds a lock while it does."""
    try:
        fd = os.open(part, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _wait_for(part: Path) -> None:
    try:
        fd = os.open(part, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)
