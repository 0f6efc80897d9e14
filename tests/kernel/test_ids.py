"""Identifiers that are the same whenever they are derived from the same things."""

import uuid
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kernel.ids import derived, derived_uid, fresh_at, is_uid

PARTS = st.lists(st.text(min_size=1, max_size=20).filter(lambda t: "\x1f" not in t), max_size=4)


@given(PARTS, PARTS)
def test_derived_ids_are_equal_exactly_when_their_parts_are(
    one: list[str], other: list[str]
) -> None:
    assert (derived("case", *one) == derived("case", *other)) == (one == other)


@given(PARTS)
def test_derived_ids_are_uuids_of_version_5(parts: list[str]) -> None:
    """Those that were given out before are found again whatever makes them."""
    namespace = uuid.UUID("5d3b1a52-0d0d-5e52-9a0c-6f2f1f3a7c11")
    assert derived("case", *parts) == str(uuid.uuid5(namespace, "\x1f".join(["case", *parts])))


@given(st.lists(st.integers(0, 250_000_000_000_000), min_size=2))
def test_fresh_ids_sort_by_the_millisecond_in_which_they_are_made(microseconds: list[int]) -> None:
    moments = [datetime.fromtimestamp(each / 1e6, UTC) for each in microseconds]
    made = [fresh_at(each) for each in moments]

    assert len(set(made)) == len(made)
    for each in made:
        read = uuid.UUID(each)
        assert (read.version, read.variant) == (7, uuid.RFC_4122)
    at = sorted(range(len(made)), key=made.__getitem__)
    milliseconds = [int(moments[n].timestamp() * 1000) for n in at]
    assert milliseconds == sorted(milliseconds)


@given(PARTS)
def test_a_derived_uid_is_a_valid_uid(parts: list[str]) -> None:
    assert is_uid(derived_uid("report", *parts))


@given(st.text(max_size=80))
def test_only_digits_and_dots_within_64_characters_are_a_uid(text: str) -> None:
    if is_uid(text):
        assert set(text) <= set("0123456789.")
        assert len(text) <= 64
        assert ".." not in text


def test_a_path_is_not_a_uid() -> None:
    assert not is_uid("../../etc/passwd")
    assert not is_uid("1.2.3\n")
    assert not is_uid("1.2.3\0")
    assert not is_uid("")
