"""The web server's event loop, that shows life."""

import socket

import uvicorn

from kernel.pulse import Pulse


class TickingServer(uvicorn.Server):
    """A server whose event loop beats while it serves.

    Parameters
    ----------
    pulse
        Of the event loop.
    """

    def __init__(self, config: uvicorn.Config, pulse: Pulse) -> None:
        super().__init__(config)
        self._pulse = pulse

    async def on_tick(self, counter: int) -> bool:
        """Beat; uvicorn ticks ten times a second."""
        self._pulse.beat()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Owe no turn any more: what ends has a grace of its own."""
        self._pulse.rest()
        await super().shutdown(sockets)
