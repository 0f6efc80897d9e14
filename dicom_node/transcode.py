"""An instance in Explicit VR Little Endian, for those who asked for no other transfer syntax.

References
----------
DICOM PS3.18 section 8.7.3.5.2: without a transfer-syntax parameter it is 1.2.840.10008.1.2.1.
"""

from io import BytesIO

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.errors import PictureRefused

EXPLICIT_LITTLE = str(ExplicitVRLittleEndian)


def to_explicit_little(part10: bytes) -> bytes:
    """Return the same instance, decompressed where need be; identifiers stay as they are.

    Raises
    ------
    PictureRefused
        The pixels cannot be decompressed here.
    """
    try:
        data_set = dcmread(BytesIO(part10))
        if data_set.file_meta.TransferSyntaxUID.is_encapsulated:
            data_set.decompress(generate_instance_uid=False)
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        out = BytesIO()
        data_set.save_as(out, enforce_file_format=True)
    except Exception as error:  # decoders of many makers raise what they like
        raise PictureRefused(
            f"the instance cannot be given uncompressed: {type(error).__name__}"
        ) from error
    return out.getvalue()
