"""Attributes of messages as plain values, to be kept as JSON and compared by their digest."""

from collections.abc import Mapping, Sequence
from typing import Any

from dicom_node.data_sets import Attribute, Attributes

Plain = dict[str, list[Any]]


def to_plain(told: Attributes) -> Plain:
    """Return VR, values and items by tag, the tag as eight hex digits."""
    return {
        f"{tag:08X}": [each.vr, list(each.values), [to_plain(item) for item in each.items]]
        for tag, each in sorted(told.by_tag.items())
    }


def from_plain(kept: Mapping[str, Sequence[Any]]) -> Attributes:
    """Return what `to_plain` was told."""
    return Attributes(
        {
            int(tag, 16): Attribute(
                int(tag, 16), vr, tuple(values), tuple(from_plain(item) for item in items)
            )
            for tag, (vr, values, items) in kept.items()
        }
    )
