"""HTTP connections within bounds: how many there are, how long a client may say or take nothing.

The server that we use waits for ever for the head of a request, and for a client that does not
take its answer.  Some hundreds of such connections use up the descriptors of the process, and with
them its files and its database.
"""

import asyncio
from array import array
from dataclasses import dataclass, field
from fcntl import ioctl
from termios import TIOCOUTQ

import structlog
from h11 import Request
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBounds:
    """The bounds of the connections of one server."""

    connections: int = 512
    """Together with event channels; fewer than the 1024 files that a process has by default."""
    head_s: float = 20.0
    """From connecting, and from the end of an answer, to the end of the next head."""
    taking_s: float = 30.0
    """In so long a client takes at least `taking_bytes` of what waits for it."""
    taking_bytes: int = 32_768
    """A link of 9 600 bit/s takes as much in `taking_s`."""


@dataclass(slots=True)
class Lobby:
    """The connections without a request in hand, those that wait longest first."""

    bounds: HttpBounds
    waiting: dict["BoundedHttp", None] = field(default_factory=dict)


class _Watched:
    """Gives up who does not take what waits for them; also where it was said that this is all."""

    bounds: HttpBounds
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    client: tuple[str, int] | None
    _taking: asyncio.TimerHandle | None = None

    def _await_taking(self) -> None:
        self._stop_looking()
        unsent = _unsent(self.transport)
        self._taking = self.loop.call_later(self.bounds.taking_s, self._taken, unsent)

    def _taken(self, unsent_before: int) -> None:
        self._taking = None
        unsent = _unsent(self.transport)
        if unsent > max(unsent_before - self.bounds.taking_bytes, 0):
            self._break_off("http.not_taken")
        elif unsent:
            self._await_taking()

    def _stop_looking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _break_off(self, why: str) -> None:
        log.info(why, remote=self.client[0] if self.client else None)
        self.transport.abort()


class BoundedHttp(_Watched, H11Protocol):
    """One connection; `bounded` gives it the lobby of its server."""

    lobby: Lobby
    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head; where the house is full, who waits longest makes room."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self.bounds.connections:
            leaving = next(iter(self.lobby.waiting))
            leaving._break_off("http.overrun")

    def data_received(self, data: bytes) -> None:
        """Take bytes; a whole head ends the wait for it, a part of one does not."""
        super().data_received(data)
        if self._is_busy():
            self._leave_lobby()

    def on_response_complete(self) -> None:
        """Wait for the next head, unless it is here already, or for the end to be taken."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_taking()
        elif not self._is_busy():
            self._await_head()

    def pause_writing(self) -> None:
        """Begin to look whether the client takes what waits for it."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        """Look no more: it does; unless what is left is the end of all."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_looking()

    def handle_websocket_upgrade(self, event: Request) -> None:
        """Leave the connection to the event channel, which has a keep-alive of its own."""
        self._leave_lobby()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of what was waited for."""
        self._leave_lobby()
        self._stop_looking()
        super().connection_lost(exc)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._leave_lobby()
        self.lobby.waiting[self] = None
        self._head = self.loop.call_later(self.bounds.head_s, self._without_head)

    def _leave_lobby(self) -> None:
        self.lobby.waiting.pop(self, None)
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _without_head(self) -> None:
        if _unsent(self.transport):  # the end of the answer before is on its way
            self._await_head()
            if self._taking is None:
                self._await_taking()
        else:
            self._break_off("http.silent")

    def _break_off(self, why: str) -> None:
        self._leave_lobby()
        super()._break_off(why)


class BoundedChannel(_Watched, WebSocketsSansIOProtocol):
    """One event channel: who reads nothing would keep it for ever, for a connection that is closed
    first sends what waits."""

    def pause_writing(self) -> None:
        """Begin to look whether the client takes what waits for it."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        """Look no more: it does."""
        super().resume_writing()
        self._stop_looking()

    def keepalive_timeout(self) -> None:
        """End a connection that shows no life, and wait for it no longer."""
        super().keepalive_timeout()
        self._break_off("http.channel_silent")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of what was waited for."""
        self._stop_looking()
        super().connection_lost(exc)


def bounded_channels(told: HttpBounds) -> type[BoundedChannel]:
    """Return the protocol of the event channels of one server."""

    class OfThisServer(BoundedChannel):
        bounds = told

    return OfThisServer


def bounded(told: HttpBounds) -> type[BoundedHttp]:
    """Return the protocol of the connections of one server."""

    class OfThisServer(BoundedHttp):
        bounds, lobby = told, Lobby(told)

    return OfThisServer


def _unsent(transport: asyncio.Transport) -> int:
    """Return how many bytes the client has not taken, those in the kernel among them.

    The kernel holds some megabytes, and asks for more when a third of them is gone: of that alone
    nobody could tell a slow client from one that takes nothing.
    """
    held = array("i", [0])
    try:
        ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, held)
    except (OSError, ValueError):  # closed meanwhile
        return 0
    return transport.get_write_buffer_size() + held[0]
