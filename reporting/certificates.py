"""May this certificate sign this author's report now?

A certificate belongs to an author when the serialNumber of its subject is the author's id here:
the authority that issues the certificates of an installation writes it there.

References
----------
RFC 5280 section 6 (path validation), section 4.2.1.3 (key usage); ETSI EN 319 412-2 section 5.2.4.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import x509
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathBuildingError, PathValidationError, ValidationError

from reporting.errors import (
    AuthorityNotTrusted,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateOfAnother,
    CertificateUnfit,
)
from reporting.trust import Trust

_NAMES = ("common_name", "organizational_unit_name", "organization_name", "serial_number")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningCertificate:
    """A certificate that was found fit; `subject` and `issuer` as people read them."""

    subject: str
    issuer: str
    serial: str
    demo: bool


def require_fit(
    certificate: bytes, chain: tuple[bytes, ...], trust: Trust, *, author: str, at: datetime
) -> SigningCertificate:
    """Return what the certificate (DER) says if its holder may sign as `author` now.

    Raises
    ------
    CertificateOfAnother
        It names another person.
    CertificateNotYetValid, CertificateExpired
        The moment is outside its term.
    CertificateUnfit
        Its key is not meant for signatures, or what it says cannot be read.
    AuthorityNotTrusted
        No trusted authority stands behind it.
    """
    found = load(certificate)
    _require_holder(found, author)
    _require_term(found, at)
    _require_usage(found)
    root = _trusted_root(found, chain, trust, at)
    return SigningCertificate(
        subject=named(found.subject),
        issuer=named(found.issuer),
        serial=f"{found.serial_number:x}",
        demo=trust.is_demo(root.dump()),
    )


def load(certificate: bytes) -> x509.Certificate:
    """Read a certificate wholly, so that a malformed one is refused here and not later."""
    try:
        found = x509.Certificate.load(certificate, strict=True)
        found.native  # noqa: B018 - parsing is lazy
    except ValueError as error:
        raise CertificateUnfit("the certificate of the signer cannot be read") from error
    return found


def named(name: x509.Name) -> str:
    """Return a distinguished name in one line: person, unit, organisation, number."""
    parts = name.native
    values = (parts.get(key) for key in _NAMES)
    return ", ".join(str(v if isinstance(v, str) else ", ".join(v)) for v in values if v)


def validation_context(
    trust: Trust, *, at: datetime, chain: tuple[bytes, ...] = ()
) -> ValidationContext:
    """Return the rules for a path of certificates at a moment; nothing is fetched."""
    return ValidationContext(
        trust_roots=[x509.Certificate.load(root.certificate) for root in trust.roots],
        other_certs=[x509.Certificate.load(der) for der in chain],
        moment=at,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )


def _require_holder(certificate: x509.Certificate, author: str) -> None:
    if certificate.subject.native.get("serial_number") != author:
        raise CertificateOfAnother(
            "the certificate was issued to somebody else than the author of the report",
            subject=named(certificate.subject),
        )


def _require_term(certificate: x509.Certificate, at: datetime) -> None:
    begins, ends = certificate.not_valid_before, certificate.not_valid_after
    if at < begins:
        raise CertificateNotYetValid(f"the certificate is valid from {begins:%Y-%m-%d %H:%M} UTC")
    if at > ends:
        raise CertificateExpired(f"the certificate expired on {ends:%Y-%m-%d %H:%M} UTC")


def _require_usage(certificate: x509.Certificate) -> None:
    usage = certificate.key_usage_value
    allowed = set() if usage is None else usage.native
    if "non_repudiation" not in allowed:
        raise CertificateUnfit(
            "the certificate does not permit signing documents: its key usage lacks nonRepudiation"
        )


def _trusted_root(
    certificate: x509.Certificate, chain: tuple[bytes, ...], trust: Trust, at: datetime
) -> x509.Certificate:
    context = validation_context(trust, at=at, chain=chain)
    validator = CertificateValidator(certificate, validation_context=context)
    try:
        path = asyncio.run(
            validator.async_validate_usage({"non_repudiation"})  # type: ignore[no-untyped-call]
        )
    except (PathBuildingError, PathValidationError, ValidationError) as error:
        raise AuthorityNotTrusted(
            "the certificate was not issued by an authority that is trusted here",
            issuer=named(certificate.issuer),
        ) from error
    root = path.trust_anchor.authority.certificate
    if root is None:
        raise AuthorityNotTrusted("the authority of the certificate is not a certificate")
    return root
