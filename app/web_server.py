"""The web server of a process."""

import dataclasses
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from app.board import Part
from app.bootstrap import Parts
from app.engine import Engine
from app.relay import Relay
from dicom_node.ports import listening

if TYPE_CHECKING:
    from app.ticking import TickingServer

WEB_GRACE_S = 5
_SOCKET_MESSAGE = 4096
"""Clients of the event channel have nothing to say."""

ReadyCheck = Callable[[], str | None]
"""Raises if its part is not well, and may say more than that it is."""


class WebServer:
    """uvicorn in a thread of its own.

    Parameters
    ----------
    relay
        Of this process, if one runs here.
    ready_checks
        Further parts that must be well before this engine is ready.
    """

    def __init__(
        self, parts: Parts, relay: Relay | None, ready_checks: Mapping[str, ReadyCheck]
    ) -> None:
        self._parts = parts
        self._relay = relay
        self._checks = ready_checks
        self._server: TickingServer | None = None
        self._thread: threading.Thread | None = None

    def start(self, bound: socket.socket | None = None) -> int:
        """Serve at a listening socket, or at the address of the settings; return the port.

        Raises
        ------
        Misconfigured
            The address cannot be had.
        """
        import uvicorn

        from app.bounded_http import HttpBounds, bounded, bounded_channels
        from app.http.application import create_app
        from app.ticking import TickingServer

        told = self._parts.settings.web
        bound = bound or listening(told.host, told.port)
        engine, bounds = self._engine(), HttpBounds(connections=told.max_connections)
        self._server = TickingServer(
            uvicorn.Config(
                create_app(engine),
                http=bounded(bounds),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=WEB_GRACE_S,
                lifespan="off",
                ws=bounded_channels(bounds),
                ws_max_size=_SOCKET_MESSAGE,
            ),
            self._parts.pulse_of(Part.ANSWERING),
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
        """Take no more requests; those under way have a moment."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join()

    def _engine(self) -> Engine:
        engine = self._parts.engine()
        checks = {**engine.ready_checks, **self._checks}
        if self._relay is None:
            return dataclasses.replace(engine, ready_checks=checks)
        checks["relay"] = self._relay.require_turning
        return dataclasses.replace(
            engine,
            nudge=self._relay.nudge,
            ready_checks=checks,
            other_checks={"due work": self._relay.require_looking},
        )
