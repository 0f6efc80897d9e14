"""Big endian brought into little endian: words of every length, and what cannot be told apart."""

import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian

from dicom_node.byte_order import WORDS, swapped
from dicom_node.errors import PictureRefused
from dicom_node.frames import Frames
from dicom_node.pictures import render
from dicom_node.transcode import transcoded
from dicom_node.uids import COMPRESSIONS, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.dicom_node.samples import a_slice
from tests.services.missing import program, required

VALUES: dict[str, np.ndarray] = {
    "OW": np.array([1, 0x0203, 65535, 7], np.uint16),
    "OF": np.array([1.5, -2.25e9, 3e-5], np.float32),
    "OL": np.array([1, 2, 0x01020304, 4_000_000_000], np.uint32),
    "OD": np.array([1.5, -2.25e90], np.float64),
    "OV": np.array([1, 0x0102030405060708], np.uint64),
}


def as_big(data_set: Dataset) -> bytes:
    """Encode a file in big endian; pydicom writes the bytes of words as they are."""
    data_set.preamble, data_set.file_meta = bytes(128), FileMetaDataset()
    data_set.file_meta.FileMetaInformationGroupLength = 0  # the writer knows it
    data_set.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    out = BytesIO()
    dcmwrite(out, data_set, implicit_vr=False, little_endian=False, force_encoding=True)
    return out.getvalue()


def with_words(vr: str) -> Dataset:
    """Return an instance without pixels that has words of a kind, in an item as well."""
    data_set = a_slice()
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        del data_set[keyword]
    value = big(VALUES[vr])
    item = Dataset()
    item.add_new(0x00091002, vr, value)
    data_set.add_new(0x00090010, "LO", "TELERAD TEST")
    data_set.add_new(0x00091001, vr, value)
    data_set.add_new(0x00091003, "SQ", [item])
    item.add_new(0x00090010, "LO", "TELERAD TEST")
    return data_set


def big(values: np.ndarray) -> bytes:
    """Return values in big endian."""
    return values.astype(values.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("vr", sorted(WORDS))
def test_words_of_every_length_keep_their_values(vr: str) -> None:
    made = dcmread(BytesIO(transcoded(as_big(with_words(vr)), EXPLICIT_LITTLE)))

    little = VALUES[vr].astype(VALUES[vr].dtype.newbyteorder("<")).tobytes()
    assert made.file_meta.TransferSyntaxUID == EXPLICIT_LITTLE
    assert made[0x00091001].value == little
    assert made[0x00091003].value[0][0x00091002].value == little


@pytest.mark.parametrize("vr", sorted(WORDS))
def test_dcmtk_brings_them_into_the_same_order(vr: str, tmp_path: Path) -> None:
    with required():
        dcmconv = program("dcmconv")
    theirs = tmp_path / "theirs.dcm"
    (tmp_path / "big.dcm").write_bytes(data := as_big(with_words(vr)))
    subprocess.run([dcmconv, "+te", tmp_path / "big.dcm", theirs], check=True, timeout=60)

    told, ours = dcmread(theirs), dcmread(BytesIO(transcoded(data, EXPLICIT_LITTLE)))
    assert told[0x00091001].value == ours[0x00091001].value


@given(st.binary(max_size=64), st.sampled_from(sorted(set(WORDS.values()))))
def test_swapped_twice_is_as_it_was(value: bytes, length: int) -> None:
    assert swapped(swapped(value, length), length) == value


@pytest.mark.parametrize(("vr", "tag"), [("OF", 0x7FE00008), ("OD", 0x7FE00009)])
def test_samples_that_are_real_numbers_keep_their_values(vr: str, tag: int) -> None:
    data_set, values = a_slice(side=4), np.linspace(-3, 1e6, 16).astype(f"f{WORDS[vr]}")
    del data_set.PixelData, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation
    data_set.BitsAllocated = 8 * WORDS[vr]
    data_set.add_new(tag, vr, big(values))
    data = as_big(data_set)

    assert Frames(BytesIO(data)).plain(1) == values.tobytes()
    assert dcmread(BytesIO(transcoded(data, EXPLICIT_LITTLE)))[tag].value == values.tobytes()


@pytest.mark.parametrize(("bits", "vr"), [(8, "OB"), (8, "OW"), (16, "OW")])
def test_samples_that_fit_into_a_word_keep_their_values(bits: int, vr: str) -> None:
    data_set, samples = a_slice(side=4), np.arange(16, dtype=f"u{bits // 8}")
    data_set.BitsAllocated = data_set.BitsStored = bits
    data_set.HighBit = bits - 1
    data_set.PixelData = big(samples) if bits == 16 or vr == "OB" else swapped(samples.tobytes(), 2)
    data_set["PixelData"].VR = vr
    data = as_big(data_set)

    assert Frames(BytesIO(data)).plain(1) == samples.tobytes()
    made = dcmread(BytesIO(transcoded(data, EXPLICIT_LITTLE)))
    assert (made.pixel_array.ravel() == samples).all()


def a_dose(as_words: bool) -> tuple[bytes, np.ndarray]:
    """Return a file in big endian, by words of 16 bits or by samples of 32, and these."""
    data_set, samples = a_slice(side=4), np.arange(16, dtype=np.uint32) * 70_001
    data_set.BitsAllocated = data_set.BitsStored = 32
    data_set.HighBit = 31
    data_set.PixelData = swapped(samples.tobytes(), 2) if as_words else big(samples)
    data_set["PixelData"].VR = "OW"
    return as_big(data_set), samples


def test_two_readers_disagree_on_longer_samples(tmp_path: Path) -> None:
    """What the refusal says: DCMTK reads the one, pydicom the other, and each only that."""
    with required():
        dcmconv = program("dcmconv")
    for as_words in (True, False):
        data, samples = a_dose(as_words)
        (tmp_path / "big.dcm").write_bytes(data)
        made = tmp_path / "little.dcm"
        subprocess.run([dcmconv, "+te", tmp_path / "big.dcm", made], check=True, timeout=60)
        by_dcmtk = (dcmread(made).pixel_array.ravel() == samples).all()
        by_pydicom = (dcmread(BytesIO(data)).pixel_array.ravel() == samples).all()
        assert (by_dcmtk, by_pydicom) == (as_words, not as_words)


@pytest.mark.parametrize("as_words", [True, False])
def test_longer_samples_are_refused_with_the_clause(as_words: bool) -> None:
    data, _ = a_dose(as_words)

    for target in (EXPLICIT_LITTLE, IMPLICIT_LITTLE, *COMPRESSIONS):
        with pytest.raises(PictureRefused, match=r"PS3\.5 section 6\.2, OW"):
            transcoded(data, target)
    with pytest.raises(PictureRefused, match=r"PS3\.5 section 6\.2, OW"):
        Frames(BytesIO(data)).plain(1)
    with pytest.raises(PictureRefused, match=r"PS3\.5 section 6\.2, OW"):
        render(data)
