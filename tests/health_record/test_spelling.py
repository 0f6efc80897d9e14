"""How names, dates and identifiers of the field are spelled for a health record."""

from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from health_record.identifiers import Identifier, Naming, sha256_uri
from health_record.spelling import clean, date_of, human_names, narrative
from kernel.digest import sha256_of
from kernel.errors import Misconfigured


@pytest.mark.parametrize(
    ("written", "texts"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["Tarou Yamada", "太郎 山田", "たろう やまだ"]),
        (
            "Adams^John Robert Quincy^^Rev.^B.A. M.Div.",
            ["Rev. John Robert Quincy Adams B.A. M.Div."],
        ),
        ("Müller\u00a0Lüdenscheidt^Jan", ["Jan Müller Lüdenscheidt"]),
        ("^^^^", []),
        ("\r", []),
        ("", []),
        ("=", []),
        ("^^^^^beyond the fifth part", []),
    ],
)
def test_person_names_keep_their_component_groups(written: str, texts: list[str]):
    assert [name["text"] for name in human_names(written)] == texts


def test_only_the_first_name_is_the_official_one():
    names = human_names("Yamada^Tarou=山田^太郎")

    assert [name["use"] for name in names] == ["official", "usual"]
    assert (names[0]["family"], names[0]["given"]) == ("Yamada", ["Tarou"])


@pytest.mark.parametrize(
    ("written", "spelled"),
    [("20261122", "2026-11-22"), ("20260230", None), ("", None), ("2026", None)],
)
def test_only_a_real_date_is_told(written: str, spelled: str | None):
    assert date_of(written) == spelled


def test_text_of_a_report_is_never_markup():
    div = narrative('<script>alert(1)</script> & "more"\nnext')["div"]

    assert "<script>" not in div
    assert div.count("<br/>") == 1


@given(st.text())
def test_cleaned_text_can_always_be_written_and_stays_clean(text: str):
    cleaned = clean(text)

    assert cleaned.encode().decode() == cleaned
    assert clean(cleaned) == cleaned


@given(system=st.text(min_size=1, max_size=20), value=st.text(min_size=1, max_size=20))
def test_a_query_says_exactly_the_identifier(system: str, value: str):
    system, value = clean(system), clean(value)
    (told,) = parse_qs(Identifier(system, value).query(), keep_blank_values=True)["identifier"]
    parts, escaped = [""], False
    for letter in told:
        if not escaped and letter == "\\":
            escaped = True
        elif not escaped and letter == "|":
            parts.append("")
        else:
            parts[-1], escaped = parts[-1] + letter, False

    assert parts == [system, value]


def test_two_sites_may_have_the_same_accession_number_and_patient_id():
    naming = Naming()

    assert naming.accession("site-1", "A1") != naming.accession("site-2", "A1")
    assert naming.patient("VAN 1", "P", "r") != naming.patient("VAN 2", "P", "r")


@pytest.mark.parametrize(
    ("issuer", "system"),
    [
        ("1.2.3.4", "urn:oid:1.2.3.4"),
        ("urn:oid:1.2.3", "urn:oid:1.2.3"),
        ("https://moh.example/iin", "https://moh.example/iin"),
        ("VAN 1|x", "https://telerad.example/id/patient/VAN%201%7Cx"),
    ],
)
def test_the_issuer_of_a_patient_id_becomes_its_system(issuer: str, system: str):
    assert Naming().patient(issuer, "P", "r") == Identifier(system, "P")


def test_a_digest_is_named_as_rfc_6920_says():
    # RFC 6920 section 8.1: the SHA-256 of 'Hello World!'.
    assert sha256_uri(sha256_of(b"Hello World!")).value == (
        "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"
    )


@pytest.mark.parametrize("root", ["telerad", "https://x/", ""])
def test_the_root_of_identifiers_must_be_a_uri(root: str):
    with pytest.raises(Misconfigured):
        Naming(root)
