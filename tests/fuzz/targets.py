"""What is fuzzed: every reader of bytes that a stranger sends, and the refusals it may end in.

A target takes any bytes.  It raises nothing, hangs nowhere and keeps within its memory, whatever
they are; what the reader refuses by name is no finding.
"""

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from app.http.errors import BodyMalformed, BodyTooLarge
from app.http.multipart import _Splitter
from dicom_node import data_sets, headers, pdu
from dicom_node.dicom_json import metadata_of
from dicom_node.dimse import parse_request, parse_response
from dicom_node.errors import PictureRefused, ProtocolBroken, Unreadable
from dicom_node.examination import of_instance
from dicom_node.frames import Frames
from dicom_node.headers import Defaults
from dicom_node.remarks import Remark
from dicom_node.uids import DEFLATED_LITTLE, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from kernel.errors import EngineError

SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED_LITTLE)
_DEFAULTS = Defaults("fuzz", "")


def association(data: bytes) -> None:
    """A-ASSOCIATE-RQ and -AC (PS3.8 section 9.3)."""
    for parse in (pdu.parse_associate_request, pdu.parse_associate_accept):
        with suppress(ProtocolBroken):
            parse(data)


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


def identifier(data: bytes) -> None:
    """The identifier of a query and the attributes of a message."""
    syntax = SYNTAXES[data[0] % 3] if data else EXPLICIT_LITTLE
    with suppress(EngineError):
        data_sets.decode(data[1:], syntax)


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
    each.__name__: each for each in (association, command, header, file, identifier, multipart)
}
