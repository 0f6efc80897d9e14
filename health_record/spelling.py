"""How our values are spelled in FHIR: text, names, moments, codes."""

import unicodedata
from datetime import UTC, datetime
from html import escape
from typing import Any

from kernel.codes import Coded

Resource = dict[str, Any]

LOINC = "http://loinc.org"
# DICOM PS3.16 section 8, coding scheme designators and the URIs that FHIR gives the schemes.
CODE_SYSTEMS = {
    "LN": LOINC,
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "SCT": "http://snomed.info/sct",
    "RADLEX": "http://www.radlex.org",
    "UCUM": "http://unitsofmeasure.org",
}
GENDERS = {"M": "male", "F": "female", "O": "other"}
_XHTML = "http://www.w3.org/1999/xhtml"
_PARTS_OF_A_NAME = 5
_BLANKS = " \t\r\n"


def clean(text: str) -> str:
    """Drop what neither JSON text of FHIR nor XML may hold, and spell every blank as a space.

    References
    ----------
    FHIR R4 datatypes, string: no characters below U+0020 except tab, CR and LF; its pattern
    knows no other blanks, such as the no-break space that names come with.
    """
    kept = (c for c in text if c in _BLANKS or unicodedata.category(c) not in ("Cc", "Cs"))
    return "".join(" " if c.isspace() and c not in _BLANKS else c for c in kept)


def instant(moment: datetime) -> str:
    """Spell a moment in UTC, to the second, always the same way."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def date_of(dicom_date: str) -> str | None:
    """Spell a DICOM DA value as a FHIR date; None if it is not one (DICOM PS3.5 6.2)."""
    digits = dicom_date.strip()
    try:
        return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        return None


def narrative(text: str) -> Resource:
    """Wrap plain text as a generated FHIR narrative; nothing in it is taken for markup."""
    lines = "<br/>".join(escape(clean(line)) for line in text.splitlines()) or "—"
    return {"status": "generated", "div": f'<div xmlns="{_XHTML}">{lines}</div>'}


def concept(code: Coded, unknown_system: str) -> Resource:
    """Spell a coded concept; a scheme without a known URI stays within `unknown_system`.

    The meaning is the text only: DICOM words many codes otherwise than their own scheme does, and
    a FHIR display has to be the scheme's own.
    """
    system = CODE_SYSTEMS.get(code.scheme, f"{unknown_system}/{code.scheme}")
    return {"coding": [{"system": system, "code": code.value}], "text": clean(code.meaning)}


def human_names(person_name: str) -> list[Resource]:
    """Spell a DICOM person name, one FHIR name for each component group that is filled.

    References
    ----------
    DICOM PS3.5 6.2.1.2: family ^ given ^ middle ^ prefix ^ suffix, groups divided by ``=``.
    """
    names = [_human_name(group) for group in clean(person_name).split("=")]
    filled = [name for name in names if name["text"]]
    return [{"use": "usual" if index else "official", **name} for index, name in enumerate(filled)]


def _human_name(group: str) -> Resource:
    parts = [part.strip() for part in group.split("^")]
    parts += [""] * (_PARTS_OF_A_NAME - len(parts))
    family, first, middle, prefix, suffix = parts[:_PARTS_OF_A_NAME]
    name: Resource = {
        "text": " ".join(part for part in (prefix, first, middle, family, suffix) if part),
    }
    given = [*first.split(), *middle.split()]
    if family:
        name["family"] = family
    if given:
        name["given"] = given
    for key, value in (("prefix", prefix), ("suffix", suffix)):
        if value:
            name[key] = [value]
    return name
