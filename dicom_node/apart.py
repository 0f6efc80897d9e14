"""Decompressing in a process of its own, for compressions whose one decoder may end its process.

GDCM alone opens the older JPEG processes here, and it aborts where a frame is not what it expects;
a file that anybody may send must not end the node that way.  A decoder that says no, or crashes on
the bytes, says so for good; one that could not begin or go on is tried again.

References
----------
DICOM PS3.5 section 8.2.1 and A.4.1.
"""

import os
import signal
import subprocess
import sys
from io import BytesIO

from dicom_node.errors import DecoderAway, PictureRefused
from dicom_node.part10 import split
from dicom_node.uids import JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1

APART = frozenset({JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1})
PATIENCE_S = 60
_ENDED_BY_OTHERS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Where memory ends, or this node; what a decoder does to itself on the bytes is another signal."""


def decompressed(part10: bytes) -> bytes:
    """Return an instance in Explicit VR Little Endian if its decoder runs apart, else as it is.

    Raises
    ------
    PictureRefused
        Its pixels cannot be decoded; the process that tried is gone.
    DecoderAway
        That process could not be started, was ended by others, or lacked memory or time.
    """
    if split(part10).transfer_syntax_uid not in APART:
        return part10
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dicom_node.apart"],
            input=part10,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DecoderAway("the pixels take too long to be decoded") from error
    except OSError as error:
        raise DecoderAway(f"no decoder could be started: {error.strerror}") from error
    if done.returncode == os.EX_TEMPFAIL or -done.returncode in _ENDED_BY_OTHERS:
        raise DecoderAway("the decoder was ended before it was done")
    if done.returncode or not done.stdout:
        raise PictureRefused("the compressed pixels cannot be decoded")
    return done.stdout


def main() -> None:
    """Decompress one instance from standard input to standard output."""
    try:
        sys.stdout.buffer.write(_decompressed(sys.stdin.buffer.read()))
    except PictureRefused as refusal:
        sys.exit(refusal.sentence)
    except (MemoryError, ImportError, OSError):
        sys.exit(os.EX_TEMPFAIL)


def _decompressed(part10: bytes) -> bytes:
    from pydicom import dcmread  # who calls this process needs none of it

    from dicom_node.decompression import decompress

    data_set = dcmread(BytesIO(part10))
    decompress(data_set, "gdcm")
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()


if __name__ == "__main__":
    main()
