"""A data set of the DICOM JSON model as a document of the Native DICOM Model.

References
----------
DICOM PS3.19 section A.1 (Native DICOM Model), PS3.18 section F.3.1 (how the two models map).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from dicom_node.dictionary import keyword_of
from dicom_node.errors import DataSetUnreadable

_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
_NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_MAX_DEPTH = 8
_BULK: Mapping[str, Callable[[Element], dict[str, str]]] = {
    "BulkData": lambda each: {"BulkDataURI": each.get("uri", "")},
    "InlineBinary": lambda each: {"InlineBinary": (each.text or "").strip()},
}
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
        if keyword := keyword_of(int(tag, 16)):
            told["keyword"] = keyword
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


def read_native(
    document: bytes, *, deepest: int = _MAX_DEPTH, bulk: bool = False
) -> dict[str, Any]:
    """Return the data set of a document of the Native DICOM Model, in the JSON model.

    Parameters
    ----------
    deepest
        So deep sequences may lie in each other.
    bulk
        Whether values may be bulk data, named by their address or in line.

    Raises
    ------
    DataSetUnreadable
        It is no such document, declares entities, or nests deeper than any message needs.
    """
    try:
        text = document.decode("utf-8-sig")
        if "<!" in text.replace("<!--", ""):  # an entity can grow without bound
            raise DataSetUnreadable("the XML document declares more than it holds")
        root = ElementTree.fromstring(text)  # noqa: S314 - without declarations nothing expands
    except (UnicodeDecodeError, ElementTree.ParseError, ValueError) as error:
        raise DataSetUnreadable("the body is no XML document in UTF-8") from error
    if _local(root) != "NativeDicomModel":
        raise DataSetUnreadable("the XML document is no NativeDicomModel")
    return _data_set(root, deepest, bulk)


def _data_set(parent: Element, below: int, bulk: bool) -> dict[str, Any]:
    if below < 0:
        raise DataSetUnreadable("sequences lie too deep in each other")
    found: dict[str, Any] = {}
    for each in parent:
        tag, vr = each.get("tag", ""), each.get("vr", "UN")
        if _local(each) != "DicomAttribute" or tag in found:
            raise DataSetUnreadable("a data set has attributes, each once")
        if bulk and len(each) == 1 and _local(each[0]) in _BULK:
            found[tag] = {"vr": vr, **_BULK[_local(each[0])](each[0])}
            continue
        values = [_held(value, vr, below, bulk) for value in each]
        found[tag] = {"vr": vr, "Value": values} if values else {"vr": vr}
    return found


def _held(value: Element, vr: str, below: int, bulk: bool) -> Any:
    kind = _local(value)
    if kind == "Item":
        return _data_set(value, below - 1, bulk)
    if kind == "PersonName":
        return {_local(group): _name(group) for group in value}
    if kind == "Value":
        text = value.text or ""
        return _number(text) if vr in _NUMBERS else text
    raise DataSetUnreadable("there is no bulk data in this place")


def _name(group: Element) -> str:
    parts = {_local(part): part.text or "" for part in group}
    return "^".join(parts.get(part, "") for part in _NAME_PARTS).rstrip("^")


def _number(text: str) -> int | float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
