"""A PostgreSQL server of its own: fresh cluster, free port, no service manager."""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from tests.services.missing import ProgramMissing, program
from tests.services.ports import free_port
from tests.services.process import Recipe, kill, start, stop

# Power loss is PostgreSQL's own affair and not what our tests ask about.  A commit must survive
# kill -9 of the server all the same, so synchronous_commit stays on.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "timezone": "UTC",
}


@dataclass(slots=True)
class PostgreSQL:
    """A running PostgreSQL."""

    port: int
    _recipe: Recipe
    _process: subprocess.Popen[bytes]

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    def create(self, *, template: str = "template0") -> str:
        """Create a database with a fresh name as a copy of `template`; return its name."""
        name = f"t_{uuid.uuid4().hex}"
        self._run("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def kill9(self) -> None:
        """Kill the server at once; its data stays for `restart`."""
        kill(self._process)

    def restart(self) -> None:
        """Start the server again on the same data and port."""
        stop(self._recipe, self._process)
        self._process = start(self._recipe)

    def stop(self) -> None:
        """Stop the server for good."""
        stop(self._recipe, self._process)

    def _run(self, statement: str, *names: str) -> None:
        where = f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """Run a fresh PostgreSQL for the time of a block.

    Raises
    ------
    ProgramMissing
        PostgreSQL is not installed.
    """
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="telerad-pg-"))
    try:
        prefix = _as_server_user(folder)
        _initialise(binaries, folder, prefix)
        server = _started(binaries, folder, prefix)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name)
    )
    for folder in reversed(versions):
        if (folder / "initdb").is_file():
            return folder
    return program("initdb").resolve().parent


def _as_server_user(folder: Path) -> list[str]:
    """Return the command prefix that PostgreSQL needs where we are root, which it refuses."""
    if os.getuid() != 0:
        return []
    try:
        shutil.chown(folder, "postgres", "postgres")
    except LookupError as unknown:
        raise ProgramMissing("postgresql") from unknown
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


def _initialise(binaries: Path, folder: Path, prefix: Sequence[str]) -> None:
    command = [*prefix, str(binaries / "initdb"), "-D", "data", "-A", "trust", "-U", "postgres"]
    subprocess.run(
        [*command, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _started(binaries: Path, folder: Path, prefix: Sequence[str]) -> PostgreSQL:
    port = free_port()
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    recipe = Recipe(
        name="PostgreSQL",
        command=[*prefix, binaries / "postgres", "-D", "data", "-p", str(port), *settings],
        cwd=folder,
        log=folder / "log",
        ready=lambda: _answers(port),
        stop_signal=signal.SIGQUIT,  # the 'immediate' shutdown
    )
    return PostgreSQL(port, recipe, start(recipe))


def _answers(port: int) -> bool:
    try:
        psycopg.connect(
            f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=2"
        ).close()
    except psycopg.OperationalError:
        return False
    return True
