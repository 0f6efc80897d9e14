"""The ways into the node: the plain port and the TLS port, and whom each lets through.

References
----------
DICOM PS3.15 section B.12.
"""

from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

import structlog

from dicom_node import identity, store
from dicom_node.errors import NotProven, PeerGone
from dicom_node.peers import Peer
from dicom_node.revocation import Revocations
from dicom_node.tls import ServerContexts, TlsTransport
from dicom_node.transport import Transport
from kernel.errors import EngineError, Misconfigured
from kernel.people import Actor, Role
from storage import audit
from storage.engine import Database

Networks = Sequence[IPv4Network | IPv6Network]

log = structlog.get_logger()


class Door(Protocol):
    """One way in."""

    def welcomes(self, remote: str) -> bool:
        """Say whether a connection from an address is answered at all."""
        ...

    def transport(self, bare: Transport) -> Transport:
        """Return the transport of the association, made from that of the bare connection.

        Raises
        ------
        PeerGone
            There is none to be had.
        """
        ...

    def begin(self, transport: Transport, *, within: timedelta) -> None:
        """Do what comes before the first PDU.

        Raises
        ------
        PeerGone
            It failed, and why.
        """
        ...

    def require(self, peer: Peer, transport: Transport, *, remote: str) -> None:
        """Require that the caller is the peer that it says it is.

        Raises
        ------
        NotProven
            It is not, or has not shown it.
        Transient
            It cannot be told now.
        """
        ...


class PlainDoor:
    """Without TLS: titles are taken at their word, so only from networks that are trusted.

    Parameters
    ----------
    networks
        From which calls are answered; None is everywhere.
    """

    def __init__(self, networks: Networks | None = None) -> None:
        self._networks = networks

    def welcomes(self, remote: str) -> bool:
        """See `Door`."""
        if self._networks is None:
            return True
        address = ip_address(remote.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)

    def transport(self, bare: Transport) -> Transport:
        """See `Door`."""
        return bare

    def begin(self, transport: Transport, *, within: timedelta) -> None:
        """See `Door`."""

    def require(self, peer: Peer, transport: Transport, *, remote: str) -> None:
        """See `Door`."""
        identity.require_plain_allowed(peer)


class TlsDoor:
    """With TLS: a title belongs to the certificate that is bound to it.

    Parameters
    ----------
    revocations
        What the authorities took back; None: nobody is asked.
    """

    def __init__(
        self,
        database: Database,
        contexts: ServerContexts,
        *,
        silence: timedelta,
        idle: timedelta,
        revocations: Revocations | None = None,
    ) -> None:
        self._database = database
        self._contexts = contexts
        self._revocations = revocations
        self._silence = silence
        self._idle = idle

    def welcomes(self, remote: str) -> bool:
        """See `Door`."""
        return True

    def transport(self, bare: Transport) -> Transport:
        """See `Door`."""
        try:
            context = self._contexts.current()
        except EngineError as error:
            log.error("tls.unusable", code=error.code, reason=error.sentence)
            raise PeerGone("TLS cannot be had now") from error
        try:
            sock = context.wrap_socket(bare.sock, server_side=True, do_handshake_on_connect=False)
            return TlsTransport(sock, silence=self._silence, idle=self._idle)
        except (OSError, ValueError) as error:
            raise PeerGone("the connection broke") from error

    def begin(self, transport: Transport, *, within: timedelta) -> None:
        """See `Door`."""
        assert isinstance(transport, TlsTransport)
        transport.be_patient(within)
        transport.shake_hands()

    def require(self, peer: Peer, transport: Transport, *, remote: str) -> None:
        """See `Door`; a refusal is in the audit chain, for a valid certificate was shown."""
        assert isinstance(transport, TlsTransport)
        fingerprint = transport.fingerprint
        with self._database.reading() as tx:
            found, at = store.bindings_of(tx, fingerprint), tx.at
        try:
            identity.require_proven(peer, found, at=at)
            if self._revocations is not None:
                self._revocations.require_good(found[0].certificate.pem, at=at)
        except NotProven as refusal:
            with self._database.transaction() as tx:
                audit.record(
                    tx,
                    actor=Actor(f"certificate:{fingerprint}", Role.DEVICE),
                    action="association.refused",
                    subject=f"ae:{peer.ae_title}",
                    outcome=audit.Outcome.REFUSED,
                    detail={"code": refusal.code, "remote": remote},
                )
            raise


def networks(texts: Sequence[str]) -> Networks:
    """Return networks from their CIDR notation.

    Raises
    ------
    Misconfigured
        One is none.
    """
    try:
        return tuple(ip_network(text.strip()) for text in texts)
    except ValueError as error:
        raise Misconfigured(f"dicom.plain_networks: {error}") from error
