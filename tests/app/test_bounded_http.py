"""Connections that say nothing, or take nothing, are given up; everybody else is served."""

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from fastapi.responses import Response, StreamingResponse

from app.bounded_http import HttpBounds, bounded, bounded_channels
from tests.app.web_server import WebServer
from tests.wire.speaker import until

HEAD = b"GET /small HTTP/1.1\r\nHost: here\r\n"
MANY = 8 << 20
HURRIED = HttpBounds(connections=8, head_s=0.5, taking_s=0.5)
PATIENT = HttpBounds(connections=8)


UPGRADE = (
    b"GET /%s HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class House:
    """A server of small, large and slow answers, and those who wait for the slow one."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.waiting = self.gone = 0
        self._let_go = threading.Event()
        self.app.get("/small")(self._small)
        self.app.get("/large")(self._large)
        self.app.get("/last")(self._last)
        self.app.get("/slow")(self._slow)
        self.app.websocket("/channel")(self._channel)
        self.app.websocket("/flood")(self._flood)
        self.url = ""
        self.connections: Callable[[], int] = int

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def let_go(self) -> None:
        self._let_go.set()

    def answers(self) -> bool:
        return httpx.get(f"{self.url}/small", timeout=30).text == "small"

    def opened(self, said: bytes = b"") -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(30)
        sock.connect(("127.0.0.1", self.port))
        sock.sendall(said)
        return sock

    def _small(self) -> Response:
        return Response("small")

    async def _large(self) -> StreamingResponse:
        return StreamingResponse(self._pieces())

    async def _pieces(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(MANY >> 16):
                yield bytes(1 << 16)
        finally:
            self.gone += 1

    async def _last(self) -> Response:
        self.gone += 1
        return Response(bytes(MANY))

    async def _slow(self) -> Response:
        self.waiting += 1
        await asyncio.to_thread(self._let_go.wait, 60)
        return Response("slow")

    async def _flood(self, channel: WebSocket) -> None:
        await channel.accept()
        try:
            while True:
                await channel.send_text("x" * 30_000)
        finally:
            self.gone += 1

    async def _channel(self, channel: WebSocket) -> None:
        await channel.accept()
        while True:
            await channel.send_text(await channel.receive_text())


@contextmanager
def serving(bounds: HttpBounds, ping_s: float = 20.0) -> Iterator[House]:
    house = House()
    server = WebServer(house.app, bounded(bounds), bounded_channels(bounds), ping_s)
    house.url, house.connections = server.url, lambda: server.connections
    try:
        yield house
    finally:
        house.let_go()
        server.close()


def is_ended(sock: socket.socket) -> bool:
    """Read to the end that the server makes."""
    try:
        while sock.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + b"\r\n", HEAD + b"\r\n" + HEAD])
def test_who_sends_no_whole_head_is_given_up(said: bytes) -> None:
    with serving(HURRIED) as house, house.opened(said) as sock:
        assert is_ended(sock)
        assert house.answers()


def test_who_dribbles_a_head_is_given_up() -> None:
    with serving(HURRIED) as house, house.opened(HEAD) as sock:
        pause = threading.Event()
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            while not pause.wait(0.02):
                sock.sendall(b"x")
        assert house.answers()


def test_who_comes_next_has_the_place_of_who_says_nothing() -> None:
    with serving(PATIENT) as house:
        silent = [house.opened() for _ in range(3 * PATIENT.connections)]
        assert house.answers()
        assert all(is_ended(sock) for sock in silent[: 2 * PATIENT.connections])
        for sock in silent:
            sock.close()


def test_a_house_full_of_requests_takes_no_more_and_breaks_none_off() -> None:
    with serving(PATIENT) as house:
        asking = HEAD.replace(b"small", b"slow") + b"\r\n"
        busy = [house.opened(asking) for _ in range(PATIENT.connections)]
        until(lambda: house.waiting == len(busy))

        with house.opened() as late:
            assert is_ended(late)
        house.let_go()

        assert all(sock.recv(65_536).startswith(b"HTTP/1.1 200") for sock in busy)
        for sock in busy:
            sock.close()
        assert house.answers()


def test_who_does_not_take_an_answer_is_given_up() -> None:
    with serving(HURRIED) as house, house.opened(HEAD.replace(b"small", b"large") + b"\r\n"):
        until(lambda: house.gone == 1)
        assert house.answers()


def test_an_end_that_nobody_takes_holds_no_connection() -> None:
    asking = HEAD.replace(b"small", b"last") + b"Connection: close\r\n\r\n"
    with serving(HURRIED) as house:
        socks = [house.opened(asking) for _ in range(HURRIED.connections)]
        until(lambda: house.gone == len(socks))

        until(lambda: not house.connections())

        assert house.answers()
        for sock in socks:
            sock.close()


def test_who_takes_an_answer_slowly_gets_all_of_it() -> None:
    bounds = HttpBounds(head_s=0.5, taking_s=0.5, taking_bytes=1)
    asking = HEAD.replace(b"small", b"large") + b"Connection: close\r\n\r\n"
    with serving(bounds) as house, house.opened(asking) as sock:
        got, pause = 0, threading.Event()
        while piece := sock.recv(1 << 16):
            got += len(piece)
            pause.wait(0.002)
        assert got > MANY


@pytest.mark.parametrize(
    ("bounds", "ping_s"),
    [(HURRIED, 20.0), (PATIENT, 0.3)],
    ids=["takes nothing", "shows no life"],
)
def test_who_reads_nothing_of_a_channel_is_given_up(bounds: HttpBounds, ping_s: float) -> None:
    with serving(bounds, ping_s) as house, house.opened(UPGRADE % b"flood"):
        until(lambda: house.gone == 1)
        until(lambda: not house.connections())
        assert house.answers()


def test_a_channel_stays_open_beyond_the_time_of_a_head() -> None:
    masked = struct.pack(">BB4s2s", 0x81, 0x82, bytes(4), b"hi")
    with serving(HURRIED) as house, house.opened(UPGRADE % b"channel") as channel:
        assert b"101" in channel.recv(4096)
        with house.opened() as silent:  # opened after it, and given up meanwhile
            assert is_ended(silent)
        channel.sendall(masked)
        assert channel.recv(100) == b"\x81\x02hi"
