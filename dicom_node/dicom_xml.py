"""A data set of the DICOM JSON model as a document of the Native DICOM Model.

References
----------
DICOM PS3.19 section A.1 (Native DICOM Model), PS3.18 section F.3.1 (how the two models map).
"""

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from pydicom.datadict import keyword_for_tag

_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_NAME_PARTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
# XML 1.0 has no way to write these characters, escaped or not.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def native_model(data_set: Mapping[str, Any]) -> bytes:
    """Return the XML document of one data set of the JSON model."""
    root = Element("NativeDicomModel", {"xmlns": _NAMESPACE, "xml:space": "preserve"})
    _attributes(root, data_set)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _attributes(parent: Element, data_set: Mapping[str, Any]) -> None:
    for tag, held in data_set.items():
        told = {"tag": tag, "vr": str(held["vr"])}
        keyword = keyword_for_tag(int(tag, 16))
        if keyword:
            told["keyword"] = str(keyword)
        _content(SubElement(parent, "DicomAttribute", told), held)


def _content(attribute: Element, held: Mapping[str, Any]) -> None:
    if "BulkDataURI" in held:
        SubElement(attribute, "BulkData", {"uri": str(held["BulkDataURI"])})
    elif "InlineBinary" in held:
        SubElement(attribute, "InlineBinary").text = str(held["InlineBinary"])
    for number, value in enumerate(held.get("Value", ()), start=1):
        counted = {"number": str(number)}
        if held["vr"] == "SQ":
            _attributes(SubElement(attribute, "Item", counted), value)
        elif held["vr"] == "PN":
            _person(SubElement(attribute, "PersonName", counted), value)
        else:
            SubElement(attribute, "Value", counted).text = _text(value)


def _person(name: Element, groups: Mapping[str, str] | None) -> None:
    for group, text in (groups or {}).items():
        parts = SubElement(name, group)
        for part, value in zip(_NAME_PARTS, text.split("^"), strict=False):
            if value:
                SubElement(parts, part).text = _text(value)


def _text(value: object) -> str:
    return "" if value is None else _UNWRITABLE.sub("\ufffd", str(value))
