"""The note of the journal: what is encoded once for many instances tells of each what it should."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.headers import Defaults
from dicom_node.note import encoded_note_of, from_note, note_of
from dicom_node.source import Announced, Route, Source

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SOURCES = st.builds(Source, st.sampled_from(Route), TEXTS, TEXTS, st.builds(Defaults, TEXTS, TEXTS))
AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


@given(SOURCES, st.lists(st.builds(Announced, TEXTS, TEXTS, TEXTS), min_size=1))
def test_an_encoded_note_says_what_a_note_does(source: Source, many: list[Announced]) -> None:
    for announced in many:
        told = json.loads(encoded_note_of(announced, source, AT))
        assert told == note_of(announced, source, AT)
        kept = source._replace(begins=True)  # what is recovered may be the first of its request
        assert from_note(told) == (announced, kept, AT)
