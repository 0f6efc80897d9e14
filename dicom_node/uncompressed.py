"""An instance in another transfer syntax, for receivers that do not take it as it is stored.

Uncompressed first, which every receiver has to take; pixels are decoded, never encoded with loss;
identifiers stay as they are.

References
----------
DICOM PS3.5 section 10.1: every application takes Implicit VR Little Endian.
"""

from collections.abc import Sequence

from dicom_node.decodable import require_decodable
from dicom_node.errors import PictureRefused
from dicom_node.messages import Pieces
from dicom_node.outgoing import Leaving
from dicom_node.part10 import split
from dicom_node.uids import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from storage.series_queries import Held

TARGETS = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
"""What any instance can be given in, the better one first."""


def data_set_in(syntaxes: Sequence[str], held: Held, leaving: Leaving) -> tuple[str, Pieces]:
    """Return the first transfer syntax in which an instance can be given, and its data set in it.

    Parameters
    ----------
    syntaxes
        Those that are taken, the best first; that in which it is stored is so if it is among them.

    Raises
    ------
    PictureRefused
        It cannot be given in any of them without loss.
    """
    if syntaxes[0] == held.transfer_syntax_uid:
        return syntaxes[0], leaving.data_set(held)
    require_decodable(leaving.length)
    from dicom_node.transcode import transcoded  # and with it all that decodes

    file = leaving.whole()
    why: PictureRefused | None = None
    for syntax in syntaxes:
        try:
            made = transcoded(file, syntax)
        except PictureRefused as refusal:
            why = why or refusal
        else:
            data_set = memoryview(made)[split(made).data_set_offset :]
            return syntax, Pieces(len(data_set), (data_set,))
    assert why is not None  # there is one syntax at least
    raise why
