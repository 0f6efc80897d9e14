"""Sending a message: its command set, and the data set behind it.

References
----------
DICOM PS3.7 section 6.3, PS3.8 Annex E.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dicom_node.errors import ProtocolBroken
from dicom_node.pdu import AT_ONCE_PARTS, AbortReason, Fragments, command_data
from dicom_node.transport import Transport

_AT_ONCE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Pieces:
    """An encoded data set as it is read: its length in bytes, and the bytes piece by piece."""

    length: int
    pieces: Iterable[bytes | memoryview]


def nothing() -> None:
    """Do nothing while an answer is waited for."""


def send_message(
    transport: Transport,
    context_id: int,
    command: bytes,
    data: bytes | memoryview | Pieces,
    *,
    max_pdu: int,
) -> None:
    """Send a command set, and the data set behind it if there is one.

    Nothing is copied on the way, and much goes at once: each part would else wait its turn.

    Raises
    ------
    ProtocolBroken
        The pieces are fewer or more bytes than was said; the message cannot be ended well.
    """
    told = data if isinstance(data, Pieces) else Pieces(len(data), (data,))
    waiting: list[bytes | memoryview] = [command_data(context_id, command)]
    size = 0
    for parts, length in _parts(context_id, told, max_pdu):
        waiting += parts
        size += length
        if size >= _AT_ONCE_BYTES or len(waiting) >= AT_ONCE_PARTS:
            transport.send_parts(waiting)
            waiting, size = [], 0
    if waiting:
        transport.send_parts(waiting)


def _parts(
    context_id: int, data: Pieces, max_pdu: int
) -> Iterator[tuple[list[bytes | memoryview], int]]:
    """Yield what goes onto the wire, so many parts at a time, and how many bytes that is."""
    fragments, left = Fragments(context_id, max_pdu), data.length
    for piece in data.pieces:
        left -= len(piece)
        if left < 0:
            break
        for parts in fragments.of(piece, last=left == 0):
            yield parts, sum(map(len, parts))
    if left:
        raise ProtocolBroken(
            AbortReason.NOT_SPECIFIED, "an instance is not as long as it should be"
        )
