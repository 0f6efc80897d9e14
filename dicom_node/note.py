"""What is kept beside the bytes of an instance: enough to index them again."""

from collections.abc import Mapping
from datetime import datetime

from dicom_node.headers import Defaults
from dicom_node.source import Announced, Route, Source


def note_of(announced: Announced, source: Source, at: datetime) -> dict[str, str]:
    """Return what the journal keeps beside the bytes, enough to index them again."""
    return {
        "route": source.route.value,
        "source": source.name,
        "organisation": source.organisation_id,
        "issuer": source.defaults.issuer,
        "character_set": source.defaults.character_set,
        "sop_class": announced.sop_class_uid,
        "sop_instance": announced.sop_instance_uid,
        "transfer_syntax": announced.transfer_syntax_uid,
        "received_at": at.isoformat(),
    }


def from_note(note: Mapping[str, str]) -> tuple[Announced, Source, datetime]:
    """Return what `note_of` was told."""
    defaults = Defaults(note["issuer"], note["character_set"])
    source = Source(Route(note["route"]), note["source"], note["organisation"], defaults)
    announced = Announced(note["sop_class"], note["sop_instance"], note["transfer_syntax"])
    return announced, source, datetime.fromisoformat(note["received_at"])
