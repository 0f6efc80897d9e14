"""A small HTTP server that answers as a broken or refusing health record would."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EMPTY_SEARCH = b'{"resourceType":"Bundle","type":"searchset","total":0}'


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: a status and a body."""

    status: int
    body: bytes = b""


Script = Callable[[str, str], Reply | None]


@dataclass(slots=True)
class FaultyRecord:
    """A running server; `script` says the reply to (method, path), None to hang up."""

    url: str
    script: Script
    asked: list[tuple[str, str, str]] = field(default_factory=list)


def finds_nothing_and(reply: Reply | None) -> Script:
    """Return a script that answers searches properly and every document with `reply`."""
    return lambda method, _path: Reply(200, EMPTY_SEARCH) if method == "GET" else reply


@contextmanager
def faulty_record(script: Script, *, tls: ssl.SSLContext | None = None) -> Iterator[FaultyRecord]:
    """Run the server on a free port for the time of a block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer("POST")

        def _answer(self, method: str) -> None:
            record.asked.append((method, self.path, self.headers.get("Authorization", "")))
            reply = record.script(method, self.path)
            self.close_connection = True
            if reply is None:
                return
            with suppress(ConnectionError):  # the asker did not wait for the answer
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(reply.body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    record = FaultyRecord(f"{scheme}://127.0.0.1:{server.server_port}/fhir", script)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
