"""Running parts of the engine until a signal: listener, web, relay, worker, alone or together."""

import contextlib
import dataclasses
import gc
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

import structlog

from app.bootstrap import Parts
from app.node import Scrubbing, Upkeep, followers, listener, recover, tell_of_start
from app.relay import InProcess, Relay
from kernel.errors import Misconfigured
from storage.courtesy import Courtesy

if TYPE_CHECKING:
    import uvicorn

    from dicom_node.listener import Listener

WEB_GRACE_S = 5
_SOCKET_MESSAGE = 4096
"""Clients of the event channel have nothing to say."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that are served; None where that part does not run here."""

    http: int | None
    dicom: int | None
    dicom_tls: int | None = None


class Serving:
    """The parts of one process that serve.

    Parameters
    ----------
    web, dicom, relay
        Which parts run here.  A process that takes instances in (web, dicom) also recovers and
        keeps up the journal of its node.
    """

    def __init__(self, parts: Parts, *, web: bool, dicom: bool, relay: bool) -> None:
        self._parts = parts
        self._takes_in = web or dicom
        self._listener: Listener | None = listener(parts) if dicom else None
        self._relay = _relay(parts) if relay else None
        self._upkeep = Upkeep(parts.packer, parts) if self._takes_in else None
        self._followers = followers(parts) if dicom else None
        self._scrubbing = self._scrub() if self._takes_in else None
        self._web = _Web(parts, self._relay) if web else None
        self._relay_thread: threading.Thread | None = None

    def start(self) -> Ports:
        """Recover, then serve; return the ports."""
        if self._takes_in:
            recover(self._parts)
            self._parts.journal.prepare()
        if self._listener:
            tell_of_start(self._parts)
        dicom = self._listener.start() if self._listener else None
        http = self._web.start() if self._web else None
        if self._web:
            self._web.preload()
        if self._upkeep:
            self._upkeep.start()
        if self._followers:
            self._followers.start()
        if self._scrubbing:
            self._scrubbing.start()
        if self._relay:
            self._relay_thread = threading.Thread(target=self._relay.run, name="relay")
            self._relay_thread.start()
        gc.freeze()  # what lives as long as the process need not be gone through again and again
        return Ports(http, dicom, self._listener.tls_port if self._listener else None)

    def _scrub(self) -> Scrubbing | None:
        if not self._parts.settings.storage.scrub_mb_per_s:
            return None
        listening = self._listener
        return Scrubbing(self._parts, listening.associations if listening else lambda: 0)

    def stop(self) -> None:
        """Take nothing new, finish what is in hand, and end."""
        if self._listener:
            self._listener.stop()
        if self._followers:
            self._followers.stop()
        if self._web:
            self._web.stop()
        if self._relay and self._relay_thread:
            self._relay.stop()
            self._relay_thread.join()
        if self._upkeep:
            self._upkeep.stop()
        if self._scrubbing:
            self._scrubbing.stop()
        if self._takes_in:
            self._parts.journal.close()
        self._parts.database.dispose()


class _Web:
    """uvicorn in a thread of its own."""

    def __init__(self, parts: Parts, relay: Relay | None) -> None:
        self._parts = parts
        self._relay = relay
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        import uvicorn

        from app.http.application import create_app

        told = self._parts.settings.web
        try:
            bound = socket.create_server((told.host, told.port), backlog=128)
        except OSError as error:
            raise Misconfigured(f"cannot listen on {told.host}:{told.port}: {error}") from error
        # asyncio sets it only on sockets that name their protocol; accepted ones inherit it.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        engine = self._parts.engine()
        if self._relay is not None:
            engine = dataclasses.replace(
                engine,
                nudge=self._relay.nudge,
                ready_checks={**engine.ready_checks, "relay": self._relay.require_turning},
            )
        self._server = uvicorn.Server(
            uvicorn.Config(
                create_app(engine),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=WEB_GRACE_S,
                lifespan="off",
                ws="websockets-sansio",
                ws_max_size=_SOCKET_MESSAGE,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [bound]}, name="web"
        )
        self._thread.start()
        port: int = bound.getsockname()[1]
        return port

    def preload(self) -> None:
        """Import, while the first request is awaited, what the first answers need."""
        from app.http.dicomweb import preload

        threading.Thread(target=preload, name="preload", daemon=True).start()

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join()


@contextlib.contextmanager
def until_signal() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set, in place of ending the process at once."""
    told = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        log.info("serving.told_to_stop", signal=signal.Signals(number).name)
        told.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def work(parts: Parts, queues: list[str], concurrency: int) -> int:
    """Serve Celery queues until a signal; return the exit status."""
    from app.worker import celery_app, serve

    url = parts.settings.broker.url
    if not url:
        raise Misconfigured("a worker needs a broker: set TELERAD_BROKER__URL")
    app = celery_app(url)
    serve(app, parts.database, parts.reactions(), parts.due_work())
    worker = app.Worker(
        pool="threads",
        concurrency=concurrency,
        queues=queues,
        without_gossip=True,
        without_mingle=True,
        loglevel="WARNING",
        hostname=f"{parts.settings.node}@%h",
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _relay(parts: Parts) -> Relay:
    reactions, due_work = parts.reactions(), parts.due_work()
    lease = timedelta(seconds=parts.settings.relay.lease_s)
    if not parts.settings.broker.url:
        in_process = InProcess(parts.database, reactions)
        courtesy = Courtesy(parts.in_flight.is_busy)
        return Relay(
            parts.database, reactions, due_work, in_process, lease=lease, courtesy=courtesy
        )
    from app.worker import ToCelery, celery_app

    to_celery = ToCelery(celery_app(parts.settings.broker.url))
    return Relay(parts.database, reactions, due_work, to_celery, lease=lease)
