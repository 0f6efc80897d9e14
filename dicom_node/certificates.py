"""Certificates of devices, and which application entity each one is bound to.

References
----------
DICOM PS3.15 section B.12 (the node authenticates by certificate), RFC 5280 section 4.1.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dicom_node.errors import CertificateUnreadable
from kernel.digest import sha256_of

if TYPE_CHECKING:
    from cryptography import x509

MAX_BYTES = 65_536
_MAX_SUBJECT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate; its fingerprint is the SHA-256 of its DER form, in hex."""

    fingerprint: str
    subject: str
    not_before: datetime
    not_after: datetime
    pem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A certificate that stands for one AE title of one site, until it is revoked."""

    ae_title: str
    organisation_id: str
    certificate: Certificate
    revoked_at: datetime | None = None


def read(data: bytes) -> Certificate:
    """Return the first certificate of a file, PEM or DER.

    Raises
    ------
    CertificateUnreadable
        There is none in it.
    """
    from cryptography import x509  # much memory, for a node without TLS in vain

    if len(data) > MAX_BYTES:
        raise CertificateUnreadable(f"a certificate is not longer than {MAX_BYTES} bytes")
    try:
        if b"-----BEGIN" in data:
            found = x509.load_pem_x509_certificates(data)[0]
        else:
            found = x509.load_der_x509_certificate(data)
        return _certificate(found)
    except ValueError as error:
        raise CertificateUnreadable("this is no X.509 certificate in PEM or DER") from error


def _certificate(found: "x509.Certificate") -> Certificate:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Certificate(
        fingerprint=sha256_of(found.public_bytes(Encoding.DER)),
        subject=found.subject.rfc4514_string()[:_MAX_SUBJECT],
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        pem=found.public_bytes(Encoding.PEM).decode("ascii"),
    )
