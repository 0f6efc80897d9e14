"""A RabbitMQ broker with a port mapper (epmd) of its own; it can be killed and restarted."""

import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.missing import program
from tests.services.ports import accepts, free_port
from tests.services.process import Recipe, kill, running, start, stop

# Debian's /usr/sbin wrapper changes the user; the scripts behind it run as whoever calls them.
SCRIPTS = "/usr/lib/rabbitmq/bin"
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


@dataclass(slots=True)
class RabbitMQ:
    """A running broker."""

    port: int
    _recipe: Recipe
    _process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The URL of the default virtual host."""
        return self._url("/")

    def fresh_url(self) -> str:
        """Make an empty virtual host and return its URL."""
        name = f"t-{uuid.uuid4().hex}"
        self._control(
            f'rabbit_vhost:add(<<"{name}">>, <<"test">>), rabbit_auth_backend_internal:'
            f'set_permissions(<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).'
        )
        return self._url(name)

    def kill9(self) -> None:
        """Kill the broker at once; its queues stay on disk for `restart`.

        The broker notes a newly declared quorum queue on disk up to half a second after it said
        yes, and cannot bring back a queue that it has not noted; that gap is closed here first.
        """
        self._control("[dets:sync(Table) || Table <- dets:all()].")
        kill(self._process)

    def restart(self) -> None:
        """Start the broker again on the same queues and port."""
        stop(self._recipe, self._process)
        self._process = start(self._recipe)

    def stop(self) -> None:
        """Stop the broker for good."""
        kill(self._process)

    def _url(self, virtual_host: str) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{virtual_host}"

    def _control(self, expression: str) -> None:
        command = [str(program("rabbitmqctl", also_in=[SCRIPTS])), "--quiet", "eval", expression]
        done = subprocess.run(
            command, env=dict(self._recipe.environment or {}), capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"rabbitmqctl refused: {done.stderr or done.stdout}")


@contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """Run a fresh broker for the time of a block.

    Raises
    ------
    ProgramMissing
        RabbitMQ is not installed.
    """
    server = program("rabbitmq-server", also_in=[SCRIPTS])
    folder = Path(tempfile.mkdtemp(prefix="telerad-mq-"))
    try:
        mapper_port = free_port()
        with running(_port_mapper(folder, mapper_port)):
            port = free_port()
            recipe = _broker(server, folder, port=port, mapper_port=mapper_port)
            broker = RabbitMQ(port, recipe, start(recipe))
            try:
                yield broker
            finally:
                broker.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _port_mapper(folder: Path, port: int) -> Recipe:
    """Run epmd in the foreground: the one that Erlang starts by itself would outlive us."""
    return Recipe(
        name="epmd",
        command=[program("epmd"), "-port", str(port), "-address", "127.0.0.1"],
        cwd=folder,
        log=folder / "epmd.log",
        ready=lambda: accepts(port),
    )


def _broker(server: Path, folder: Path, *, port: int, mapper_port: int) -> Recipe:
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = 127.0.0.1:{port}\n"
        "distribution.listener.interface = 127.0.0.1\n"
        "disk_free_limit.absolute = 50MB\n"
    )
    (folder / "plugins").write_text("[].\n")
    return Recipe(
        name="RabbitMQ",
        command=[server],
        cwd=folder,
        log=folder / "out.log",
        environment=_environment(folder, port=port, mapper_port=mapper_port),
        ready=lambda: _greets(port),
    )


def _environment(folder: Path, *, port: int, mapper_port: int) -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"telerad{port}@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder / "db"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
            "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none"
        ),
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }


def _greets(port: int) -> bool:
    """Return whether the broker answers the protocol header with a Connection.Start frame."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(PROTOCOL_HEADER)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
