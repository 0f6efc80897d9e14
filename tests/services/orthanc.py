"""An Orthanc on free ports: a foreign sender, or a foreign node to send to."""

import base64
import json
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.services.missing import program
from tests.services.ports import free_port
from tests.services.process import Recipe, kill, running, start

PLUGINS = Path("/usr/share/orthanc/plugins")
SEND_WITHIN_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthanc:
    """A running Orthanc; `users` are those it lets in, everybody if there are none."""

    http_port: int
    dicom_port: int | None
    ae_title: str
    users: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None

    @property
    def url(self) -> str:
        """Where its REST interface answers."""
        return f"http://127.0.0.1:{self.http_port}"

    def knows(self, name: str, *, ae_title: str, port: int) -> None:
        """Tell it of a DICOM node on this machine, under a name of its own."""
        node = {"AET": ae_title, "Host": "127.0.0.1", "Port": port}
        self.ask("PUT", f"/modalities/{name}", json.dumps(node).encode())

    def upload(self, part10: bytes) -> str:
        """Put one DICOM file into it; return the id that it gives the instance."""
        return str(self.ask("POST", "/instances", part10)["ID"])

    def send(self, name: str, instances: Sequence[str]) -> None:
        """Send instances by C-STORE to a node it knows; an HTTPError tells of a failure."""
        order = {"Resources": list(instances), "Synchronous": True}
        self.ask("POST", f"/modalities/{name}/store", json.dumps(order).encode())

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Ask its REST interface and return what the JSON answer says."""
        text = self.fetch(path, method=method, body=body)
        return json.loads(text) if text else None

    def fetch(self, path: str, *, method: str = "GET", body: bytes | None = None) -> bytes:
        """Ask its REST interface and return the bytes of the answer."""
        request = urllib.request.Request(f"{self.url}{path}", data=body, method=method)
        for user, password in self.users.items():
            shown = base64.b64encode(f"{user}:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {shown}")
        with urllib.request.urlopen(request, timeout=SEND_WITHIN_S) as answer:
            content: bytes = answer.read()
        return content


@contextmanager
def orthanc(
    *,
    ae_title: str = "ORTHANC",
    listens: bool = False,
    dicomweb: bool = False,
    users: Mapping[str, str] | None = None,
) -> Iterator[Orthanc]:
    """Run an empty Orthanc for the time of a block.

    Parameters
    ----------
    listens
        Whether it opens a DICOM port.  Orthanc binds it to every address of the machine, so it
        stays shut unless a test sends to it.
    dicomweb
        Whether the DICOMweb plugin is loaded.

    Raises
    ------
    ProgramMissing
        Orthanc is not installed.
    """
    folder = Path(tempfile.mkdtemp(prefix="telerad-orthanc-"))
    server = Orthanc(
        http_port=free_port(),
        dicom_port=free_port() if listens else None,
        ae_title=ae_title,
        users=users or {},
    )
    try:
        with running(_recipe(folder, server, dicomweb=dicomweb)) as process:
            yield replace(server, pid=process.pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class RestartableOrthanc:
    """An Orthanc that a test may kill, start again, and give an empty database."""

    def __init__(self, folder: Path, server: Orthanc) -> None:
        self.server = server
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = start(_recipe(self._folder, self.server, dicomweb=False))

    def kill9(self) -> None:
        """Kill it as a power cut would."""
        if self._process is not None:
            kill(self._process)
            self._process = None

    def forget(self) -> None:
        """Take its database and its files away, as who installs it anew does."""
        shutil.rmtree(self._folder / "store")


@contextmanager
def restartable(*, users: Mapping[str, str] | None = None) -> Iterator[RestartableOrthanc]:
    """Run an Orthanc that the block may kill."""
    folder = Path(tempfile.mkdtemp(prefix="telerad-orthanc-"))
    server = Orthanc(http_port=free_port(), dicom_port=None, ae_title="ORTHANC", users=users or {})
    orthanc = RestartableOrthanc(folder, server)
    try:
        orthanc.start()
        yield orthanc
    finally:
        orthanc.kill9()
        shutil.rmtree(folder, ignore_errors=True)


def _recipe(folder: Path, server: Orthanc, *, dicomweb: bool) -> Recipe:
    binary = program("Orthanc", also_in=["/usr/sbin"])
    plugins = [str(PLUGINS / "libOrthancDicomWeb.so")] if dicomweb else []
    settings = folder / "orthanc.json"
    settings.write_text(json.dumps(_settings(folder, server, plugins), indent=1))
    return Recipe(
        name="Orthanc",
        command=[binary, settings],
        cwd=folder,
        log=folder / "log",
        # Without it each of its DIMSE messages waits some 40 ms for a delayed acknowledgement.
        environment={"TCP_NODELAY": "1"},
        ready=lambda: _answers(server),
        stop_signal=signal.SIGKILL,  # an orderly end takes it seconds, and nothing of it is kept
    )


def _settings(folder: Path, server: Orthanc, plugins: Sequence[str]) -> dict[str, object]:
    return {
        "Name": server.ae_title,
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "Plugins": list(plugins),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": bool(server.users),
        "RegisteredUsers": dict(server.users),
        "HttpPort": server.http_port,
        "HttpServerEnabled": True,
        "DicomServerEnabled": server.dicom_port is not None,
        "DicomPort": server.dicom_port or 0,
        "DicomAet": server.ae_title,
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": True,
        "DicomModalities": {},
        "DicomModalitiesInDatabase": False,
        "OverwriteInstances": True,
        "StableAge": 1,
        "HttpTimeout": SEND_WITHIN_S,
        "DicomScuTimeout": 60,
    }


def _answers(server: Orthanc) -> bool:
    try:
        return bool(server.ask("GET", "/system"))
    except (urllib.error.URLError, OSError):
        return False
