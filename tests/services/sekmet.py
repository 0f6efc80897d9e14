"""A FHIR R4 server on a free port: the health record of the tests.

It lives in an environment of its own (``.venv-services``): it brings a web framework of versions
that the product does not choose.
"""

import json
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.services.missing import program
from tests.services.ports import free_port
from tests.services.process import Recipe, running

ENVIRONMENT = Path(__file__).parents[2] / ".venv-services" / "bin"


@dataclass(frozen=True, slots=True)
class Sekmet:
    """A running FHIR server."""

    port: int
    token: str | None = None

    @property
    def url(self) -> str:
        """Where its FHIR interface answers."""
        return f"http://127.0.0.1:{self.port}/fhir"

    def get(self, path: str) -> Any:
        """Ask for one resource; an HTTPError tells that it is not there."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        question = urllib.request.Request(f"{self.url}/{path}", headers=headers)
        with urllib.request.urlopen(question, timeout=30) as answer:
            return json.loads(answer.read())

    def find(self, kind: str, **query: str) -> list[Any]:
        """Return the resources of a type that a search finds."""
        bundle = self.get(f"{kind}?{urlencode({'_count': '200', **query})}")
        return [entry["resource"] for entry in bundle.get("entry", [])]


@contextmanager
def running_sekmet(port: int | None = None, *, token: str | None = None) -> Iterator[Sekmet]:
    """Run an empty FHIR server for the time of a block.

    Parameters
    ----------
    port
        Where it listens; a free one by default.
    token
        The bearer token it asks for; by default it lets everybody in.

    Raises
    ------
    ProgramMissing
        It is not installed.
    """
    binary = program("sekmet", also_in=[ENVIRONMENT])
    folder = Path(tempfile.mkdtemp(prefix="telerad-sekmet-"))
    server = Sekmet(port or free_port(), token)
    settings: dict[str, object] = {
        "base_url": server.url,
        # The simulator answers orders by making results of its own.
        "simulator": {"enabled": False},
        "server_auth": {"types": ["bearer"], "tokens": [token]} if token else {"types": ["none"]},
    }
    (folder / "settings.yaml").write_text(json.dumps(settings))  # JSON is YAML too
    recipe = Recipe(
        name="sekmet",
        command=[binary, "serve", "--host", "127.0.0.1", "--port", str(server.port)],
        cwd=folder,
        log=folder / "log",
        ready=lambda: _answers(server),
    )
    try:
        with running(recipe):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(server: Sekmet) -> bool:
    try:
        return bool(server.get("metadata"))
    except (urllib.error.URLError, OSError):
        return False
