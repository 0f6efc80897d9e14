"""The page: a report's content as PDF/A-3a and PDF/UA-1 in one file, made with Typst.

All text reaches the template as JSON data, never as Typst source, so that no text can act.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import typst

from reporting.document import Content, in_zone
from reporting.errors import SectionRefused
from reporting.glyphs import FONTS, spelled
from reporting.wording import ENGLISH, LANGUAGES, Wording

TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
ATTACHMENT = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignaturePanel:
    """What the page says about the signature that will be put over it."""

    signed_at: datetime
    subject: str
    issuer: str
    serial: str
    demo: bool


def to_pdf(content: Content, panel: SignaturePanel | None) -> bytes:
    """Return the document as PDF; the same arguments always give the same bytes.

    The canonical content is attached as ``report.json`` (relationship Source), so that the
    signature over the file covers what machines read as well as what people see.

    Parameters
    ----------
    panel
        None for a preview, which says on each page that it is not signed.

    References
    ----------
    ISO 19005-3 (PDF/A-3, level A), ISO 14289-1 (PDF/UA-1); Typst refuses what does not conform.
    """
    stamp = panel.signed_at if panel else content.finalised_at
    try:
        pdf = typst.compile(
            TEMPLATE,
            root=TEMPLATE.parent,
            font_paths=[FONTS],
            ignore_system_fonts=True,
            sys_inputs={
                "page": json.dumps(_page(content, panel, stamp), ensure_ascii=False),
                "attachment": content.to_bytes().decode(),
            },
            pdf_standards=["a-3a", "ua-1"],
            timestamp=int(stamp.timestamp()),
        )
    except typst.TypstError as error:
        raise SectionRefused(
            f"the document cannot be set as PDF/A: {error.message}", report_id=content.report_id
        ) from error
    return bytes(pdf)


def _page(content: Content, panel: SignaturePanel | None, stamp: datetime) -> dict[str, Any]:
    """Lay out the words; the template only places them."""
    words = LANGUAGES.get(content.language, ENGLISH)
    return {
        "language": content.language,
        "title": _title(content, words),
        "date": [stamp.year, stamp.month, stamp.day],
        "organisation": _shown(content.organisation.name),
        "consultation": words.consultation,
        "patient": _patient(content, words),
        "study": _study(content, words),
        "sections": [
            {
                "heading": words.headings.get(s.code.value, s.code.meaning),
                "strong": s.code.value == "19005-8",
                "paragraphs": [p.split("\n") for p in s.text.split("\n\n") if p],
            }
            for s in content.sections
        ],
        "author": {"label": words.author, "name": _shown(content.author.name)},
        "signature": _signature(panel, words, content.zone),
        "unsigned": None if panel else words.unsigned,
        "footer": {
            "report": f"{words.report} {content.report_id}, {words.version} {content.version}",
            "digest": f"{words.content_digest}: {content.digest()}",
        },
        "attachment": ATTACHMENT,
    }


def _title(content: Content, words: Wording) -> str:
    return words.titles.get(content.title.value, content.title.meaning)


def _patient(content: Content, words: Wording) -> list[list[str]]:
    patient = content.patient
    return [
        [words.patient, _shown(person_name(patient.name)) or words.not_given],
        [words.birth_date, patient.birth_date or words.not_given],
        [words.sex, words.sexes.get(patient.sex, words.not_given)],
        [words.patient_id, _shown(f"{patient.patient_id} ({patient.issuer})")],
    ]


def _study(content: Content, words: Wording) -> list[list[str]]:
    described = _shown(content.study_description)
    return [
        [words.study, f"{content.modality}, {described}" if described else content.modality],
        [words.accession, _shown(content.accession) or words.not_given],
        [words.requested_by, _shown(content.site.name)],
        [words.finalised, _moment(content.finalised_at, content.zone)],
    ]


def _signature(panel: SignaturePanel | None, words: Wording, zone: str) -> dict[str, Any] | None:
    if panel is None:
        return None
    return {
        "rows": [
            [words.signed_by, _shown(panel.subject)],
            [words.signed_at, _moment(panel.signed_at, zone)],
            [words.certificate, panel.serial],
            [words.issued_by, _shown(panel.issuer)],
        ],
        "demo": words.demo if panel.demo else None,
        "note": words.signature_note,
    }


def person_name(name: str) -> str:
    """Return a DICOM person name as people write it: family name first.

    References
    ----------
    DICOM PS3.5 section 6.2, VR PN: groups parted by '=', components by '^'.
    """
    group = next((g for g in name.split("=") if g.strip("^ ")), "")
    family, given, middle, prefix, suffix = (group.split("^") + [""] * 5)[:5]
    return " ".join(part for part in (prefix, family, given, middle, suffix) if part.strip())


def _shown(text: str) -> str:
    return spelled(" ".join(text.split()))


def _moment(at: datetime, zone: str) -> str:
    local = in_zone(at, zone)
    offset = f"{local:%z}"
    return f"{local:%Y-%m-%d %H:%M} (UTC{offset[:3]}:{offset[3:]})"
