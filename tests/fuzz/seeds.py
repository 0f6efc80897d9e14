"""Where fuzzing starts from: one good message of each kind, and the odd files that are at hand."""

from dicom_node.pdu import PduType, release_request
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.dicom_node.samples import a_slice, as_file, as_sent
from tests.fuzz.targets import STORED_CLASS
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


_SEEDS = {
    "association": _associations,
    "messages": _stores,
    "command": _commands,
    "header": _data_sets,
    "file": _files,
    "identifier": _data_sets,
    "multipart": _messages,
}
