"""Whose signatures this engine accepts."""

from dataclasses import dataclass

from asn1crypto import pem, x509

from kernel.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """A certificate authority (DER); what a `demo` one issues is labelled so on every page."""

    certificate: bytes
    demo: bool


@dataclass(frozen=True, slots=True)
class Trust:
    """The authorities whose certificates may sign here."""

    roots: tuple[TrustRoot, ...]

    def is_demo(self, root: bytes) -> bool:
        """Say whether a root certificate (DER) is that of a demo authority."""
        return any(r.demo for r in self.roots if r.certificate == root)


def root_from(data: bytes, *, demo: bool) -> TrustRoot:
    """Return the trust root that a PEM or DER file holds.

    Raises
    ------
    Misconfigured
        The file holds no certificate, or not that of a certificate authority.
    """
    try:
        der = pem.unarmor(data)[2] if pem.detect(data) else data
        is_authority = x509.Certificate.load(der, strict=True).ca
    except ValueError as error:
        raise Misconfigured("a trust root is not a certificate in PEM or DER") from error
    if not is_authority:
        raise Misconfigured("a trust root is not the certificate of an authority")
    return TrustRoot(der, demo)
