"""The listener: accepts connections, negotiates, and gives each association to who serves it.

References
----------
DICOM PS3.8 sections 7.1 and 9.2 (association establishment, ARTIM timer).
"""

import contextlib
import selectors
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from dicom_node import contexts, pdu
from dicom_node.admission import Route, Source
from dicom_node.contexts import Answered
from dicom_node.doors import Door, PlainDoor
from dicom_node.errors import NoTlsSession, NotProven, PeerGone, PeerRemoved, ProtocolBroken
from dicom_node.exchange import Offer, ServiceAssociation, Terms
from dicom_node.headers import Defaults
from dicom_node.in_flight import InFlight
from dicom_node.intake import Intake
from dicom_node.large_requests import LargeRequests
from dicom_node.one_processor import OneProcessor
from dicom_node.pdu import (
    AssociateRequest,
    ExtendedNegotiation,
    PduType,
    Rejection,
    RoleSelection,
)
from dicom_node.peers import Peer
from dicom_node.ports import Sockets, bound
from dicom_node.receive import Agreed, ReceiveLimits, StorageAssociation, ended
from dicom_node.transport import Transport
from dicom_node.uids import GET_CLASSES, STORAGE_COMMITMENT
from kernel.clock import monotonic_s
from kernel.errors import Transient
from kernel.ids import fresh
from kernel.pulse import Pulse

_LOBBY_FACTOR = 2
_PARTING = 64  # sent away to make room, and not gone yet
_MAX_QUESTIONS = 64  # of one class in its extended negotiation; no class has a dozen

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """How the node listens."""

    ae_title: str
    """Our own title; a caller that names another is refused."""

    host: str = "127.0.0.1"
    """Loopback by default: opening the port to a network is a decision."""

    port: int = 11112
    """0 takes a free one."""

    tls_port: int | None = None
    """Of the TLS door, where there is one; 0 takes a free one."""

    max_associations: int = 64
    """Each costs a thread and up to one buffer."""

    max_associations_per_peer: int = 16
    """One device in a loop does not lock the others out."""

    accept_private_classes: bool = True
    """Manufacturers store under their own roots; we keep what we cannot show."""

    artim: timedelta = timedelta(seconds=30)
    """Time from connecting to the whole A-ASSOCIATE-RQ."""

    limits: ReceiveLimits = field(default_factory=ReceiveLimits)


class Refusal(Exception):
    """The association is answered with an A-ASSOCIATE-RJ."""

    def __init__(self, rejection: Rejection, why: str = "") -> None:
        super().__init__(why or rejection.why)
        self.rejection = rejection


class Listener:
    """One port, or two; one thread a port for accepting and one an association.

    Parameters
    ----------
    find_peer
        Returns the registered peer of a calling AE title, None if there is none; raises
        `PeerRemoved` where it was removed.
    offers
        What is served beside storage and verification, by SOP class (`services.Offers`).
    door, tls_door
        Who may come in at the plain port, and at the TLS port if there is one.
    pulse, tls_pulse
        Beat with every turn of the loops that accept at them.
    """

    def __init__(
        self,
        settings: ListenerSettings,
        intake: Intake,
        find_peer: Callable[[str], Peer | None],
        *,
        in_flight: InFlight | None = None,
        offers: Mapping[str, Offer] | None = None,
        door: Door | None = None,
        tls_door: Door | None = None,
        pulse: Pulse | None = None,
        tls_pulse: Pulse | None = None,
    ) -> None:
        self.in_flight = in_flight or InFlight()
        self._offers = offers or {}
        self._settings = settings
        self._intake = intake
        self._find_peer = find_peer
        self._lock = threading.Lock()
        self._serving: dict[str, StorageAssociation] = {}
        self._threads: dict[threading.Thread, Transport] = {}
        self._lobby: dict[Transport, None] = {}
        self._per_peer: Counter[str] = Counter()
        self._one_processor = OneProcessor()
        self._large = LargeRequests()
        self._door = door or PlainDoor()
        self._tls_door = tls_door
        self._pulses = (pulse or Pulse(), tls_pulse or Pulse())
        self._ports: list[tuple[socket.socket, threading.Thread]] = []
        self._closing: tuple[socket.socket, ...] = ()
        self._stopping = False
        self.tls_port: int | None = None

    def start(self, sockets: Sockets | None = None) -> int:
        """Begin to listen; return the plain port. That of the TLS door is then in `tls_port`.

        Parameters
        ----------
        sockets
            Listening sockets that outlive this process; None: they are made as the settings say.

        Raises
        ------
        Misconfigured
            An address cannot be had.
        """
        told = self._settings
        tls_port = told.tls_port if self._tls_door is not None else None
        sockets = sockets or bound(told.host, told.port, tls_port)
        self._closing = socket.socketpair()  # who accepts hears of the end by it
        self._listen(sockets.plain, self._door, self._pulses[0])
        if self._tls_door is not None and sockets.tls is not None:
            self._listen(sockets.tls, self._tls_door, self._pulses[1])
            self.tls_port = sockets.tls.getsockname()[1]
        port: int = sockets.plain.getsockname()[1]
        log.info("listener.started", port=port, tls_port=self.tls_port, ae_title=told.ae_title)
        return port

    def stop(self, grace: timedelta = timedelta(seconds=10)) -> None:
        """Take no more associations, let each finish its request in hand, then end.

        A request that is not finished within `grace` was not acknowledged, and its sender knows.
        """
        self._stopping = True
        self._close_ports()
        with self._lock:
            serving, lobby = list(self._serving.values()), list(self._lobby)
        for association in serving:
            association.stop()
        for transport in lobby:
            transport.stop_reading()
        deadline = monotonic_s() + grace.total_seconds()
        for thread, transport in self._snapshot():
            thread.join(max(0.0, deadline - monotonic_s()))
            if thread.is_alive():
                transport.break_off()
                thread.join(1.0)
        log.info("listener.stopped")

    def associations(self) -> int:
        """Return how many associations are open."""
        with self._lock:
            return len(self._serving)

    def _snapshot(self) -> list[tuple[threading.Thread, Transport]]:
        with self._lock:
            return list(self._threads.items())

    def _listen(self, port: socket.socket, door: Door, pulse: Pulse) -> None:
        port.setblocking(False)  # a caller may be gone again before it is accepted
        acceptor = threading.Thread(
            target=self._accept, args=(port, door, pulse), name="dicom-accept", daemon=True
        )
        self._ports.append((port, acceptor))
        acceptor.start()

    def _close_ports(self) -> None:
        """Let go of the sockets; they listen on where another process holds them too."""
        self._stopping = True
        for end in self._closing[1:]:
            end.close()
        for port, acceptor in self._ports:
            acceptor.join()
            port.close()
        for end in self._closing:
            end.close()

    def _accept(self, port: socket.socket, door: Door, pulse: Pulse) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (port, self._closing[0]):
                selector.register(each, selectors.EVENT_READ)
            while not self._stopping:
                pulse.beat()
                if selector.select(pulse.every_s):
                    self._accept_one(port, door)
        pulse.rest()

    def _accept_one(self, port: socket.socket, door: Door) -> None:
        if self._stopping:
            return
        try:
            connection, address = port.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it went away, or another process has it
        except OSError as error:
            # Out of descriptors: associations that end will free some.
            log.error("listener.accept_failed", errno=error.errno)
            threading.Event().wait(0.1)
            return
        connection.setblocking(True)
        self._welcome(connection, str(address[0]), door)

    def _welcome(self, connection: socket.socket, remote: str, door: Door) -> None:
        if not door.welcomes(remote):
            connection.close()
            log.warning("listener.unwelcome", remote=remote)
            return
        try:
            transport = Transport(
                connection, silence=self._settings.limits.silence, idle=self._settings.limits.idle
            )
        except OSError:
            connection.close()
            return
        thread = threading.Thread(
            target=self._run, args=(transport, remote, door), name=f"dicom-{remote}", daemon=True
        )
        with self._lock:
            held = len(self._threads)
            most = self._settings.max_associations * _LOBBY_FACTOR
            # Those who say nothing make room for the newest: a caller who means it needs a moment.
            oldest = next(iter(self._lobby), None) if held >= most else None
            full = held >= most and (oldest is None or held >= most + _PARTING)
            if not full:
                self._threads[thread] = transport
                self._lobby[transport] = None
            if oldest is not None:
                del self._lobby[oldest]
                oldest.break_off()
        if full:  # more connections than we would even answer
            connection.close()
            log.warning("listener.overrun", remote=remote)
            return
        try:
            thread.start()
        except RuntimeError:  # the machine gives no more threads; those that end will free some
            log.error("listener.no_thread", remote=remote)
            connection.close()
            with self._lock:
                del self._threads[thread]
                self._lobby.pop(transport, None)

    def _run(self, transport: Transport, remote: str, door: Door) -> None:
        try:
            transport = self._entered(transport, door)
            door.begin(transport, within=self._settings.artim)
            self._converse(transport, remote, door)
        except Refusal as refusal:
            log.warning("association.refused", remote=remote, reason=str(refusal))
            with contextlib.suppress(PeerGone):
                transport.send(pdu.associate_reject(refusal.rejection))
        except ProtocolBroken as broken:
            log.warning("association.aborted", remote=remote, reason=ended(broken))
            transport.abort(broken.reason)
        except NoTlsSession as failed:
            log.warning("association.no_tls_session", remote=remote, reason=str(failed))
        except PeerGone as gone:
            log.info("association.lost", remote=remote, reason=ended(gone))
        except Exception:  # an association that fails must never take the node with it
            log.exception("association.failed", remote=remote)
            transport.abort(pdu.AbortReason.NOT_SPECIFIED)
        finally:
            transport.close()
            with self._lock:
                self._threads.pop(threading.current_thread(), None)
                self._lobby.pop(transport, None)

    def _entered(self, bare: Transport, door: Door) -> Transport:
        """Return the transport of the association, in the place of the bare one."""
        transport = door.transport(bare)
        if transport is not bare:
            with self._lock:
                self._threads[threading.current_thread()] = transport
                waited = bare in self._lobby
                self._lobby.pop(bare, None)
                if waited:
                    self._lobby[transport] = None
            if self._stopping or not waited:  # the bare one may just have been told to go
                transport.stop_reading()
        return transport

    def _converse(self, transport: Transport, remote: str, door: Door) -> None:
        request = self._first_pdu(transport)
        peer = self._recognised(request)
        self._require(door, peer, transport, remote)
        answers = contexts.answer(
            request.contexts,
            private=self._settings.accept_private_classes,
            services=self._offers.keys(),
        )
        accepted = {context.id: context for context in answers if context.accepted}
        agreed = Agreed(fresh(), _source(peer), accepted)
        roles, extended = _roles(request, accepted), self._extended(request, accepted)
        association = self._association(transport, agreed, _terms(request, peer, roles, extended))
        self._enter(agreed.id, peer.ae_title, association, transport)
        try:
            transport.send(
                pdu.associate_accept(
                    request,
                    answers,
                    max_pdu=self._settings.limits.max_pdu,
                    roles=roles,
                    extended=extended,
                )
            )
            log.info("association.opened", association=agreed.id, remote=remote, peer=peer.ae_title)
            with (
                self._one_processor.shared()
                if association.takes_in_alone
                else contextlib.nullcontext()
            ):
                association.serve()
        finally:
            self._leave(agreed.id, peer.ae_title)
            log.info("association.ended", association=agreed.id, stored=association.stored)

    def _association(
        self, transport: Transport, agreed: Agreed, terms: Terms
    ) -> StorageAssociation:
        """Return who serves the association: the plain C-STORE pump wherever that is enough."""
        limits = self._settings.limits
        if not any(each.abstract_syntax in self._offers for each in agreed.contexts.values()):
            return StorageAssociation(transport, agreed, self._intake, self.in_flight, limits)
        return ServiceAssociation(
            transport,
            agreed,
            self._intake,
            self.in_flight,
            limits,
            terms=terms,
            offers=self._offers,
            large=self._large,
        )

    def _extended(
        self, request: AssociateRequest, accepted: Mapping[int, Answered]
    ) -> tuple[ExtendedNegotiation, ...]:
        """Answer the questions of the service classes: yes to those that an offer names."""
        classes = {each.abstract_syntax for each in accepted.values()}
        answered: dict[str, ExtendedNegotiation] = {}
        for item in request.extended:
            offer = self._offers.get(item.sop_class_uid)
            if offer is not None and offer.questions and item.sop_class_uid in classes:
                told = bytes(
                    position in offer.questions and item.asks_for(position)
                    for position in range(min(len(item.information), _MAX_QUESTIONS))
                )
                answered[item.sop_class_uid] = ExtendedNegotiation(item.sop_class_uid, told)
        return tuple(answered.values())

    def _first_pdu(self, transport: Transport) -> AssociateRequest:
        transport.be_patient(self._settings.artim)
        kind, body = transport.read_pdu(limit=pdu.MAX_ASSOCIATE_LENGTH)
        transport.be_patient(self._settings.limits.silence)
        if kind != PduType.ASSOCIATE_RQ:
            raise ProtocolBroken(
                pdu.AbortReason.UNEXPECTED_PDU, "the first PDU is no A-ASSOCIATE-RQ"
            )
        return pdu.parse_associate_request(body)

    def _recognised(self, request: AssociateRequest) -> Peer:
        """Return the caller if it is known and means us (PS3.8 section 9.3.4)."""
        if not request.protocol_version & 1:
            raise Refusal(pdu.NO_SUCH_PROTOCOL)
        if request.application_context != pdu.APPLICATION_CONTEXT:
            raise Refusal(pdu.OTHER_APPLICATION)
        if request.called != self._settings.ae_title:
            raise Refusal(pdu.CALLED_UNKNOWN)
        try:
            peer = self._find_peer(request.calling)
        except Transient:
            raise Refusal(pdu.CONGESTED) from None
        except PeerRemoved as refusal:
            raise Refusal(pdu.CALLING_UNKNOWN, refusal.sentence) from refusal
        if peer is None:
            raise Refusal(pdu.CALLING_UNKNOWN)
        return peer

    def _require(self, door: Door, peer: Peer, transport: Transport, remote: str) -> None:
        """Require that the caller is who its title says; titles alone prove nothing."""
        try:
            door.require(peer, transport, remote=remote)
        except NotProven as refusal:
            log.warning(
                "association.not_proven", peer=peer.ae_title, remote=remote, code=refusal.code
            )
            raise Refusal(pdu.CALLING_UNKNOWN, refusal.sentence) from refusal
        except Transient:
            raise Refusal(pdu.CONGESTED) from None

    def _enter(
        self,
        association_id: str,
        title: str,
        association: StorageAssociation,
        transport: Transport,
    ) -> None:
        settings = self._settings
        with self._lock:
            self._lobby.pop(transport, None)
            if self._stopping:
                raise Refusal(pdu.CONGESTED)
            if len(self._serving) >= settings.max_associations:
                raise Refusal(pdu.LIMIT_REACHED)
            if self._per_peer[title] >= settings.max_associations_per_peer:
                raise Refusal(pdu.LIMIT_REACHED)
            self._serving[association_id] = association
            self._per_peer[title] += 1

    def _leave(self, association_id: str, title: str) -> None:
        with self._lock:
            del self._serving[association_id]
            self._per_peer[title] -= 1
            if not self._per_peer[title]:
                del self._per_peer[title]


def _roles(
    request: AssociateRequest, accepted: Mapping[int, Answered]
) -> tuple[RoleSelection, ...]:
    """Answer the roles that the peer wants.

    It may take back what it can store with us (C-GET), and report on what we asked it to commit.
    Each class is answered once, however often it is asked about.
    """
    classes = {each.abstract_syntax for each in accepted.values()}
    gets = bool(classes & GET_CLASSES)
    answered = {
        role.sop_class_uid: RoleSelection(
            role.sop_class_uid,
            role.as_user,
            role.as_provider
            and (
                role.sop_class_uid == STORAGE_COMMITMENT
                or (gets and contexts.is_storage(role.sop_class_uid))
            ),
        )
        for role in request.role_selections
        if role.sop_class_uid in classes
    }
    return tuple(answered.values())


def _terms(
    request: AssociateRequest,
    peer: Peer,
    roles: tuple[RoleSelection, ...],
    extended: tuple[ExtendedNegotiation, ...],
) -> Terms:
    return Terms(
        peer=peer,
        max_pdu=request.max_pdu,
        gives=frozenset(role.sop_class_uid for role in roles if role.as_provider),
        extended={item.sop_class_uid: item for item in extended},
    )


def _source(peer: Peer) -> Source:
    defaults = Defaults(peer.issuer, peer.character_set)
    return Source(Route.DIMSE, peer.ae_title, peer.organisation_id, defaults)
