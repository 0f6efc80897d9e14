"""Files of a site become objects that independent readers find right, and hold the very bytes."""

import io
import subprocess
from contextlib import suppress
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames

from dicom_node import paper, stills, video
from dicom_node.errors import FileRefused
from dicom_node.imported import VIDEO_ENDOSCOPIC, VIDEO_PHOTOGRAPHIC, FileKind, kind_of, made_from
from dicom_node.pictures import render
from dicom_node.uids import JPEG_BASELINE
from kernel.digest import sha256_of
from tests.dicom_node.pictures_of import COLOURS, OF, deflated, encoded, mp4, pdf
from tests.services.missing import program, required

GREY = COLOURS[:, :, 0]
DEEP = np.arange(31 * 41, dtype=np.uint16).reshape(31, 41) * 50
FILES = {
    "colour.jpg": encoded("JPEG"),
    "grey.jpeg": encoded("JPEG", GREY),
    "progressive.jpg": encoded("JPEG", progressive=True),
    "colour.png": encoded("PNG"),
    "grey.png": encoded("PNG", GREY),
    "deep.png": encoded("PNG", DEEP),
    "letter.pdf": pdf(),
}


def valid(part10: bytes, folder: Path) -> None:
    """Check an object with dicom3tools and DCMTK."""
    file = folder / "made.dcm"
    file.write_bytes(part10)
    with required():
        judged = subprocess.run(
            [program("dciodvfy"), file], capture_output=True, text=True, timeout=60
        )
        dumped = subprocess.run(
            [program("dcmdump"), "-q", file], capture_output=True, text=True, timeout=60
        )
    said = [line for line in (judged.stdout + judged.stderr).splitlines() if "Error" in line]
    assert said == []
    assert dumped.returncode == 0


@pytest.mark.parametrize("name", FILES)
def test_what_is_made_is_valid_and_says_whose_it_is(name: str, tmp_path: Path) -> None:
    made = made_from(FILES[name], OF, name=name)
    valid(made.part10, tmp_path)
    ds = dcmread(io.BytesIO(made.part10))
    assert (ds.PatientID, ds.IssuerOfPatientID) == (OF.patient_id, OF.issuer)
    assert (ds.AccessionNumber, ds.StudyInstanceUID) == (OF.accession, OF.study_uid)
    assert str(ds.PatientName) == OF.patient_name
    assert ds.SOPInstanceUID == made.instance_uid == ds.file_meta.MediaStorageSOPInstanceUID


@pytest.mark.parametrize("name", FILES)
def test_the_same_file_is_the_same_object_byte_for_byte(name: str) -> None:
    assert made_from(FILES[name], OF) == made_from(FILES[name], OF, name=name)


@pytest.mark.parametrize("name", ["colour.jpg", "grey.jpeg"])
def test_a_baseline_jpeg_keeps_its_very_bytes(name: str) -> None:
    ds = dcmread(io.BytesIO(made_from(FILES[name], OF).part10))
    assert ds.file_meta.TransferSyntaxUID == JPEG_BASELINE
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    assert sha256_of(frame[: len(FILES[name])]) == sha256_of(FILES[name])
    assert frame[len(FILES[name]) :] in (b"", b"\0")
    assert ds.LossyImageCompression == "01"


@pytest.mark.parametrize(
    ("name", "pixels"), [("colour.png", COLOURS), ("grey.png", GREY), ("deep.png", DEEP)]
)
def test_a_png_loses_nothing(name: str, pixels: np.ndarray) -> None:  # type: ignore[type-arg]
    ds = dcmread(io.BytesIO(made_from(FILES[name], OF).part10))
    assert np.array_equal(ds.pixel_array, pixels)
    assert ds.LossyImageCompression == "00"


def test_a_progressive_jpeg_is_kept_as_it_decodes_and_says_that_it_was_lossy() -> None:
    ds = dcmread(io.BytesIO(made_from(FILES["progressive.jpg"], OF).part10))
    with Image.open(io.BytesIO(FILES["progressive.jpg"])) as seen:
        assert np.array_equal(ds.pixel_array, np.asarray(seen))
    assert (ds.LossyImageCompression, ds.PhotometricInterpretation) == ("01", "RGB")


def test_a_jpeg_that_lost_nothing_does_not_say_that_it_was_lossy() -> None:
    ds = dcmread(io.BytesIO(made_from(bytes(imagecodecs.ljpeg_encode(GREY)), OF).part10))
    assert np.array_equal(ds.pixel_array, GREY)
    assert ds.LossyImageCompression == "00"
    assert "LossyImageCompressionRatio" not in ds


def test_a_jpeg_of_twelve_bits_is_refused_for_that() -> None:
    deep = imagecodecs.jpeg8_encode(GREY.astype(np.uint16) * 16, bitspersample=12)
    with pytest.raises(FileRefused, match="8 bits a sample to be taken, not 12"):
        made_from(bytes(deep), OF)


def test_a_photograph_that_lies_on_its_side_is_stored_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    ds = dcmread(io.BytesIO(made_from(encoded("JPEG", exif=exif), OF).part10))
    assert (ds.Rows, ds.Columns) == (41, 31)


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("pdf")])
def test_every_picture_is_shown_in_its_colours(name: str) -> None:
    shown = render(made_from(FILES[name], OF).part10)
    with Image.open(io.BytesIO(FILES[name])) as wanted, Image.open(io.BytesIO(shown.data)) as seen:
        if wanted.mode == "I;16":
            return
        apart = np.abs(
            np.asarray(seen.convert("RGB"), np.int16) - np.asarray(wanted.convert("RGB"), np.int16)
        )
    assert np.median(apart) <= 2


def test_a_pdf_is_held_verbatim() -> None:
    for told in (pdf(), pdf(b"x")):
        ds = dcmread(io.BytesIO(made_from(told, OF).part10))
        assert sha256_of(ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength]) == sha256_of(
            told
        )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (pdf(), ()),
        (pdf(b"<</OpenAction 3 0 R>>"), ("OpenAction",)),
        (pdf(b"<</S/J#61vaScript/JS(app.alert(1))>>"), ("JS", "JavaScript")),
        (pdf(deflated(b"<</S/Launch/F(cmd.exe)>>")), ("Launch",)),
        (pdf(b"/AAA /JSON /Launcher"), ()),
    ],
)
def test_what_a_pdf_may_do_by_itself_is_told(content: bytes, found: tuple[str, ...]) -> None:
    assert paper.active_content(content) == found
    remarks = made_from(content, OF).remarks
    assert bool(remarks) == bool(found)


def test_a_pdf_that_inflates_without_end_costs_no_more_than_its_bound() -> None:
    assert paper.active_content(pdf(40 * deflated(bytes(8 << 20)))) == ()


@pytest.mark.parametrize(
    ("content", "name", "rule"),
    [
        (b"", "", "none of"),
        (b"GIF89a" + bytes(50), "", "none of"),
        (FILES["colour.png"], "photo.jpg", "named '.jpg'"),
        (FILES["letter.pdf"], "letter.exe", "named '.exe'"),
        (FILES["colour.jpg"][:200], "", "JPEG"),
        (FILES["colour.jpg"][:-300], "", "cut short"),
        (FILES["colour.png"][:-30], "", "cut short"),
        (b"%PDF-1.7\nno end", "", "cut short"),
        (pdf(b"<</Encrypt 4 0 R>>"), "", "encrypted"),
        (bytes(128) + b"DICM", "", "DICOM already"),
        (encoded("PNG", np.dstack([COLOURS, GREY])), "", "transparent"),
        (b"\xff\xd8\xff" + b"\xff" * 100_000, "", "no frame"),
        (b"\x00\x00\x00\x08ftyp", "", "cut short"),
        (b"\x00\x00\x00\xffftyp", "", "cut short"),
        (b"\x00\x00\x00\x08ftyp" + b"\x00\x00\x00\x08free" * 6000, "", "more boxes"),
        (b"\x00\x00\x00\x08ftyp\x00\x00\x00\x10trak\x00\x00\x00\x08mdhd", "", "too short"),
        (b"\x00\x00\x00\x08ftyp\x00\x00\x00\x10trak\x00\x00\x00\x08tkhd", "", "too short"),
    ],
)
def test_what_cannot_become_an_object_is_refused_with_the_rule(
    content: bytes, name: str, rule: str
) -> None:
    with pytest.raises(FileRefused, match=rule):
        made_from(content, OF, name=name)


def test_a_picture_that_claims_more_pixels_than_anybody_has_is_not_decoded() -> None:
    bomb = bytearray(FILES["grey.png"])
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(FileRefused, match="pixels"):
        stills.read(bytes(bomb))
    jpeg = bytearray(FILES["grey.jpeg"])
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(FileRefused, match="pixels"):
        stills.read(bytes(jpeg))


def test_the_name_decides_nothing_where_it_says_nothing() -> None:
    assert kind_of(FILES["letter.pdf"], "letter") is FileKind.PDF
    assert kind_of(FILES["colour.jpg"], "C:\\scans\\A.JPG") is FileKind.JPEG


@given(st.sampled_from([*FILES.values()]), st.data())
def test_damaged_files_are_refused_or_taken_and_nothing_else_happens(
    content: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    with suppress(FileRefused):
        assert made_from(bytes(damaged), OF).part10


@pytest.mark.service
class TestVideo:
    """Videos that ffmpeg makes."""

    def test_it_is_held_verbatim_and_valid(self, tmp_path: Path) -> None:
        with required():
            told = mp4(tmp_path)
        made = made_from(told, OF, name="v.mp4")
        valid(made.part10, tmp_path)
        ds = dcmread(io.BytesIO(made.part10))
        (stream,) = generate_frames(ds.PixelData, number_of_frames=1)
        assert sha256_of(stream[: len(told)]) == sha256_of(told)
        assert (ds.Rows, ds.Columns, ds.NumberOfFrames, ds.CineRate) == (96, 128, 25, 25)
        assert float(ds.FrameTime) == pytest.approx(40)
        assert ds.SOPClassUID == VIDEO_PHOTOGRAPHIC
        assert ds.file_meta.TransferSyntaxUID == video.HIGH_4_1
        endoscopic = dcmread(io.BytesIO(made_from(told, OF, modality="ES").part10))
        assert endoscopic.SOPClassUID == VIDEO_ENDOSCOPIC

    @pytest.mark.parametrize(
        ("how", "rule"),
        [
            (("-c:v", "libx264", "-level", "5.1"), "level 5.1"),
            (("-c:v", "libx264", "-profile:v", "high422", "-pix_fmt", "yuv422p"), "profile"),
            (("-c:v", "mpeg4"), "mp4v"),
            (("-c:v", "libx264", "-movflags", "frag_keyframe+empty_moov"), "fragmented"),
        ],
    )
    def test_what_no_transfer_syntax_allows_is_refused(
        self, how: tuple[str, ...], rule: str, tmp_path: Path
    ) -> None:
        with required():
            told = mp4(tmp_path, *how)
        with pytest.raises(FileRefused, match=rule):
            made_from(told, OF)

    def test_the_level_decides_the_transfer_syntax(self, tmp_path: Path) -> None:
        with required():
            told = mp4(tmp_path, "-c:v", "libx264", "-profile:v", "main", "-level", "4.2")
        assert video.read(told).transfer_syntax_uid == video.HIGH_4_2

    def test_wherever_it_is_cut_it_is_refused(self, tmp_path: Path) -> None:
        with required():
            told = mp4(tmp_path)
        for length in range(8, len(told), len(told) // 60):
            with pytest.raises(FileRefused):
                made_from(told[:length], OF)
