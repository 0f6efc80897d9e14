"""The metadata of the instances of a series as one document, made once and kept compressed.

The kept document belongs to exactly these instances: its key is a digest over their digests, so it
never goes stale.  It can be made anew at any time.  It is written and read in pieces: no document
is in memory as a whole.

References
----------
DICOM PS3.18 section 10.4.1.1.2 (metadata resources).
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import structlog

from dicom_node.corrected import corrected_model
from dicom_node.dicom_json import Model, metadata_of
from dicom_node.errors import Unreadable
from dicom_node.replaced import replaced
from kernel.digest import digest_of_value, sha256_of
from kernel.errors import Corrupt, Transient
from storage import instance_file
from storage.archive import Archive, latest_version, manifest
from storage.engine import Transaction
from storage.objects import ObjectMissing, ObjectUnreadable
from storage.series_queries import Held, held
from storage.shown import StudyShown

FORM = 2
"""Of the documents; a change of what they hold takes another number, and so other keys."""

MIN_KEPT = 8
"""Fewer instances are read as quickly as a kept document."""

_BASE = b"urn:telerad:base"
_LEVEL = 6
_GZIP = zlib.MAX_WBITS | 16
_PIECE_BYTES = 1 << 20
_AT_ONCE = 64  # instances that make up one piece

log = structlog.get_logger()


def document(
    archive: Archive,
    instances: Sequence[Held],
    *,
    base: str,
    keep: Callable[[], bool],
    shown: StudyShown | None = None,
) -> Iterator[bytes]:
    """Yield the JSON document of the metadata of instances, that of each series in turn.

    Parameters
    ----------
    base
        The address of the service, for the addresses of bulk data.
    keep
        Says whether the study is complete, so that this document will be asked for again.
    shown
        How the study is shown, if not as it was received; what is kept is always as received.
    """
    between = b"["
    for _, group in groupby(instances, key=lambda each: each.series_uid):
        series = list(group)
        for piece in replaced(_series(archive, series, keep, shown), _BASE, base.encode()):
            yield between + piece
            between = b""
        between = b","
    yield b"]"


def prepare(archive: Archive, study_uid: str) -> int:
    """Make and keep the documents of the series of a complete study; return how many were made.

    It may be called again at any time, for one study by several at once too.

    Raises
    ------
    SegmentElsewhere, ObjectStoreUnavailable
        It cannot be done now.
    """
    with archive.database.reading() as tx:
        instances = held(tx, study_uid)
    made = 0
    for _, group in groupby(instances, key=lambda each: each.series_uid):
        series = list(group)
        if len(series) >= MIN_KEPT and archive.objects.size(key_of(series)) is None:
            for _ in _kept_while(archive, key_of(series), _made(archive, series)):
                pass
            made += 1
    return made


def model_of(
    archive: Archive, instance: Held, *, base: str, shown: StudyShown | None = None
) -> Model:
    """Return the metadata of one instance; of an unreadable one what the index knows."""
    try:
        return said_by(archive, instance, base=base, shown=shown)
    except Unreadable as refusal:
        log.warning("metadata.unreadable", instance=instance.instance_uid, reason=refusal.sentence)
        return _indexed(instance)


def said_by(
    archive: Archive, instance: Held, *, base: str = "", shown: StudyShown | None = None
) -> Model:
    """Return the metadata that an instance itself holds.

    Raises
    ------
    Unreadable
        It holds none that can be read.
    """
    address = (
        f"{base}/studies/{instance.study_uid}/series/{instance.series_uid}"
        f"/instances/{instance.instance_uid}/bulkdata"
    )
    with instance_file.opened(archive, instance) as file:
        model = metadata_of(file, bulk=address)
        own = None if shown is None else shown.of(instance.instance_uid)
        return model if own is None else corrected_model(model, own)


def key_of(instances: Sequence[Held]) -> str:
    """Return the key under which the document of these instances is kept."""
    digest = digest_of_value([FORM, [[each.instance_uid, each.digest] for each in instances]])
    return f"metadata/{digest}.json.gz"


def kept_of(tx: Transaction, study_uid: str, instance_uids: frozenset[str]) -> list[str]:
    """Return the keys of all documents that were ever kept of some instances of a study."""
    rows = held(tx, study_uid, withdrawn=True)
    found = set()
    for version in range(latest_version(tx, study_uid), 0, -1):
        listed = {each.instance_uid for each in manifest(tx, study_uid, version).entries}
        shown = [each for each in rows if each.instance_uid in listed]
        for _, group in groupby(shown, key=lambda each: each.series_uid):
            series = list(group)
            if any(each.instance_uid in instance_uids for each in series):
                found.add(key_of(series))
    return sorted(found)


def _series(
    archive: Archive, series: Sequence[Held], keep: Callable[[], bool], shown: StudyShown | None
) -> Iterator[bytes]:
    """Yield the models of a series with commas between them."""
    if shown is not None or len(series) < MIN_KEPT:
        return _made(archive, series, shown)
    key = key_of(series)
    kept = _kept(archive, key)
    if kept is not None:
        return _inflated(kept)
    made = _made(archive, series)
    return _kept_while(archive, key, made) if keep() else made


def _made(
    archive: Archive, instances: Sequence[Held], shown: StudyShown | None = None
) -> Iterator[bytes]:
    between = ""
    for start in range(0, len(instances), _AT_ONCE):
        texts = (
            json.dumps(model, ensure_ascii=False, separators=(",", ":"))
            for model in (
                model_of(archive, each, base=_BASE.decode(), shown=shown)
                for each in instances[start : start + _AT_ONCE]
            )
        )
        yield (between + ",".join(texts)).encode("utf-8", "replace")
        between = ","


def _kept(archive: Archive, key: str) -> bytes | None:
    """Return the compressed document if it is there and whole."""
    try:
        packed = archive.objects.get(key)
    except (ObjectMissing, ObjectUnreadable, Transient):
        return None
    try:
        for _ in _inflated(packed):
            pass
    except zlib.error as error:
        log.warning("metadata.kept_unreadable", key=key, error=type(error).__name__)
        return None
    return packed


def _inflated(packed: bytes) -> Iterator[bytes]:
    inflater = zlib.decompressobj(_GZIP)
    rest = packed
    while not inflater.eof:
        piece = inflater.decompress(rest, _PIECE_BYTES)
        rest = inflater.unconsumed_tail
        if piece:
            yield piece
        elif not rest and not inflater.eof:
            raise zlib.error("the document is cut short")


def _kept_while(archive: Archive, key: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pass pieces on; keep them once all were made."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    packed = bytearray()
    for piece in pieces:
        packed += packer.compress(piece)
        yield piece
    packed += packer.flush()
    whole = bytes(packed)
    try:
        archive.objects.put(key, whole, sha256_of(whole))
    except (Transient, Corrupt) as error:  # the answer does not depend on it
        log.warning("metadata.not_kept", key=key, code=error.code)


def _indexed(instance: Held) -> Model:
    told = {
        "00080016": instance.sop_class_uid,
        "00080018": instance.instance_uid,
        "0020000D": instance.study_uid,
        "0020000E": instance.series_uid,
    }
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in told.items()}
