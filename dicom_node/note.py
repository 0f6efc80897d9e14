"""What is kept beside the bytes of an instance: enough to index them again."""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from json import JSONEncoder

from dicom_node.headers import Defaults
from dicom_node.source import Announced, Route, Source

_MAX_KINDS = 64
_JSON = JSONEncoder(ensure_ascii=False)


def note_of(announced: Announced, source: Source, at: datetime) -> dict[str, str]:
    """Return what the journal keeps beside the bytes, enough to index them again."""
    return {
        **_in_common(source, announced.sop_class_uid, announced.transfer_syntax_uid),
        "sop_instance": announced.sop_instance_uid,
        "received_at": at.isoformat(),
    }


def encoded_note_of(announced: Announced, source: Source, at: datetime) -> bytes:
    """Return the same as the journal writes it; what instances have in common is encoded once."""
    beginning = _beginning(source, announced.sop_class_uid, announced.transfer_syntax_uid)
    uid = _JSON.encode(announced.sop_instance_uid)
    text = f'{beginning}, "sop_instance": {uid}, "received_at": "{at.isoformat()}"}}'
    return text.encode()


@lru_cache(maxsize=_MAX_KINDS)
def _beginning(source: Source, sop_class_uid: str, transfer_syntax_uid: str) -> str:
    return _JSON.encode(_in_common(source, sop_class_uid, transfer_syntax_uid)).removesuffix("}")


def _in_common(source: Source, sop_class_uid: str, transfer_syntax_uid: str) -> dict[str, str]:
    return {
        "route": source.route.value,
        "source": source.name,
        "organisation": source.organisation_id,
        "issuer": source.defaults.issuer,
        "character_set": source.defaults.character_set,
        "sop_class": sop_class_uid,
        "transfer_syntax": transfer_syntax_uid,
    }


def from_note(note: Mapping[str, str]) -> tuple[Announced, Source, datetime]:
    """Return what `note_of` was told."""
    defaults = Defaults(note["issuer"], note["character_set"])
    source = Source(Route(note["route"]), note["source"], note["organisation"], defaults)
    announced = Announced(note["sop_class"], note["sop_instance"], note["transfer_syntax"])
    return announced, source, datetime.fromisoformat(note["received_at"])
