"""The size that a compressed picture says, by streams of independent encoders."""

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.codestream import StatedSize, stated_size

GREY = np.zeros((33, 35), np.uint8)
COLOUR = np.zeros((35, 33, 3), np.uint8)
ENCODERS = {
    "JPEG": imagecodecs.jpeg8_encode,
    "JPEG-LS": imagecodecs.jpegls_encode,
    "JPEG 2000": lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k"),
    "JP2": lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2"),
    "HTJ2K": lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
}


@pytest.mark.parametrize("form", ENCODERS)
def test_rows_columns_and_samples_are_read_from_the_head(form: str) -> None:
    grey, colour = (bytes(ENCODERS[form](pixels)) for pixels in (GREY, COLOUR))

    assert stated_size(grey) == StatedSize(33, 35, 1)
    assert stated_size(colour) == StatedSize(35, 33, 3)


def test_lossless_jpeg_is_read_as_well() -> None:
    assert stated_size(bytes(imagecodecs.ljpeg_encode(GREY))) == StatedSize(33, 35, 1)


def test_a_size_in_another_box_is_none() -> None:
    stream = bytes(ENCODERS["JP2"](GREY))
    start = stream.index(b"\xff\x4f\xff\x51")
    decoy = b"\0\0\0\x30xml " + bytes(ENCODERS["JPEG 2000"](COLOUR))[:40]
    box = stream.index(b"jp2c") - 4

    assert stated_size(stream[:box] + decoy + stream[box:]) == StatedSize(33, 35, 1)
    assert stated_size(stream[: start + 8]) is None


@given(st.sampled_from(sorted(ENCODERS)), st.integers(0, 120), st.binary(max_size=8))
def test_what_is_cut_or_damaged_says_a_size_or_none(form: str, at: int, noise: bytes) -> None:
    stream = bytes(ENCODERS[form](GREY))

    for damaged in (stream[:at], stream[:at] + noise + stream[at + len(noise) :]):
        assert isinstance(stated_size(damaged), StatedSize | None)


@given(st.binary(max_size=64))
def test_what_is_no_picture_says_none(data: bytes) -> None:
    assert stated_size(b"RIFF" + data) is None
