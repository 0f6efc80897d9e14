"""The metadata of many instances as one document, made once and kept compressed.

The kept document belongs to exactly these instances: its key is a digest over their digests, so it
never goes stale.  It can be made anew at any time.

References
----------
DICOM PS3.18 section 10.4.1.1.2 (metadata resources).
"""

import gzip
import json
from collections.abc import Callable, Sequence
from itertools import groupby

import structlog

from dicom_node.corrected import corrected_model
from dicom_node.dicom_json import Model, metadata_of
from dicom_node.errors import Unreadable
from kernel.digest import digest_of_value, sha256_of
from kernel.errors import Corrupt, NotFound, Transient
from storage import instance_file
from storage.archive import Archive
from storage.corrections import Shown
from storage.series_queries import Held, held

FORM = 1
"""Of the documents; a change of what they hold takes another number, and so other keys."""

MIN_KEPT = 8
"""Fewer instances are read as quickly as a kept document."""

_BASE = "urn:telerad:base"
_LEVEL = 6

log = structlog.get_logger()


def document(
    archive: Archive, instances: Sequence[Held], *, base: str, keep: Callable[[], bool]
) -> bytes:
    """Return the JSON document of the metadata of instances.

    Parameters
    ----------
    base
        The address of the service, for the addresses of bulk data.
    keep
        Says whether the study is complete, so that this document will be asked for again.
    """
    if len(instances) < MIN_KEPT:
        return _made(archive, instances).replace(_BASE.encode(), base.encode())
    key = key_of(instances)
    body = _kept(archive, key)
    if body is None:
        body = _made(archive, instances)
        if keep():
            _keep(archive, key, body)
    return body.replace(_BASE.encode(), base.encode())


def prepare(archive: Archive, study_uid: str) -> int:
    """Make and keep the documents of the series of a complete study; return how many were made.

    It may be called again at any time, for one study by several at once too.
    """
    with archive.database.reading() as tx:
        instances = held(tx, study_uid)
    made = 0
    for _, group in groupby(instances, key=lambda each: each.series_uid):
        series = list(group)
        if len(series) >= MIN_KEPT and archive.objects.size(key_of(series)) is None:
            _keep(archive, key_of(series), _made(archive, series))
            made += 1
    return made


def corrected(body: bytes, shown: Shown) -> bytes:
    """Return a document with the corrections of its study; what is kept is as it was received."""
    models = [corrected_model(model, shown) for model in json.loads(body)]
    return json.dumps(models, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def model_of(archive: Archive, instance: Held, *, base: str, shown: Shown | None = None) -> Model:
    """Return the metadata of one instance; of an unreadable one what the index knows."""
    address = (
        f"{base}/studies/{instance.study_uid}/series/{instance.series_uid}"
        f"/instances/{instance.instance_uid}/bulkdata"
    )
    try:
        with instance_file.opened(archive, instance) as file:
            model = metadata_of(file, bulk=address)
            return model if shown is None else corrected_model(model, shown)
    except Unreadable as refusal:
        log.warning("metadata.unreadable", instance=instance.instance_uid, reason=refusal.sentence)
        return _indexed(instance)


def key_of(instances: Sequence[Held]) -> str:
    """Return the key under which the document of these instances is kept."""
    digest = digest_of_value([FORM, [[each.instance_uid, each.sha256] for each in instances]])
    return f"metadata/{digest}.json.gz"


def _made(archive: Archive, instances: Sequence[Held]) -> bytes:
    models = (model_of(archive, instance, base=_BASE) for instance in instances)
    texts = (json.dumps(model, ensure_ascii=False, separators=(",", ":")) for model in models)
    return ("[" + ",".join(texts) + "]").encode("utf-8", "replace")


def _kept(archive: Archive, key: str) -> bytes | None:
    try:
        return gzip.decompress(archive.objects.get(key))
    except (NotFound, Transient):
        return None
    except (OSError, EOFError) as error:
        log.warning("metadata.kept_unreadable", key=key, error=type(error).__name__)
        return None


def _keep(archive: Archive, key: str, body: bytes) -> None:
    packed = gzip.compress(body, _LEVEL, mtime=0)
    try:
        archive.objects.put(key, packed, sha256_of(packed))
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
