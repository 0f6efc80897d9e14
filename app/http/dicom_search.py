"""QIDO-RS: from a query string to a query of the index, and from rows to the DICOM JSON model.

References
----------
DICOM PS3.18 section 8.3.4 (query parameters), 10.6 (search), F.2 (JSON model).
"""

import re
from collections.abc import Iterable
from typing import Any

from app.http.errors import BodyMalformed
from kernel.ids import is_uid
from storage.archive_queries import StudyQuery, StudyRow

MAX_FOUND = 1000
MAX_FILTERED = 500
_PAGING = frozenset({"limit", "offset", "includefield", "fuzzymatching"})
_KEYS = {
    "StudyInstanceUID": "study_uids",
    "0020000D": "study_uids",
    "PatientID": "patient_id",
    "00100020": "patient_id",
    "AccessionNumber": "accession",
    "00080050": "accession",
    "StudyDate": "study_date",
    "00080020": "study_date",
}
_DATES = re.compile(r"(?P<one>\d{8})|(?P<first>\d{8})?-(?P<last>\d{8})?")


class QueryRefused(BodyMalformed):
    """The query cannot be answered as it is asked."""

    code = "dicomweb.query_refused"


def parsed(parameters: Iterable[tuple[str, str]]) -> StudyQuery:
    """Return the query of a search for studies.

    A key that cannot be matched is refused: leaving it out would give more than was asked for.

    Raises
    ------
    QueryRefused
        A key is not one that can be matched here, is given twice, or its value cannot be one.
    """
    paging: dict[str, str] = {}
    keys: dict[str, list[str]] = {}
    for name, value in parameters:
        if name in _PAGING:
            paging[name] = value
        elif name in _KEYS:
            keys.setdefault(_KEYS[name], []).append(value)
        else:
            raise QueryRefused(f"studies cannot be searched by {name[:40]!r} here")
    uids = tuple(uid for value in keys.pop("study_uids", []) for uid in _uids(value))
    if any(len(values) > 1 for values in keys.values()):
        raise QueryRefused("a key is given twice")
    first, last = _dates(keys.pop("study_date", [""])[0])
    return StudyQuery(
        study_uids=uids,
        patient_id=keys.get("patient_id", [""])[0],
        accession=keys.get("accession", [""])[0],
        date_from=first,
        date_until=last,
        limit=min(_count(paging, "limit", MAX_FOUND), MAX_FOUND),
        offset=_count(paging, "offset", 0),
    )


def answered(row: StudyRow, base: str) -> dict[str, Any]:
    """Return a study in the DICOM JSON model.

    Attributes that every answer must have but the index does not know are there without a value
    (PS3.18 table 10.6.3-3).
    """
    name = {"Alphabetic": row.patient_name} if row.patient_name else None
    return {
        "00080020": _element("DA", row.study_date),
        "00080030": _element("TM", row.study_time),
        "00080050": _element("SH", row.accession),
        "00080056": _element("CS", "ONLINE"),
        "00080061": {"vr": "CS", "Value": list(row.modalities)},
        "00080090": _element("PN", None),
        "00081030": _element("LO", row.description),
        "00081190": _element("UR", f"{base}/studies/{row.study_uid}"),
        "00100010": _element("PN", name),
        "00100020": _element("LO", row.patient_id),
        "00100021": _element("LO", row.issuer),
        "00100030": _element("DA", row.birth_date.strftime("%Y%m%d") if row.birth_date else None),
        "00100040": _element("CS", row.sex),
        "0020000D": _element("UI", row.study_uid),
        "00200010": _element("SH", None),
        "00201206": {"vr": "IS", "Value": [row.series]},
        "00201208": {"vr": "IS", "Value": [row.instances]},
    }


def _element(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]} if value else {"vr": vr}


def _uids(value: str) -> list[str]:
    """Split a list of UIDs; commas and backslashes are both in use."""
    found = [uid for uid in re.split(r"[,\\]", value) if uid]
    if not all(is_uid(uid) for uid in found):
        raise QueryRefused("StudyInstanceUID must be a UID or a list of UIDs")
    return found


def _dates(value: str) -> tuple[str, str]:
    if not value:
        return "", ""
    found = _DATES.fullmatch(value)
    if found is None or value == "-":
        raise QueryRefused("StudyDate must be YYYYMMDD or a range of two, one end of it open")
    if found["one"]:
        return found["one"], found["one"]
    return found["first"] or "", found["last"] or ""


def _count(paging: dict[str, str], name: str, default: int) -> int:
    value = paging.get(name, str(default))
    if not value.isdecimal() or len(value) > 9:
        raise QueryRefused(f"{name} must be a number")
    return int(value)
