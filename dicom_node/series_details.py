"""What a series says of itself beyond the index, and what of it matches.  Pure.

The index keeps what stands in the head of an instance, up to its sizes.  To read further while
instances come would cost each of them more than it gives: few ask for these attributes, and of few
series.  So they are read from an instance when they are asked (`details_read`).

References
----------
DICOM PS3.3 section C.7.3.1 (General Series module), PS3.4 section C.6 (keys of the series level),
PS3.18 table 10.6.1-5 (attributes that a search of series matches).
"""

from collections.abc import Mapping
from typing import Any

from dicom_node.data_sets import Attribute, Attributes, attribute, sequence
from dicom_node.dictionary import tag_of
from dicom_node.matching import is_universal, matcher

REQUEST = "RequestAttributesSequence"
DETAILS = (
    "SeriesDate",
    "SeriesTime",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    REQUEST,
)
OF_REQUEST = ("AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID")


def asked_of(identifier: Attributes) -> Attributes:
    """Return the details that are asked for, to be matched or only to be answered."""
    tags = {tag_of(keyword) for keyword in DETAILS}
    return Attributes({tag: each for tag, each in identifier.by_tag.items() if tag in tags})


def is_supported(key: Attribute) -> bool:
    """Say whether all of a key is matched: of a sequence, each key in its item."""
    known = {tag_of(keyword) for keyword in OF_REQUEST}
    return all(tag in known or not tag & 0xFFFF for item in key.items for tag in item.by_tag)


def narrows(key: Attribute) -> bool:
    """Say whether not everything matches a key."""
    if key.vr == "SQ":
        return any(narrows(each) for item in key.items for each in _known(item).by_tag.values())
    return not is_universal(key.values)


def matches(keys: Attributes, held: Attributes) -> bool:
    """Say whether a series has what is asked for; of a sequence one item has to have all of it."""
    return all(_matches(key, held.by_tag.get(key.tag)) for key in keys.by_tag.values())


def _matches(key: Attribute, held: Attribute | None) -> bool:
    if not narrows(key):
        return True
    if held is None:
        return False
    if key.vr == "SQ":
        return any(matches(_known(key.items[0]), item) for item in held.items)
    found = matcher(key.vr, key.values)
    return found is None or found(held.values)


def _known(item: Attributes) -> Attributes:
    """Return the keys of an item that are matched; C-FIND says of the others that they are not."""
    known = (each for each in item.by_tag.values() if each.keyword in OF_REQUEST)
    return Attributes({each.tag: each for each in known})


def read_of(model: Mapping[str, Any]) -> Attributes:
    """Return the details that the metadata of an instance hold, in the JSON model."""
    found = [_plain(model, keyword) for keyword in DETAILS if keyword != REQUEST]
    items = model.get(f"{tag_of(REQUEST):08X}", {}).get("Value") or ()
    requests = [[_plain(item, keyword) for keyword in OF_REQUEST] for item in items if item]
    given = [each for each in found if each.values]
    if requests:
        given.append(sequence(REQUEST, *requests))
    return Attributes({each.tag: each for each in given})


def _plain(model: Mapping[str, Any], keyword: str) -> Attribute:
    values = model.get(f"{tag_of(keyword):08X}", {}).get("Value") or ()
    return attribute(keyword, *(str(each).strip() for each in values if each is not None))
