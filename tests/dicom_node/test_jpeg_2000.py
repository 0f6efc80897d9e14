"""JPEG 2000 of small pictures: as large ones, without loss and in the precision that is told."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame

from dicom_node.errors import PictureRefused
from dicom_node.frames import Frames
from dicom_node.jpeg_2000 import encoded
from dicom_node.transcode import transcoded
from dicom_node.uids import JPEG_2000_LOSSLESS
from tests.dicom_node.samples import a_slice, as_file

# pydicom warns of pictures that compression makes as long as they were.
pytestmark = pytest.mark.filterwarnings("ignore")

SIDES = st.integers(1, 70)


def a_picture(
    rows: int, columns: int, bits: int, *, signed: bool = False, samples: int = 1, frames: int = 1
) -> tuple[Dataset, np.ndarray]:
    """Return a picture of noise that takes the whole range, and its samples."""
    low, high = (-(1 << (bits - 1)), 1 << (bits - 1)) if signed else (0, 1 << bits)
    allocated = 8 if bits <= 8 else 16 if bits <= 16 else 32
    shape = (frames, rows, columns, samples)
    values = np.random.default_rng(rows * 97 + columns).integers(low, high, shape)
    pixels = values.astype(f"<{'i' if signed else 'u'}{allocated // 8}")
    data_set = a_slice()
    data_set.Rows, data_set.Columns, data_set.NumberOfFrames = rows, columns, frames
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = allocated, bits, bits - 1
    data_set.PixelRepresentation = int(signed)
    if samples == 3:
        data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 3, "RGB"
        data_set.PlanarConfiguration = 0
    data_set.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    data_set["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return data_set, pixels


@settings(deadline=None, max_examples=80)
@given(SIDES, SIDES, st.integers(1, 24), st.booleans(), st.integers(1, 3))
def test_small_pictures_keep_every_sample(
    rows: int, columns: int, bits: int, signed: bool, frames: int
) -> None:
    data_set, pixels = a_picture(rows, columns, bits, signed=signed, frames=frames)

    made = dcmread(BytesIO(transcoded(as_file(data_set), JPEG_2000_LOSSLESS)))

    assert made.file_meta.TransferSyntaxUID == JPEG_2000_LOSSLESS
    assert (made.pixel_array.ravel() == pixels.ravel()).all()
    # PS3.5 section A.4.4: what the attributes say is what the stream says.
    siz = get_frame(made.PixelData, frames - 1, number_of_frames=frames)[4:]
    assert siz[38] == (bits - 1) | (0x80 if signed else 0)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 40), (31, 31), (40, 5)])
def test_small_colours_keep_every_sample(rows: int, columns: int) -> None:
    data_set, pixels = a_picture(rows, columns, 8, samples=3, frames=2)

    whole = transcoded(as_file(data_set), JPEG_2000_LOSSLESS)

    made = dcmread(BytesIO(whole))
    assert made.PhotometricInterpretation == "RGB"
    assert (made.pixel_array.ravel() == pixels.ravel()).all()
    assert Frames(BytesIO(whole)).plain(2) == pixels[1].tobytes()


def test_bits_that_no_sample_uses_are_none_of_its_value() -> None:
    data_set, _ = a_picture(9, 9, 12)
    data_set.PixelData = np.full(81, 0xF123, np.uint16).tobytes()

    made = dcmread(BytesIO(transcoded(as_file(data_set), JPEG_2000_LOSSLESS)))

    assert (made.pixel_array == 0x123).all()
    with pytest.raises(PictureRefused, match="Bits Stored"):
        encoded(np.full((9, 9), 0xF123, np.uint16), bits=12, signed=False)


def test_high_bits_elsewhere_are_refused_in_words() -> None:
    data_set, _ = a_picture(8, 8, 12)
    data_set.HighBit = 15
    with pytest.raises(PictureRefused, match="high bit"):
        transcoded(as_file(data_set), JPEG_2000_LOSSLESS)


@pytest.mark.parametrize("bits", [25, 32])
def test_longer_samples_are_refused_in_words(bits: int) -> None:
    data_set, _ = a_picture(9, 9, bits)

    with pytest.raises(PictureRefused, match="more than 24 bits"):
        transcoded(as_file(data_set), JPEG_2000_LOSSLESS)
