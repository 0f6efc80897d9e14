"""High-throughput JPEG 2000: every sample kept, told in its true precision, by many decoders."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import gdcm
import imagecodecs
import numpy as np
import openjpeg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array

from dicom_node.errors import PictureRefused
from dicom_node.htj2k import decompositions, encoded
from dicom_node.transcode import transcoded
from dicom_node.uids import EXPLICIT_LITTLE, HTJ2K, HTJ2K_LOSSLESS_RPCL, JPEG_LS_LOSSLESS
from tests.dicom_node.samples import a_slice, as_file, real_files
from tests.services.missing import ProgramMissing, program, required

PACKAGES = Path(__file__).parents[2] / ".venv-services" / "npm"
SOD, SIZ, COD, TLM, SOT = b"\xff\x93", 0xFF51, 0xFF52, 0xFF55, 0xFF90


@dataclass(frozen=True)
class Picture:
    """Samples of some precision, and whether they are signed and of three colours."""

    pixels: Any
    bits: int
    signed: bool = False

    @property
    def is_colour(self) -> bool:
        return bool(self.pixels.ndim == 3)

    @property
    def stream(self) -> bytes:
        return encoded(self.pixels, bits=self.bits, signed=self.signed, transform=self.is_colour)

    def kept_by(self, decoded: Any) -> bool:
        same = decoded.shape == self.pixels.shape
        return same and bool((decoded.astype(np.int64) == self.pixels).all())


def a_picture(
    bits: int, signed: bool, sides: tuple[int, int], *, colour: bool = False, seed: int = 0
) -> Picture:
    """Noise that has the lowest and the highest value in it; colours are never signed."""
    signed = signed and not colour
    lowest = -(1 << (bits - 1)) if signed else 0
    highest = lowest + (1 << bits) - 1
    shape = (*sides, 3) if colour else sides
    pixels = np.random.default_rng(seed).integers(lowest, highest + 1, shape)
    if seed % 2:
        pixels = np.where(pixels > (lowest + highest) // 2, highest, lowest)
    pixels.flat[0], pixels.flat[-1] = lowest, highest
    return Picture(pixels, bits, signed)


pictures = st.builds(
    a_picture,
    st.integers(1, 16),
    st.booleans(),
    st.tuples(st.integers(1, 150), st.integers(1, 150)),
    colour=st.booleans(),
    seed=st.integers(0, 9),
)
decoders = pytest.mark.parametrize(
    "decode",
    [
        pytest.param(openjpeg.decode, id="OpenJPEG"),
        pytest.param(imagecodecs.htj2k_decode, id="OpenJPH"),
        pytest.param(imagecodecs.jpeg2k_decode, id="OpenJPEG of imagecodecs"),
    ],
)


@decoders
@settings(deadline=None, max_examples=150)
@given(picture=pictures)
@example(picture=a_picture(16, False, (65, 129), colour=True, seed=1))
@example(picture=a_picture(16, True, (1, 1)))
@example(picture=a_picture(1, False, (1, 130)))
@example(picture=a_picture(12, False, (300, 211)))
def test_every_sample_is_kept(picture: Picture, decode: Callable[[bytes], Any]) -> None:
    assert picture.kept_by(decode(picture.stream))


@settings(deadline=None, max_examples=100)
@given(picture=pictures)
def test_the_stream_says_the_true_precision_and_what_rpcl_asks_for(picture: Picture) -> None:
    segments = dict(segments_of(picture.stream))
    size, style = segments[SIZ], segments[COD]
    components = 3 if picture.is_colour else 1

    said = bytes([(0x80 if picture.signed else 0) | (picture.bits - 1), 1, 1])
    assert size[34:] == components.to_bytes(2, "big") + said * components
    assert style[1] == 2, "RPCL"
    assert style[4] == components // 3, "the reversible colour transform, for colours alone"
    assert style[9] == 1, "the reversible wavelet"
    assert -(-max(picture.pixels.shape[:2]) >> style[5]) <= 64
    assert TLM in segments


@given(st.integers(1, 65_535), st.integers(1, 65_535))
def test_the_smallest_resolution_is_a_thumbnail(rows: int, columns: int) -> None:
    halved = decompositions(rows, columns)

    assert -(-max(rows, columns) // 2**halved) <= 64
    assert halved == 5 or max(rows, columns) > 64 << (halved - 1)


@pytest.mark.parametrize("bits", [1, 5, 8, 10, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_programs_of_others_read_the_same(bits: int, signed: bool, tmp_path: Path) -> None:
    with required():
        decompress = program("opj_decompress")
    for colour in (False, True):
        picture = a_picture(bits, signed, (65, 129), colour=colour)
        stream, raw = tmp_path / "a.j2c", tmp_path / "a.rawl"
        stream.write_bytes(picture.stream)

        done = subprocess.run(
            [str(decompress), "-quiet", "-i", str(stream), "-o", str(raw)],
            capture_output=True,
            text=True,
            timeout=60,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        samples = np.fromfile(raw, "u1" if bits <= 8 else "<u2").astype(np.int64)
        if picture.signed:  # the program leaves the sign out of the bits above the precision
            half = 1 << (bits - 1)
            samples = ((samples & (2 * half - 1)) ^ half) - half
        if colour:
            samples = samples.reshape(3, 65, 129).transpose(1, 2, 0)
        assert picture.kept_by(samples.reshape(picture.pixels.shape))


def test_the_decoder_of_ohif_reads_the_same(tmp_path: Path) -> None:
    """It reads signed samples of eight bits and less as unsigned, so these are left out."""
    with required():
        node = program("node")
        if not (PACKAGES / "node_modules/@cornerstonejs/codec-openjph").is_dir():
            raise ProgramMissing("npm's @cornerstonejs/codec-openjph")
    shown = [
        a_picture(bits, signed, (67, 130), colour=colour)
        for bits in range(1, 17)
        for signed in (False, True)
        for colour in (False, True)
        if bits > 8 or not signed
    ]
    files = [tmp_path / f"{number}.j2c" for number in range(len(shown))]
    for file, picture in zip(files, shown, strict=True):
        file.write_bytes(picture.stream)

    done = subprocess.run(
        [
            str(node),
            str(Path(__file__).with_name("htj2k_decoder.js")),
            str(PACKAGES),
            *map(str, files),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for file, picture, info in zip(files, shown, said, strict=True):
        assert (info["bitsPerSample"], info["isSigned"]) == (picture.bits, picture.signed)
        kind = f"<{'i' if picture.signed else 'u'}{1 if picture.bits <= 8 else 2}"
        samples = np.fromfile(f"{file}.raw", kind)
        assert picture.kept_by(samples.reshape(picture.pixels.shape))


@pytest.mark.parametrize("target", sorted(HTJ2K))
def test_an_instance_keeps_its_samples_its_identity_and_what_it_says(target: str) -> None:
    plain = a_slice(side=70)
    made = dcmread(BytesIO(transcoded(as_file(plain), target)))

    assert made.file_meta.TransferSyntaxUID == target
    assert made.SOPInstanceUID == plain.SOPInstanceUID
    assert (made.BitsAllocated, made.BitsStored, made.HighBit) == (16, 12, 11)
    assert made["PixelData"].is_undefined_length
    (frame,) = generate_frames(made.PixelData, number_of_frames=1)
    assert dict(segments_of(frame))[SIZ][36] == 11
    before = np.frombuffer(plain.PixelData, "<u2").reshape(70, 70)
    assert (pixel_array(made, decoding_plugin="pylibjpeg") == before).all()


@pytest.mark.parametrize("target", sorted(HTJ2K))
def test_gdcm_reads_the_same_instance(target: str, tmp_path: Path) -> None:
    plain, path = a_slice(side=130), tmp_path / "a.dcm"
    path.write_bytes(transcoded(as_file(plain), target))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))

    assert reader.Read()
    samples = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    assert samples == plain.PixelData


def test_frames_in_colour_go_through_the_reversible_transform_and_say_so() -> None:
    plain = a_slice(side=40)
    pixels = np.random.default_rng(3).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    plain.NumberOfFrames, plain.SamplesPerPixel, plain.PlanarConfiguration = 2, 3, 1
    plain.PhotometricInterpretation = "RGB"
    plain.BitsAllocated, plain.BitsStored, plain.HighBit = 8, 8, 7
    plain.PixelData = pixels.transpose(0, 3, 1, 2).tobytes()

    made = transcoded(as_file(plain), HTJ2K_LOSSLESS_RPCL)
    data_set = dcmread(BytesIO(made))
    back = dcmread(BytesIO(transcoded(made, EXPLICIT_LITTLE)))

    assert (data_set.PhotometricInterpretation, data_set.PlanarConfiguration) == ("YBR_RCT", 0)
    assert back.PhotometricInterpretation == "RGB"
    assert (pixel_array(back, raw=True) == pixels).all()
    assert transcoded(transcoded(made, JPEG_LS_LOSSLESS), HTJ2K_LOSSLESS_RPCL) == made


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "emri_small_big_endian.dcm"])
def test_big_endian_samples_are_kept_as_well(name: str) -> None:
    path = next(path for path in real_files() if path.name == name)
    before = pixel_array(dcmread(path))

    made = dcmread(BytesIO(transcoded(path.read_bytes(), HTJ2K_LOSSLESS_RPCL)))

    assert (pixel_array(made, decoding_plugin="pylibjpeg") == before).all()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"BitsAllocated": 32, "BitsStored": 24, "HighBit": 23}, "more than 16 bits"),
        ({"HighBit": 15}, "end at their high bit"),
        ({"PhotometricInterpretation": "HSV"}, "colours of this kind"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_rule(changes: dict[str, Any], rule: str) -> None:
    plain = a_slice(side=32)
    for keyword, value in changes.items():
        setattr(plain, keyword, value)
    if plain.BitsAllocated == 32:
        plain.Rows = 16

    with pytest.raises(PictureRefused, match=rule):
        transcoded(as_file(plain), HTJ2K_LOSSLESS_RPCL)


@pytest.mark.parametrize(
    ("value", "signed"), [(4096, False), (-1, False), (2048, True), (-2049, True)]
)
def test_a_sample_beyond_its_precision_is_refused(value: int, signed: bool) -> None:
    with pytest.raises(PictureRefused, match="outside of what Bits Stored says"):
        encoded(np.full((9, 9), value), bits=12, signed=signed)


def segments_of(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment of the main header of a codestream."""
    at = 2
    while (marker := int.from_bytes(stream[at : at + 2], "big")) != SOT:
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        yield marker, stream[at + 4 : at + 2 + length]
        at += 2 + length
