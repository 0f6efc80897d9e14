"""What an S3 server says that it cannot do, and what is no answer to that at all."""

import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from kernel.errors import EngineError
from storage.objects import ObjectStoreUnavailable
from storage.s3 import ObjectStoreRefusesKey, S3Objects

Answer = tuple[int, str, str]
Scripted = Callable[..., S3Objects]

XML = "application/xml"
HELD: Answer = (200, XML, '<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>')
UNVERSIONED: Answer = (
    200, XML, '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>',
)  # fmt: skip


OLDER: Answer = (
    200,
    XML,
    "<ListVersionsResult><Name>bucket</Name><IsTruncated>false</IsTruncated><Version>"
    "<Key>a/b</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest><Size>3</Size>"
    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Version></ListVersionsResult>",
)


def versioning(status: str) -> Answer:
    told = f"<Status>{status}</Status>"
    return 200, XML, f"<VersioningConfiguration>{told}</VersioningConfiguration>"


def error(status: int, code: str) -> Answer:
    return status, XML, f"<Error><Code>{code}</Code><Message>no</Message></Error>"


@pytest.fixture
def removed() -> list[str]:
    """What servers were asked to remove."""
    return []


@pytest.fixture
def scripted(removed: list[str]) -> Iterator[Scripted]:
    """Opens a store on a server that answers each question as it is told to."""
    servers = []

    def opened(**answers: Answer) -> S3Objects:
        class Server(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
                told = [
                    answers[name] for key in asked if (name := key.replace("-", "_")) in answers
                ]
                status, kind, body = told[0] if told else HELD
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def do_DELETE(self) -> None:
                removed.append(self.path)
                self.send_response(HTTPStatus.NO_CONTENT)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/bucket"
        return S3Objects(url, access_key="a", secret_key="s")

    yield opened
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "answer",
    [
        UNVERSIONED,
        error(501, "NotImplemented"),
        error(405, "MethodNotAllowed"),
        (501, "text/html", "<p>not implemented</p>"),
    ],
)
def test_where_there_are_no_versions_an_object_is_removed_as_it_is(
    scripted: Scripted, answer: Answer
) -> None:
    scripted(versioning=answer).delete("a/b")


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_versions_of_before_are_removed_also_where_no_more_are_made(
    scripted: Scripted, removed: list[str], status: str
) -> None:
    scripted(versioning=versioning(status), versions=OLDER).delete("a/b")

    assert [path.removeprefix("/bucket/") for path in removed] == ["a/b", "a/b?versionId=v1"]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (error(503, "SlowDown"), ObjectStoreUnavailable),
        (error(500, "InternalError"), ObjectStoreUnavailable),
        ((502, "text/html", "<p>bad gateway</p>"), ObjectStoreUnavailable),
        (error(403, "AccessDenied"), ObjectStoreRefusesKey),
    ],
)
def test_a_server_that_does_not_say_whether_it_keeps_versions_is_not_taken_for_one_without(
    scripted: Scripted, answer: Answer, named: type[EngineError]
) -> None:
    with pytest.raises(named):
        scripted(versioning=answer).delete("a/b")


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "ObjectLockConfigurationNotFoundError"),
        error(501, "NotImplemented"),
        error(403, "AccessDenied"),  # nothing is decided by it
    ],
)
def test_a_bucket_without_a_lock_is_one_without(scripted: Scripted, answer: Answer) -> None:
    assert not scripted(object_lock=answer)._locking()


def test_a_server_that_does_not_say_whether_it_locks_does_not_answer(scripted: Scripted) -> None:
    with pytest.raises(ObjectStoreUnavailable):
        scripted(object_lock=error(503, "SlowDown"))._locking()
