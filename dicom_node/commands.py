"""Commands of the DICOM node; they take the caller's transaction and never commit."""

from datetime import datetime

from dicom_node import store
from dicom_node.certificates import Binding, Certificate
from dicom_node.errors import CertificateExpired, CertificateUnknown, PeerRemoved, PeerUnknown
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
        detail={
            "host": peer.host,
            "port": peer.port,
            "organisation_id": peer.organisation_id,
            "tls": peer.tls,
            "tls_required": peer.tls_required,
        },
    )
    return peer


def list_peers(tx: Transaction) -> list[Peer]:
    """Return every registered peer in the order of the titles."""
    return store.peers(tx)


def list_removed(tx: Transaction) -> list[tuple[Peer, datetime]]:
    """Return the peers that were removed, in the order of the titles, with the moment of it."""
    return store.removed_peers(tx)


def find_peer(tx: Transaction, title: str) -> Peer | None:
    """Return the peer of an AE title, None if it is not registered."""
    return store.find_peer(tx, title.strip(" "))


def find_caller(tx: Transaction, title: str) -> Peer | None:
    """Return the peer of a calling AE title, None if it was never registered.

    Raises
    ------
    PeerRemoved
        It was removed.
    """
    known = title.strip(" ")
    peer = store.find_peer(tx, known)
    if peer is None and (removed_at := store.removed_at(tx, known)) is not None:
        raise PeerRemoved(f"{known} was removed on {removed_at:%Y-%m-%d}", ae_title=known)
    return peer


def find_sender(tx: Transaction, title: str) -> Peer | None:
    """Return the peer that an AE title stands for as a sender: one that was removed, too."""
    return store.find_sender(tx, title.strip(" "))


def get_peer(tx: Transaction, title: str) -> Peer:
    """Return a registered peer.

    Raises
    ------
    AeTitleInvalid, PeerUnknown
        The text is no AE title, or nobody registered it.
    PeerRemoved
        It was removed.
    """
    peer = find_caller(tx, ae_title(title))
    if peer is None:
        raise PeerUnknown("no registered device has this AE title", ae_title=title)
    return peer


def bind_certificate(
    tx: Transaction, title: str, certificate: Certificate, *, actor: Actor
) -> Binding:
    """Bind a certificate to a registered AE title and its site.

    A title can have several, such as the old and the new one while a device is renewed; a
    certificate can stand for several titles of one device.

    Raises
    ------
    AeTitleInvalid, PeerUnknown
        The text is no AE title, or nobody registered it.
    CertificateExpired
        It is not valid any more.
    """
    peer = get_peer(tx, title)
    if certificate.not_after <= tx.at:
        raise CertificateExpired("the certificate is not valid any more", ae_title=title)
    binding = Binding(
        ae_title=peer.ae_title, organisation_id=peer.organisation_id, certificate=certificate
    )
    store.save_binding(tx, binding)
    _note(tx, "certificate.bound", peer.ae_title, certificate.fingerprint, actor)
    return binding


def revoke_certificate(tx: Transaction, title: str, fingerprint: str, *, actor: Actor) -> None:
    """Take back the binding of a certificate; the next association with it is refused.

    Raises
    ------
    CertificateUnknown
        It is not bound to this title, or was revoked before.
    """
    if not store.revoke_binding(tx, ae_title(title), fingerprint.lower().replace(":", "")):
        raise CertificateUnknown("no such certificate is bound to this AE title", ae_title=title)
    _note(tx, "certificate.revoked", ae_title(title), fingerprint, actor)


def list_bindings(tx: Transaction, title: str | None = None) -> list[Binding]:
    """Return the bound certificates of a title, or of all, revoked ones too."""
    return store.bindings(tx, title)


def _note(tx: Transaction, action: str, title: str, fingerprint: str, actor: Actor) -> None:
    audit.record(
        tx,
        actor=actor,
        action=action,
        subject=f"ae:{title}",
        detail={"fingerprint": fingerprint},
    )
