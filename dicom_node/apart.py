"""Decompressing in a process of its own, for compressions whose one decoder may end its process.

GDCM alone opens the older JPEG processes here, and it aborts where a frame is not what it expects;
a file that anybody may send must not end the node that way.

References
----------
DICOM PS3.5 section 8.2.1 and A.4.1.
"""

import subprocess
import sys
from io import BytesIO

from dicom_node.errors import PictureRefused
from dicom_node.part10 import split
from dicom_node.uids import JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1

APART = frozenset({JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1})
PATIENCE_S = 60


def decompressed(part10: bytes) -> bytes:
    """Return an instance in Explicit VR Little Endian if its decoder runs apart, else as it is.

    Raises
    ------
    PictureRefused
        Its pixels cannot be decoded; the process that tried is gone.
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
        raise PictureRefused("the pixels take too long to be decoded") from error
    if done.returncode or not done.stdout:
        raise PictureRefused("the compressed pixels cannot be decoded")
    return done.stdout


def main() -> None:
    """Decompress one instance from standard input to standard output."""
    from pydicom import dcmread  # who calls this process needs none of it

    from dicom_node.decompression import decompress

    data_set = dcmread(BytesIO(sys.stdin.buffer.read()))
    try:
        decompress(data_set, "gdcm")
    except PictureRefused as refusal:
        sys.exit(refusal.sentence)
    out = BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    main()
