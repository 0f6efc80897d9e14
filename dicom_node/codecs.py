"""Which decoder opens which compression: one that refuses bad bytes, wherever there is a choice.

GDCM ends the whole process where it meets what it does not expect: what it alone opens is decoded
apart (`dicom_node.apart`).

References
----------
DICOM PS3.5 sections 8.2 and A.4.
"""

from collections.abc import Mapping

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

DECODERS: Mapping[str, str] = {
    str(JPEGBaseline8Bit): "pillow",
    str(JPEGLSLossless): "pyjpegls",
    str(JPEGLSNearLossless): "pyjpegls",
    str(JPEG2000Lossless): "pylibjpeg",
    str(JPEG2000): "pylibjpeg",
    str(HTJ2KLossless): "pylibjpeg",
    str(HTJ2KLosslessRPCL): "pylibjpeg",
    str(HTJ2K): "pylibjpeg",
    str(RLELossless): "pydicom",
}

ENCODERS: Mapping[str, str] = {
    str(JPEG2000Lossless): "pylibjpeg",
    str(JPEGLSLossless): "pyjpegls",
    str(RLELossless): "pylibjpeg",
}


def decoder_of(transfer_syntax_uid: str) -> str:
    """Return the name of the decoder to ask; empty where there is no choice."""
    return DECODERS.get(transfer_syntax_uid, "")
