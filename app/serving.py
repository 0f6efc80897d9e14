"""What one process serves until a signal: listener, web, relay, upkeep, alone or together."""

import contextlib
import gc
import signal
import socket
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING

import structlog

from app.board import Part
from app.bootstrap import Parts
from kernel.errors import Misconfigured
from kernel.pulse import Pulse

if TYPE_CHECKING:
    from app.relay import Relay
    from app.upkeep import Scrubbing
    from app.web_server import ReadyCheck
    from dicom_node.ports import Sockets

_SIGNALS_AT_ONCE = 64

log = structlog.get_logger()


class Duty(StrEnum):
    """What a process can serve; a duty that is not asked for is not even imported."""

    NODE = "node"
    """The listener."""
    FOLLOWING = "following"
    """The Orthancs that are followed."""
    UPKEEP = "upkeep"
    """Packing what settled in the journal, re-reading what is kept."""
    WEB = "web"
    RELAY = "relay"


LISTENING = frozenset({Duty.NODE, Duty.FOLLOWING, Duty.UPKEEP})
"""A host that receives."""
SHOWING = frozenset({Duty.WEB, Duty.UPKEEP})
"""A host that serves the web: what it takes in by it lies in a journal of its own."""
_MODULES = {
    Duty.NODE: ("app.node", "dicom_node.intake", "dicom_node.listener", "dicom_node.services"),
    Duty.FOLLOWING: ("app.node", "dicom_node.followers"),
    Duty.UPKEEP: ("app.upkeep",),
    Duty.WEB: ("app.web_server", "app.http.application", "uvicorn"),
    Duty.RELAY: ("app.relay", "ai_assist.tasks", "dicom_node.examination"),
}
_TAKES_IN = frozenset({Duty.NODE, Duty.FOLLOWING, Duty.WEB})


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that are served; None where that part does not run here."""

    http: int | None
    dicom: int | None
    dicom_tls: int | None = None


def preload(duties: Collection[Duty], starting: Pulse) -> None:
    """Import what the duties need, while something else is waited for; nothing is opened."""
    for duty in duties:
        for module in _MODULES[duty]:
            starting.beat()
            import_module(module)


class Serving:
    """The parts of one process that serve.

    Parameters
    ----------
    recovers
        Whether to look first for what a crash left in the journal: every process that takes
        instances in does, unless another one of this node does it now.
    ready_checks
        Further parts that must be well before the web says that this engine is ready.
    """

    def __init__(
        self,
        parts: Parts,
        duties: Collection[Duty],
        *,
        recovers: bool = True,
        ready_checks: "Mapping[str, ReadyCheck] | None" = None,
    ) -> None:
        self._parts = parts
        self._starting = parts.pulse_of(Part.STARTING)
        self._takes_in = bool(_TAKES_IN & set(duties))
        self._recovers = self._takes_in and recovers
        self._listener = self._teller = self._followers = None
        self._upkeep = self._scrubbing = self._relay = self._web = None
        self._relay_thread: threading.Thread | None = None
        if Duty.NODE in duties:
            from app.node import flight_teller, listener

            self._listener, self._teller = listener(parts), flight_teller(parts)
        if Duty.RELAY in duties:
            self._relay = _relay(parts)
        if Duty.UPKEEP in duties:
            from app.upkeep import Upkeep

            self._upkeep, self._scrubbing = Upkeep(parts.packer, parts), _scrubbing(parts)
        if Duty.FOLLOWING in duties:
            from app.node import followers

            self._followers = followers(parts)
        if Duty.WEB in duties:
            from app.web_server import WebServer

            self._web = WebServer(parts, self._relay, ready_checks or {})

    def start(self, *, dicom: "Sockets | None" = None, http: socket.socket | None = None) -> Ports:
        """Recover, then serve; return the ports.

        Parameters
        ----------
        dicom, http
            Listening sockets that outlive this process; None: they are made as the settings say.
        """
        self._prepare()
        self._starting.beat()
        if self._teller:
            self._teller.start()
        dicom_port = self._listener.start(dicom) if self._listener else None
        http_port = self._web.start(http) if self._web else None
        if self._web:
            self._web.preload()
        for each in (self._upkeep, self._followers, self._scrubbing):
            if each:
                each.start()
        if self._relay:
            self._relay_thread = threading.Thread(target=self._relay.run, name="relay")
            self._relay_thread.start()
        gc.freeze()  # what lives as long as the process need not be gone through again and again
        return Ports(http_port, dicom_port, self._listener.tls_port if self._listener else None)

    def stop(self) -> None:
        """Take nothing new, finish what is in hand, and end."""
        for each in (self._listener, self._teller, self._followers, self._web):
            if each:
                each.stop()
        if self._relay and self._relay_thread:
            self._relay.stop()
            self._relay_thread.join()
        for other in (self._upkeep, self._scrubbing):
            if other:
                other.stop()
        if self._takes_in:
            self._parts.journal.close()
        self._parts.database.dispose()

    def _prepare(self) -> None:
        if self._recovers:
            from app.node import recover

            recover(self._parts)
        self._starting.beat()
        if self._takes_in:
            self._parts.journal.prepare(waits=self._listener is not None)
        self._starting.beat()
        if self._listener:
            from app.node import tell_of_start

            tell_of_start(self._parts)


class ToldToStop:
    """Whether a signal told this process to stop, and the wait for that.

    The wait is for a byte, which the interpreter writes as soon as a signal comes: a lock that is
    waited for would not notice one that comes just before the wait, or to another thread.
    """

    def __init__(self) -> None:
        self._heard, self._said = socket.socketpair()
        self._said.setblocking(False)
        self._told = False

    def wait(self) -> None:
        """Return once a signal came."""
        while not self._told:
            self._heard.recv(_SIGNALS_AT_ONCE)

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        log.info("serving.told_to_stop", signal=signal.Signals(number).name)
        self._told = True

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Have the interpreter write here when a signal comes."""
        before = signal.set_wakeup_fd(self._said.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            self._heard.close()
            self._said.close()


@contextlib.contextmanager
def until_signal() -> Iterator[ToldToStop]:
    """Give what waits for SIGTERM or SIGINT, in place of ending the process at once."""
    told = ToldToStop()
    with told.listening():
        kept = {
            number: signal.signal(number, told.note) for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield told
        finally:
            for number, handler in kept.items():
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


def _scrubbing(parts: Parts) -> "Scrubbing | None":
    from app.upkeep import Scrubbing

    return Scrubbing(parts) if parts.settings.storage.scrub_mb_per_s else None


def _relay(parts: Parts) -> "Relay":
    from app.relay import InProcess, Relay
    from app.upkeep import watch_of
    from storage.courtesy import Courtesy

    reactions, due_work = parts.reactions(), parts.due_work()
    pulse = parts.pulse_of(Part.RELAYING)
    lease = timedelta(seconds=parts.settings.relay.lease_s)
    if not parts.settings.broker.url:
        in_process = InProcess(parts.database, reactions)
        courtesy = Courtesy(watch_of(parts).is_busy)
        return Relay(
            parts.database,
            reactions,
            due_work,
            in_process,
            lease=lease,
            courtesy=courtesy,
            pulse=pulse,
        )
    from app.worker import ToCelery, celery_app

    to_celery = ToCelery(celery_app(parts.settings.broker.url))
    return Relay(parts.database, reactions, due_work, to_celery, lease=lease, pulse=pulse)
