"""The page: what it declares, what can be read on it, and that text on it cannot act."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reporting.glyphs import showable, spelled
from reporting.render import SignaturePanel, person_name, to_pdf
from reporting.sections import FINDINGS, IMPRESSION, Section
from reporting.wording import LANGUAGES
from tests.reporting.samples import (
    BULGARIAN,
    HOSTILE,
    KAZAKH,
    NOON,
    UKRAINIAN,
    a_content,
)

PANEL = SignaturePanel(
    signed_at=NOON, subject="Щърбанов Йордан", issuer="Root of the region", serial="4f3a", demo=True
)


def words_of(pdf: bytes, tmp_path: Path) -> str:
    """All text of a PDF as another program reads it, blank space made one."""
    path = tmp_path / "page.pdf"
    path.write_bytes(pdf)
    found = subprocess.run(
        ["pdftotext", "-layout", path, "-"], capture_output=True, check=True, text=True
    )
    return " ".join(found.stdout.split())


def test_the_file_is_sound_and_declares_archival_and_accessible_form(tmp_path):
    pdf = to_pdf(a_content(), PANEL)
    path = tmp_path / "page.pdf"
    path.write_bytes(pdf)

    subprocess.run(["qpdf", "--check", path], check=True, capture_output=True)
    assert re.search(rb"pdfaid:part>3<.*pdfaid:conformance>A<", pdf, re.DOTALL)
    assert re.search(rb"pdfuaid:part>1<", pdf)


@pytest.mark.parametrize("text", [KAZAKH, UKRAINIAN, BULGARIAN, HOSTILE])
def test_text_of_each_language_and_hostile_text_can_be_read(text, tmp_path):
    assert text in words_of(to_pdf(a_content(), PANEL), tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_labels(language, tmp_path):
    shown = words_of(to_pdf(a_content(language=language), PANEL), tmp_path)
    words = LANGUAGES[language]

    for label in (words.patient, words.headings[IMPRESSION.value], words.demo):
        assert label in shown
    assert words.titles["43468-8"] in shown


def test_the_page_names_patient_study_author_time_version_and_digest(tmp_path):
    content = a_content(language="en")
    shown = words_of(to_pdf(content, PANEL), tmp_path)

    for part in (
        "Әлібекұлы Қуаныш Ғұмар",
        "1961-04-12",
        "A-1001 (RURAL-1)",
        "ACC-1",
        "Щърбанов Йордан",
        "2026-11-22 17:00 (UTC+05:00)",
        f"{content.report_id}, version 1",
        content.digest(),
    ):
        assert part in shown
    assert re.search(r"1 ?/ ?1", shown)


def test_a_preview_says_that_it_is_not_signed(tmp_path):
    shown = words_of(to_pdf(a_content(language="en"), None), tmp_path)

    assert "NOT SIGNED" in shown
    assert "Signed electronically" not in shown


def test_a_signature_of_a_real_authority_carries_no_demo_label(tmp_path):
    panel = replace(PANEL, demo=False)

    assert "Demo" not in words_of(to_pdf(a_content(language="en"), panel), tmp_path)


def test_the_same_document_is_the_same_bytes():
    assert to_pdf(a_content(), PANEL) == to_pdf(a_content(), PANEL)


def test_a_long_report_runs_over_pages(tmp_path):
    lines = "\n\n".join(f"Finding number {n} of a long report." for n in range(150))
    content = a_content(sections=(Section(FINDINGS, lines), Section(IMPRESSION, "Many.")))

    shown = words_of(to_pdf(content, PANEL), tmp_path)

    assert "Finding number 149 of a long report." in shown
    assert re.search(r"[3-9] ?/ ?[3-9]", shown)


def test_a_name_that_the_fonts_cannot_show_is_spelled_out(tmp_path):
    patient = replace(a_content().patient, name="=山田^太郎")

    assert "[U+5C71][U+7530]" in words_of(to_pdf(a_content(patient=patient), PANEL), tmp_path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada Tarou"),
        ("Doe^Jane^Q^Dr^PhD", "Dr Doe Jane Q PhD"),
        ("Doe", "Doe"),
        ("", ""),
        ("^^^^=", ""),
    ],
)
def test_a_dicom_name_is_shown_as_people_write_it(name, shown):
    assert person_name(name) == shown


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
        | st.sampled_from("#[](){}$\\*_@<>`=/-\"'~"),
        max_size=60,
    )
)
def test_whatever_can_be_finalised_can_be_set(text):
    shown = "".join(c for c in text if ord(c) in showable())
    content = a_content(sections=(Section(FINDINGS, shown), Section(IMPRESSION, spelled(text))))

    assert to_pdf(content, None).startswith(b"%PDF-1.7")
