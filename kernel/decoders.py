"""Which decoder opens which compression: one that refuses bad bytes, wherever there is a choice.

GDCM ends the whole process where it meets what it does not expect: what it alone opens is decoded
in a process of its own, and is not in this table.

References
----------
DICOM PS3.5 sections 8.2 and A.4, PS3.6 Annex A (the UIDs).
"""

from collections.abc import Mapping

RLE_LOSSLESS = "1.2.840.10008.1.2.5"
"""The one compression whose streams say no size."""

_DECODERS: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG Baseline (Process 1)
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # HTJ2K Lossless
    "1.2.840.10008.1.2.4.202": "pylibjpeg",  # HTJ2K Lossless RPCL
    "1.2.840.10008.1.2.4.203": "pylibjpeg",  # HTJ2K
    RLE_LOSSLESS: "pydicom",
}


def decoder_of(transfer_syntax_uid: str) -> str:
    """Return the name of the decoder to ask; empty where there is no choice."""
    return _DECODERS.get(transfer_syntax_uid, "")
