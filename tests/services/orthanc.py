"""An Orthanc on free ports: a foreign sender, or a foreign node to send to."""

import json
import shutil
import signal
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.missing import program
from tests.services.ports import free_port
from tests.services.process import Recipe, running

PLUGINS = Path("/usr/share/orthanc/plugins")
SEND_WITHIN_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthanc:
    """A running Orthanc."""

    http_port: int
    dicom_port: int | None
    ae_title: str

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
        request = urllib.request.Request(f"{self.url}{path}", data=body, method=method)
        with urllib.request.urlopen(request, timeout=SEND_WITHIN_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def orthanc(
    *, ae_title: str = "ORTHANC", listens: bool = False, dicomweb: bool = False
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
    binary = program("Orthanc", also_in=["/usr/sbin"])
    folder = Path(tempfile.mkdtemp(prefix="telerad-orthanc-"))
    server = Orthanc(
        http_port=free_port(), dicom_port=free_port() if listens else None, ae_title=ae_title
    )
    plugins = [str(PLUGINS / "libOrthancDicomWeb.so")] if dicomweb else []
    settings = folder / "orthanc.json"
    settings.write_text(json.dumps(_settings(folder, server, plugins), indent=1))
    recipe = Recipe(
        name="Orthanc",
        command=[binary, settings],
        cwd=folder,
        log=folder / "log",
        # Without it each of its DIMSE messages waits some 40 ms for a delayed acknowledgement.
        environment={"TCP_NODELAY": "1"},
        ready=lambda: _answers(server),
        stop_signal=signal.SIGKILL,  # an orderly end takes it seconds, and nothing of it is kept
    )
    try:
        with running(recipe):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(folder: Path, server: Orthanc, plugins: Sequence[str]) -> dict[str, object]:
    return {
        "Name": server.ae_title,
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "Plugins": list(plugins),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
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
