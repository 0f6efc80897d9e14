"""pynetdicom as a client that asks: queries, and their answers."""

import socket
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from dicom_node.uids import STUDY_ROOT_FIND
from tests.wire.conftest import Node
from tests.wire.speaker import CALLING


def identifier(level: str, **keys: object) -> Dataset:
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    asked.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        tag = tag_for_keyword(keyword)
        assert tag is not None
        # Wild cards are no values of their VR, and yet what queries have.
        asked[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)
    return asked


def connect(
    node: Node, abstract: str, *, calling: str = CALLING, syntax: str = "", extended: bytes = b""
) -> Association:
    entity = AE(ae_title=calling)
    entity.add_requested_context(abstract, [syntax] if syntax else None)
    negotiation = []
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid, item.service_class_application_information = abstract, extended
        negotiation.append(item)
    association = entity.associate(
        "127.0.0.1",
        node.port,
        ae_title="TELERAD",
        ext_neg=negotiation,
        evt_handlers=[(evt.EVT_CONN_OPEN, without_delay)],
    )
    assert association.is_established
    return association


def without_delay(event: evt.Event) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def ask(
    node: Node, asked: Dataset, *, root: str = STUDY_ROOT_FIND, **how: Any
) -> tuple[int, list[Dataset], list[int]]:
    """Return the final status, the answers, and the pending statuses."""
    association = connect(node, root, **how)
    statuses, found = [], []
    for status, answer in association.send_c_find(asked, root):
        statuses.append(int(status.Status))
        if answer is not None:
            found.append(answer)
    association.release()
    return statuses[-1], found, statuses[:-1]
