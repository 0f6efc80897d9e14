"""Replacing in a stream is replacing in the whole, however the stream is cut."""

from hypothesis import example, given
from hypothesis import strategies as st

from dicom_node.replaced import replaced


@given(st.lists(st.text("ab-").map(str.encode)), st.text("ab", min_size=1, max_size=4))
@example([b"xa", b"aay"], "aa")
@example([b"ab", b"ab", b"a"], "aba")
def test_the_cuts_of_a_stream_do_not_matter(pieces: list[bytes], old: str) -> None:
    whole = b"".join(pieces)

    assert b"".join(replaced(pieces, old.encode(), b"NEW")) == whole.replace(old.encode(), b"NEW")
