"""The byte stream of one association: bounded reads of PDUs and PDVs from a blocking socket.

Reads go straight into the buffer where the bytes stay.  The kernel does the waiting: with
``SO_RCVTIMEO`` and ``MSG_WAITALL`` one call fills a whole fragment and the time for all its bytes
is bounded, so neither a silent nor a dribbling peer holds its thread for longer than it may.

References
----------
DICOM PS3.8 section 9.3.1 and 9.3.5.
"""

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from datetime import timedelta

from dicom_node.errors import PeerGone, ProtocolBroken
from dicom_node.pdu import (
    COMMAND_FRAGMENT,
    HEADER_LENGTH,
    LAST_FRAGMENT,
    AbortReason,
    PduType,
    abort,
)
from kernel.clock import monotonic_s

_PDU_HEAD = struct.Struct(">BxI")
_PDV_HEAD = struct.Struct(">IBB")
_PDV_HEAD_LENGTH = 6
_SHORTEST_PDU = 10  # release and abort; P-DATA has at least 12 with its first PDV header
_TIMEVAL = struct.Struct("ll")
# Waits of a sender whose Nagle algorithm meets our delayed acknowledgement (Linux: 40 ms).
_NAGLE_WAIT_S = (0.030, 0.050)
_NAGLE_WAITS = 3
_USUAL_COMMAND = 512
_PARTING = timedelta(seconds=0.5)
_PARTING_READ = 65_536


class Released(Exception):
    """The peer asks to release the association."""


class Transport:
    """Reads the PDUs of one association and writes its answers.

    Parameters
    ----------
    silence
        How long a peer may need for one PDU once it has begun it.
    idle
        How long a peer may stay silent between PDUs.
    clock
        Seconds that only grow.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        silence: timedelta,
        idle: timedelta,
        clock: Callable[[], float] = monotonic_s,
    ) -> None:
        self.sock = sock
        self._clock = clock
        self._idle_s = idle.total_seconds()
        self._wait_all = 0 if isinstance(sock, ssl.SSLSocket) else socket.MSG_WAITALL
        self._head = memoryview(bytearray(HEADER_LENGTH + _PDV_HEAD_LENGTH))
        self._short = memoryview(bytearray(_USUAL_COMMAND))
        self._left = 0
        self._ahead = memoryview(b"")
        self._nagle_waits = 0
        self._arriving = select.poll()
        self._arriving.register(sock, select.POLLIN)
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.be_patient(silence)

    def be_patient(self, silence: timedelta) -> None:
        """Set the time for one PDU."""
        self._silence_s = silence.total_seconds()
        seconds, rest = divmod(self._silence_s, 1)
        value = _TIMEVAL.pack(int(seconds), int(rest * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.sock.setsockopt(socket.SOL_SOCKET, option, value)

    def has_more(self, patience: timedelta) -> bool:
        """Say whether the peer sends something within a time."""
        if self._ahead:
            return True
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return True
        return bool(self._arriving.poll(patience.total_seconds() * 1000))

    def read_pdu(self, *, limit: int) -> tuple[int, bytearray]:
        """Read one whole PDU of the negotiation; return its type and body.

        Raises
        ------
        ProtocolBroken
            It is longer than `limit` bytes.
        PeerGone
            The connection ended or the peer fell silent.
        """
        self.fill(self._head[:HEADER_LENGTH])
        kind, length = _PDU_HEAD.unpack_from(self._head)
        if length > limit:
            raise ProtocolBroken(
                AbortReason.INVALID_PARAMETER, f"a PDU of {length} bytes is beyond {limit}"
            )
        body = bytearray(length)
        self.fill(memoryview(body))
        return kind, body

    def next_pdv(self, *, limit: int, room: memoryview | None = None) -> tuple[int, int, int, int]:
        """Go to the next presentation data value.

        The caller then fills a buffer with what is not here yet.

        Parameters
        ----------
        room
            Where its bytes will lie; what comes together with its head is put there at once.

        Returns
        -------
        Context id, control byte, length in bytes, and how many of these lie in `room` already.

        Raises
        ------
        Released
            Instead, the peer asks for release.
        ProtocolBroken
            The next PDU is none that may come here, or its lengths contradict each other.
        PeerGone
            The peer aborted, the connection ended, or the peer fell silent.
        """
        if self._left:
            came = 0
            self.fill(self._head[HEADER_LENGTH:])
        else:
            came = self._begin_pdu(limit, room)
        length, context_id, control = _PDV_HEAD.unpack_from(self._head, HEADER_LENGTH)
        if length < 2 or length + 4 > self._left:
            raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "a PDV leads out of its PDU")
        self._left -= length + 4
        if 0 < self._left < _PDV_HEAD_LENGTH:
            raise ProtocolBroken(AbortReason.INVALID_PARAMETER, "bytes are left over in a PDU")
        length -= 2
        if came > length and room is not None:
            self._ahead = memoryview(bytes(room[length:came]))
            came = length
        return context_id, control, length, came

    def read_pdv(self, *, limit: int) -> tuple[int, int, bytearray]:
        """Read one whole presentation data value; return its context id, control byte and bytes.

        A command set comes together with its head, which saves a turn at the interpreter.

        Raises
        ------
        Released, ProtocolBroken, PeerGone
            As `next_pdv` does.
        """
        context_id, control, length, came = self.next_pdv(limit=limit, room=self._short)
        value = bytearray(self._short[:came])
        if came < length:
            value.extend(bytes(length - came))
            self.fill(memoryview(value)[came:])
        return context_id, control, value

    def take_fragments(self, room: memoryview, *, context_id: int, limit: int) -> tuple[int, bool]:
        """Read fragments of a data set, one behind the other, as long as the longest has room.

        Parameters
        ----------
        room
            Where they will lie; at least `limit` bytes.

        Returns
        -------
        The bytes that were filled, and whether the last fragment is among them.

        Raises
        ------
        Released, ProtocolBroken, PeerGone
            As `next_pdv` does; and another message begins within the data set.
        """
        filled, enough = 0, len(room) - limit
        while filled <= enough:
            view = room[filled : filled + limit]
            context, control, length, came = self.next_pdv(limit=limit, room=view)
            if control & COMMAND_FRAGMENT or context != context_id:
                raise ProtocolBroken(
                    AbortReason.UNEXPECTED_PARAMETER, "another message begins within a data set"
                )
            if came < length:
                self.fill(view[came:length])
            filled += length
            if control & LAST_FRAGMENT:
                return filled, True
        return filled, False

    def fill(self, view: memoryview) -> None:
        """Fill a buffer.

        Raises
        ------
        PeerGone
            The connection ended or the time for it ran out.
        """
        got, size = self._from_ahead(view) if self._ahead else 0, len(view)
        if got == size:
            return
        began = self._before_waiting()
        while got < size:
            try:
                count = self.sock.recv_into(view[got:], 0, self._wait_all)
            except (BlockingIOError, ssl.SSLWantReadError):
                raise PeerGone("the peer fell silent within a PDU") from None
            except OSError as error:
                raise PeerGone("the connection broke") from error
            if not count:
                raise PeerGone("the connection was closed")
            got += count
            waited = self._clock() - began
            if got < size and waited > self._silence_s:
                raise PeerGone("the peer is too slow")
        self._watch_for_nagle(self._clock() - began)

    def send(self, data: bytes) -> None:
        """Write to the peer.

        Raises
        ------
        PeerGone
            It does not take the bytes.
        """
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise PeerGone("the peer does not take answers") from error

    def send_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """Write parts to the peer, one behind the other; up to 1024 of them.

        Raises
        ------
        PeerGone
            It does not take the bytes.
        """
        if len(parts) == 1 or isinstance(self.sock, ssl.SSLSocket):
            self.send(b"".join(parts))
            return
        try:
            done = self.sock.sendmsg(parts)
            if done == sum(map(len, parts)):
                return  # as ever, but where a signal or the time for it interrupts
            pending = list(parts)
            while pending:
                while pending and done >= len(pending[0]):
                    done -= len(pending.pop(0))
                if done:
                    pending[0] = memoryview(pending[0])[done:]
                done = self.sock.sendmsg(pending) if pending else 0
        except OSError as error:
            raise PeerGone("the peer does not take answers") from error

    def abort(self, reason: int) -> None:
        """Tell the peer that the association is aborted, as far as it still listens."""
        with contextlib.suppress(PeerGone):
            self.send(abort(reason))

    def close(self) -> None:
        """Close the connection so that what was sent before still reaches the peer.

        A close with bytes unread would reset the connection and take our last PDU with it, so
        what still comes is passed over for a moment (PS3.8 section 9.2, state Sta13).
        """
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            self.be_patient(_PARTING)
            deadline = self._clock() + _PARTING.total_seconds()
            waste = bytearray(_PARTING_READ)
            while self.sock.recv_into(waste) and self._clock() < deadline:
                pass
        self.sock.close()

    def stop_reading(self) -> None:
        """Make a read that waits, or comes later, find the end of the stream (from any thread)."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)

    def break_off(self) -> None:
        """End the connection at once (from any thread)."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def _begin_pdu(self, limit: int, room: memoryview | None) -> int:
        """Read the head of a P-DATA-TF; return how many bytes behind it came into `room`."""
        got = self._from_ahead(self._head) if self._ahead else 0
        if not got:
            began = self._before_waiting()
            got = self._first_bytes(began, room)
            self._watch_for_nagle(self._clock() - began)
        if got < HEADER_LENGTH:
            self.fill(self._head[got:HEADER_LENGTH])
            got = HEADER_LENGTH
        kind, length = _PDU_HEAD.unpack_from(self._head)
        if kind != PduType.P_DATA:
            self._not_data(kind, length, got)
        if not _PDV_HEAD_LENGTH <= length <= limit:
            raise ProtocolBroken(
                AbortReason.INVALID_PARAMETER, f"a P-DATA-TF of {length} bytes was not agreed on"
            )
        self._left = length
        if got < len(self._head):
            self.fill(self._head[got:])
            return 0
        return got - len(self._head)

    def _first_bytes(self, began: float, room: memoryview | None) -> int:
        while True:
            try:
                if room is None or not self._wait_all:
                    got = self.sock.recv_into(self._head)
                else:  # a call less for each PDU, and with it a turn at the interpreter
                    got = self.sock.recvmsg_into([self._head, room])[0]
            except (BlockingIOError, ssl.SSLWantReadError):
                if self._clock() - began > self._idle_s:
                    raise PeerGone("the peer was idle for too long") from None
                continue
            except OSError as error:
                raise PeerGone("the connection broke") from error
            if not got:
                raise PeerGone("the connection was closed")
            return got

    def _from_ahead(self, view: memoryview) -> int:
        """Take what came before its time; return how many bytes that was."""
        count = min(len(self._ahead), len(view))
        if count:
            view[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
        return count

    def _not_data(self, kind: int, length: int, got: int) -> None:
        if kind not in (PduType.RELEASE_RQ, PduType.ABORT):
            known = kind in PduType.__members__.values()
            raise ProtocolBroken(
                AbortReason.UNEXPECTED_PDU if known else AbortReason.UNRECOGNISED_PDU,
                f"a PDU of type {kind:02X} cannot come here",
            )
        if length != _SHORTEST_PDU - HEADER_LENGTH:
            raise ProtocolBroken(
                AbortReason.INVALID_PARAMETER, "a release or abort has a wrong length"
            )
        if got < _SHORTEST_PDU:
            self.fill(self._head[got:_SHORTEST_PDU])
        if kind == PduType.RELEASE_RQ:
            raise Released
        raise PeerGone("the peer aborted the association")

    def _before_waiting(self) -> float:
        """Ask for quick acknowledgement if this sender waits for it; return the time."""
        if self._nagle_waits >= _NAGLE_WAITS:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return self._clock()

    def _watch_for_nagle(self, waited: float) -> None:
        """Arm quick acknowledgement only for senders that evidently wait for it.

        With senders that do not, it costs more than it gives.  Mostly it is the last segment of a
        message that waits, in the midst of a PDU.
        """
        shortest, longest = _NAGLE_WAIT_S
        if self._nagle_waits < _NAGLE_WAITS and shortest <= waited <= longest:
            self._nagle_waits += 1
