"""Who asks: a client for C-FIND on one association, and one for QIDO-RS on one connection.

Both are as thin as they can be, so that what is measured is the server; both take every answer.
"""

import http.client
import json
import socket
import struct
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from bench.servers import CALLER, Receiver
from dicom_node.data_sets import Attribute, attribute, encode
from dicom_node.dictionary import tag_of
from dicom_node.uids import IMPLICIT_LITTLE, STUDY_ROOT_FIND
from tests.wire.speaker import Speaker, element, pdu, pdv

RETURNED = (
    "StudyInstanceUID", "PatientName", "PatientID", "StudyDate", "StudyTime", "AccessionNumber",
    "StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)  # fmt: skip
"""What a worklist of studies shows; asked for in both protocols."""

_P_DATA = 4
_COMMAND, _LAST = 1, 2
_PENDING = (0xFF00, 0xFF01)
_STATUS = struct.pack("<HHI", 0, 0x0900, 2)

_COMMANDS = b"".join(
    [
        element(0x0002, STUDY_ROOT_FIND.encode()),
        element(0x0100, struct.pack("<H", 0x0020)),
        element(0x0110, struct.pack("<H", 1)),
        element(0x0700, struct.pack("<H", 0)),
        element(0x0800, struct.pack("<H", 1)),
    ]
)
_REQUEST = element(0, struct.pack("<I", len(_COMMANDS))) + _COMMANDS


class Asker(Protocol):
    """Asks a server for studies, between `open` and `close`: no server waits for idle ones."""

    def open(self) -> None:
        """Open the connection."""
        ...

    def ask(self, keys: Mapping[str, str]) -> int:
        """Return how many studies were found."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class Finder:
    """Asks by C-FIND on the study root."""

    def __init__(self, server: Receiver) -> None:
        self._server = server

    def open(self) -> None:
        """Associate."""
        self._speaker = Speaker(self._server.port, calling=CALLER, called=self._server.ae_title)
        if self._speaker.associate((STUDY_ROOT_FIND, IMPLICIT_LITTLE)) != 2:
            raise RuntimeError(f"{self._server.name} does not take the association")

    def ask(self, keys: Mapping[str, str]) -> int:
        """Return how many answers there were."""
        asked = {tag_of(name): attribute(name) for name in RETURNED}
        asked |= {tag_of(name): attribute(name, value) for name, value in keys.items()}
        asked[tag_of("QueryRetrieveLevel")] = attribute("QueryRetrieveLevel", "STUDY")
        asked[tag_of("SpecificCharacterSet")] = attribute("SpecificCharacterSet", "ISO_IR 192")
        self._say(list(asked.values()))
        answers = 0
        while (status := self._next_status()) in _PENDING:
            answers += 1
        if status:
            raise RuntimeError(f"C-FIND ended with {status:04X}")
        return answers

    def close(self) -> None:
        """Release the association."""
        self._speaker.release()
        self._speaker.sock.close()

    def _say(self, asked: list[Attribute]) -> None:
        data = encode(asked, IMPLICIT_LITTLE)
        self._speaker.say(pdu(_P_DATA, pdv(1, 3, _REQUEST)) + pdu(_P_DATA, pdv(1, 2, data)))

    def _next_status(self) -> int:
        """Take PDUs until an answer is whole: its command, and its identifier if it has one."""
        status: int = -1
        while True:
            kind, body = self._speaker.hear()
            if kind != _P_DATA:
                raise RuntimeError(f"the server ended the association (PDU type {kind})")
            position = 0
            while position < len(body):
                length, _, control = struct.unpack_from(">IBB", body, position)
                data = body[position + 6 : position + 4 + length]
                position += 4 + length
                if control & _COMMAND:
                    status = int.from_bytes(data[data.index(_STATUS) + 8 :][:2], "little")
                    if status not in _PENDING:
                        return status
                elif control & _LAST:
                    return status


class Searcher:
    """Asks by QIDO-RS.

    Parameters
    ----------
    root
        Address of the DICOMweb service.
    """

    def __init__(self, root: str, token: str | None = None) -> None:
        parts = urlsplit(root)
        self._root = parts.path
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        self._headers = {"Accept": "application/dicom+json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def open(self) -> None:
        """Connect."""
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, keys: Mapping[str, str]) -> int:
        """Return how many answers there were."""
        # Orthanc does not decode a wild card.
        target = f"{self._root}/studies?{urlencode(keys, safe='*')}"
        self._connection.request("GET", target, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 204):
            raise RuntimeError(f"QIDO-RS answered {answer.status}")
        return len(json.loads(body)) if body else 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
