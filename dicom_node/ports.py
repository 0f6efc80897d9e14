"""Listening sockets: made before anything else starts, so that they can outlive who serves them."""

import socket
from dataclasses import dataclass

from kernel.errors import Misconfigured

BACKLOG = 128
"""Connections that wait here are not lost while a process that died is started anew."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets of the node: the plain one, and the one for TLS where there is one."""

    plain: socket.socket
    tls: socket.socket | None = None


def bound(host: str, port: int, tls_port: int | None) -> Sockets:
    """Make the sockets of the node.

    Raises
    ------
    Misconfigured
        An address cannot be had.
    """
    plain = listening(host, port)
    if tls_port is None:
        return Sockets(plain)
    try:
        return Sockets(plain, listening(host, tls_port))
    except Misconfigured:
        plain.close()
        raise


def listening(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises
    ------
    Misconfigured
        The address cannot be had.
    """
    try:
        made = socket.create_server((host, port), backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured(f"cannot listen on {host}:{port}: {error}") from error
    # asyncio sets it only on sockets that name their protocol; accepted ones inherit it.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
