"""multipart/related, in and out: taken in as a stream into a spool, refused whole if cut short.

References
----------
RFC 2046 section 5.1 (multipart), RFC 2387 (related), DICOM PS3.18 section 8.6.1.2.
"""

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from app.http.errors import BodyMalformed, BodyTooLarge, NoRoom
from app.http.limits import Limits, within

_MAX_PART_HEADERS = 8192
_MAX_BOUNDARY = 70
MAX_PARTS = 50_000


@dataclass(frozen=True, slots=True)
class Part:
    """Where one part lies in the spool, and what it says it is."""

    content_type: str
    start: int
    length: int
    location: str = ""
    """Content-Location, by which another part names this one (RFC 2557 section 4.2)."""


def media_type(header: str) -> tuple[str, dict[str, str]]:
    """Return (type, parameters) of a Content-Type or one item of Accept, names in lower case."""
    message = Message()
    message["Content-Type"] = header
    pairs = message.get_params(failobj=[("", "")], header="Content-Type")
    name = str(pairs[0][0]).strip().lower() if pairs else ""
    return name, {str(key).lower(): str(value) for key, value in pairs[1:]}


class Spool:
    """One upload on disk until its end was seen; closing it removes it."""

    def __init__(self, boundary: str, limits: Limits, directory: Path | None) -> None:
        if not boundary or len(boundary) > _MAX_BOUNDARY:
            raise BodyMalformed("the multipart request names no boundary")
        self.limits = limits
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        except OSError as error:
            raise _room_or(error) from error
        self._splitter = _Splitter(boundary.encode("ascii", "replace"))

    async def take(self, stream: AsyncIterator[bytes]) -> list[Part]:
        """Take the whole request in; return its parts.

        Raises
        ------
        BodyMalformed
            It is no multipart message, or was cut short: then none of it counts.
        BodyTooLarge, NoRoom, UploadStalled
            It is beyond its bounds, there is no room for it, or its sender fell silent.
        """
        async for chunk in within(stream, self.limits):
            await asyncio.to_thread(self._write, chunk)
        return self._splitter.parts()

    def read(self, part: Part) -> bytes:
        """Return the bytes of a part."""
        self._file.flush()
        return os.pread(self._file.fileno(), part.length, part.start)

    def close(self) -> None:
        """Remove the spool."""
        self._file.close()

    def _write(self, chunk: bytes) -> None:
        try:
            self._file.write(chunk)
        except OSError as error:
            raise _room_or(error) from error
        self._splitter.feed(chunk)
        if self._splitter.part_length > self.limits.part:
            raise BodyTooLarge(f"one instance has at most {self.limits.part} bytes")


class _Splitter:
    """Finds where parts begin and end while the bytes go by; keeps only what may be a delimiter."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter has no line end before it; pretending one makes all alike.
        self._tail = b"\r\n"
        self._at = -2  # offset of the tail in the message
        self._parts: list[Part] = []
        self._in_headers = False
        self._began: int | None = None
        self._type = self._location = ""
        self._ended = False

    @property
    def part_length(self) -> int:
        """Bytes of the part under way so far."""
        return 0 if self._began is None else self._at - self._began

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes."""
        data = self._tail + chunk
        position = 0
        while not self._ended:
            if self._in_headers:
                end = data.find(b"\r\n\r\n", position)
                if end < 0:
                    if len(data) - position > _MAX_PART_HEADERS:
                        raise BodyMalformed("the header of a part is too long")
                    break
                self._type = _header(data[position:end], b"content-type")
                self._location = _header(data[position:end], b"content-location")
                position = end + 2  # the line end before a delimiter may be the header's own
                self._began = self._at + end + 4
                self._in_headers = False
                continue
            found = data.find(self._delimiter, position)
            behind = found + len(self._delimiter)
            if found < 0 or behind + 2 > len(data):
                position = max(position, found if found >= 0 else len(data) - len(self._delimiter))
                break
            position = self._delimited(data, found, behind)
            if position < 0:
                position = found
                break
        self._at += position
        self._tail = data[position:]

    def parts(self) -> list[Part]:
        """Return the parts of the message, once its end was seen."""
        if not self._ended:
            raise BodyMalformed("the multipart request was cut short; nothing was stored")
        if not self._parts:
            raise BodyMalformed("the multipart request has no parts")
        return self._parts

    def _delimited(self, data: bytes, found: int, behind: int) -> int:
        """Take one delimiter in; return where to go on, -1 if more bytes are needed first."""
        line_end = data.find(b"\r\n", behind)
        closing = data[behind : behind + 2] == b"--"
        if not closing and line_end < 0:
            if len(data) - behind > _MAX_PART_HEADERS:
                raise BodyMalformed("a delimiter does not end")
            return -1
        if not closing and data[behind:line_end].strip(b" \t"):
            return found + 1  # the boundary followed by more text is content
        if self._began is not None:
            start = self._began
            length = max(0, self._at + found - start)
            self._parts.append(Part(self._type, start, length, self._location))
            if len(self._parts) > MAX_PARTS:
                raise BodyTooLarge(f"one request has at most {MAX_PARTS} parts")
        self._began = None
        if closing:
            self._ended = True
            return behind + 2
        self._in_headers = True
        return line_end


def _header(headers: bytes, wanted: bytes) -> str:
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == wanted:
            return value.strip().decode("ascii", "replace")
    return ""


def _room_or(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoRoom("there is no room for this upload; nothing was stored")
    return error


def joined(boundary: str, parts: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield a multipart message of (content type, bytes) parts."""
    for content_type, data in parts:
        yield b"".join((opening(boundary, content_type, len(data)), data, b"\r\n"))
    yield closing(boundary)


def opening(boundary: str, content_type: str, length: int) -> bytes:
    """Return what stands before a part of `length` bytes."""
    return (
        f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    ).encode("ascii")


def closing(boundary: str) -> bytes:
    """Return the end of a multipart message."""
    return f"--{boundary}--\r\n".encode("ascii")
