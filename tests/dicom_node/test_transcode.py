"""Other transfer syntaxes and frames of real files: every pixel kept, or refused in words."""

from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.pixels.utils import pixel_array

from dicom_node.apart import decompressed
from dicom_node.deflated import inflated
from dicom_node.errors import PictureRefused, Unreadable
from dicom_node.frames import FrameMissing, Frames
from dicom_node.pictures import render
from dicom_node.transcode import TARGETS, transcoded, transcoded_frame
from dicom_node.uids import COMPRESSIONS, HTJ2K_LOSSLESS, JPEG_LS_LOSSLESS
from kernel.decoders import decoder_of
from kernel.errors import EngineError
from tests.dicom_node.samples import a_slice, as_file, real_files

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's, about the files themselves

NATIVE = "1.2.840.10008.1.2.1"
_MAX_BYTES = 600_000


def pixels_of(data: bytes) -> Any:
    data_set = dcmread(BytesIO(data))
    syntax = str(data_set.file_meta.TransferSyntaxUID)
    return pixel_array(data_set, raw=True, decoding_plugin=decoder_of(syntax))


def whole_of(data: bytes) -> Any:
    """Return the pixels as pydicom reads what we opened; skip where there are none to compare."""
    try:
        plain = decompressed(inflated(data))
    except EngineError as refusal:  # ours may refuse by name, but in no other way
        pytest.skip(refusal.sentence)
    try:
        return pixels_of(plain)
    except Exception as error:  # noqa: BLE001 - what the peer cannot read is not compared
        pytest.skip(f"pydicom: {type(error).__name__}")


def samples() -> list[Any]:
    small = [path for path in real_files() if path.stat().st_size < _MAX_BYTES]
    by_name = {path.name: path for path in small}
    return [pytest.param(path, id=name) for name, path in sorted(by_name.items())[::4]]


@pytest.mark.shared
@pytest.mark.parametrize("path", samples())
def test_real_files_keep_every_pixel_or_are_refused(path: Path) -> None:
    data = path.read_bytes()
    before = whole_of(data)

    for target in sorted(TARGETS):
        with suppress(PictureRefused):
            made = transcoded(data, target)
            assert dcmread(BytesIO(made)).file_meta.TransferSyntaxUID == target
            assert (pixels_of(inflated(made)) == before).all()


@pytest.mark.shared
@pytest.mark.parametrize("path", samples())
def test_each_frame_of_a_real_file_is_that_of_the_whole(path: Path) -> None:
    data = path.read_bytes()
    try:
        frames = Frames(BytesIO(data))
    except EngineError as refusal:
        pytest.skip(refusal.sentence)
    whole = whole_of(data)
    told = dcmread(BytesIO(data), stop_before_pixels=True)
    if told.SamplesPerPixel > 1 or told.BitsAllocated == 1:
        pytest.skip("in other colours, or packed otherwise, than the whole")
    shape = whole.shape if frames.count > 1 else (1, *whole.shape)
    little = whole.reshape(shape).astype(whole.dtype.newbyteorder("<"))

    for number in range(1, frames.count + 1):
        assert frames.plain(number) == little[number - 1].tobytes()


def test_a_frame_that_is_not_there_is_missing_and_not_another() -> None:
    frames = Frames(BytesIO(as_file(a_slice())))

    for number in (0, 2, -1):
        with pytest.raises(FrameMissing):
            frames.plain(number)


def test_frames_that_the_bytes_do_not_bear_out_are_refused() -> None:
    data_set = a_slice()
    data_set.NumberOfFrames, data_set.Rows = 70_000, 60_000

    with pytest.raises(PictureRefused, match="fewer pixels"):
        Frames(BytesIO(as_file(data_set))).plain(1)


def test_a_lossy_or_unknown_syntax_is_never_made() -> None:
    for target in (
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.4.203",
        "nonsense",
        "",
    ):
        with pytest.raises(PictureRefused):
            transcoded(as_file(a_slice()), target)


@pytest.mark.parametrize("target", sorted(COMPRESSIONS))
def test_an_overlay_among_the_bits_of_the_pixels_is_never_lost(target: str) -> None:
    data_set = a_slice(side=64)
    data_set.add_new(0x60000010, "US", 64)
    data_set.add_new(0x60000011, "US", 64)
    data_set.add_new(0x60000100, "US", 16)
    data_set.add_new(0x60000102, "US", 15)

    with pytest.raises(PictureRefused, match="overlay"):
        transcoded(as_file(data_set), target)

    data_set.add_new(0x60003000, "OW", bytes(64 * 64 // 8))
    data_set[0x60000100].value, data_set[0x60000102].value = 1, 0
    assert transcoded(as_file(data_set), target)


@settings(deadline=None, max_examples=60)
@given(st.integers(132, 900), st.binary(min_size=1, max_size=6))
def test_damaged_files_are_given_or_refused(at: int, noise: bytes) -> None:
    file = as_file(a_slice(side=32))
    damaged = file[:at] + noise + file[at + len(noise) :]

    with suppress(PictureRefused, Unreadable):
        Frames(BytesIO(damaged)).plain(1)
    for target in (JPEG_LS_LOSSLESS, HTJ2K_LOSSLESS):
        with suppress(PictureRefused, Unreadable):
            transcoded(damaged, target)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["JPEG-LL.dcm", "JPGLosslessP14SV1_1s_1f_8b.dcm"])
def test_a_frame_that_ends_its_decoder_does_not_end_the_node(name: str) -> None:
    found = [path for path in real_files() if path.name.endswith(name)]
    if not found:
        pytest.skip("the file is not here")
    data = found[0].read_bytes()
    frame = data.index(b"\xff\xd8\xff", data.index(b"\xe0\x7f\x10\x00"))
    shapes = [data[:frame] + _scrambled(data[frame:], step) for step in (7, 40, 90)]

    assert Frames(BytesIO(data)).plain(1) == Frames(BytesIO(transcoded(data, NATIVE))).plain(1)
    for damaged in shapes:
        with suppress(PictureRefused):
            Frames(BytesIO(damaged)).plain(1)
        with suppress(PictureRefused):
            render(damaged)
        with suppress(PictureRefused):
            transcoded(damaged, NATIVE)


def _scrambled(frame: bytes, step: int) -> bytes:
    changed = bytearray(frame)
    for at in range(4, min(len(frame), 600), step):
        changed[at] ^= 0x5A
    return bytes(changed)


@pytest.mark.shared
@pytest.mark.parametrize("path", samples())
def test_a_frame_of_a_real_file_alone_is_the_same_frame_of_it(path: Path) -> None:
    data = path.read_bytes()
    try:
        frames = Frames(BytesIO(data))
        compressed = {
            target: transcoded_frame(frames, frames.count, target) for target in COMPRESSIONS
        }
        whole = {target: transcoded(data, target) for target in COMPRESSIONS}
    except (PictureRefused, Unreadable) as refusal:
        pytest.skip(refusal.sentence)
    for target, frame in compressed.items():
        assert frame == Frames(BytesIO(whole[target])).stored(frames.count)[2]
