"""The byte stream: senders that wait for our acknowledgements get them at once, others do not."""

import socket
import struct
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.errors import ProtocolBroken
from dicom_node.pdu import release_request
from dicom_node.transport import Released, Transport

RELEASE = release_request()


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


def p_data(*values: tuple[int, bytes]) -> bytes:
    """Encode one P-DATA-TF with values of (control byte, fragment)."""
    items = b"".join(struct.pack(">IBB", len(f) + 2, 1, control) + f for control, f in values)
    return struct.pack(">BBI", 4, 0, len(items)) + items


def whole_messages(transport: Transport, count: int, room: int) -> list[bytes]:
    """Read so many messages as the pump does: what came with a head is in the room already."""
    buffer, found = memoryview(bytearray(1 << 16)), []
    for _ in range(count):
        used, control = 0, 0
        while not control & 2:
            ready = buffer[used : used + room] if room else None
            _, control, length, came = transport.next_pdv(limit=1 << 16, room=ready)
            transport.fill(buffer[used + came : used + length])
            used += length
        found.append(bytes(buffer[:used]))
    return found


def whole_data_sets(transport: Transport, count: int, room: int) -> list[bytes]:
    """Read the same as data sets, of which several fragments may have room at once."""
    limit, found = 4096, []
    for _ in range(count):
        data, last = b"", False
        while not last:
            buffer = memoryview(bytearray(limit + room))
            size, last = transport.take_fragments(buffer, context_id=1, limit=limit)
            assert last or size > room  # only where the longest fragment has no room left
            data += buffer[:size]
        found.append(data)
    return found


fragments = st.lists(st.binary(max_size=600), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(fragments, min_size=1, max_size=4),
    together=st.booleans(),
    step=st.integers(1, 2000),
    room=st.sampled_from([0, 1, 7, 300, 4000]),
    at_once=st.booleans(),
)
def test_messages_are_read_whole_however_their_bytes_come(
    messages: list[list[bytes]], together: bool, step: int, room: int, at_once: bool
) -> None:
    sent = b""
    for message in messages:
        values = [(0, part) for part in message[:-1]] + [(2, message[-1])]
        sent += p_data(*values) if together else b"".join(p_data(value) for value in values)
    sent += RELEASE
    with socket.create_server(("127.0.0.1", 0)) as door:
        peer = socket.create_connection(door.getsockname())
        ours, _ = door.accept()
    with peer, ours:
        patience = timedelta(seconds=30)
        transport = Transport(ours, silence=patience, idle=patience)
        sender = threading.Thread(
            target=lambda: [peer.sendall(sent[at : at + step]) for at in range(0, len(sent), step)]
        )
        sender.start()
        read_all = whole_data_sets if at_once else whole_messages
        found = read_all(transport, len(messages), room)
        with pytest.raises(Released):
            transport.next_pdv(limit=1 << 16, room=memoryview(bytearray(room)) if room else None)
        sender.join()
    assert found == [b"".join(message) for message in messages]


def test_what_came_ahead_counts_as_something_to_read(ends: tuple[Told, socket.socket]) -> None:
    ours, peer = ends
    patience = timedelta(seconds=30)
    transport = Transport(ours, silence=patience, idle=patience)
    peer.sendall(p_data((3, b"a C-STORE")) + p_data((3, b"its C-CANCEL")))
    room = memoryview(bytearray(100))
    _, _, length, came = transport.next_pdv(limit=1000, room=room)
    transport.fill(room[came:length])
    assert bytes(room[:length]) == b"a C-STORE"
    assert transport.has_more(patience)
    _, _, length, came = transport.next_pdv(limit=1000, room=room)
    transport.fill(room[came:length])
    assert bytes(room[:length]) == b"its C-CANCEL"


@pytest.mark.parametrize(
    ("context", "control"), [(3, 0), (1, 1)], ids=["another context", "a command"]
)
def test_another_message_within_a_data_set_breaks_the_protocol(
    ends: tuple[Told, socket.socket], context: int, control: int
) -> None:
    ours, peer = ends
    patience = timedelta(seconds=30)
    transport = Transport(ours, silence=patience, idle=patience)
    item = struct.pack(">IBB", 4, context, control) + b"ab"
    peer.sendall(p_data((0, b"a fragment")) + struct.pack(">BBI", 4, 0, len(item)) + item)
    with pytest.raises(ProtocolBroken, match="another message begins"):
        transport.take_fragments(memoryview(bytearray(8000)), context_id=1, limit=1000)
