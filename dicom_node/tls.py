"""Transport layer security: contexts for both roles, and the transport that runs on it.

Both roles speak the BCP 195 profile: TLS 1.2 and 1.3 alone, forward secrecy and authenticated
encryption alone, neither compression nor renegotiation.

References
----------
DICOM PS3.15 sections B.12 (and B.9, B.10, which it replaced), RFC 9325 sections 3 and 4.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from dicom_node.certificates import Binding, Certificate
from dicom_node.errors import NoTlsSession, NotProven, PeerGone
from dicom_node.peers import Peer
from dicom_node.transport import Transport
from kernel.digest import sha256_of
from kernel.errors import Misconfigured

CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
"""Of TLS 1.2 (RFC 9325 section 4.2); those of TLS 1.3 are all good."""

_PARTING = timedelta(seconds=0.5)


class PinnedContext(ssl.SSLContext):
    """A context for calling: whoever answers shows one of the certificates that are pinned.

    A pinned certificate that may issue others would else vouch for them too.
    """

    pinned: frozenset[str] = frozenset()


class TlsSocket(ssl.SSLSocket):
    """A TLS socket that keeps the habits of a plain one where the association depends on them."""

    def do_handshake(self, block: bool = False) -> None:
        """Do the handshake, and require a pinned certificate where there are any."""
        super().do_handshake(block)
        if isinstance(self.context, PinnedContext) and self.fingerprint not in self.context.pinned:
            raise ssl.SSLCertVerificationError("the certificate is not bound to the peer")

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the peer's certificate."""
        return sha256_of(self.getpeercert(binary_form=True) or b"")

    def shutdown(self, how: int) -> None:
        """Shut down the connection below; what is still sent stays encrypted.

        The one of the library would go on in clear.
        """
        socket.socket.shutdown(self, how)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Read what has come; like a plain socket whose time ran out, it raises BlockingIOError."""
        try:
            return super().recv_into(buffer, nbytes or len(buffer))
        except TimeoutError:
            raise BlockingIOError from None


class TlsTransport(Transport):
    """The byte stream of one association over TLS."""

    sock: TlsSocket

    def be_patient(self, silence: timedelta) -> None:
        """Set the time for one PDU: a read, a write or the handshake as a whole."""
        # The option of the kernel that a plain socket has would be waited out again and again.
        self._silence_s = silence.total_seconds()
        self.sock.settimeout(self._silence_s)

    def shake_hands(self) -> None:
        """Do the handshake.

        Raises
        ------
        NoTlsSession
            It failed, and why; or the peer fell silent.
        """
        try:
            self.sock.do_handshake()
        except (OSError, ValueError) as error:
            raise NoTlsSession(f"no TLS session: {_reason(error)}") from error

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the peer's certificate."""
        return self.sock.fingerprint

    def close(self) -> None:
        """Tell the peer that nothing more comes, then close as any transport does."""
        with contextlib.suppress(OSError, ValueError):
            self.be_patient(_PARTING)
            self.sock.unwrap()
        super().close()


Secure = Callable[[Peer], ssl.SSLContext]
"""Returns the context for calling a peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where the node's certificate lies (PEM, with its chain), its key, and whom it trusts.

    Without a `client_ca` just the certificates that are or were bound to peers come as far as
    naming a title; whether one is good for that title is decided then, and said.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def stamps(self) -> tuple[tuple[int, int], ...]:
        """Return what changes whenever one of the files is written anew."""
        looked = [each.stat() for each in (self.certificate, self.key, self.client_ca) if each]
        return tuple((each.st_mtime_ns, each.st_size) for each in looked)


class ServerContexts:
    """The context for callers, made anew when a file or the bound certificates changed.

    Parameters
    ----------
    fingerprints, bindings
        Return the fingerprints of all certificates that are or were bound, and those.
    """

    def __init__(
        self,
        files: TlsFiles,
        *,
        fingerprints: Callable[[], Sequence[str]],
        bindings: Callable[[], Sequence[Binding]],
    ) -> None:
        self._files = files
        self._fingerprints = fingerprints
        self._bindings = bindings
        self._lock = threading.Lock()
        self._made: tuple[object, ssl.SSLContext] | None = None

    def current(self) -> ssl.SSLContext:
        """Return the context for the next caller.

        Raises
        ------
        Misconfigured
            A file cannot be read, or key and certificate do not belong together.
        """
        try:
            key = self._files.stamps(), None if self._files.client_ca else self._fingerprints()
        except OSError as error:
            raise Misconfigured(f"the TLS files cannot be read: {error.strerror}") from error
        with self._lock:
            if self._made is None or self._made[0] != key:
                self._made = key, self._make()
            return self._made[1]

    def _make(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _harden(context, self._files)
        context.verify_mode = ssl.CERT_REQUIRED
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        # What is left is taking a session of TLS 1.2 up by its id, which Python cannot switch off:
        # the certificate that was shown goes with it, and is judged at each association.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        if self._files.client_ca is None:
            _trust(context, self._bindings())
        else:
            _loaded(context, self._files.client_ca)
        return context


def context_for(peer: Peer, secure: Secure | None) -> ssl.SSLContext:
    """Return the context for calling a peer.

    Raises
    ------
    PeerGone
        There is none: this node has no certificate, or none that is good is bound to the peer.
    """
    if secure is None:
        raise PeerGone("the peer is called over TLS, and this node has no certificate")
    try:
        return secure(peer)
    except (Misconfigured, NotProven) as error:
        raise PeerGone(error.sentence) from error


def called(
    sock: socket.socket, context: ssl.SSLContext, *, connect: timedelta, answer: timedelta
) -> TlsTransport:
    """Return the transport over a connection that we opened, after the handshake.

    Raises
    ------
    PeerGone
        The handshake failed: the peer may not be whom its bound certificate names.
    """
    transport = TlsTransport(
        context.wrap_socket(sock, do_handshake_on_connect=False), silence=connect, idle=answer
    )
    try:
        transport.shake_hands()
    except PeerGone:
        transport.sock.close()
        raise
    transport.be_patient(answer)
    return transport


def client_context(
    files: TlsFiles,
    bindings: Sequence[Binding],
    *,
    refusal: Callable[[Certificate], NotProven | None] = lambda _: None,
) -> ssl.SSLContext:
    """Return the context for calling a peer: exactly its bound certificates are trusted.

    Parameters
    ----------
    refusal
        Says why a certificate is not good any more though it is bound, None if it is good.

    Raises
    ------
    Misconfigured
        A file cannot be read, key and certificate do not belong together, or nothing is bound.
    NotProven
        All that is bound is refused; why the last one is.
    """
    context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, files)
    context.check_hostname = False  # the certificate itself is known; devices move between hosts
    good = [each for each in bindings if each.revoked_at is None]
    if not good:
        raise Misconfigured("no certificate is bound to the peer, which is called over TLS")
    refused = [refusal(each.certificate) for each in good]
    good = [each for each, why in zip(good, refused, strict=True) if why is None]
    if not good and (why := refused[-1]) is not None:
        raise why
    context.pinned = frozenset(each.certificate.fingerprint for each in good)
    _trust(context, good)
    return context


def _harden(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.sslsocket_class = TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    # An end without a notice is like any cut: an association has a release of its own.
    context.options |= (
        ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_IGNORE_UNEXPECTED_EOF
    )
    # A device's own certificate may be trusted by itself, whoever issued it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise Misconfigured(f"TLS certificate and key cannot be used: {_reason(error)}") from error


def _no_password() -> str:
    raise ValueError(
        "the key is protected by a passphrase, which a node that starts by itself has not"
    )


def _loaded(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except OSError as error:
        raise Misconfigured(f"the client CA cannot be used: {_reason(error)}") from error


def _trust(context: ssl.SSLContext, bindings: Sequence[Binding]) -> None:
    known = {each.certificate.fingerprint: each.certificate.pem for each in bindings}
    if known:
        context.load_verify_locations(cadata="".join(known.values()))


def _reason(error: Exception) -> str:
    # Those that OpenSSL makes say more than those that we make.
    if told := getattr(error, "verify_message", ""):
        return str(told)
    if told := getattr(error, "reason", None):
        return str(told).lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return "the peer fell silent"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
