"""What UPS-RS requests say: one data set, a filter, a search; each within bounds.

References
----------
DICOM PS3.18 sections 8.3.4 (query parameters), 8.7 (media types) and 11.1.2.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from app.http.accept import DICOM_JSON, DICOM_XML
from app.http.errors import BodyMalformed, MediaTypeRefused
from app.http.limits import Limits, within
from app.http.multipart import media_type

if TYPE_CHECKING:
    from dicom_node.data_sets import Attributes

MAX_BODY = 1 << 20
_LIMITS = Limits(MAX_BODY, MAX_BODY, timedelta(seconds=30), grace=timedelta(seconds=30), pace=1024)
MAX_FOUND = 1000
MAX_OFFSET = 1_000_000
MAX_KEYS = 60
_MAX_VALUE = 4096
_COUNT_DIGITS = 9
_JSON = frozenset({DICOM_JSON, "application/json"})
_PAGING = frozenset({"limit", "offset", "includefield", "fuzzymatching", "accept"})
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
# U+FFFD stands for what was no UTF-8 (PS3.18 section 8.3.1).
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffd]")


@dataclass(frozen=True, slots=True)
class Search:
    """A checked search; `included` are tags beside the keys, None means all."""

    keys: "Attributes"
    included: frozenset[int] | None
    limit: int
    offset: int
    fuzzy: bool


async def body_of(request: Request) -> bytes:
    """Return the body of a request.

    Raises
    ------
    BodyTooLarge, BodyMalformed, MediaTypeRefused, UploadStalled
        It is longer than any workitem, was cut short, is compressed, or does not come to its end.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise MediaTypeRefused("a compressed request body is not taken")
    body = bytearray()
    try:
        async for chunk in within(request.stream(), _LIMITS):
            body += chunk
    except ClientDisconnect as gone:
        raise BodyMalformed("the request was cut short") from gone
    return bytes(body)


def data_set_of(content_type: str, body: bytes, *, optional: bool = False) -> "Attributes":
    """Return the one data set of a body, in the JSON or in the XML model.

    Raises
    ------
    MediaTypeRefused, BodyMalformed, WorkitemMalformed, DataSetUnreadable
        It is in another form, or cannot be read.
    """
    from dicom_node.data_sets import Attributes
    from dicom_node.workitems.model import from_model

    if optional and not body:
        return Attributes()
    return from_model(_model(content_type, body))


def search_of(parameters: Iterable[tuple[str, str]]) -> Search:
    """Return the search that a query string asks for.

    Raises
    ------
    BodyMalformed
        A key is no attribute, is given twice, or a value is too long.
    """
    paging: dict[str, str] = {}
    included: list[str] = []
    keys: list[tuple[str, str]] = []
    for name, value in parameters:
        if name == "includefield":
            included += value.split(",")
        elif name in _PAGING:
            if paging.setdefault(name, value) != value:
                raise BodyMalformed(f"{name} is given twice")
        else:
            keys.append((name, value))
    everything = "all" in included or not included
    return Search(
        keys=keys_of(keys),
        included=None if everything else frozenset(_tags(name.strip())[0] for name in included),
        limit=min(_count(paging, "limit", MAX_FOUND), MAX_FOUND),
        offset=_count(paging, "offset", 0),
        fuzzy=flag(paging.get("fuzzymatching", "false")),
    )


def keys_of(pairs: Iterable[tuple[str, str]]) -> "Attributes":
    """Return matching keys; a dotted name reaches into the item of a sequence.

    Raises
    ------
    BodyMalformed
        There are too many, or one cannot be one.
    """
    from dicom_node.workitems.model import from_model

    model: dict[str, Any] = {}
    for number, (name, value) in enumerate(pairs):
        if number == MAX_KEYS:
            raise BodyMalformed(f"a query has at most {MAX_KEYS} keys")
        if len(value) > _MAX_VALUE or _CONTROL.search(value):
            raise BodyMalformed("a value is too long, no UTF-8 or holds a control character")
        path = _tags(name)
        if path == [_transaction_uid()]:
            raise BodyMalformed("a Transaction UID locks a workitem: nothing is found by it")
        _place(model, path, value)
    return from_model(model)


def filter_of(parameters: Iterable[tuple[str, str]]) -> "Attributes":
    """Return the keys of a filtered subscription: ``filter=name=value``, several by comma."""
    pairs: list[tuple[str, str]] = []
    for name, value in parameters:
        if name == "filter":
            pairs += [_pair(each) for each in value.split(",") if each]
        elif name not in {"deletionlock", "accept"}:
            pairs.append((name, value))
    return keys_of(pairs)


def flag(value: str) -> bool:
    """Return a parameter that is true or false.

    Raises
    ------
    BodyMalformed
        It is neither.
    """
    if value not in {"true", "false"}:
        raise BodyMalformed("the parameter is true or false")
    return value == "true"


def _model(content_type: str, body: bytes) -> object:
    kind, parameters = media_type(content_type)
    if kind == "multipart/related":
        kind, body = _only_part(parameters.get("boundary", ""), body)
    if kind in _JSON:
        return _json(body)
    if kind == DICOM_XML:
        from dicom_node.dicom_xml import read_native

        return read_native(body)
    raise MediaTypeRefused(f"a workitem comes as {DICOM_JSON} or {DICOM_XML}")


def _json(body: bytes) -> object:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyMalformed("the body is no JSON") from error
    if isinstance(found, list):
        if len(found) != 1:
            raise BodyMalformed("the body holds one data set")
        return found[0]
    return found


def _only_part(boundary: str, body: bytes) -> tuple[str, bytes]:
    edge = b"--" + boundary.encode("ascii", "replace")
    parts = body.split(edge)
    if not boundary or len(parts) != 3 or not parts[2].startswith(b"--"):
        raise BodyMalformed("the multipart request has one part")
    head, found, data = parts[1].removeprefix(b"\r\n").partition(b"\r\n\r\n")
    if not found:
        raise BodyMalformed("the part has no headers")
    for line in head.decode("ascii", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return media_type(value.strip())[0], data.removesuffix(b"\r\n")
    raise BodyMalformed("the part does not say what it is")


def _place(model: dict[str, Any], path: list[int], value: str) -> None:
    for tag in path[:-1]:
        held = model.setdefault(f"{tag:08X}", {"vr": "SQ", "Value": [{}]})
        model = held["Value"][0] if held.get("Value") else {}
    name = f"{path[-1]:08X}"
    if name in model:
        raise BodyMalformed("a key is given twice")
    vr = _vr(path[-1])
    if vr == "SQ":
        model[name] = {"vr": "SQ"}
        return
    parts = re.split(r"[,\\]", value) if vr in {"UI", "CS"} else value.split("\\")
    values = [part.strip() for part in parts]
    model[name] = _element(vr, values)


def _element(vr: str, values: list[str]) -> dict[str, Any]:
    held: list[Any] = [{"Alphabetic": value} for value in values] if vr == "PN" else list(values)
    return {"vr": vr, "Value": held} if any(values) else {"vr": vr}


def _vr(tag: int) -> str:
    from dicom_node.dictionary import vr_of

    try:
        return vr_of(tag)
    except KeyError:
        raise BodyMalformed("a key is no attribute of the standard") from None


def _tags(name: str) -> list[int]:
    from dicom_node.dictionary import tag_of

    try:
        return [
            int(part, 16) if _TAG.fullmatch(part) else tag_of(part) for part in name.split(".", 8)
        ]
    except KeyError:
        raise BodyMalformed(f"{name[:40]!r} is no attribute") from None


def _transaction_uid() -> int:
    from dicom_node.dictionary import tag_of

    return tag_of("TransactionUID")


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise BodyMalformed("a filter is name=value")
    return name, value


def _count(paging: Mapping[str, str], name: str, default: int) -> int:
    value = paging.get(name, str(default))
    if not (value.isascii() and value.isdecimal()) or len(value) > _COUNT_DIGITS:
        raise BodyMalformed(f"{name} must be a number")
    if name == "offset" and int(value) > MAX_OFFSET:
        raise BodyMalformed(f"offset is at most {MAX_OFFSET}: ask for less with more keys")
    return int(value)
