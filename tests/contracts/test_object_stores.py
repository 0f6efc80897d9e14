"""What every object store promises: the twin, the local disk and a real S3 server."""

import hashlib
import uuid
from io import BytesIO
from pathlib import Path

import pytest
from minio.commonconfig import ENABLED
from minio.versioningconfig import VersioningConfig

from storage.cache import PackCache
from storage.digests import digest_of
from storage.memory import MemoryObjects
from storage.objects import (
    BadKey,
    LocalObjects,
    ObjectDiffers,
    ObjectMissing,
    ObjectStore,
    ObjectStoreUnavailable,
    ObjectUnreadable,
)
from storage.s3 import ObjectStoreRefusesKey, S3Objects
from tests.services.ports import free_port
from tests.services.swift import Swift

CONTENT = bytes(range(256)) * 40


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _s3(swift: Swift, *, secret: str | None = None) -> S3Objects:
    return S3Objects(
        f"http://{swift.endpoint}/t{uuid.uuid4().hex}",
        access_key=swift.access_key,
        secret_key=secret or swift.secret_key,
    )


@pytest.fixture(params=["memory", "local", "cached", pytest.param("s3", marks=pytest.mark.service)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store that was probed, as the engine does at its start."""
    made: ObjectStore
    if request.param == "memory":
        made = MemoryObjects()
    elif request.param == "local":
        made = LocalObjects(tmp_path / "objects")
    elif request.param == "cached":
        made = PackCache(MemoryObjects(), tmp_path / "cache", limit=1 << 20)
    else:
        made = _s3(request.getfixturevalue("swift"))
    made.probe()
    return made


def test_what_was_put_is_read_back(store: ObjectStore) -> None:
    store.put("packs/1.2.3/1.zip", CONTENT, _sha256(CONTENT))
    assert store.get("packs/1.2.3/1.zip") == CONTENT
    assert store.size("packs/1.2.3/1.zip") == len(CONTENT)


def test_a_file_is_put_like_bytes(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    store.put("packs/from-file", source, _sha256(CONTENT))
    assert store.get("packs/from-file") == CONTENT
    assert source.read_bytes() == CONTENT


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    store.put("empty", b"", _sha256(b""))
    assert (store.size("empty"), store.get("empty")) == (0, b"")


@pytest.mark.parametrize(
    ("start", "length"), [(0, 1), (0, 256), (255, 2), (1000, 4096), (len(CONTENT) - 3, 3)]
)
def test_a_range_is_the_same_as_the_slice(store: ObjectStore, start: int, length: int) -> None:
    store.put("ranged", CONTENT, _sha256(CONTENT))
    assert store.get("ranged", start=start, length=length) == CONTENT[start : start + length]


@pytest.mark.parametrize(("start", "length"), [(0, 256), (1000, 4096), (len(CONTENT) - 3, 5000)])
def test_a_range_is_read_into_memory_that_is_at_hand(
    store: ObjectStore, start: int, length: int
) -> None:
    store.put("packs/x", CONTENT, _sha256(CONTENT))
    room = memoryview(bytearray(length))
    wanted = CONTENT[start : start + length]

    assert store.get_into("packs/x", room, start=start) == len(wanted)
    assert room[: len(wanted)] == wanted
    with pytest.raises(ObjectMissing):
        store.get_into("packs/y", room)


def test_a_range_without_length_goes_to_the_end(store: ObjectStore) -> None:
    store.put("ranged", CONTENT, _sha256(CONTENT))
    assert store.get("ranged", start=10_000) == CONTENT[10_000:]


def test_a_range_of_length_zero_is_nothing(store: ObjectStore) -> None:
    store.put("ranged", CONTENT, _sha256(CONTENT))
    assert store.get("ranged", start=5, length=0) == b""


def test_a_range_past_the_end_gives_what_there_is(store: ObjectStore) -> None:
    store.put("ranged", CONTENT, _sha256(CONTENT))
    assert store.get("ranged", start=len(CONTENT) - 2, length=100) == CONTENT[-2:]


def test_the_same_bytes_again_are_the_same_answer(store: ObjectStore) -> None:
    store.put("twice", CONTENT, _sha256(CONTENT))
    store.put("twice", CONTENT, _sha256(CONTENT))
    assert store.get("twice") == CONTENT


def test_the_same_bytes_may_be_told_by_a_digest_of_either_algorithm(store: ObjectStore) -> None:
    store.put("older", CONTENT, _sha256(CONTENT))
    store.put("older", CONTENT, digest_of(CONTENT))
    store.put("newer", CONTENT, digest_of(CONTENT))
    store.put("newer", CONTENT, _sha256(CONTENT))
    for other in (digest_of(b"other"), _sha256(b"other")):
        with pytest.raises(ObjectDiffers):
            store.put("older", b"other", other)
        with pytest.raises(ObjectDiffers):
            store.put("newer", b"other", other)
    with pytest.raises(ObjectDiffers):
        store.put("third", CONTENT, digest_of(b"other"))
    assert store.size("third") is None


def test_other_bytes_under_the_same_key_are_refused_and_the_first_stay(store: ObjectStore) -> None:
    store.put("immutable", CONTENT, _sha256(CONTENT))
    with pytest.raises(ObjectDiffers):
        store.put("immutable", b"other", _sha256(b"other"))
    assert store.get("immutable") == CONTENT


def test_what_local_disk_does_not_give_back_is_named(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path)
    (tmp_path / "packs/lost").mkdir(parents=True)  # reading it fails, as of what a disk lost
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(ObjectUnreadable):
        objects.put("packs/lost", CONTENT, _sha256(CONTENT))
    with pytest.raises(ObjectUnreadable):
        objects.get("packs/lost")
    with pytest.raises(ObjectStoreUnavailable):
        objects.size("file/below")
    with pytest.raises(ObjectStoreUnavailable):
        objects.put("file/below", CONTENT, _sha256(CONTENT))
    with pytest.raises(ObjectStoreUnavailable):
        objects.delete("file/below")


def test_what_the_store_holds_wrongly_is_replaced(store: ObjectStore, tmp_path: Path) -> None:
    key = f"packs/1.2.3/{_sha256(CONTENT)}.zip"
    file = tmp_path / "pack"
    file.write_bytes(CONTENT)
    store.put(key, b"what is wrong", _sha256(b"what is wrong"))
    with pytest.raises(ObjectDiffers):
        store.put(key, file, _sha256(CONTENT))
    with pytest.raises(ObjectDiffers):
        store.replace(key, file, _sha256(b"something else"))

    store.replace(key, file, _sha256(CONTENT))

    assert store.get(key) == CONTENT
    assert store.size(key) == len(CONTENT)


def test_bytes_that_do_not_match_their_digest_are_refused_and_not_kept(store: ObjectStore) -> None:
    with pytest.raises(ObjectDiffers):
        store.put("wrong", CONTENT, _sha256(b"something else"))
    assert store.size("wrong") is None


def test_a_missing_key_is_missing(store: ObjectStore) -> None:
    assert store.size("no/such/key") is None
    with pytest.raises(ObjectMissing):
        store.get("no/such/key")
    with pytest.raises(ObjectMissing):
        store.get("no/such/key", start=3, length=4)


def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(store: ObjectStore) -> None:
    store.put("gone", CONTENT, _sha256(CONTENT))
    store.delete("gone")
    store.delete("gone")
    assert store.size("gone") is None


@pytest.mark.parametrize(
    "key",
    ["", "/absolute", "../up", "a/../b", "a//b", "a/", ".hidden", "with space", "ключ", "x" * 600],
)
def test_a_key_that_could_leave_the_store_is_refused_everywhere(
    store: ObjectStore, key: str
) -> None:
    with pytest.raises(BadKey):
        store.put(key, b"x", _sha256(b"x"))
    with pytest.raises(BadKey):
        store.get(key)
    with pytest.raises(BadKey):
        store.size(key)
    with pytest.raises(BadKey):
        store.delete(key)


def test_a_probe_leaves_nothing_and_names_the_kind(store: ObjectStore) -> None:
    assert store.probe().kind in {"memory", "local", "s3"}
    assert store.probe() == store.probe()


@pytest.mark.service
def test_s3_with_a_wrong_secret_refuses_to_start_with_a_clear_sentence(swift: Swift) -> None:
    wrong = _s3(swift, secret="not-the-secret")
    with pytest.raises(ObjectStoreRefusesKey, match="refuses the access key"):
        wrong.probe()
    with pytest.raises(ObjectStoreRefusesKey):
        wrong.put("key", CONTENT, _sha256(CONTENT))
    with pytest.raises(ObjectStoreRefusesKey):
        wrong.get("key")


@pytest.mark.service
def test_s3_sees_a_probe_of_what_the_server_really_does(swift: Swift) -> None:
    abilities = _s3(swift).probe()
    assert (abilities.versioning, abilities.object_lock) == (False, False)


@pytest.mark.service
@pytest.mark.parametrize("noted", [True, False])
def test_what_a_version_before_0029_put_on_s3_is_known_again(swift: Swift, noted: bool) -> None:
    store = _s3(swift)
    store.probe()
    headers = {"telerad-sha256": _sha256(CONTENT)} if noted else {}
    client, bucket = store._client, store._bucket
    client.put_object(bucket, "old", BytesIO(CONTENT), len(CONTENT), metadata=headers)
    store.put("old", CONTENT, _sha256(CONTENT))
    store.put("old", CONTENT, digest_of(CONTENT))
    with pytest.raises(ObjectDiffers):
        store.put("old", b"other", digest_of(b"other"))


@pytest.mark.service
def test_where_a_bucket_keeps_versions_what_is_deleted_is_gone_with_all_of_them(
    swift: Swift,
) -> None:
    store = _s3(swift)
    store.probe()
    store._client.set_bucket_versioning(store._bucket, VersioningConfig(ENABLED))
    for content in (CONTENT, b"again"):
        store.replace("packs/1.2.3/1.zip", content, _sha256(content))
    store.put("packs/1.2.3/1.zip.other", CONTENT, _sha256(CONTENT))

    store.delete("packs/1.2.3/1.zip")

    left = store._client.list_objects(
        store._bucket, prefix="packs/", recursive=True, include_version=True
    )
    assert [each.object_name for each in left] == ["packs/1.2.3/1.zip.other"]


def test_an_s3_server_that_is_not_there_is_unavailable_and_not_an_empty_store() -> None:
    absent = S3Objects(f"http://127.0.0.1:{free_port()}/bucket", access_key="a", secret_key="b" * 8)
    with pytest.raises(ObjectStoreUnavailable):
        absent.probe()
    with pytest.raises(ObjectStoreUnavailable):
        absent.size("key")


def test_a_large_object_goes_up_in_parts_and_comes_back_whole(
    store: ObjectStore, tmp_path: Path
) -> None:
    source = tmp_path / "large"
    block = hashlib.sha256(b"seed").digest() * 32_768  # 1 MiB
    with source.open("wb") as file:
        for _ in range(12):
            file.write(block)
    content = source.read_bytes()
    store.put("large", source, _sha256(content))
    assert _sha256(store.get("large")) == _sha256(content)


def test_local_objects_lie_as_plain_files_without_leftovers(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    store.put("a/b", CONTENT, _sha256(CONTENT))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_range_behind_the_end_holds_nothing(store: ObjectStore) -> None:
    data = b"short"
    store.put("a/behind", data, _sha256(data))
    assert store.get("a/behind", start=100, length=5) == b""
