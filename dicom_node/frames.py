"""Frames of an instance as they are stored or decoded, read without the rest of it.

References
----------
DICOM PS3.18 sections 10.4.1.1.6 (frame resources) and 8.7.3.5 (media types of bulk data), PS3.5
sections 8.1 (native pixels) and A.4 (fragments), PS3.3 section C.7.6.3.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import BinaryIO

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from dicom_node.apart import APART, decompressed
from dicom_node.byte_order import WORDS, require_one_reading, swapped
from dicom_node.codecs import offsets_of, require_size, right_colours, stream_of
from dicom_node.deflated import head_of, inflated
from dicom_node.errors import PictureRefused
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from kernel.decoders import decoder_of
from kernel.errors import EngineError

OCTETS = "application/octet-stream"
NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG})
MAX_FRAME_BYTES = 512 << 20
_UNDEFINED = 0xFFFFFFFF
_HALF_CHROMA = ("YBR_FULL_422", "YBR_PARTIAL_422")
_DESCRIBING = frozenset(
    {
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
    }
)
_OVERLAY_BITS = frozenset(
    (group, element) for group in range(0x6000, 0x6020, 2) for element in (0x0102, 0x3000)
)
"""By these it shows whether an overlay lies among the pixels (PS3.5 section 8.1.2)."""
_SYNTAX = "1.2.840.10008.1.2"
MEDIA_TYPES: Mapping[str, str] = {
    f"{_SYNTAX}.4.50": "image/jpeg",
    f"{_SYNTAX}.4.51": "image/jpeg",
    f"{_SYNTAX}.4.57": "image/jpeg",
    f"{_SYNTAX}.4.70": "image/jpeg",
    f"{_SYNTAX}.4.80": "image/jls",
    f"{_SYNTAX}.4.81": "image/jls",
    f"{_SYNTAX}.4.90": "image/jp2",
    f"{_SYNTAX}.4.91": "image/jp2",
    f"{_SYNTAX}.4.92": "image/jpx",
    f"{_SYNTAX}.4.93": "image/jpx",
    f"{_SYNTAX}.4.110": "image/jxl",
    f"{_SYNTAX}.4.111": "image/jxl",
    f"{_SYNTAX}.4.112": "image/jxl",
    f"{_SYNTAX}.4.201": "image/jphc",
    f"{_SYNTAX}.4.202": "image/jphc",
    f"{_SYNTAX}.4.203": "image/jphc",
    f"{_SYNTAX}.5": "image/dicom-rle",
}
"""Of compressed frames, by transfer syntax (PS3.18 table 8.7.3-5)."""


class FrameMissing(PictureRefused):
    """The instance has no frame of this number."""

    code = "dicom_node.frame_missing"


class Frames:
    """The frames of one instance; the first has the number 1.

    Parameters
    ----------
    file
        A Part 10 file that is read where frames are asked for.

    Raises
    ------
    PictureRefused
        The instance has no pixels, or sizes that cannot be.
    """

    def __init__(self, file: BinaryIO) -> None:
        try:
            syntax, _ = head_of(file)
            if syntax == DEFLATED_LITTLE:
                file.seek(0)
                file = BytesIO(inflated(file.read()))
                syntax = EXPLICIT_LITTLE
            file.seek(0)
            self._file = file
            self.transfer_syntax_uid = syntax
            self._header = dcmread(file, stop_before_pixels=True)
            self._offsets = offsets_of(self._header)
            self._swapped, self._vr = 1, ""  # so many bytes together are in the other order
            self._start, self._length = self._pixels()
            self.count = max(1, int(self._header.get("NumberOfFrames") or 1))
            self._frame_bits = _frame_bits(self._header)
        except EngineError:
            raise
        except Exception as error:  # the header is the sender's
            raise PictureRefused(f"the frames cannot be found: {type(error).__name__}") from error
        self._apart: Frames | None = None
        if not 0 < self._frame_bits <= MAX_FRAME_BYTES * 8:
            raise PictureRefused("the instance has no frames, or too large ones")

    @property
    def is_native(self) -> bool:
        """Whether the pixels are not compressed."""
        return self.transfer_syntax_uid in NATIVE

    @property
    def is_short(self) -> bool:
        """Whether plain pixels are fewer than rows, columns and frames say."""
        return self.is_native and self._frame_bits * self.count > self._length * 8

    def stored(self, number: int) -> tuple[str, str, bytes]:
        """Return (media type, transfer syntax, bytes) of a frame with nothing decoded.

        Raises
        ------
        PictureRefused
            It is not there, or shorter than it says.
        """
        if self.is_native:
            return OCTETS, EXPLICIT_LITTLE, self.plain(number)
        media_type = MEDIA_TYPES.get(self.transfer_syntax_uid)
        if media_type is None:
            raise PictureRefused("frames of this compression do not stand alone")
        self._require(number)
        self._file.seek(self._start)
        try:
            data = get_frame(
                self._file,
                number - 1,
                number_of_frames=self.count,
                extended_offsets=self._offsets,
            )
        except (ValueError, EOFError, RuntimeError, struct.error) as error:
            raise PictureRefused("the frame is not there, or cut short") from error
        return media_type, self.transfer_syntax_uid, data

    def plain(self, number: int) -> bytes:
        """Return a frame decoded, little endian.

        Raises
        ------
        PictureRefused
            It is not there, shorter than it says, or cannot be decoded.
        """
        self._require(number)
        if not self.is_native:
            return self._decoded(number)
        require_one_reading(self._vr, int(self._header.get("BitsAllocated") or 0))
        first, bits = (number - 1) * self._frame_bits, self._frame_bits
        last = first + bits
        start, end = first // 8, (last + 7) // 8
        if end > self._length:
            raise PictureRefused("the instance has fewer pixels than it says")
        data = self._read(start, end)
        if len(data) != end - start:
            raise PictureRefused("the instance has fewer pixels than it says")
        if first % 8 or last % 8:
            return _bits(data, first % 8, bits)
        return data

    def alone(self, number: int) -> bytes:
        """Return a file with this frame and what describes its pixels, and nothing else.

        It is compressed as it is stored, or native and little endian.

        Raises
        ------
        PictureRefused
            The frame is not there, or shorter than it says.
        """
        _, syntax, data = self.stored(number)
        made = Dataset()
        for each in self._header:
            if each.keyword in _DESCRIBING or (each.tag.group, each.tag.element) in _OVERLAY_BITS:
                made.add(each)
        data += b"\0" * (len(data) % 2)
        made.add_new("PixelData", "OW", data if self.is_native else encapsulate([data]))
        if not self.is_native:
            made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
        made.preamble, made.file_meta = bytes(128), FileMetaDataset()
        made.file_meta.FileMetaInformationGroupLength = 0  # the writer knows it
        made.file_meta.TransferSyntaxUID = UID(syntax)
        out = BytesIO()
        dcmwrite(out, made, implicit_vr=False, little_endian=True)
        return out.getvalue()

    def _decoded(self, number: int) -> bytes:
        self._file.seek(0)
        if self.transfer_syntax_uid in APART:
            if self._apart is None:
                self._apart = Frames(BytesIO(decompressed(self._file.read())))
            return self._apart.plain(number)
        try:
            alone = dcmread(BytesIO(self.alone(number)))
            right_colours(alone)
            require_size(stream_of(alone, 0), alone)
            decoded = pixel_array(
                alone,
                # Clients take three samples a pixel for RGB where they are told of halved colours.
                raw=self._header.get("PhotometricInterpretation") not in _HALF_CHROMA,
                decoding_plugin=decoder_of(self.transfer_syntax_uid),
            )
        except PictureRefused:
            raise
        except Exception as error:  # decoders of many makers raise what they like
            raise PictureRefused(f"the pixels cannot be decoded: {type(error).__name__}") from error
        little: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = decoded.astype(
            decoded.dtype.newbyteorder("<"), copy=False
        )
        if self._header.get("BitsAllocated") == 1:
            return np.packbits(little.astype(np.uint8), bitorder="little").tobytes()
        return little.tobytes()

    def _read(self, start: int, end: int) -> bytes:
        """Return bytes of the pixel data, which begin at 0, in little endian."""
        unit = self._swapped
        first, last = start // unit * unit, -(-end // unit) * unit
        self._file.seek(self._start + first)
        data = self._file.read(last - first)
        if unit > 1:
            data = swapped(data, unit)
        return data[start - first : end - first]

    def _require(self, number: int) -> None:
        if not 1 <= number <= self.count:
            raise FrameMissing(f"the instance has {self.count} frames, not {number}")

    def _pixels(self) -> tuple[int, int]:
        """Return where the value of the pixel data begins and its length (bytes)."""
        at = self._file.tell()
        order = ">" if self.transfer_syntax_uid == EXPLICIT_BIG else "<"
        head = self._file.read(12)
        if len(head) < 12:
            raise PictureRefused("the instance has no pixel data")
        group, element = struct.unpack_from(f"{order}HH", head)
        if group != 0x7FE0 or element not in (0x0008, 0x0009, 0x0010):
            raise PictureRefused("the instance has no pixel data")
        if self.transfer_syntax_uid == EXPLICIT_BIG:
            # Samples of eight bits, too, where they are written as words (PS3.5 section 8.1.1).
            self._vr = head[4:6].decode("latin-1")
            self._swapped = WORDS.get(self._vr, 1)
        if self.transfer_syntax_uid == IMPLICIT_LITTLE:
            return at + 8, int(struct.unpack_from(f"{order}I", head, 4)[0])
        return at + 12, int(struct.unpack_from(f"{order}I", head, 8)[0])


def _frame_bits(header: Dataset) -> int:
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    samples = int(header.get("SamplesPerPixel") or 1)
    bits = rows * columns * samples * int(header.get("BitsAllocated") or 0)
    # 4:2:2 keeps two of three samples (PS3.3 section C.7.6.3.1.2), where pixels are native.
    native = str(header.file_meta.TransferSyntaxUID) in NATIVE
    half = native and header.get("PhotometricInterpretation") in _HALF_CHROMA
    return bits * 2 // 3 if half else bits


def _bits(data: bytes, skipped: int, wanted: int) -> bytes:
    """Return a frame of single bits that does not begin or end with a byte, so that it does."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return np.packbits(bits[skipped : skipped + wanted], bitorder="little").tobytes()
