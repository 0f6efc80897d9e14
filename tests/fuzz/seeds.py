"""Where fuzzing starts from: one good message of each kind, and the odd files that are at hand."""

import json
import struct

from pydicom import Dataset

from dicom_node.pdu import PduType, release_request
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.dicom_node.pictures_of import COLOURS, deflated, encoded, pdf
from tests.dicom_node.samples import a_slice, as_file, as_sent
from tests.fuzz.targets import STORED_CLASS, SYNTAXES
from tests.wire.odd import ROWS
from tests.wire.speaker import associate_request, command, element, pdu, pdv

MAX_SEED = 8192


def seeds(target: str) -> list[bytes]:
    """Return the messages that a target is started from."""
    return [seed for seed in _SEEDS[target]() if len(seed) <= MAX_SEED]


def _files() -> list[bytes]:
    syntaxes = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, DEFLATED_LITTLE)
    return [as_file(a_slice(), syntax) for syntax in syntaxes] + [row.data for row in ROWS]


def _data_sets() -> list[bytes]:
    syntaxes = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
    return [
        bytes([at]) + as_sent(as_file(a_slice(), syntax))[1] for at, syntax in enumerate(syntaxes)
    ]


def _corrections() -> list[bytes]:
    """Return a data set in each transfer syntax; requests and what was before stand in some."""
    made = []
    for at, syntax in enumerate(SYNTAXES):
        data_set = a_slice()
        for name in ("RequestAttributesSequence", "OriginalAttributesSequence"):
            item = Dataset()
            item.AccessionNumber = data_set.AccessionNumber
            setattr(data_set, name, [item])
        made += [bytes([at + 4 * how]) + as_sent(as_file(data_set, syntax))[1] for how in range(4)]
    return made


def _associations() -> list[bytes]:
    return [associate_request([(1, "1.2.840.10008.1.1", ["1.2.840.10008.1.2"])])[6:]]


def _commands() -> list[bytes]:
    request = command(1, sop_class="1.2.840.10008.5.1.4.1.1.2", instance="1.2.3", has_data=True)
    return [request, element(0x0900, b"\0\0"), request + element(0x0902, b"why")]


def _stores() -> list[bytes]:
    request = command(1, sop_class=STORED_CLASS, instance="1.2.3", has_data=True)
    cut = b"".join(_p_data((0, b"pixels" * 20)) for _ in range(4)) + _p_data((2, b"end"))
    together = _p_data((3, request), (0, b"in one"), (2, b" PDU")) + release_request()
    two_empty = _p_data((3, request), (2, b"")) * 2
    return [_p_data((3, request)) + cut + release_request(), together, two_empty]


def _p_data(*values: tuple[int, bytes]) -> bytes:
    return pdu(PduType.P_DATA, b"".join(pdv(1, *value) for value in values))


def _messages() -> list[bytes]:
    part = b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\nbytes"
    return [b"\x10" + part[2:] + b"\r\n--b--\r\n", b"\x03" + part * 3 + b"\r\n--b--"]


def _pictures() -> list[bytes]:
    stills = [encoded("PNG", COLOURS[:4, :4]), encoded("JPEG", COLOURS[:8, :8])]
    return [*stills, pdf(deflated(b"<</OpenAction 2 0 R>>")), _video()]


def _video() -> bytes:
    """Return the boxes of a video in which nothing is coded (ISO/IEC 14496-12 section 8)."""
    shape = bytes(24) + struct.pack(">HH", 64, 48) + bytes(50)
    entry = _box(b"avc1", shape + _box(b"avcC", b"\1\x64\0\x29"))
    index = _box(b"stsd", struct.pack(">II", 0, 1) + entry) + _box(b"stsz", bytes(8) + b"\0\0\0\1")
    media = _box(b"hdlr", bytes(8) + b"vide") + _box(b"minf", _box(b"stbl", index))
    media += _box(b"mdhd", bytes(12) + struct.pack(">II", 1000, 40))
    track = _box(b"tkhd", bytes(40) + struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 0))
    moov = _box(b"moov", _box(b"trak", track + _box(b"mdia", media)))
    return _box(b"ftyp", b"isom") + moov + _box(b"mdat", b"frame")


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _workitems() -> list[bytes]:
    model = {
        "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B"}]},
        "00404018": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["1"]}}]},
        "00741200": {"vr": "US", "Value": [1.5]},
        "00741204": {"vr": "OB", "InlineBinary": "AAA="},
    }
    xml = b"<NativeDicomModel><DicomAttribute tag='00741000' vr='CS'><Value number='1'>A</Value>"
    return [
        b"\0" + json.dumps(model).encode(),
        b"\1" + xml + b"</DicomAttribute></NativeDicomModel>",
    ]


def _searches() -> list[bytes]:
    asked = (
        b"PatientName=%D0%86*&StudyDate=20260101-&limit=1&offset=2&includefield=all",
        b"00100020=1&fuzzymatching=true&RequestAttributesSequence.ScheduledProcedureStepID=1",
        b"ScheduledProcedureStepStartDateTime=2026-&StationNameCodeSequence.CodeValue=a",
    )
    return [bytes([at]) + each for at, each in enumerate(asked)]


_SEEDS = {
    "association": _associations,
    "messages": _stores,
    "command": _commands,
    "header": _data_sets,
    "correction": _corrections,
    "file": _files,
    "identifier": _data_sets,
    "multipart": _messages,
    "picture": _pictures,
    "workitem": _workitems,
    "search": _searches,
}
