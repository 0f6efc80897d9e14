"""Sending a message: its command set, and the data set behind it.

References
----------
DICOM PS3.7 section 6.3, PS3.8 Annex E.
"""

from dicom_node.pdu import command_data, data_pdus
from dicom_node.transport import Transport

_SMALL = 65_536


def send_message(
    transport: Transport,
    context_id: int,
    command: bytes,
    data: bytes | memoryview,
    *,
    max_pdu: int,
) -> None:
    """Send a command set, and the data set behind it if there is one.

    What is small goes in one segment, for each would else wait its turn.
    """
    waiting = command_data(context_id, command)
    for each in data_pdus(context_id, data, max_pdu=max_pdu):
        if len(waiting) + len(each) <= _SMALL:
            waiting += each
        else:
            transport.send(waiting)
            waiting = each
    transport.send(waiting)
