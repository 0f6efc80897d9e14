"""What lies in a remote store, in a pack too large to be at hand: whole, with few questions.

And where the store fails or is silent in the midst of it, the rest is accounted for at once.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from dicom_node import reading_ahead
from dicom_node.admission import Announced
from dicom_node.messages import nothing
from storage.cache import PackCache
from storage.memory import MemoryObjects
from storage.objects import FAR_BYTES, ObjectStore, ObjectStoreUnavailable
from storage.packs import Packer
from storage.s3 import S3Objects
from tests.dicom_node.samples import CT, a_slice, as_file, as_sent
from tests.services.swift import Swift
from tests.wire.conftest import Node, start
from tests.wire.inquirer import identifier
from tests.wire.test_retrieve import (
    SOME_FAILED,
    SUCCESS,
    get,
    move,
    receiving,
    stored,
)

NUMBER, SIDE = 40, 400
"""Slices of 320 kB: 13 MB in all."""

STUDY = str(a_slice(study=71).StudyInstanceUID)


@dataclass
class Far:
    """A remote store that counts what it is asked and fails when a test says so."""

    inner: ObjectStore
    ranges: int = 0
    sizes: int = 0
    on_range: Callable[[], None] = field(default=nothing)

    def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        self._asked()
        return self.inner.get(key, start=start, length=length)

    def get_into(self, key: str, room: memoryview, *, start: int = 0) -> int:
        self._asked()
        return self.inner.get_into(key, room, start=start)

    def size(self, key: str) -> int | None:
        self.sizes += 1
        return self.inner.size(key)

    def at_once(self, _key: str) -> int:
        return FAR_BYTES

    def _asked(self) -> None:
        self.ranges += 1
        self.on_range()

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


@dataclass
class Archived:
    """A node whose one study lies afar."""

    node: Node
    far: Far
    uids: list[str]


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.service)])
def far(request: pytest.FixtureRequest) -> Far:
    if request.param == "memory":
        return Far(MemoryObjects())
    swift: Swift = request.getfixturevalue("swift")
    store = S3Objects(
        f"http://{swift.endpoint}/far", access_key=swift.access_key, secret_key=swift.secret_key
    )
    store.probe()
    return Far(store)


@pytest.fixture
def archived(tmp_path: Path, far: Far) -> Iterator[Archived]:
    cache = PackCache(far, tmp_path / "cache", limit=1 << 20)
    node = start(tmp_path, objects=cache)
    uids = []
    with node.speak() as speaker:
        speaker.associate((CT, "1.2.840.10008.1.2.1"))
        for number in range(1, NUMBER + 1):
            made = a_slice(number, study=71, side=SIDE)
            announced, data_set = as_sent(as_file(made))
            assert isinstance(announced, Announced)
            assert speaker.store(announced, data_set) == SUCCESS
            uids.append(announced.sop_instance_uid)
    Packer(node.database, node.journal, cache, tmp_path / "scratch").pack(STUDY)
    far.ranges = far.sizes = 0
    yield Archived(node, far, uids)
    node.listener.stop(timedelta(seconds=5))
    node.journal.close()
    node.database.dispose()


@pytest.mark.parametrize("way", ["move", "get"])
def test_it_comes_whole_and_with_few_questions(archived: Archived, way: str) -> None:
    node, far = archived.node, archived.far
    asked = identifier("STUDY", StudyInstanceUID=STUDY)
    if way == "move":
        with receiving(node) as receiver:
            responses, _ = move(node, asked, receiver.ae_title)
        status, came = int(responses[-1].Status), receiver.files
    else:
        got = get(node, asked)
        status, came = int(got.statuses[-1].Status), got.files

    assert status == SUCCESS
    assert far.ranges <= 1 + NUMBER // 8
    assert far.sizes <= 1
    assert came == {uid: stored(node, uid) for uid in archived.uids}


def test_a_store_that_fails_in_the_midst_fails_what_it_does_not_give(archived: Archived) -> None:
    node, far = archived.node, archived.far

    def fails() -> None:
        if far.ranges == 3:
            raise ObjectStoreUnavailable("it does not answer")

    far.on_range = fails
    with receiving(node) as receiver:
        asked = identifier("STUDY", StudyInstanceUID=STUDY)
        responses, last = move(node, asked, receiver.ae_title)

    assert int(responses[-1].Status) == SOME_FAILED
    assert last is not None
    failed = set(last.FailedSOPInstanceUIDList)
    assert 0 < len(failed) < NUMBER
    assert failed | set(receiver.files) == set(archived.uids)
    assert not failed & set(receiver.files)
    assert responses[-1].NumberOfFailedSuboperations == len(failed)


def test_a_store_that_is_silent_in_the_midst_is_not_waited_for_again_and_again(
    archived: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, far = archived.node, archived.far
    monkeypatch.setattr(reading_ahead, "PATIENCE_S", 0.01)

    def hangs() -> None:
        if far.ranges >= 3:
            threading.Event().wait(0.05)
            raise ObjectStoreUnavailable("it does not answer")

    far.on_range = hangs
    got = get(node, identifier("STUDY", StudyInstanceUID=STUDY))

    assert far.ranges == 3
    assert int(got.statuses[-1].Status) == SOME_FAILED
    assert got.last is not None
    assert set(got.last.FailedSOPInstanceUIDList) | set(got.files) == set(archived.uids)
