"""Workitems in the JSON model: whatever a client says is read, or refused by name."""

from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dicom_node import data_sets
from dicom_node.data_sets import Attributes, attribute
from dicom_node.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicom_node.workitems import search
from dicom_node.workitems.errors import ValueInvalid, WorkitemMalformed
from dicom_node.workitems.model import from_model, to_model
from dicom_node.workitems.requirements import writable

TAGS = st.sampled_from(
    ["00741204", "00404005", "00100010", "00200013", "0040A30A", "00189073", "00189309",
     "0040A162", "00089459", "00280010", "00404018", "00080018", "00741234", "7FE00010", "00091001"]
)  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.dictionaries(st.sampled_from(["Alphabetic", "Phonetic", "x"]), st.text(max_size=5)),
)
MODELS = st.recursive(
    st.dictionaries(
        TAGS, st.fixed_dictionaries({"vr": st.text(max_size=2), "Value": st.lists(VALUES)})
    ),
    lambda inner: st.dictionaries(
        TAGS, st.fixed_dictionaries({"vr": st.just("SQ"), "Value": st.lists(inner, max_size=2)})
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(model=MODELS)
@example(model={"00089459": {"vr": "FL", "Value": [1e300]}})
@example(model={"00189073": {"vr": "FD", "Value": [None, 0]}})
@example(model={"00200013": {"vr": "IS", "Value": ["9" * 400]}})
@example(model={"00200013": {"vr": "IS", "Value": ["9" * 5000]}})
def test_any_data_set_is_read_or_refused_and_what_is_kept_can_be_told_on(model: object) -> None:
    with suppress(WorkitemMalformed):
        kept, _ = writable(from_model(model))
        told = to_model(kept)
        assert to_model(from_model(told)) == told
        for syntax in (EXPLICIT_LITTLE, IMPLICIT_LITTLE):
            data = data_sets.encode(list(kept.by_tag.values()), syntax)
            data_sets.decode(data, syntax)


@pytest.mark.parametrize(
    ("key", "held", "found"),
    [
        ("20260302", "20260302235959+0000", True),
        ("20260302", "20260303000000+0000", False),
        ("20260302-20260304", "20260303120000+0000", True),
        ("20260303-", "20260302", False),
        ("-202602", "20260228235959", True),
        ("-202602", "20260301000000", False),
        ("20260302093000+0200-20260302100000+0200", "20260302074500+0000", True),
        ("20260302093000+0200-20260302100000+0200", "20260302094500+0000", False),
        ("20260302093000-0500", "20260302143000+0000", True),
        ("2026", "20261231", True),
        ("20260302", "tomorrow", False),  # kept before such values were refused
        ("tomorrow", "20260302", False),
    ],
)
def test_moments_match_by_range_and_offset(key: str, held: str, found: bool) -> None:
    keyword = "ScheduledProcedureStepStartDateTime"
    keys, item = attribute(keyword, key), attribute(keyword, held)

    assert search.matches(Attributes({keys.tag: keys}), Attributes({item.tag: item})) is found


@pytest.mark.parametrize(
    ("key", "asked_in", "held", "held_in", "found"),
    [
        ("20260704222000+0000-20260704224000+0000", "", "20260705013000", "+0300", True),
        ("20260705012000+0000-20260705014000+0000", "", "20260705013000", "+0300", False),
        ("20260705012000-20260705014000", "+0300", "20260704223000+0000", "", True),
        ("20260705012000-20260705014000", "+0300", "20260705013000", "", False),
        ("20260705012000-20260705014000", "", "20260705013000", "+0300", True),  # of the same site
        ("20260705", "+0300", "20260704213000", "+0000", True),
        ("20260705", "nonsense", "20260705", "+9900", True),
    ],
)
def test_what_names_no_offset_has_that_of_its_data_set(
    key: str, asked_in: str, held: str, held_in: str, found: bool
) -> None:
    def told(moment: str, zone: str) -> Attributes:
        start = attribute("ScheduledProcedureStepStartDateTime", moment)
        offset = attribute("TimezoneOffsetFromUTC", zone)
        return Attributes({each.tag: each for each in (start, offset)})

    assert search.matches(told(key, asked_in), told(held, held_in)) is found


@settings(deadline=None)
@given(text=st.text("0123456789+-.", max_size=30))
def test_any_key_is_a_range_of_moments_or_refused(text: str) -> None:
    with suppress(ValueInvalid):
        first, last = search.moments(text)
        assert len(first) == len(last) == 14


def test_a_moment_that_is_none_hinders_no_search() -> None:
    wanted = Attributes()
    for key in (attribute("ScheduledProcedureStepStartDateTime", "20260101-20271231"),):
        wanted.by_tag[key.tag] = key
    for told, found in (("tomorrow", False), ("20261399", False), ("20260302", True)):
        one = attribute("ScheduledProcedureStepStartDateTime", told)
        assert search.matches(wanted, Attributes({one.tag: one})) is found
