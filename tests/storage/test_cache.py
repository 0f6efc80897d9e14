"""Packs at hand: right bytes, never more than the bound, and nothing half fetched."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.archive import InstanceDamaged, in_pack
from storage.cache import PackCache
from storage.digests import digest_of
from storage.memory import MemoryObjects
from storage.objects import LocalObjects, ObjectDiffers, ObjectMissing

LIMIT = 10_000


def pack(size: int, seed: int = 0) -> tuple[str, bytes, str]:
    data = hashlib.shake_256(f"{size}.{seed}".encode()).digest(size)
    digest = digest_of(data)
    return f"packs/study{seed}/{digest}.zip", data, digest


def _next_tick(file: Path) -> None:
    """Wait until the clock of the file system has gone on: it tells which copy was used last."""
    file.touch()
    before = file.stat().st_mtime_ns
    while file.stat().st_mtime_ns == before:
        file.touch()


class Counting(MemoryObjects):
    """The twin, which counts how often each key is read, and waits if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Counter[str] = Counter()
        self.open = threading.Event()
        self.open.set()

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        self.read[key] += 1
        self.open.wait(10)
        return super().get(key, start=start, length=length)


def test_a_pack_is_fetched_once_and_read_from_disk_in_ranges(tmp_path: Path) -> None:
    remote = Counting()
    key, data, digest = pack(5000)
    remote.put(key, data, digest)
    cache = PackCache(remote, tmp_path, limit=LIMIT)
    assert cache.get(key, start=100, length=50) == data[100:150]
    assert cache.get(key) == data
    assert cache.get(key, start=4990, length=50) == data[4990:]
    assert cache.get(key, start=9000, length=5) == b""
    again = PackCache(remote, tmp_path, limit=LIMIT)
    assert again.get(key, start=1, length=2) == data[1:3]
    assert remote.read == {key: 1}


def test_what_was_just_packed_is_at_hand(tmp_path: Path) -> None:
    remote = Counting()
    key, data, digest = pack(5000)
    (tmp_path / "pack.zip").write_bytes(data)
    cache = PackCache(remote, tmp_path / "cache", limit=LIMIT)
    cache.put(key, tmp_path / "pack.zip", digest)
    assert (cache.get(key), dict(remote.read)) == (data, {})


def test_many_who_ask_at_once_wait_for_one_fetch(tmp_path: Path) -> None:
    remote = Counting()
    key, data, digest = pack(5000)
    remote.put(key, data, digest)
    remote.open.clear()
    caches = [PackCache(remote, tmp_path, limit=LIMIT) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(caches[n % 4].get, key) for n in range(8)]
        while not remote.read[key]:
            os.sched_yield()
        remote.open.set()
        assert {one.result() for one in asked} == {data}
    assert remote.read == {key: 1}


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    remote = Counting()
    packs = [pack(4000, seed) for seed in range(3)]
    for key, data, digest in packs:
        remote.put(key, data, digest)
    cache = PackCache(remote, tmp_path, limit=LIMIT)
    for key in (packs[0][0], packs[1][0], packs[0][0], packs[2][0], packs[0][0]):
        _next_tick(tmp_path / "tick")
        cache.get(key)
    assert remote.read[packs[0][0]] == 1
    cache.get(packs[1][0])
    assert remote.read[packs[1][0]] == 2


def test_a_pack_larger_than_the_bound_is_read_where_it_lies(tmp_path: Path) -> None:
    remote = Counting()
    key, data, digest = pack(LIMIT + 1)
    remote.put(key, data, digest)
    cache = PackCache(remote, tmp_path, limit=LIMIT)
    assert cache.get(key, start=5, length=7) == data[5:12]
    assert cache.held().bytes == 0


def test_a_damaged_copy_is_thrown_away_and_the_object_read_again(tmp_path: Path) -> None:
    remote = MemoryObjects()
    key, data, digest = pack(5000)
    remote.put(key, data, digest)
    cache = PackCache(remote, tmp_path, limit=LIMIT)
    cache.get(key)
    (copy,) = tmp_path.glob("*.zip")
    copy.write_bytes(b"x" * 5000)
    part = hashlib.sha256(data[10:20]).hexdigest()
    assert in_pack(cache, key, 10, 10, part) == data[10:20]
    with pytest.raises(InstanceDamaged):
        in_pack(cache, key, 11, 10, part)


def test_what_the_store_gives_wrongly_is_never_kept(tmp_path: Path) -> None:
    directory = tmp_path / "remote"
    remote = LocalObjects(directory)
    key, data, digest = pack(5000)
    remote.put(key, data, digest)
    (directory / key).write_bytes(b"y" * 5000)
    cache = PackCache(remote, tmp_path / "cache", limit=LIMIT)
    with pytest.raises(ObjectDiffers):
        cache.get(key)
    assert cache.held().packs == 0
    with pytest.raises(ObjectMissing):
        cache.get(pack(10, seed=9)[0])


@given(
    sizes=st.lists(st.integers(0, 6000), min_size=1, max_size=8),
    order=st.lists(st.integers(0, 7), max_size=25),
    limit=st.integers(1, 9000),
)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_bound_is_never_exceeded(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], order: list[int], limit: int
) -> None:
    remote = MemoryObjects()
    packs = [pack(size, seed) for seed, size in enumerate(sizes)]
    for key, data, digest in packs:
        remote.put(key, data, digest)
    cache = PackCache(remote, tmp_path_factory.mktemp("cache"), limit=limit)
    for number in order:
        key, data, _ = packs[number % len(packs)]
        assert cache.get(key) == data
        assert cache.held().bytes <= limit


FETCH = """
import sys, os, signal
from pathlib import Path
from storage.cache import PackCache
from storage.objects import LocalObjects
class Dies(LocalObjects):
    def get(self, key, *, start=0, length=None):
        if start:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().get(key, start=start, length=length)
import storage.cache
storage.cache.CHUNK = 4096
PackCache(Dies(Path(sys.argv[1])), Path(sys.argv[2]), limit=10**6).get(sys.argv[3])
"""


def test_killed_while_fetching_leaves_nothing_that_counts(tmp_path: Path) -> None:
    remote = LocalObjects(tmp_path / "remote")
    key, data, digest = pack(50_000)
    remote.put(key, data, digest)
    done = subprocess.run(
        [sys.executable, "-c", FETCH, tmp_path / "remote", tmp_path / "cache", key], check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert [found.suffix for found in (tmp_path / "cache").iterdir()].count(".part") == 1
    cache = PackCache(remote, tmp_path / "cache", limit=60_000)
    assert cache.get(key) == data
    assert (cache.held().packs, cache.held().bytes) == (1, 50_000)


def test_a_copy_that_the_disk_does_not_give_back_is_read_from_the_store(tmp_path: Path) -> None:
    remote = Counting()
    key, data, digest = pack(5000)
    remote.put(key, data, digest)
    cache = PackCache(remote, tmp_path, limit=LIMIT)
    assert cache.fetch(key)
    (copy,) = tmp_path.glob("*.zip")
    copy.unlink()
    copy.mkdir()  # to read it is an error of the file system, as a bad sector is
    assert cache.get(key, start=100, length=50) == data[100:150]
