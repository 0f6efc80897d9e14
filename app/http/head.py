"""HEAD wherever GET is taken: the same answer, without what it holds.

References
----------
RFC 9110 sections 9.1 (methods that every server has) and 9.3.2 (HEAD).
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Asks for the whole, gives its head, and goes away before the rest is made."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})

        inner = {**scope, "method": "GET"}  # the server has to know that it answers HEAD
        try:
            await self._app(inner, receive, headed)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]
