"""An instance in an uncompressed transfer syntax, for receivers that take it in no other.

Pixels are decoded, never encoded with loss; identifiers stay as they are.

References
----------
DICOM PS3.5 section 10.1: every application takes Implicit VR Little Endian.
"""

from io import BytesIO

from pydicom import dcmread
from pydicom.uid import UID

from dicom_node.contexts import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicom_node.errors import PictureRefused

TARGETS = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
"""What an instance can be given in, the better one first."""


def to_uncompressed(part10: bytes, transfer_syntax_uid: str) -> bytes:
    """Return the same instance in one of `TARGETS`.

    Raises
    ------
    PictureRefused
        Its pixels cannot be decoded here, or the data set cannot be read whole.
    """
    try:
        data_set = dcmread(BytesIO(part10))
        if data_set.file_meta.TransferSyntaxUID.is_encapsulated:
            data_set.decompress(generate_instance_uid=False)
        data_set.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
        out = BytesIO()
        data_set.save_as(
            out,
            implicit_vr=transfer_syntax_uid == IMPLICIT_LITTLE,
            little_endian=True,
            enforce_file_format=True,
        )
    except Exception as error:  # decoders of many makers raise what they like
        raise PictureRefused(
            f"the instance cannot be given uncompressed: {type(error).__name__}"
        ) from error
    return out.getvalue()
