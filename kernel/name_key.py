"""Names of people as they are compared: one key for the many ways in which one name is written.

A name comes in Cyrillic from one device, transliterated by one of several rules from the next,
and with or without accents from a third.  The folded key is what is left of all these spellings;
it is for searching only, is coarser than a name, and is never shown.

What falls together: case; accents; doubled letters; Cyrillic (Russian, Ukrainian, Bulgarian,
Kazakh and the rest of the alphabets that use these letters) with its transliterations by
ICAO 9303, ISO 9, BGN/PCGN and the national passport rules: х as kh, h or x, г as g or h, ц as ts,
tz or c, ш as sh, š, sz or sch, щ as shch or sht, ж as zh, ž or j, й, ы, і and ї as y, i or j,
я as ya, ia or ja, е, є and ё as e, ye, ie or je, қ as q or k, umlauts with e or without.

References
----------
ICAO Doc 9303 part 3, section 6 (transliteration of Cyrillic); ISO 9:1995; the resolution of the
Cabinet of Ministers of Ukraine of 27 January 2010 no. 55; the Transliteration Act of Bulgaria of
2009; DICOM PS3.5 section 6.2.1 (components and component groups of a name).
"""

import re
import unicodedata
from functools import lru_cache
from itertools import islice, product

MAX_KEY = 400
MAX_WORDS = 12
MAX_READINGS = 16

# Before accents are taken off: they tell these letters from s, c and z.
_HACEKS = {"š": "sh", "č": "ch", "ž": "zh"}
_LETTERS = str.maketrans(
    {
        "а": "a", "б": "b", "в": "v", "г": "g", "ґ": "g", "ғ": "g", "д": "d", "ђ": "d", "е": "e",
        "є": "e", "ж": "zh", "з": "z", "и": "i", "і": "i", "ы": "i", "ј": "i", "к": "k", "қ": "k",
        "л": "l", "љ": "l", "м": "m", "н": "n", "ң": "n", "њ": "n", "о": "o", "ө": "o", "п": "p",
        "р": "r", "с": "s", "т": "t", "ћ": "c", "у": "u", "ұ": "u", "ү": "u", "ф": "f", "х": "kh",
        "һ": "h", "ц": "ts", "ч": "ch", "џ": "ch", "ш": "sh", "щ": "shch", "ъ": "a", "ь": None,
        "э": "e", "ю": "iu", "я": "ia", "ә": "a",
        "ł": "l", "đ": "d", "ð": "d", "þ": "t", "ø": "o", "œ": "oe", "æ": "ae", "ı": "i",
        "'": None, "`": None, "´": None, "ʹ": None, "ʺ": None, "ʼ": None, "ʻ": None,
        "‘": None, "’": None, "′": None, "″": None, '"': None,
        "-": " ", "‐": " ", "‑": " ", "–": " ", ".": " ", ",": " ", "\u00a0": " ",
        "y": "i", "q": "k", "w": "v",
    }
)  # fmt: skip
# In this order: the longer spellings first.
_SPELLINGS = (
    ("shch", "st"), ("szcz", "st"), ("sht", "st"), ("sch", "s"), ("sh", "s"), ("sz", "s"),
    ("tch", "c"), ("ch", "c"), ("cz", "c"), ("tz", "c"), ("ts", "c"), ("ck", "k"), ("zh", "z"),
    ("kh", "h"), ("gh", "h"), ("ph", "f"), ("th", "t"), ("g", "h"),
    ("ie", "e"), ("io", "e"), ("iu", "u"), ("ae", "a"), ("oe", "o"), ("ue", "u"),
)  # fmt: skip
# ks of Alexander, or х of GOST 7.79 system B; й of most rules, or ж of the Kazakh ones.
_AMBIGUOUS = {"x": ("ks", "h"), "j": ("i", "zh")}

_SILENT = re.compile("ъ(?=[еёюяєї])")  # else a vowel, as in Bulgarian
_DOUBLED = re.compile(r"([^\W\d_])\1+")
_SPACES = re.compile(r" +(?=[\^=])|(?<=[\^=]) +| +(?= )")
_BETWEEN_WORDS = re.compile(r"[\^ ]+")
_WILD = re.compile(r"([*?])")
_WILD_CARDS = frozenset("*?")


def plain(name: str) -> str:
    """Return a name composed, in lower case, without empty components at its end.

    Letters whose lower case is longer stay as they are, so that each character stands for one.
    """
    if name.isascii():
        return name.lower().rstrip("^= ").strip()
    composed = unicodedata.normalize("NFC", name)
    lower = ((each, each.lower()) for each in composed)
    return "".join(low if len(low) == 1 else each for each, low in lower).rstrip("^= ").strip()


@lru_cache(maxsize=64)  # whole names and their words are made of the same
def folded(name: str) -> tuple[str, ...]:
    """Return the folded keys of a name: one, or two for each letter that has two meanings.

    Folding a key again gives the key.
    """
    return tuple(dict.fromkeys(_ended(key) for key in _readings(name)))


def folded_pattern(pattern: str) -> tuple[str, ...]:
    """Return the folded keys of a name with the wild cards ``*`` and ``?``, which stay."""
    parts = [(part,) if part in _WILD_CARDS else _readings(part) for part in _WILD.split(pattern)]
    made = islice(product(*parts), MAX_READINGS)
    return tuple(dict.fromkeys(_ended("".join(reading)) for reading in made))


def keys_of(name: str) -> frozenset[str]:
    """Return what a whole name, or one component group of it, is found by."""
    groups = {name, *name.split("=")}
    found = {plain(group) for group in groups}
    for group in groups:
        found.update(folded(group))
    return frozenset(key[:MAX_KEY] for key in found if key)


def words_of(name: str) -> frozenset[str]:
    """Return the folded words of a name in any of its component groups, at most `MAX_WORDS`."""
    words: dict[str, None] = {}
    for group in name.split("="):
        for key in folded(group):
            words |= dict.fromkeys(word for word in _BETWEEN_WORDS.split(key) if word)
    return frozenset(word[:MAX_KEY] for word in list(words)[:MAX_WORDS])


def words_of_pattern(pattern: str) -> tuple[tuple[str, ...], ...]:
    """Return the folded keys of each word of what is looked for; wild cards inside them stay."""
    readings = (
        [word for word in _BETWEEN_WORDS.split(key) if word.strip("*?")]
        for key in folded_pattern(pattern.replace("=", "^"))
    )
    return tuple(tuple(dict.fromkeys(word)) for word in zip(*readings, strict=False))[:MAX_WORDS]


def _readings(text: str) -> tuple[str, ...]:
    keys = [_letters(unicodedata.normalize("NFC", text).casefold())]
    for letter, meanings in _AMBIGUOUS.items():
        if letter in keys[0]:
            keys = [key.replace(letter, meaning) for meaning in meanings for key in keys]
    return tuple(map(_reduced, keys))


def _ended(key: str) -> str:
    return key.rstrip("^= ").strip()


def _letters(text: str) -> str:
    for letter, spelling in _HACEKS.items():
        text = text.replace(letter, spelling)
    if "ъ" in text:
        text = _SILENT.sub("", text)
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text)
        text = "".join(each for each in apart if not unicodedata.combining(each)).casefold()
    return text.translate(_LETTERS)


def _reduced(key: str) -> str:
    """Bring the spellings of a sound together, until nothing is left to bring together."""
    before = ""
    while key != before:
        before = key
        for spelling, sound in _SPELLINGS:
            key = key.replace(spelling, sound)
        key = _DOUBLED.sub(r"\1", key)
        key = _SPACES.sub("", key)
    return key
