"""The byte stream: senders that wait for our acknowledgements get them at once, others do not."""

import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest

from dicom_node.transport import Transport


class Told(socket.socket):
    """A socket that remembers which options it was told to set."""

    options: list[tuple[int, int]]

    def setsockopt(self, *told: object) -> None:  # type: ignore[override]
        self.options.append((told[0], told[1]))  # type: ignore[arg-type]
        super().setsockopt(*told)  # type: ignore[call-overload]

    def armed(self) -> int:
        """Return how often quick acknowledgement was asked for."""
        return self.options.count((socket.IPPROTO_TCP, socket.TCP_QUICKACK))


class Waiting:
    """A clock by which each read takes as long as told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wait = 0.0

    def __call__(self) -> float:
        self.now += self.wait
        return self.now


@pytest.fixture
def ends() -> Iterator[tuple[Told, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        peer = socket.create_connection(door.getsockname())
        accepted, _ = door.accept()
    Told.options = []
    ours = Told(fileno=accepted.detach())
    with peer, ours:
        yield ours, peer


def read(transport: Transport, peer: socket.socket) -> None:
    peer.sendall(b"1234")
    transport.fill(memoryview(bytearray(4)))


@pytest.mark.parametrize(
    ("wait", "armed"), [(0.0, False), (0.02, False), (0.04, True), (0.06, False), (0.2, False)]
)
def test_quick_acknowledgement_is_armed_for_senders_that_wait_for_it(
    ends: tuple[Told, socket.socket], wait: float, armed: bool
) -> None:
    ours, peer = ends
    clock = Waiting()
    patience = timedelta(seconds=60)
    transport = Transport(ours, silence=patience, idle=patience, clock=clock)
    for _ in range(3):
        # The clock is looked at before the read, after each piece and at the end.
        clock.wait = wait / 2
        read(transport, peer)
    assert ours.armed() == 0
    clock.wait = 0.0
    read(transport, peer)
    read(transport, peer)
    assert ours.armed() == (2 if armed else 0)
