"""Decoding text by Specific Character Set (0008,0005), and guessing well where it is absent.

References
----------
DICOM PS3.3 section C.12.1.1.2 (defined terms), PS3.5 section 6.1 and Annexes H to K.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ESCAPE = b"\x1b"
_LATIN = "latin_1"

_CODECS = {
    "": _LATIN,
    "6": _LATIN,
    "13": "shift_jis",
    "58": "gb2312",
    "87": "iso2022_jp",
    "100": _LATIN,
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "149": "euc_kr",
    "159": "iso2022_jp_2",
    "166": "tis_620",
    "192": "utf_8",
    "203": "iso8859_15",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
_EXTENDING = ("58", "87", "149", "159")  # defined with code extension alone
DEFINED_TERMS = (
    *(f"ISO_IR {term}" for term in _CODECS if term.isdigit() and term not in (*_EXTENDING, "6")),
    "GB18030",
    "GBK",
    *(f"ISO 2022 IR {term}" for term in _EXTENDING),
)
"""What Specific Character Set may hold (PS3.3 section C.12.1.1.2)."""
# What senders write instead of a defined term, seen in the field.
_ALIASES = {
    "UTF-8": "192",
    "UTF8": "192",
    "ISO-8859-1": "100",
    "LATIN1": "100",
    "ISO-8859-5": "144",
    "ISO2022GBK": "GBK",  # in PS3.3 until CP 1234, as is the next
    "ISO202258": "58",
}
_OTHER_CODECS = {"CP1251": "cp1251", "WINDOWS-1251": "cp1251", "KOI8-R": "koi8_r"}
# Escape sequence -> codec of what follows (PS3.3 tables C.12-3 and C.12-4).  ESC (B, ASCII, brings
# back the first set: ASCII is in each, and nothing is said of bytes above 7F (PS3.5 6.1.2.5.1).
_SWITCHES = {
    b"-A": _LATIN,
    b"-B": "iso8859_2",
    b"-C": "iso8859_3",
    b"-D": "iso8859_4",
    b"-F": "iso8859_7",
    b"-G": "iso8859_6",
    b"-H": "iso8859_8",
    b"-L": "iso8859_5",
    b"-M": "iso8859_9",
    b"-T": "tis_620",
    b"-b": "iso8859_15",
    b")I": "shift_jis",
    b"(J": "shift_jis",
    b"$B": "iso2022_jp",
    b"$(D": "iso2022_jp_2",
    b"$)C": "euc_kr",
    b"$)A": "gb2312",
}
_KEEP_ESCAPE = frozenset({"iso2022_jp", "iso2022_jp_2"})
_SWITCH = re.compile(rb"\x1b(\$[()][A-Za-z]|\$B|[()\-][A-Za-z])")
_TERM = re.compile(r"^ISO[_ -]?(?:IR|2022 ?IR)[_ -]?(\d+)$")
_CYRILLIC = "cp1251"
# Three and more in a row: rare in Latin words, usual in Cyrillic ones.
_HIGH_RUN = re.compile(rb"[\xa8\xaa\xaf\xb2\xb3\xb8\xba\xbf-\xff]{3,}")
_ASCII_LETTER = re.compile(rb"[A-Za-z]")
_DELIMITER = re.compile(rb"[\\^=\r\n\t\f]")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """How text of one data set is decoded.

    `declared` is false where the data set says nothing usable: then text that is not ASCII is
    tried as UTF-8, which other encodings hardly ever imitate, and else read in the first codec,
    the device's default.  Where not even that is known, words that consist of high bytes are taken
    for Cyrillic (Windows-1251), as Latin ones have a few among their letters.
    """

    codecs: tuple[str, ...]
    declared: bool
    defined: bool = False
    """Whether it is named by defined terms of the standard alone."""
    known: bool = True
    """False where there is not even a default of the device."""

    def decode(self, raw: bytes) -> str:
        """Return the text; a byte that does not fit becomes U+FFFD and never raises."""
        if raw.isascii() and _ESCAPE not in raw:
            return raw.decode("ascii")
        if not self.declared:
            return _guessed(raw, self.codecs[0] if self.known else "")
        pieces = _SWITCH.split(raw)
        text = _decoded(pieces[0], self.codecs[0])
        for switch, piece in zip(pieces[1::2], pieces[2::2], strict=True):
            text += self._decode_piece(switch, piece)
        return text

    def _decode_piece(self, switch: bytes, piece: bytes) -> str:
        """Decode what follows an escape sequence.

        A delimiter brings the first character set back (PS3.5 section 6.1.2.5.3); in the
        Japanese sets its byte is half of a character, and they are left before a delimiter.
        """
        codec = _SWITCHES.get(switch, self.codecs[0])
        if codec in _KEEP_ESCAPE:
            return _decoded(_ESCAPE + switch + piece, codec)
        delimiter = _DELIMITER.search(piece)
        if delimiter is None:
            return _decoded(piece, codec)
        until = delimiter.start()
        return _decoded(piece[:until], codec) + _decoded(piece[until:], self.codecs[0])


def character_set(terms: Sequence[str], *, default: str) -> CharacterSet:
    """Return how to decode, from the values of (0008,0005) and the device's default.

    Parameters
    ----------
    terms
        Values as sent; unknown ones are passed over.
    default
        Defined term, or a code page such as ``CP1251``, for data sets that declare nothing.
    """
    known = tuple(codec for codec in map(_codec, terms) if codec is not None)
    if known and any(term.strip() for term in terms):
        defined = all(map(_is_defined, terms))
        return CharacterSet(known, declared=True, defined=defined)
    codec = _codec(default) if default else None
    return CharacterSet((codec or _LATIN,), declared=False, known=codec is not None)


def is_known(term: str) -> bool:
    """Say whether `term` may be a device's default."""
    return _codec(term) is not None


def _is_defined(term: str) -> bool:
    name = term.strip().upper()
    matched = _TERM.match(name)
    return (matched.group(1) if matched else name) in _CODECS


def _codec(term: str) -> str | None:
    name = term.strip().upper()
    if name in _OTHER_CODECS:
        return _OTHER_CODECS[name]
    matched = _TERM.match(name)
    number = matched.group(1) if matched else _ALIASES.get(name.replace(" ", ""), name)
    return _CODECS.get(number)


def _guessed(raw: bytes, default: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return _decoded(raw, default or (_CYRILLIC if _looks_cyrillic(raw) else _LATIN))


def _looks_cyrillic(raw: bytes) -> bool:
    """Say whether most letters are where Windows-1251 has Cyrillic ones, side by side."""
    high = sum(map(len, _HIGH_RUN.findall(raw)))
    return high > len(_ASCII_LETTER.findall(raw))


def _decoded(raw: bytes, codec: str) -> str:
    return raw.decode(codec, "replace")
