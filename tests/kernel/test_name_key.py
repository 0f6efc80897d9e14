"""Folded names: real spellings of one name meet, different names do not, and folding is stable."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import name_key

ROWS = [
    line.split(",")
    for line in (Path(__file__).parent / "spellings.csv").read_text().splitlines()
    if not line.startswith("#")
]
PAIRS = [(row[0], other) for row in ROWS for other in row[1:]]
text = st.text(
    st.characters(codec="utf-8") | st.sampled_from("абвгжщъьюяїёқғәұһšžčxj^= *?'-yhkst"),
    max_size=12,
)


@pytest.mark.parametrize(("own", "other"), PAIRS)
def test_the_spellings_of_a_name_have_a_key_in_common(own: str, other: str) -> None:
    assert set(name_key.folded(own)) & set(name_key.folded(other))
    assert set(name_key.folded(own)) & set(name_key.folded(other.upper()))


def test_different_names_of_the_table_stay_apart() -> None:
    keys = [set(name_key.folded(row[0])) for row in ROWS]

    assert len(keys) > 60
    assert not [n for n, key in enumerate(keys) if any(key & other for other in keys[:n])]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ivanov", "Ivanova"),
        ("Kim", "Khim"),
        ("Lee", "Li"),
        ("Petrov^Ivan", "Ivan^Petrov"),
        ("Bondar", "Bondarenko"),
        ("山田^太郎", "山本^太郎"),
    ],
)
def test_names_that_are_not_one_have_no_key_in_common(one: str, other: str) -> None:
    assert not set(name_key.folded(one)) & set(name_key.folded(other))


@given(text)
def test_folding_a_key_again_gives_the_key(name: str) -> None:
    for key in name_key.folded(name):
        assert name_key.folded(key) == (key,)


@given(text)
def test_case_never_counts(name: str) -> None:
    assert name_key.folded(name.upper().lower()) == name_key.folded(name.lower().upper().lower())


@given(text)
def test_a_pattern_without_wild_cards_is_the_name(name: str) -> None:
    name = name.replace("*", "").replace("?", "")

    assert set(name_key.folded_pattern(name)) == set(name_key.folded(name))


@given(text)
def test_what_a_name_is_found_by_holds_the_name_itself(name: str) -> None:
    keys = name_key.keys_of(name)

    assert not name_key.plain(name) or name_key.plain(name) in keys
    assert all(name_key.plain(group) in keys for group in name.split("=") if name_key.plain(group))


def test_a_pattern_keeps_its_components_apart() -> None:
    assert name_key.folded_pattern("Иванов^*") == ("ivanov^*",)
    assert name_key.folded_pattern("Иванов*") == ("ivanov*",)
    assert name_key.folded_pattern("*^Ив?н^^") == ("*^iv?n",)


def test_words_are_those_of_all_component_groups() -> None:
    assert name_key.words_of("Петрова-Ганс^Анна Мария=山田^太郎") == frozenset(
        {"petrova", "hans", "ana", "maria", "山田", "太郎"}
    )
    assert name_key.words_of_pattern("anna ПЕТР* *") == (("ana",), ("petr*",))
    assert name_key.words_of_pattern("Alexandr") == (("aleksandr", "alehandr"),)


@given(st.text("xj*", max_size=400))
def test_however_many_letters_have_two_meanings_the_readings_are_few(pattern: str) -> None:
    assert len(name_key.folded_pattern(pattern)) <= name_key.MAX_READINGS
