"""Commands of the DICOM node; they take the caller's transaction and never commit."""

from dicom_node import store
from dicom_node.errors import PeerUnknown
from dicom_node.peers import Peer, ae_title, checked
from kernel.people import Actor
from storage import audit
from storage.engine import Transaction


def add_peer(tx: Transaction, peer: Peer, *, actor: Actor) -> Peer:
    """Register a device or archive, or change the one with this title.

    Raises
    ------
    AeTitleInvalid, PeerInvalid
        Title, host, port, issuer or character set cannot be one.
    """
    checked(peer)
    store.save_peer(tx, peer)
    audit.record(
        tx,
        actor=actor,
        action="peer.added",
        subject=f"ae:{peer.ae_title}",
        detail={"host": peer.host, "port": peer.port, "organisation_id": peer.organisation_id},
    )
    return peer


def list_peers(tx: Transaction) -> list[Peer]:
    """Return every registered peer in the order of the titles."""
    return store.peers(tx)


def find_peer(tx: Transaction, title: str) -> Peer | None:
    """Return the peer of a calling AE title, None if it is not registered."""
    return store.find_peer(tx, title.strip(" "))


def get_peer(tx: Transaction, title: str) -> Peer:
    """Return a registered peer.

    Raises
    ------
    AeTitleInvalid, PeerUnknown
        The text is no AE title, or nobody registered it.
    """
    peer = store.find_peer(tx, ae_title(title))
    if peer is None:
        raise PeerUnknown("no registered device has this AE title", ae_title=title)
    return peer
