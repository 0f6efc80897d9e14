"""What is fuzzed: every reader of bytes that a stranger sends, and the refusals it may end in.

A target takes any bytes.  It raises nothing, hangs nowhere and keeps within its memory, whatever
they are; what the reader refuses by name is no finding.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import BytesIO

from starlette.datastructures import QueryParams

from app.http import dicom_search, ups_body
from app.http.errors import BodyMalformed, BodyTooLarge
from app.http.multipart import _Splitter
from dicom_node import data_sets, dicom_xml, headers, pdu
from dicom_node.admission import Announced, Source
from dicom_node.contexts import Answered, ContextResult
from dicom_node.corrected import corrected, corrected_model
from dicom_node.dicom_json import metadata_of
from dicom_node.dimse import parse_request, parse_response
from dicom_node.errors import (
    CorrectionNotShown,
    FileRefused,
    PeerGone,
    PictureRefused,
    ProtocolBroken,
    Unreadable,
)
from dicom_node.examination import of_instance
from dicom_node.frames import Frames
from dicom_node.headers import Defaults
from dicom_node.imported import made_from
from dicom_node.in_flight import InFlight
from dicom_node.intake import Answer, Arriving, Intake
from dicom_node.part10 import file_head
from dicom_node.query import Level
from dicom_node.receive import Agreed, ReceiveLimits, StorageAssociation
from dicom_node.remarks import Remark
from dicom_node.source import Route
from dicom_node.statuses import Outcome
from dicom_node.transport import Transport
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from dicom_node.workitems import model
from kernel.errors import EngineError
from kernel.ids import PatientRef
from storage.frame import Frame
from storage.patients import Patient
from storage.shown import Shown
from tests.dicom_node.pictures_of import OF

SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE)
LATER = (dicom_xml, model)
"""What is else loaded when it is needed: loaded before, it is watched as well."""

SHOWN = tuple(
    Shown(
        study_uid="1.2.3",
        patient=patient,
        demographics=demographics,
        accession=accession,
        another_person=another,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    for patient, demographics, accession, another in (
        (None, {}, "RIGHT1", False),
        (Patient(PatientRef("a"), "issuer", "P7", "Right^One", "F", None), {}, None, True),
        (None, {"name": "Ґудзь^Їжак", "birth_date": "1970-01-02"}, "№1", False),
        (Patient(PatientRef("a"), "issuer", "P7", "Айгүл", "", None), {}, "RIGHT1", False),
    )
)
LEVELS = (Level.STUDY, Level.SERIES, Level.IMAGE)
STORED_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MAX_PDU = 4096
_DEFAULTS = Defaults("fuzz", "")
_PATIENCE = timedelta(seconds=5)
_MODELS = ("application/dicom+json", "application/dicom+xml")


def association(data: bytes) -> None:
    """A-ASSOCIATE-RQ and -AC (PS3.8 section 9.3)."""
    for parse in (pdu.parse_associate_request, pdu.parse_associate_accept):
        with suppress(ProtocolBroken):
            parse(data)


class _Taken(Arriving):
    """Keeps in memory what arrives, with room for one fragment and a bit."""

    def __init__(self, taken: list[bytes]) -> None:
        self._taken = taken
        self._data = b""

    def room(self, size: int) -> memoryview:
        self._room = memoryview(bytearray(size + size // 2))
        return self._room

    def filled(self, size: int) -> None:
        self._data += self._room[:size]

    def finish(self) -> Answer:
        self._taken.append(self._data)
        return Answer(Outcome.STORED)

    def discard(self) -> None:
        pass


class _Memory(Intake):
    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def begin(self, announced: Announced, source: Source, frame: Frame) -> Arriving:
        return _Taken(self.taken)


def _told(stream: bytes) -> Iterator[bytes]:
    """Yield each data set of a stream of P-DATA-TF, read as leniently as can be."""
    at, data = 0, b""
    while at + 6 <= len(stream):
        (length,) = struct.unpack_from(">xxI", stream, at)
        items = stream[at + 6 : at + 6 + length]
        at += 6 + length
        while len(items) >= 6:
            size, control = struct.unpack_from(">IxB", items)
            if control & 1:
                data = b""  # of a command
            else:
                data += items[6 : 4 + size]
                if control & 2:
                    yield data
                    data = b""
            items = items[4 + max(size, 2) :]


def messages(data: bytes) -> None:
    """What comes on an association that is open: each data set is taken as it was sent."""
    context = Answered(1, STORED_CLASS, ContextResult.ACCEPTED, EXPLICIT_LITTLE)
    agreed = Agreed("fuzz", Source(Route.DIMSE, "FUZZ", "fuzz", _DEFAULTS), {1: context})
    limits = ReceiveLimits(max_pdu=MAX_PDU, buffer_bytes=2 * MAX_PDU)
    intake = _Memory()
    with socket.create_server(("127.0.0.1", 0)) as door:
        peer = socket.create_connection(door.getsockname())
        ours, _ = door.accept()
    with peer, ours:
        # Reset at the end: what waits for late segments would use up the ports of the machine.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        transport = Transport(ours, silence=_PATIENCE, idle=_PATIENCE)
        with suppress(ProtocolBroken, PeerGone):
            StorageAssociation(transport, agreed, intake, InFlight(), limits).serve()
    told = _told(data)
    assert all(any(taken == sent for sent in told) for taken in intake.taken)


def command(data: bytes) -> None:
    """Command sets (PS3.7 section 6.3)."""
    for parse in (parse_request, parse_response):
        with suppress(ProtocolBroken):
            parse(data)


def header(data: bytes) -> None:
    """The header of a data set, in the transfer syntax that the first byte chooses."""
    syntax = SYNTAXES[data[0] % len(SYNTAXES)] if data else EXPLICIT_LITTLE
    with suppress(Unreadable):
        headers.read(data[1:], syntax, _DEFAULTS)


def file(data: bytes) -> None:
    """A Part 10 file: its header, its metadata, its first frame and what is odd in it."""
    with suppress(Unreadable):
        headers.read_file(data, _DEFAULTS)
    with suppress(Unreadable):
        metadata_of(BytesIO(data), bulk="bulkdata")
    with suppress(PictureRefused, Unreadable):
        Frames(BytesIO(data)).stored(1)
    with suppress(Unreadable):
        assert of_instance(BytesIO(data), len(data)) <= set(Remark)


def correction(data: bytes) -> None:
    """A data set that was admitted and is handed out corrected; the first byte chooses how."""
    how = data[0] if data else 0
    syntax, shown = SYNTAXES[how % 4], SHOWN[how // 4 % len(SHOWN)]
    named = {"sop_class_uid": STORED_CLASS, "sop_instance_uid": "1.2.3"}
    file = file_head(**named, transfer_syntax_uid=syntax) + data[1:]
    try:
        before, _ = headers.read_file(file, _DEFAULTS)
    except Unreadable:
        return
    with suppress(Unreadable, CorrectionNotShown):
        corrected_model(metadata_of(BytesIO(file), bulk="bulkdata"), shown)
    with suppress(CorrectionNotShown):
        made = corrected(file, shown)
        after, _ = headers.read_file(made, _DEFAULTS)
        assert (after.study_uid, after.instance_uid) == (before.study_uid, before.instance_uid)
        assert shown.patient is None or after.patient_id == shown.patient.patient_id
        assert headers.read_file(corrected(made, shown), _DEFAULTS)[0] == after


def identifier(data: bytes) -> None:
    """The identifier of a query and the attributes of a message."""
    syntax = SYNTAXES[data[0] % 3] if data else EXPLICIT_LITTLE
    with suppress(EngineError):
        data_sets.decode(data[1:], syntax)


def picture(data: bytes) -> None:
    """A file of a site that is to become an object: a picture, a PDF or a video."""
    with suppress(FileRefused):
        made_from(data, OF)


def workitem(data: bytes) -> None:
    """The data set of a workitem, in the model that the first byte chooses."""
    kind = _MODELS[data[0] % 2] if data else _MODELS[0]
    with suppress(EngineError):
        ups_body.data_set_of(kind, data[1:])


def search(data: bytes) -> None:
    """The query string of a search, for the level that the first byte chooses."""
    level = LEVELS[data[0] % len(LEVELS)] if data else Level.STUDY
    pairs = QueryParams(data[1:]).multi_items()
    with suppress(EngineError):
        dicom_search.parsed(pairs, level).query()
    with suppress(EngineError):
        ups_body.search_of(pairs)


def multipart(data: bytes) -> None:
    """A multipart message, cut into chunks whose size the first byte tells."""
    size = (data[0] if data else 0) + 1
    splitter = _Splitter(b"b")
    with suppress(BodyMalformed, BodyTooLarge):
        for start in range(1, len(data), size):
            splitter.feed(data[start : start + size])
        end = len(data) - 1
        for part in splitter.parts():
            assert 0 <= part.start <= part.start + part.length <= end


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        association,
        messages,
        command,
        header,
        file,
        correction,
        identifier,
        multipart,
        picture,
        workitem,
        search,
    )
}
