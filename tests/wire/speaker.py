"""A peer that says exactly what a test wants said, byte for byte."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from dicom_node.admission import Announced
from kernel.clock import monotonic_s

CALLED, CALLING = "TELERAD", "VAN1"
VERIFICATION = "1.2.840.10008.1.1"
PATIENCE_S = 10.0


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread is about to make true."""
    deadline = monotonic_s() + PATIENCE_S
    pause = threading.Event()
    while not true():
        assert monotonic_s() < deadline, "it never came true"
        pause.wait(0.002)


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context_id, control) + data


def associate_request(
    contexts: Sequence[tuple[int, str, Sequence[str]]],
    *,
    called: str = CALLED,
    calling: str = CALLING,
    application: str = "1.2.840.10008.3.1.1.1",
    version: int = 1,
    user: bytes = b"",
) -> bytes:
    body = struct.pack(
        ">HH16s16s32x", version, 0, called.ljust(16).encode(), calling.ljust(16).encode()
    )
    body += item(0x10, application.encode())
    for context_id, abstract, syntaxes in contexts:
        inner = item(0x30, abstract.encode())
        inner += b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
        body += item(0x20, struct.pack(">BBBB", context_id, 0, 0, 0) + inner)
    body += item(0x50, user or item(0x51, struct.pack(">I", 16_384)) + item(0x52, b"1.2.3"))
    return pdu(1, body)


def element(number: int, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value


def command(
    field: int, *, sop_class: str, instance: str = "", message_id: int = 1, has_data: bool = False
) -> bytes:
    body = element(0x0002, sop_class.encode())
    body += element(0x0100, struct.pack("<H", field)) + element(
        0x0110, struct.pack("<H", message_id)
    )
    body += element(0x0800, struct.pack("<H", 0 if has_data else 0x0101))
    if instance:
        body += element(0x1000, instance.encode())
    return element(0, struct.pack("<I", len(body))) + body


class _Secure(ssl.SSLSocket):
    """A TLS socket that goes on encrypting and decrypting after a shutdown in one direction."""

    def shutdown(self, how: int) -> None:
        socket.socket.shutdown(self, how)


class Speaker:
    """One connection to the node."""

    def __init__(
        self,
        port: int,
        *,
        calling: str = CALLING,
        called: str = CALLED,
        beside: Sequence[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.beside = [(201 + 2 * n, uid, [syntax]) for n, (uid, syntax) in enumerate(beside)]
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            tls.sslsocket_class = _Secure
            self.sock = tls.wrap_socket(self.sock)
        self.calling, self.called = calling, called
        self.results: dict[int, tuple[int, str]] = {}

    def __enter__(self) -> "Speaker":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self.sock.close()

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self) -> tuple[int, bytes]:
        """Return the next PDU; type 0 when the node closed the connection."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxI", head)
        return kind, self._exactly(length)

    def hear_all(self) -> None:
        """Listen until the node closes the connection."""
        while self.hear()[0]:
            pass

    def associate(self, *contexts: tuple[str, str]) -> int:
        """Propose contexts, ids 1, 3, 5, …; return the type of the answer."""
        wanted = contexts or ((VERIFICATION, "1.2.840.10008.1.2"),)
        proposed = [(2 * n + 1, abstract, [syntax]) for n, (abstract, syntax) in enumerate(wanted)]
        request = associate_request(
            [*proposed, *self.beside], called=self.called, calling=self.calling
        )
        self.say(request)
        kind, body = self.hear()
        if kind == 2:
            self._note_results(body)
        return kind

    def echo(self, context_id: int = 1) -> int:
        self.say(pdu(4, pdv(context_id, 3, command(0x30, sop_class=VERIFICATION))))
        return self.status()

    def store(
        self, announced: Announced, data: bytes, *, context_id: int = 1, piece: int = 16_000
    ) -> int:
        self.say_store(announced, data, context_id=context_id, piece=piece)
        return self.status()

    def say_store(
        self, announced: Announced, data: bytes, *, context_id: int = 1, piece: int = 16_000
    ) -> None:
        request = command(
            1, sop_class=announced.sop_class_uid, instance=announced.sop_instance_uid, has_data=True
        )
        self.say(pdu(4, pdv(context_id, 3, request)))
        pieces = [data[at : at + piece] for at in range(0, len(data), piece)] or [b""]
        for number, part in enumerate(pieces):
            last = 2 if number == len(pieces) - 1 else 0
            self.say(pdu(4, pdv(context_id, last, part)))

    def status(self) -> int:
        """Return the status word of the next response."""
        return self.answer()[0]

    def answer(self) -> tuple[int, str]:
        """Return status word and error comment of the next response."""
        kind, body = self.hear()
        assert kind == 4, f"expected P-DATA, heard type {kind} {body.hex()}"
        elements = {}
        position = 6
        while position < len(body):
            _, number, length = struct.unpack_from("<HHI", body, position)
            elements[number] = body[position + 8 : position + 8 + length]
            position += 8 + length
        (status,) = struct.unpack("<H", elements[0x0900])
        return status, elements.get(0x0902, b"").decode().strip()

    def release(self) -> int:
        self.say(pdu(5, bytes(4)))
        return self.hear()[0]

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                more = self.sock.recv(length - len(data))
            except (ConnectionResetError, ssl.SSLEOFError):
                return b""
            if not more:
                return b""
            data += more
        return data

    def _note_results(self, body: bytes) -> None:
        position = 68
        while position < len(body):
            kind, length = struct.unpack_from(">BxH", body, position)
            if kind == 0x21:
                inner = body[position + 8 : position + 4 + length]
                self.results[body[position + 4]] = body[position + 6], inner[4:].decode()
            position += 4 + length
