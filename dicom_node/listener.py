"""The listener: accepts connections, negotiates, and gives each association to who serves it.

References
----------
DICOM PS3.8 sections 7.1 and 9.2 (association establishment, ARTIM timer).
"""

import contextlib
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
from dicom_node.errors import PeerGone, ProtocolBroken
from dicom_node.exchange import Offer, ServiceAssociation, Terms
from dicom_node.headers import Defaults
from dicom_node.in_flight import InFlight
from dicom_node.intake import Intake
from dicom_node.pdu import (
    AssociateRequest,
    ExtendedNegotiation,
    PduType,
    Rejection,
    RoleSelection,
)
from dicom_node.peers import Peer
from dicom_node.receive import Agreed, ReceiveLimits, StorageAssociation, ended
from dicom_node.transport import Transport
from kernel.clock import monotonic_s
from kernel.errors import Misconfigured, Transient
from kernel.ids import fresh

_BACKLOG = 128
_LOBBY_FACTOR = 2

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

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.why)
        self.rejection = rejection


class Listener:
    """One port; one thread for accepting and one an association.

    Parameters
    ----------
    find_peer
        Returns the registered peer of a calling AE title, None if there is none.
    offers
        What is served beside storage and verification, by SOP class (`services.offers`).
    """

    def __init__(
        self,
        settings: ListenerSettings,
        intake: Intake,
        find_peer: Callable[[str], Peer | None],
        *,
        in_flight: InFlight | None = None,
        offers: Mapping[str, Offer] | None = None,
    ) -> None:
        self.in_flight = in_flight or InFlight()
        self._offers = offers or {}
        self._settings = settings
        self._intake = intake
        self._find_peer = find_peer
        self._lock = threading.Lock()
        self._serving: dict[str, StorageAssociation] = {}
        self._threads: dict[threading.Thread, Transport] = {}
        self._lobby: set[Transport] = set()
        self._per_peer: Counter[str] = Counter()
        self._socket: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._stopping = False

    def start(self) -> int:
        """Begin to listen; return the port.

        Raises
        ------
        Misconfigured
            The address cannot be had.
        """
        address = (self._settings.host, self._settings.port)
        try:
            self._socket = socket.create_server(address, backlog=_BACKLOG)
        except OSError as error:
            raise Misconfigured(f"cannot listen on {address[0]}:{address[1]}: {error}") from error
        self._acceptor = threading.Thread(target=self._accept, name="dicom-accept", daemon=True)
        self._acceptor.start()
        port: int = self._socket.getsockname()[1]
        log.info("listener.started", port=port, ae_title=self._settings.ae_title)
        return port

    def stop(self, grace: timedelta = timedelta(seconds=10)) -> None:
        """Take no more associations, let each finish its request in hand, then end.

        A request that is not finished within `grace` was not acknowledged, and its sender knows.
        """
        self._stopping = True
        self._close_port()
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

    def _close_port(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        if self._acceptor is not None:
            self._acceptor.join()

    def _accept(self) -> None:
        assert self._socket is not None
        while not self._stopping:
            try:
                connection, address = self._socket.accept()
            except OSError as error:
                if not self._stopping:
                    # Out of descriptors: associations that end will free some.
                    log.error("listener.accept_failed", errno=error.errno)
                    threading.Event().wait(0.1)
                continue
            self._welcome(connection, str(address[0]))

    def _welcome(self, connection: socket.socket, remote: str) -> None:
        try:
            transport = Transport(
                connection, silence=self._settings.limits.silence, idle=self._settings.limits.idle
            )
        except OSError:
            connection.close()
            return
        thread = threading.Thread(
            target=self._run, args=(transport, remote), name=f"dicom-{remote}", daemon=True
        )
        with self._lock:
            full = len(self._threads) >= self._settings.max_associations * _LOBBY_FACTOR
            if not full:
                self._threads[thread] = transport
                self._lobby.add(transport)
        if full:  # more connections than we would even answer: drop the newest
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
                self._lobby.discard(transport)

    def _run(self, transport: Transport, remote: str) -> None:
        try:
            self._converse(transport, remote)
        except Refusal as refusal:
            log.warning("association.refused", remote=remote, reason=str(refusal))
            with contextlib.suppress(PeerGone):
                transport.send(pdu.associate_reject(refusal.rejection))
        except ProtocolBroken as broken:
            log.warning("association.aborted", remote=remote, reason=ended(broken))
            transport.abort(broken.reason)
        except PeerGone as gone:
            log.info("association.lost", remote=remote, reason=ended(gone))
        except Exception:  # an association that fails must never take the node with it
            log.exception("association.failed", remote=remote)
            transport.abort(pdu.AbortReason.NOT_SPECIFIED)
        finally:
            transport.close()
            with self._lock:
                self._threads.pop(threading.current_thread(), None)
                self._lobby.discard(transport)

    def _converse(self, transport: Transport, remote: str) -> None:
        request = self._first_pdu(transport)
        peer = self._recognised(request)
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
        )

    def _extended(
        self, request: AssociateRequest, accepted: Mapping[int, Answered]
    ) -> tuple[ExtendedNegotiation, ...]:
        """Answer the questions of the service classes: yes to those that an offer names."""
        classes = {each.abstract_syntax for each in accepted.values()}
        answered = []
        for item in request.extended:
            offer = self._offers.get(item.sop_class_uid)
            if offer is not None and offer.questions and item.sop_class_uid in classes:
                told = bytes(
                    position in offer.questions and item.asks_for(position)
                    for position in range(len(item.information))
                )
                answered.append(ExtendedNegotiation(item.sop_class_uid, told))
        return tuple(answered)

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
        if peer is None:
            raise Refusal(pdu.CALLING_UNKNOWN)
        return peer

    def _enter(
        self,
        association_id: str,
        title: str,
        association: StorageAssociation,
        transport: Transport,
    ) -> None:
        settings = self._settings
        with self._lock:
            self._lobby.discard(transport)
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
    """Answer the roles that the peer wants: it may take back what it can store with us (C-GET)."""
    classes = {each.abstract_syntax for each in accepted.values()}
    gets = bool(classes & contexts.GET_CLASSES)
    return tuple(
        RoleSelection(
            role.sop_class_uid,
            role.as_user,
            role.as_provider and gets and contexts.is_storage(role.sop_class_uid),
        )
        for role in request.role_selections
        if role.sop_class_uid in classes
    )


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
