"""TLS of the DICOM node as its settings and its database describe it."""

import ssl
from collections.abc import Iterator
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.errors import EngineError, Misconfigured
from storage.engine import Database

if TYPE_CHECKING:
    from datetime import datetime

    from app.settings import Settings
    from dicom_node.certificates import Certificate
    from dicom_node.doors import TlsDoor
    from dicom_node.peers import Peer
    from dicom_node.receive import ReceiveLimits
    from dicom_node.revocation import Revocations
    from dicom_node.tls import Secure, TlsFiles

SOON = timedelta(days=30)


def files_of(settings: "Settings") -> "TlsFiles":
    """Return where certificate, key and authorities lie."""
    from dicom_node.tls import TlsFiles

    told = settings.dicom
    authorities = settings.data / told.tls_client_ca if told.tls_client_ca else None
    return TlsFiles(
        certificate=settings.data / told.tls_certificate,
        key=settings.data / told.tls_key,
        client_ca=authorities,
    )


def revocations(settings: "Settings") -> "Revocations | None":
    """Return what the authorities took back, None where no lists are set.

    Raises
    ------
    Misconfigured
        There are lists, and no authorities whose signature they could bear.
    """
    told = settings.dicom
    if not told.tls_crl:
        return None
    if not told.tls_client_ca:
        raise Misconfigured(
            "dicom.tls_crl needs dicom.tls_client_ca: a list counts by its authority's signature"
        )
    from dicom_node.revocation import Revocations

    return Revocations(settings.data / told.tls_client_ca, settings.data / told.tls_crl)


def door(settings: "Settings", database: Database, limits: "ReceiveLimits") -> "TlsDoor | None":
    """Return the TLS door, None where no port is set for it.

    Raises
    ------
    Misconfigured
        A file cannot be read, or key and certificate do not belong together.
    """
    from dicom_node import commands, store
    from dicom_node.certificates import Binding
    from dicom_node.doors import TlsDoor
    from dicom_node.tls import ServerContexts

    if settings.dicom.tls_port is None:
        return None

    def fingerprints() -> list[str]:
        with database.reading() as tx:
            return store.bound_fingerprints(tx)

    def bindings() -> list[Binding]:
        with database.reading() as tx:
            return commands.list_bindings(tx)

    contexts = ServerContexts(files_of(settings), fingerprints=fingerprints, bindings=bindings)
    contexts.current()
    revoked = revocations(settings)
    if revoked is not None:
        revoked.current()
    return TlsDoor(
        database, contexts, silence=limits.silence, idle=limits.idle, revocations=revoked
    )


def require_usable(settings: "Settings") -> None:
    """Require that certificate, key, authorities and their lists can be used.

    Raises
    ------
    Misconfigured
        They cannot.
    """
    from dicom_node.tls import ServerContexts

    ServerContexts(files_of(settings), fingerprints=list, bindings=list).current()
    if (revoked := revocations(settings)) is not None:
        revoked.current()


def secure(settings: "Settings", database: Database) -> "Secure":
    """Return how a peer is called over TLS."""
    from dicom_node import commands
    from dicom_node.tls import client_context

    files, lists = files_of(settings), cache(partial(revocations, settings))

    def context_of(peer: "Peer") -> ssl.SSLContext:
        with database.reading() as tx:
            bound, at = commands.list_bindings(tx, peer.ae_title), tx.at
        revoked = lists()
        if revoked is None:
            return client_context(files, bound)
        return client_context(files, bound, refusal=lambda held: revoked.refusal(held.pem, at=at))

    return context_of


def own_certificate(settings: "Settings") -> "Certificate":
    """Return the certificate of the node.

    Raises
    ------
    Misconfigured, CertificateUnreadable
        There is none, or the file holds none.
    """
    from dicom_node.certificates import read

    return read(_bytes(settings.data / settings.dicom.tls_certificate))


def require_current(settings: "Settings", *, at: "datetime") -> str:
    """Return until when the node's certificate is valid, in words.

    Raises
    ------
    Misconfigured, CertificateUnreadable
        It is not valid now, or there is none.
    NotProven
        A revocation list that is wanted does not hold now.
    """
    held = own_certificate(settings)
    if not held.not_before <= at < held.not_after:
        raise Misconfigured(
            f"the certificate of the node is valid {held.not_before:%Y-%m-%d} to"
            f" {held.not_after:%Y-%m-%d}, not now"
        )
    valid = f"{held.subject} until {held.not_after:%Y-%m-%d}{_warning(held, at)}"
    revoked = revocations(settings)
    return "; ".join([valid, *(revoked.in_words(at=at) if revoked is not None else ())])


def in_words(settings: "Settings", *, at: "datetime") -> str:
    """Return how TLS stands, for a page: never an error, plain calls go on without it."""
    try:
        return require_current(settings, at=at)
    except EngineError as error:
        return error.sentence


def expiring(settings: "Settings", database: Database) -> Iterator[str]:
    """Yield a sentence for each bound certificate that expires soon, or is not good any more."""
    from dicom_node import commands

    revoked = revocations(settings)
    with database.reading() as tx:
        for binding in commands.list_bindings(tx):
            held = binding.certificate
            if binding.revoked_at is None and held.not_after <= tx.at + SOON:
                yield f"that of {binding.ae_title} ends on {held.not_after:%Y-%m-%d}"
            why = revoked.refusal(held.pem, at=tx.at) if revoked is not None else None
            if binding.revoked_at is None and why is not None:
                yield f"that of {binding.ae_title} is refused: {why.sentence}"


def _warning(held: "Certificate", at: "datetime") -> str:
    days = (held.not_after - at).days
    return f": {days} days left, renew it" if held.not_after <= at + SOON else ""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from error
