"""The sections of a report: their codes, their order, and what text may stand in them."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from kernel.codes import Coded
from reporting.errors import SectionEmpty, SectionRefused, TextTooLong, UnprintableCharacter

MAX_SECTION_CHARACTERS = 20_000
MAX_REPORT_CHARACTERS = 60_000

# DICOM PS3.16 CID 7001, Diagnostic Imaging Report Headings.
INDICATION = Coded("18785-6", "LN", "Indications for Procedure")
PROCEDURE = Coded("55111-9", "LN", "Current Procedure Descriptions")
COMPARISON = Coded("18834-2", "LN", "Previous Findings")
FINDINGS = Coded("59776-5", "LN", "Findings")
IMPRESSION = Coded("19005-8", "LN", "Impressions")
RECOMMENDATION = Coded("18783-1", "LN", "Recommendations")
ADDENDUM = Coded("55107-7", "LN", "Addendum")

WRITTEN = (INDICATION, PROCEDURE, COMPARISON, FINDINGS, IMPRESSION, RECOMMENDATION)
"""The sections that an author writes, in the order in which they are shown."""

REQUIRED = (FINDINGS, IMPRESSION)

# These reorder what is shown: a signed text must read as it is stored.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
_LINE_ENDS = str.maketrans(
    {"\x0b": "\n", "\x0c": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n"}
)


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its heading as a code, and plain text."""

    code: Coded
    text: str


def written(texts: Iterable[Section]) -> tuple[Section, ...]:
    """Return the sections of an author in the order of the report, cleaned and bounded.

    Empty sections are left out.  Line ends become ``\\n``, letters are composed (NFC).

    Raises
    ------
    SectionRefused
        A section is not one that is written, or is given twice.
    TextTooLong
        A section or the whole is beyond its bound.
    UnprintableCharacter
        A control character would hide or reorder what is signed.
    """
    by_code: dict[str, Section] = {}
    for section in texts:
        if section.code not in WRITTEN:
            raise SectionRefused(
                f"{section.code.meaning} ({section.code.value}) is not a section of a report",
                section=section.code.value,
            )
        if section.code.value in by_code:
            raise SectionRefused(
                f"the section {section.code.meaning} is given twice", section=section.code.value
            )
        by_code[section.code.value] = clean(section)
    ordered = tuple(by_code[code.value] for code in WRITTEN if code.value in by_code)
    kept = tuple(section for section in ordered if section.text)
    bound(kept)
    return kept


def clean(section: Section) -> Section:
    """Return the section with one kind of line end, composed letters, no outer blank space.

    Raises
    ------
    UnprintableCharacter
        The text holds a control character.
    """
    text = section.text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINE_ENDS)
    for character in text:
        if _is_hidden(character):
            raise UnprintableCharacter(
                f"the section {section.code.meaning} holds the control character "
                f"U+{ord(character):04X}, which cannot be signed",
                section=section.code.value,
                character=f"U+{ord(character):04X}",
            )
    lines = unicodedata.normalize("NFC", text).split("\n")
    return Section(section.code, "\n".join(line.rstrip() for line in lines).strip())


def bound(sections: tuple[Section, ...]) -> None:
    """Refuse text beyond the bounds of a section and of a report."""
    for section in sections:
        if len(section.text) > MAX_SECTION_CHARACTERS:
            raise TextTooLong(
                f"the section {section.code.meaning} has {len(section.text)} characters; "
                f"{MAX_SECTION_CHARACTERS} are allowed",
                section=section.code.value,
                characters=len(section.text),
            )
    total = sum(len(section.text) for section in sections)
    if total > MAX_REPORT_CHARACTERS:
        raise TextTooLong(
            f"the report has {total} characters; {MAX_REPORT_CHARACTERS} are allowed",
            characters=total,
        )


def require_complete(sections: tuple[Section, ...]) -> None:
    """Refuse a report without findings or without an impression.

    Raises
    ------
    SectionEmpty
        Naming the section that has no text.
    """
    present = {section.code for section in sections if section.text}
    for code in REQUIRED:
        if code not in present:
            raise SectionEmpty(
                f"the section {code.meaning} is empty; a report without it cannot be finalised",
                section=code.value,
            )


def require_showable(sections: tuple[Section, ...], glyphs: frozenset[int]) -> None:
    """Refuse text with a character that the fonts of the document do not have.

    Raises
    ------
    UnprintableCharacter
        Naming the section and the character.
    """
    for section in sections:
        for character in section.text:
            if character not in "\n\t" and ord(character) not in glyphs:
                raise UnprintableCharacter(
                    f"the section {section.code.meaning} holds the character "
                    f"U+{ord(character):04X}, which the signed document cannot show",
                    section=section.code.value,
                    character=f"U+{ord(character):04X}",
                )


def _is_hidden(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in {"Cc", "Cs"} or character in _BIDI_CONTROLS
