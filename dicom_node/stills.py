"""Pictures that are not DICOM: JPEG and PNG, read within bounds and without losing anything.

A baseline JPEG keeps its very bytes: they are what DICOM calls JPEG Baseline.  Every other picture
is decoded and kept uncompressed, so that nothing is compressed twice.

References
----------
ITU-T T.81 Annex B (JPEG markers), RFC 2083 section 4.1.1 (PNG header); DICOM PS3.5 sections 8.2.1
and A.4.1, PS3.3 section C.7.6.1.1.5 (lossy compression).
"""

import io
import struct
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

from dicom_node.errors import FileRefused
from dicom_node.uids import EXPLICIT_LITTLE, JPEG_BASELINE

MAX_BYTES = 64 << 20
MAX_PIXELS = 64_000_000
_MAX_SEGMENTS = 10_000
_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_BASELINE, _SCAN = 0xC0, 0xDA
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
"""Frames of the processes that lose nothing (T.81 table B.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One picture as its object says it; `pixels` are those of the transfer syntax.

    `lossy_ratio` is how far it was compressed with loss before it came, None if it was not.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    photometric: str
    transfer_syntax_uid: str
    pixels: bytes
    lossy_ratio: float | None


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the frame header of a JPEG says."""

    marker: int
    precision: int
    rows: int
    columns: int
    components: bytes
    adobe: int | None


def is_jpeg(data: bytes) -> bool:
    """Say whether bytes begin as a JPEG does."""
    return data[:3] == b"\xff\xd8\xff"


def is_png(data: bytes) -> bool:
    """Say whether bytes begin as a PNG does."""
    return data[:8] == _PNG


def read(data: bytes) -> Still:
    """Read one JPEG or PNG.

    Raises
    ------
    FileRefused
        It is neither, cut short, too large, or has what a DICOM picture cannot hold.
    """
    if len(data) > MAX_BYTES:
        raise FileRefused(f"a picture has at most {MAX_BYTES >> 20} MiB")
    if is_png(data):
        return _png(data)
    if is_jpeg(data):
        return _jpeg(data)
    raise FileRefused("the bytes are no picture that can be read: JPEG or PNG are taken")


def grey(data: bytes) -> Still:
    """Read one JPEG or PNG as 8-bit greys, for what is known to be a film."""
    still = read(data)
    image = _opened(data).convert("L")
    return _uncompressed(image, "MONOCHROME2", still.lossy_ratio)


def _jpeg(data: bytes) -> Still:
    frame = _frame(data)
    _require_size(frame.rows, frame.columns)
    if frame.precision != 8:
        raise FileRefused(f"a JPEG has 8 bits a sample to be taken, not {frame.precision}")
    image = _opened(data)
    turned = image.getexif().get(_ORIENTATION, 1) not in (0, 1)
    samples = len(frame.components)
    ratio = max(1.0, frame.rows * frame.columns * samples / len(data))
    baseline = frame.marker == _BASELINE and samples in (1, 3)
    if not baseline or turned:
        upright: Image.Image = ImageOps.exif_transpose(image) if turned else image
        kept = None if frame.marker in _LOSSLESS else ratio
        return _plain(upright if upright.mode == "L" else upright.convert("RGB"), kept)
    return Still(
        rows=frame.rows,
        columns=frame.columns,
        samples=samples,
        bits=8,
        photometric=_photometric(frame),
        transfer_syntax_uid=JPEG_BASELINE,
        pixels=data,
        lossy_ratio=ratio,
    )


def _png(data: bytes) -> Still:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise FileRefused("the PNG has no header (RFC 2083, 4.1.1)")
    columns, rows, depth, colour = struct.unpack_from(">IIBB", data, 16)
    _require_size(rows, columns)
    if depth == 16 and colour != 0:
        raise FileRefused("a PNG with 16 bits a colour is not taken: 8 bits, or 16 bits of grey")
    image = _opened(data)
    if getattr(image, "n_frames", 1) > 1:
        raise FileRefused("an animated PNG is not taken: send its pictures or a video")
    return _plain(_opaque(image), None)


def _opaque(image: Image.Image) -> Image.Image:
    """Return the picture without its alpha channel, if that hides nothing."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        if image.convert("RGBA").getchannel("A").tobytes().strip(b"\xff"):
            raise FileRefused("the PNG is transparent in places: what shows there is not said")
        return image.convert("L" if image.mode in ("L", "LA") else "RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "I;16") else image.convert("RGB")


def _plain(image: Image.Image, ratio: float | None) -> Still:
    grey = image.mode in ("L", "I;16")
    return _uncompressed(image, "MONOCHROME2" if grey else "RGB", ratio)


def _uncompressed(image: Image.Image, photometric: str, ratio: float | None) -> Still:
    pixels = image.tobytes()
    return Still(
        rows=image.height,
        columns=image.width,
        samples=3 if photometric == "RGB" else 1,
        bits=16 if image.mode == "I;16" else 8,
        photometric=photometric,
        transfer_syntax_uid=EXPLICIT_LITTLE,
        pixels=pixels,
        lossy_ratio=ratio,
    )


def _opened(data: bytes) -> Image.Image:
    """Decode a picture whose size was checked; all of it must be there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata that we do not use
            image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
            image.load()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise FileRefused("the picture is cut short or damaged: it cannot be decoded") from error
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    return image


def _frame(data: bytes) -> _Frame:
    """Walk the markers of a JPEG up to its first scan (T.81 B.1.1)."""
    position, adobe, found = 2, None, None
    for _ in range(_MAX_SEGMENTS):
        if position + 4 > len(data) or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF or marker in _BARE:
            position += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if length < 2 or len(body) != length - 2:
            break
        if marker in _FRAMES:
            found = _header_of(marker, body)
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker == _SCAN and found is not None:
            return _Frame(*found, adobe)
        position += 2 + length
    raise FileRefused("the JPEG has no frame that can be read (ITU-T T.81, B.2)")


def _header_of(marker: int, body: bytes) -> tuple[int, int, int, int, bytes]:
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise FileRefused("the frame header of the JPEG is damaged (ITU-T T.81, B.2.2)")
    precision, rows, columns = struct.unpack_from(">BHH", body)
    return marker, precision, rows, columns, body[6::3]


def _photometric(frame: _Frame) -> str:
    if len(frame.components) == 1:
        return "MONOCHROME2"
    if frame.adobe == 0 or frame.components == b"RGB":
        return "RGB"
    return "YBR_FULL_422"


def _require_size(rows: int, columns: int) -> None:
    if not rows or not columns:
        raise FileRefused("the picture has no rows or no columns")
    if rows * columns > MAX_PIXELS or max(rows, columns) > 65_535:
        raise _too_large()


def _too_large() -> FileRefused:
    return FileRefused(f"a picture has at most {MAX_PIXELS} pixels and 65535 on a side")
