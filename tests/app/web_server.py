"""The real web server in a thread of the test, on a free port of loopback."""

import asyncio
import socket
import threading

import uvicorn
from fastapi import FastAPI


class WebServer:
    """Serves one application until it is closed."""

    def __init__(
        self,
        app: FastAPI,
        http: type[asyncio.Protocol] | None = None,
        channels: type[asyncio.Protocol] | None = None,
        ping_s: float = 20.0,
    ) -> None:
        self._bound = socket.create_server(("127.0.0.1", 0))
        # asyncio sets it only where the protocol is named; accepted sockets inherit it.
        self._bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{self._bound.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                http=http or "auto",
                ws=channels or "websockets-sansio",
                ws_ping_interval=ping_s,
                ws_ping_timeout=ping_s,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._bound]}, name="web"
        )
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._server.server_state.connections)

    def close(self) -> None:
        """End after the answers under way."""
        self._server.should_exit = True
        self._thread.join()
        self._bound.close()
