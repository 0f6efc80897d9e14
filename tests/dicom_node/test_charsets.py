"""Every character set of the conformance statement is read as pydicom reads it."""

import re

import pytest
from pydicom.charset import (
    STAND_ALONE_ENCODINGS,
    convert_encodings,
    decode_bytes,
    encode_string,
    python_encoding,
)
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from dicom_node.charsets import DEFINED_TERMS, character_set

TEXTS = {
    "6": "Buc^Jerome",
    "13": "ﾔﾏﾀﾞ^ﾀﾛｳ",
    "58": "张^小东",
    "87": "山田^太郎 やまだ カタカナ",
    "100": "Buc^Jérôme Ångström ÄÖÜß ñ ¿?",
    "101": "Wałęsa^Dvořák Őszi Ţepeş",
    "109": "Ĉiuĵaŭde^Ĝiħ",
    "110": "Ķēniņš^Šūpoļi Ægir",
    "126": "Διονυσιος^Παπαδόπουλος",
    "127": "قباني^لنزار",
    "138": "שרון^דבורה",
    "144": "Люкceмбypг^Ёлка щука",
    "148": "Çavuşoğlu^Işık İnci",
    "149": "김희중^金喜中",
    "159": "齩龗",
    "166": "ยืนยง^โอภากุล",
    "192": "Wang^XiaoDong=王^小东 Ωß שלום 😀",
    "203": "Œuvre^Šžÿ €",
}
GB18030, GBK = "Wang^XiaoDong=王^小东 㐂", "王^小东 張學友"

IR_58 = "ISO 2022 IR 58"
"""pydicom 3.0 writes no escape sequence for it, and leaves those that it reads in the text."""
UNKNOWN_TO_PYDICOM = {
    "ISO_IR 203": "Latin alphabet no. 9 came into PS3.3 after pydicom's table (3.0)",
    "ISO 2022 IR 203": "the same with code extension",
}
UNDEFINED = {
    "": "no term: the default repertoire, as ISO 2022 IR 6",
    "ISO_IR 6": "PS3.3 table C.12-2 has no term for the default repertoire without extension",
    "ISO 2022 GBK": "a wrong spelling of GBK that PS3.3 had until CP 1234",
    "ISO 2022 58": "a wrong spelling of ISO 2022 IR 58 that PS3.3 had until CP 1234",
}


def extended(term: str) -> list[str]:
    """Return the term with which a set of one byte extends another (PS3.3 table C.12-3)."""
    number = term.removeprefix("ISO_IR ")
    return [] if number == term or term in STAND_ALONE_ENCODINGS else [f"ISO 2022 IR {number}"]


DEFINED = {*DEFINED_TERMS, *(each for term in DEFINED_TERMS for each in extended(term))} | {
    "ISO 2022 IR 6"
}


def words_in(term: str) -> list[str]:
    """Return the words of that text: pydicom writes a word in one set."""
    return re.split(r"[\^ =]", text_in(term))


def text_in(term: str) -> str:
    """Return a text in the script of a term."""
    return {"GB18030": GB18030, "GBK": GBK}.get(term) or TEXTS[term.rpartition(" ")[2]]


def test_pydicom_knows_the_same_terms_but_for_those_that_are_named() -> None:
    assert set(python_encoding) - DEFINED == set(UNDEFINED)
    assert DEFINED - set(python_encoding) == set(UNKNOWN_TO_PYDICOM)


@pytest.mark.parametrize("term", sorted(DEFINED - set(UNKNOWN_TO_PYDICOM)))
def test_a_text_is_read_as_pydicom_reads_it(term: str) -> None:
    for word in words_in(term):
        check([term], word)


@pytest.mark.parametrize(
    "term",
    sorted(
        each for each in DEFINED - set(UNKNOWN_TO_PYDICOM) - {IR_58} if each.startswith("ISO 2022")
    ),
)
def test_it_is_read_behind_an_escape_sequence(term: str) -> None:
    for word in words_in(term):
        check(["", term], word)


@pytest.mark.parametrize(
    ("term", "switch", "codec"),
    [(IR_58, b"\x1b$)A", "gb2312"), ("ISO 2022 IR 203", b"\x1b-b", "iso8859_15")],
)
def test_so_is_what_pydicom_does_not_write_or_read(term: str, switch: bytes, codec: str) -> None:
    for word in words_in(term):
        assert read(["", term], b"Wang " + switch + word.encode(codec)) == f"Wang {word}"


@pytest.mark.parametrize("term", sorted(UNDEFINED))
def test_what_is_no_term_is_read_as_it_is_meant(term: str) -> None:
    told = {"": "6", "ISO_IR 6": "6", "ISO 2022 GBK": "GBK", "ISO 2022 58": "58"}[term]
    raw = text_in(told).encode({"6": "ascii", "GBK": "gbk", "58": "gb2312"}[told])
    assert read([term], raw) == text_in(told) == pydicom_reads([term], raw)
    assert not character_set([term], default="").defined or term == "ISO_IR 6"


def test_latin_9_is_read_without_code_extension() -> None:
    assert read(["ISO_IR 203"], TEXTS["203"].encode("iso8859_15")) == TEXTS["203"]


ANNEXES = {
    "H.3.1": (
        ["", "ISO 2022 IR 87"],
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "H.3.2": (
        ["ISO 2022 IR 13", "ISO 2022 IR 87"],
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J="
        b"\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    ),
    "I.2": (
        ["", "ISO 2022 IR 149"],
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7="
        b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
        "Hong^Gildong=洪^吉洞=홍^길동",
    ),
    "J.3": (["ISO_IR 192"], "Wang^XiaoDong=王^小东".encode(), "Wang^XiaoDong=王^小东"),
    "J.4": (["GB18030"], "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
    "K.2": (
        ["", "ISO 2022 IR 58"],
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
        "Zhang^XiaoDong=张^小东=",
    ),
}


@pytest.mark.parametrize("clause", ANNEXES)
def test_the_examples_of_ps35_are_read(clause: str) -> None:
    terms, raw, text = ANNEXES[clause]
    assert read(terms, raw) == text
    theirs = pydicom_reads(terms, raw)
    assert (theirs.replace("\x1b$)A", "") if IR_58 in terms else theirs) == text


def test_several_sets_are_read_one_after_the_other() -> None:
    terms = ["ISO 2022 IR 6", "ISO 2022 IR 100", "ISO 2022 IR 144", "ISO 2022 IR 126"]
    text = "Dionysios Jérôme Διονυσιος Люкceмбypг"
    raw = encode_string(text, convert_encodings(terms))
    assert read(terms, raw) == text == pydicom_reads(terms, raw)


def check(terms: list[str], text: str) -> None:
    raw = encode_string(text, convert_encodings(terms))
    assert read(terms, raw) == text == pydicom_reads(terms, raw)


def read(terms: list[str], raw: bytes) -> str:
    """Return the text as telerad reads it."""
    return character_set(terms, default="").decode(raw)


def pydicom_reads(terms: list[str], raw: bytes) -> str:
    """Return the text as pydicom reads it, where a name is divided."""
    return decode_bytes(raw, convert_encodings(terms), TEXT_VR_DELIMS | PN_DELIMS)
