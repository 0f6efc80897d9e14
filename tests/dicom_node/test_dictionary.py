"""The data dictionary answers as that of the toolkit from which its table is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from dicom_node.dictionary import is_registered, keyword_of, tag_of, vr_of

REGISTERED = st.sampled_from(sorted(DicomDictionary))


@st.composite
def repeated(draw: st.DrawFn) -> int:
    """Return a tag of a repeating group."""
    mask = draw(st.sampled_from(sorted(RepeatersDictionary)))
    digits = (draw(st.sampled_from("0123456789abcdef")) if d == "x" else d for d in mask)
    return int("".join(digits), 16)


def vr_told(tag: int) -> str | None:
    try:
        return vr_of(tag)
    except KeyError:
        return None


def vr_of_the_toolkit(tag: int) -> str | None:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return None


@given(REGISTERED | repeated() | st.integers(0, 0xFFFFFFFF))
def test_each_tag_is_what_the_toolkit_says(tag: int):
    assert vr_told(tag) == vr_of_the_toolkit(tag)
    assert keyword_of(tag) == keyword_for_tag(tag)
    assert is_registered(tag) == (tag in DicomDictionary)


@given(REGISTERED.map(lambda tag: DicomDictionary[tag][4]).filter(bool))
def test_each_keyword_has_its_tag(keyword: str):
    assert tag_of(keyword) == tag_for_keyword(keyword)


@pytest.mark.parametrize("keyword", ["", "NoSuchKeyword", "OverlayData"])
def test_what_is_no_keyword_of_one_tag_is_not_found(keyword: str):
    with pytest.raises(KeyError):
        tag_of(keyword)


def test_a_private_tag_has_no_vr_and_no_keyword():
    with pytest.raises(KeyError):
        vr_of(0x60010010)
    assert keyword_of(0x60010010) == ""
