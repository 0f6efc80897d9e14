"""An instance in another transfer syntax, for receivers that do not take it as it is stored.

Uncompressed first, which every receiver has to take; pixels are decoded, never encoded with loss;
identifiers stay as they are.

References
----------
DICOM PS3.5 section 10.1: every application takes Implicit VR Little Endian.
"""

from dicom_node.apart import MAX_PIXEL_BYTES
from dicom_node.errors import PictureRefused
from dicom_node.messages import Pieces
from dicom_node.outgoing import Leaving
from dicom_node.part10 import split
from dicom_node.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from storage.series_queries import Held

TARGETS = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
"""What any instance can be given in, the better one first."""


def data_set_in(transfer_syntax_uid: str, held: Held, leaving: Leaving) -> Pieces:
    """Return the data set of an instance: as it is stored, or in another transfer syntax.

    Raises
    ------
    PictureRefused
        It cannot be given in that one without loss.
    """
    if transfer_syntax_uid == held.transfer_syntax_uid:
        return leaving.data_set()
    if leaving.length > MAX_PIXEL_BYTES:
        raise PictureRefused("the instance is too large to be given in another transfer syntax")
    from dicom_node.transcode import transcoded  # and with it all that decodes

    file = transcoded(leaving.whole(), transfer_syntax_uid)
    data_set = memoryview(file)[split(file).data_set_offset :]
    return Pieces(len(data_set), (data_set,))
