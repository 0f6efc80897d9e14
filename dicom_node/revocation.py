"""Revocation lists: which certificates their authorities took back.

Where there are lists, whoever shows a certificate is refused unless the newest list of each
authority above it is current and does not name it.  A list that has run out is as good as none: an
authority that cannot be heard may have taken anything back (fail closed).

References
----------
RFC 5280 sections 5 and 6.3, RFC 9325 section 7.5, DICOM PS3.15 section B.12.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from dicom_node.errors import (
    CertificateRevokedByIssuer,
    NotProven,
    RevocationListExpired,
    RevocationListMissing,
    RevocationUnknown,
)
from kernel.errors import Misconfigured

if TYPE_CHECKING:
    from cryptography import x509

MAX_BYTES = 64 << 20
_MAX_DEPTH = 10
_END = b"-----END X509 CRL-----"
_BEGIN = b"-----BEGIN X509 CRL-----"
_LAST_PART = 4
"""In the last fourth of its life a list is due to be followed by the next."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What one authority took back; its signature is that of the authority."""

    issuer: str
    this_update: datetime
    next_update: datetime
    serials: frozenset[int]

    def is_due(self, at: datetime) -> bool:
        """Say whether the next list should be here soon, or should have been."""
        return at >= self.next_update - (self.next_update - self.this_update) / _LAST_PART


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that issues others, and the newest list that its key signed."""

    certificate: "x509.Certificate"
    revoked: RevocationList | None


def read(authorities: bytes, lists: bytes) -> tuple[Authority, ...]:
    """Return the authorities of one file (PEM) with their lists of another (PEM).

    Raises
    ------
    Misconfigured
        A file cannot be read so, or a list is signed by none of the authorities, holds only a part
        of what its authority took back, or does not say when the next one comes.
    """
    from cryptography import x509  # much memory, for a node without lists in vain

    try:
        known = x509.load_pem_x509_certificates(authorities)
        told = [x509.load_pem_x509_crl(each) for each in _each(lists)]
        signed = [(_signer(each, known), each) for each in told]
        kept = [(signer, _list(each)) for signer, each in signed]
    except ValueError as error:
        raise Misconfigured(f"the revocation lists cannot be read: {error}") from error
    return tuple(Authority(each, _newest(each, kept)) for each in known)


def require_unrevoked(pem: str, authorities: Sequence[Authority], *, at: datetime) -> None:
    """Require that no authority above a certificate took it, or one between, back.

    A certificate that stands for itself has nobody above it: its binding is what is taken back.

    Raises
    ------
    CertificateRevokedByIssuer, RevocationListExpired, RevocationListMissing
        One did, or it cannot be known.
    """
    from cryptography import x509

    shown = x509.load_pem_x509_certificate(pem.encode("ascii"))
    for _ in range(_MAX_DEPTH):
        if shown.issuer == shown.subject:
            return
        above = next((each for each in authorities if _issued(shown, each.certificate)), None)
        if above is None:
            _require_anchor(shown, authorities)
            return
        _require_not_on(above, shown.serial_number, at=at)
        shown = above.certificate
    raise RevocationListMissing(f"the certificate has more than {_MAX_DEPTH} authorities above it")


class Revocations:
    """The lists of two files, read again when one of them changed.

    Parameters
    ----------
    authorities, lists
        Where the authorities and their lists lie (PEM).
    """

    def __init__(self, authorities: Path, lists: Path) -> None:
        self._files = (authorities, lists)
        self._lock = threading.Lock()
        self._read: tuple[object, tuple[Authority, ...]] | None = None
        self._warned: set[tuple[str, datetime]] = set()

    def current(self) -> tuple[Authority, ...]:
        """Return the authorities with their lists as the files say now.

        Raises
        ------
        Misconfigured
            A file cannot be read or used.
        """
        with self._lock:
            try:
                stamps = [_stamp(each) for each in self._files]
                if self._read is None or self._read[0] != stamps:
                    self._read = stamps, read(*(_bytes(each) for each in self._files))
                    self._warned.clear()
            except OSError as error:
                told = f"the revocation lists cannot be read: {error.strerror}"
                raise Misconfigured(told) from error
            return self._read[1]

    def require_good(self, pem: str, *, at: datetime) -> None:
        """Require that a certificate is not revoked; say in the log when a list is due.

        Raises
        ------
        NotProven
            It is, or it cannot be known.
        """
        try:
            authorities = self.current()
        except Misconfigured as error:
            log.error("tls.unusable", code=error.code, reason=error.sentence)
            raise RevocationUnknown(error.sentence) from error
        self._warn(authorities, at)
        require_unrevoked(pem, authorities, at=at)

    def in_words(self, *, at: datetime) -> list[str]:
        """Return a sentence for each authority: until when its list holds.

        Raises
        ------
        NotProven
            One has no list that holds now.
        Misconfigured
            A file cannot be read or used.
        """
        told = []
        for each in self.current():
            _require_current(each, at=at)
            if each.revoked is not None:
                until = f"{each.revoked.next_update:%Y-%m-%d %H:%M} UTC"
                warning = ": the next one is due" if each.revoked.is_due(at) else ""
                told.append(f"revocation list of {each.revoked.issuer} until {until}{warning}")
        return told

    def refusal(self, pem: str, *, at: datetime) -> NotProven | None:
        """Return why a certificate is refused, None if it is not."""
        try:
            require_unrevoked(pem, self.current(), at=at)
        except NotProven as refusal:
            return refusal
        return None

    def _warn(self, authorities: Iterable[Authority], at: datetime) -> None:
        """Say in the log, once a list, that the next one is due."""
        for due in (each.revoked for each in authorities if each.revoked is not None):
            known = (due.issuer, due.next_update)
            if due.is_due(at) and known not in self._warned:
                self._warned.add(known)
                log.warning(
                    "tls.revocation_list_due", issuer=due.issuer, ends=due.next_update.isoformat()
                )


def _require_not_on(above: Authority, serial: int, *, at: datetime) -> None:
    told = _require_current(above, at=at)
    if serial in told.serials:
        raise CertificateRevokedByIssuer(
            f"the revocation list of {told.issuer} names the certificate, or one above it"
        )


def _require_current(above: Authority, *, at: datetime) -> RevocationList:
    name = above.certificate.subject.rfc4514_string()
    told = above.revoked
    if told is None:
        raise RevocationListMissing(f"there is no revocation list of {name}")
    if not told.this_update <= at < told.next_update:
        raise RevocationListExpired(
            f"the revocation list of {name} holds from {told.this_update:%Y-%m-%d %H:%M}"
            f" to {told.next_update:%Y-%m-%d %H:%M} UTC, not now"
        )
    return told


def _require_anchor(shown: "x509.Certificate", authorities: Sequence[Authority]) -> None:
    """Require that we trust it by itself, as an authority that a file names."""
    if all(shown != each.certificate for each in authorities):
        raise RevocationListMissing("none of the authorities of this node issued the certificate")


def _issued(shown: "x509.Certificate", above: "x509.Certificate") -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        shown.verify_directly_issued_by(above)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _each(lists: bytes) -> Iterator[bytes]:
    """Yield each list; a file that holds anything else is not what its authority gives out."""
    if b"CERTIFICATE-----" in lists or _BEGIN not in lists:
        raise ValueError("the file holds lists in PEM ('BEGIN X509 CRL') and nothing else")
    if lists.count(_BEGIN) != lists.count(_END):
        raise ValueError("the file ends within a list")
    for each in lists.split(_END)[:-1]:
        yield each[max(each.find(_BEGIN), 0) :] + _END


def _signer(told: "x509.CertificateRevocationList", known: Sequence["x509.Certificate"]) -> object:
    for each in known:
        if each.subject == told.issuer and _may_sign(each) and _is_signed(told, each):
            return each
    name = told.issuer.rfc4514_string()
    raise ValueError(f"a list in the name of {name} is signed by none of the authorities")


def _is_signed(told: "x509.CertificateRevocationList", by: "x509.Certificate") -> bool:
    try:
        return bool(told.is_signature_valid(by.public_key()))  # type: ignore[arg-type]
    except TypeError:  # a key that signs no lists
        return False


def _may_sign(authority: "x509.Certificate") -> bool:
    from cryptography import x509

    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _list(told: "x509.CertificateRevocationList") -> RevocationList:
    """Return a list that is whole: what it does not name was not taken back."""
    name = told.issuer.rfc4514_string()
    if told.next_update_utc is None:
        raise ValueError(f"the list of {name} does not say when the next one comes")
    # Parts of a list, by scope or as what came since another, mark themselves so (RFC 5280 5.2).
    critical = [each.oid.dotted_string for each in told.extensions if each.critical]
    if critical:
        raise ValueError(f"the list of {name} is a part of one (critical {', '.join(critical)})")
    return RevocationList(
        name,
        told.last_update_utc,
        told.next_update_utc,
        frozenset(each.serial_number for each in told),
    )


def _newest(
    authority: "x509.Certificate", lists: Iterable[tuple[object, RevocationList]]
) -> RevocationList | None:
    own = (each for signer, each in lists if signer == authority)
    return max(own, key=lambda each: each.this_update, default=None)


def _stamp(path: Path) -> tuple[int, ...]:
    looked = path.stat()
    return looked.st_mtime_ns, looked.st_size, looked.st_ino


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Misconfigured(f"the revocation lists are longer than {MAX_BYTES} bytes")
    return data
