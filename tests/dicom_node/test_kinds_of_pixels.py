"""Every kind of pixels in every syntax: kept, as independent decoders see it, or refused."""

import struct
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import openjpeg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.pixels.decoders.rle import _rle_decode_frame

from dicom_node import jpeg_2000, jpeg_ls
from dicom_node.errors import PictureRefused
from dicom_node.frames import Frames
from dicom_node.pictures import render
from dicom_node.transcode import TARGETS, transcoded
from dicom_node.uids import (
    COMPRESSIONS,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    HTJ2K_LOSSLESS,
    JPEG_2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from tests.dicom_node.samples import a_slice, as_file
from tests.services.missing import program, required

# pydicom warns of pictures that compression makes as long as they were.
pytestmark = pytest.mark.filterwarnings("ignore")

NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"


def a_picture(
    *shape: int,
    bits: int = 8,
    allocated: int = 0,
    photometric: str = "MONOCHROME2",
    planar: int = 0,
) -> tuple[Dataset, Any]:
    """Return a picture of noise, and its samples: (frames, rows, columns, samples)."""
    frames, rows, columns, samples = shape
    values = np.random.default_rng(rows * 97 + columns).integers(0, 1 << bits, shape)
    data_set = a_slice()
    data_set.Rows, data_set.Columns, data_set.NumberOfFrames = rows, columns, frames
    data_set.BitsAllocated = allocated or (8 if bits <= 8 else 16)
    data_set.BitsStored, data_set.HighBit = bits, bits - 1
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = samples, photometric
    if samples == 3:
        data_set.PlanarConfiguration = planar
    if data_set.BitsAllocated == 1:
        raw = np.packbits(values.astype(np.uint8), bitorder="little").tobytes()
    else:
        laid = values.transpose(0, 3, 1, 2) if planar else values
        raw = laid.astype(f"<u{data_set.BitsAllocated // 8}").tobytes()
    data_set.PixelData = raw + b"\0" * (len(raw) % 2)
    data_set["PixelData"].VR = "OB" if data_set.BitsAllocated <= 8 else "OW"
    return data_set, values


def a_compressed(streams: list[bytes], syntax: str, picture: Dataset) -> bytes:
    """Return a file with the given streams as its frames."""
    picture.PixelData = encapsulate(streams)
    picture["PixelData"].VR, picture["PixelData"].is_undefined_length = "OB", True
    return as_file(picture, syntax)


def seen(file: bytes, like: Any) -> Any:
    """Return the samples of a file as decoders see them that are not asked by the node."""
    told = dcmread(BytesIO(file))
    syntax, allocated = told.file_meta.TransferSyntaxUID, told.BitsAllocated
    if not syntax.is_encapsulated:
        assert told.get("PlanarConfiguration", 0) == 0
        if allocated == 1:
            bits = np.unpackbits(np.frombuffer(told.PixelData, np.uint8), bitorder="little")
            return bits[: like.size].reshape(like.shape)
        samples = np.frombuffer(told.PixelData, f"<u{allocated // 8}")
        assert samples.size - like.size in (0, like.size % 2 if allocated == 8 else 0)
        return samples[: like.size].reshape(like.shape)
    frames = []
    for stream in generate_frames(told.PixelData, number_of_frames=like.shape[0]):
        if syntax == JPEG_LS_LOSSLESS:
            decoded = imagecodecs.jpegls_decode(stream)
        elif syntax == JPEG_2000_LOSSLESS:
            decoded = imagecodecs.jpeg2k_decode(stream)
        elif syntax == RLE_LOSSLESS:
            raw = bytes(_rle_decode_frame(stream, *like.shape[1:], allocated))
            planes = np.frombuffer(raw, f"<u{allocated // 8}")
            decoded = planes.reshape(like.shape[3], *like.shape[1:3]).transpose(1, 2, 0)
        else:
            decoded = openjpeg.decode(stream)
        frames.append(np.asarray(decoded).reshape(like.shape[1:]))
    return np.stack(frames)


@pytest.mark.parametrize("target", COMPRESSIONS)
@pytest.mark.parametrize(
    "shape", [(1, 40, 42, 3), (2, 7, 5, 3), (1, 1, 1, 3)], ids=lambda shape: f"{shape}"
)
@pytest.mark.parametrize(("bits", "photometric"), [(8, "RGB"), (16, "RGB"), (8, "YBR_FULL")])
def test_colours_plane_by_plane_are_compressed_pixel_by_pixel(
    target: str, shape: tuple[int, ...], bits: int, photometric: str
) -> None:
    picture, values = a_picture(*shape, bits=bits, photometric=photometric, planar=1)

    made = transcoded(as_file(picture), target)

    assert (seen(made, values) == values).all()
    assert dcmread(BytesIO(made)).PlanarConfiguration == 0


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (JPEG_2000_LOSSLESS, lambda frame: jpeg_2000.encoded(frame, bits=8, signed=False)),
        (JPEG_LS_LOSSLESS, lambda frame: jpeg_ls.encoded(frame, bits=8, signed=False)),
        (HTJ2K_LOSSLESS, lambda frame: bytes(imagecodecs.htj2k_encode(frame, reversible=True))),
        (JPEG_BASELINE, None),
    ],
    ids=["JPEG 2000", "JPEG-LS", "HTJ2K", "JPEG"],
)
def test_colours_of_a_stream_lie_as_it_says_and_not_as_the_data_set_says(
    syntax: str, encode: Any, planar: int
) -> None:
    picture, values = a_picture(1, 40, 42, 3, photometric="RGB")
    picture.PlanarConfiguration = planar
    if encode is None:
        stream = imagecodecs.jpeg8_encode(
            values[0].astype(np.uint8), colorspace="RGB", outcolorspace="RGB", level=95
        )
        values = imagecodecs.jpeg8_decode(stream, colorspace="RGB", outcolorspace="RGB")[None]
    else:
        stream = encode(values[0].astype(np.uint8))

    file = a_compressed([stream], syntax, picture)

    for target in (EXPLICIT_LITTLE, RLE_LOSSLESS):
        assert (seen(transcoded(file, target), values) == values).all()
    assert Frames(BytesIO(file)).plain(1) == values.astype(np.uint8).tobytes()
    shown = np.asarray(Image.open(BytesIO(render(file).data)))
    assert (shown == values[0]).all()


@pytest.mark.parametrize("syntax", [RLE_LOSSLESS, JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS])
def test_a_decoded_frame_has_the_colours_that_the_metadata_name(syntax: str) -> None:
    picture, values = a_picture(1, 40, 42, 3, photometric="YBR_FULL")

    frames = Frames(BytesIO(transcoded(as_file(picture), syntax)))

    assert frames.plain(1) == values.astype(np.uint8).tobytes()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_single_bits_are_kept_in_jpeg_2000_and_packed_again(
    rows: int, columns: int, frames: int
) -> None:
    picture, values = a_picture(frames, rows, columns, 1, bits=1, allocated=1)
    native = as_file(picture)

    made = transcoded(native, JPEG_2000_LOSSLESS)
    back = transcoded(made, EXPLICIT_LITTLE)

    assert (seen(made, values) == values).all()
    assert dcmread(BytesIO(made)).BitsAllocated == 1
    assert dcmread(BytesIO(back)).PixelData == picture.PixelData
    for number in range(1, frames + 1):
        assert Frames(BytesIO(made)).plain(number) == Frames(BytesIO(native)).plain(number)


def test_single_bits_of_several_frames_come_out_of_big_endian() -> None:
    picture, values = a_picture(3, 5, 7, 1, bits=1, allocated=1)

    for target in (EXPLICIT_LITTLE, JPEG_2000_LOSSLESS):
        made = transcoded(as_file(picture, EXPLICIT_BIG), target)
        assert (seen(made, values) == values).all()


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 16), st.sampled_from([1, 3]))
def test_the_smallest_pictures_are_kept_in_jpeg_ls(
    rows: int, columns: int, bits: int, samples: int
) -> None:
    photometric = "RGB" if samples == 3 else "MONOCHROME1"
    picture, values = a_picture(1, rows, columns, samples, bits=bits, photometric=photometric)

    made = transcoded(as_file(picture), JPEG_LS_LOSSLESS)

    assert (seen(made, values) == values).all()
    (stream,) = generate_frames(dcmread(BytesIO(made)).PixelData, number_of_frames=1)
    assert stream[stream.index(b"\xff\xf7") + 4] == bits, "PS3.5 A.4.3: the precision that is told"


@pytest.mark.parametrize("bits", [2, 4, 7, 8, 12])
def test_a_decoder_of_another_maker_reads_jpeg_ls(bits: int, tmp_path: Path) -> None:
    """DCMTK and GDCM, with an older CharLS, take less than eight bits for damaged."""
    with required():
        ffmpeg = program("ffmpeg")
    values = np.random.default_rng(bits).integers(0, 1 << bits, (20, 24))
    (tmp_path / "a.jls").write_bytes(jpeg_ls.encoded(values, bits=bits, signed=False))
    how = ("-nostdin", "-loglevel", "error", "-f", "jpegls_pipe", "-i", tmp_path / "a.jls")
    made = ("-f", "rawvideo", "-pix_fmt", "gray" if bits <= 8 else "gray16le", "-")

    done = subprocess.run([ffmpeg, *how, *made], capture_output=True, timeout=60)

    seen = np.frombuffer(done.stdout, np.uint8 if bits <= 8 else "<u2").reshape(20, 24)
    above = seen.itemsize * 8 - bits  # it brings samples up to the whole range
    assert (seen >> above == values).all(), done.stderr


@pytest.mark.parametrize(
    ("bits", "allocated", "targets"),
    [
        (8, 16, COMPRESSIONS),
        (7, 16, COMPRESSIONS),
        (12, 32, [JPEG_2000_LOSSLESS, HTJ2K_LOSSLESS]),
        (24, 32, [JPEG_2000_LOSSLESS]),
    ],
)
def test_samples_in_more_room_than_they_need_are_kept(
    bits: int, allocated: int, targets: list[str]
) -> None:
    for side in (9, 40):
        picture, values = a_picture(1, side, side, 1, bits=bits, allocated=allocated)
        for target in targets:
            made = transcoded(as_file(picture), target)
            assert (seen(made, values) == values).all()
            assert dcmread(BytesIO(made)).BitsAllocated == allocated


@pytest.mark.parametrize(
    ("target", "kind", "rule"),
    [
        (JPEG_LS_LOSSLESS, {"bits": 1}, "2 bits and more"),
        (JPEG_LS_LOSSLESS, {"bits": 1, "allocated": 1}, "single bits"),
        (RLE_LOSSLESS, {"bits": 1, "allocated": 1}, "single bits"),
        (HTJ2K_LOSSLESS, {"bits": 1, "allocated": 1}, "single bits"),
        (RLE_LOSSLESS, {"bits": 20, "allocated": 32}, "allocated 8, 16"),
        (JPEG_LS_LOSSLESS, {"bits": 20, "allocated": 32}, "allocated 8, 16"),
        (HTJ2K_LOSSLESS, {"bits": 20, "allocated": 32}, "more than 16 bits"),
        (RLE_LOSSLESS, {"photometric": "YBR_FULL_422"}, "colours of this kind"),
    ],
)
def test_what_a_syntax_is_not_for_is_refused_by_its_rule(
    target: str, kind: dict[str, Any], rule: str
) -> None:
    samples = 3 if "photometric" in kind else 1
    picture, _ = a_picture(1, 8, 8, samples, **kind)

    with pytest.raises(PictureRefused, match=rule):
        transcoded(as_file(picture), target)


def test_native_pixels_have_no_table_of_compressed_frames() -> None:
    picture, values = a_picture(3, 40, 42, 1)
    streams = [jpeg_ls.encoded(frame[..., 0], bits=8, signed=False) for frame in values]
    pixels, picture.ExtendedOffsetTable, picture.ExtendedOffsetTableLengths = encapsulate_extended(
        streams
    )
    picture.PixelData = pixels
    picture["PixelData"].VR, picture["PixelData"].is_undefined_length = "OB", True
    file = as_file(picture, JPEG_LS_LOSSLESS)

    for target in TARGETS - {JPEG_LS_LOSSLESS, "1.2.840.10008.1.2.1.99"}:
        made = transcoded(file, target)
        assert (seen(made, values) == values).all()
        assert "ExtendedOffsetTable" not in dcmread(BytesIO(made))
    assert Frames(BytesIO(file)).plain(3) == values[2].astype(np.uint8).tobytes()


@pytest.mark.parametrize("target", [EXPLICIT_LITTLE, RLE_LOSSLESS])
def test_a_table_of_frames_that_are_not_there_loses_none_in_silence(target: str) -> None:
    picture, values = a_picture(3, 40, 42, 1)
    streams = [jpeg_ls.encoded(frame[..., 0], bits=8, signed=False) for frame in values]
    file = a_compressed(streams, JPEG_LS_LOSSLESS, picture)
    table = file.index(b"\xfe\xff\x00\xe0\x0c\0\0\0") + 8
    damaged = file[:table] + struct.pack("<3I", 0, 1 << 30, 1 << 31) + file[table + 12 :]

    with pytest.raises(PictureRefused, match="more or fewer frames"):
        transcoded(damaged, target)


@pytest.mark.parametrize("target", [EXPLICIT_LITTLE, JPEG_LS_LOSSLESS])
def test_an_icon_is_decompressed_with_the_picture(target: str) -> None:
    picture, values = a_picture(1, 40, 42, 1)
    icon, pixels = a_picture(1, 4, 4, 1)
    stream = jpeg_2000.encoded(pixels[0, ..., 0], bits=8, signed=False)
    a_compressed([stream], JPEG_2000_LOSSLESS, icon)
    picture.IconImageSequence = [
        Dataset({each.tag: each for each in icon if each.tag.group in (0x28, 0x7FE0)})
    ]
    whole = jpeg_2000.encoded(values[0, ..., 0], bits=8, signed=False)

    made = dcmread(BytesIO(transcoded(a_compressed([whole], JPEG_2000_LOSSLESS, picture), target)))

    (small,) = made.IconImageSequence
    assert small.PixelData == pixels.astype(np.uint8).tobytes()
    assert not small["PixelData"].is_undefined_length


@pytest.mark.parametrize("syntax", [JPEG_2000_LOSSLESS, JPEG_LS_LOSSLESS, JPEG_BASELINE])
def test_a_stream_of_another_size_than_is_said_is_not_decoded(syntax: str) -> None:
    """A thousand bytes can ask for gigabytes, which a decoder allocates before it reads on."""
    picture, _ = a_picture(1, 40, 42, 1)
    zeros = np.zeros((42, 40), np.uint8)
    if syntax == JPEG_2000_LOSSLESS:
        stream = bytearray(jpeg_2000.encoded(zeros, bits=8, signed=False))
        stream[8:16] = struct.pack(">2I", 60_000, 60_000)
        stream[24:32] = struct.pack(">2I", 60_000, 60_000)
    else:
        make = imagecodecs.jpeg8_encode if syntax == JPEG_BASELINE else imagecodecs.jpegls_encode
        stream = bytearray(make(zeros))
        head = stream.index(b"\xff\xc0" if syntax == JPEG_BASELINE else b"\xff\xf7")
        stream[head + 5 : head + 9] = struct.pack(">2H", 60_000, 60_000)
    file = a_compressed([bytes(stream)], syntax, picture)

    for target in (EXPLICIT_LITTLE, RLE_LOSSLESS):
        with pytest.raises(PictureRefused, match="of another size"):
            transcoded(file, target)
    with pytest.raises(PictureRefused, match="of another size"):
        Frames(BytesIO(file)).plain(1)
    with pytest.raises(PictureRefused, match="of another size"):
        render(file)


def test_samples_beyond_bits_stored_never_come_out_dark() -> None:
    """A lossy stream of sixteen bits may overshoot the twelve that the data set says."""
    picture, _ = a_picture(1, 40, 42, 1, bits=12)
    stream = imagecodecs.jpegls_encode(np.full((40, 42), 4098, np.uint16))
    file = a_compressed([bytes(stream)], NEAR_LOSSLESS, picture)

    plain = dcmread(BytesIO(transcoded(file, EXPLICIT_LITTLE)))
    assert set(np.frombuffer(plain.PixelData, "<u2")) == {4098}
    for target in COMPRESSIONS:
        with pytest.raises(PictureRefused, match="outside of what Bits Stored says"):
            transcoded(file, target)
