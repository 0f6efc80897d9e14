"""The organisation's seal: a detached CMS signature over the exact bytes of a document.

Anyone can check it: ``openssl cms -verify -binary -inform DER -in bundle.json.p7s -content
bundle.json -CAfile <authority>``.
"""

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7, pkcs12

from health_record.errors import SealUnusable
from kernel.clock import Clock
from kernel.errors import Misconfigured


class OrganisationSeal:
    """Seals bytes with an organisation's key; a `BundleSealer`.

    Raises
    ------
    Misconfigured
        The PKCS#12 container does not open with the passphrase, or lacks a key or certificate.

    References
    ----------
    RFC 5652 section 5 (SignedData), detached, SHA-256, signed attributes with signing time.
    """

    def __init__(self, container: bytes, passphrase: str, *, clock: Clock) -> None:
        self._key, self._certificate, self._chain = _opened(container, passphrase)
        self._clock = clock

    def __call__(self, content: bytes) -> bytes:
        """Return the DER of a detached signature over `content`.

        Raises
        ------
        SealUnusable
            The certificate is not valid now; the document waits until there is a valid one.
        """
        at = self._clock()
        start, end = self._certificate.not_valid_before_utc, self._certificate.not_valid_after_utc
        if not start <= at <= end:
            raise SealUnusable(
                f"the certificate of the organisation's seal is valid from {start:%Y-%m-%d}"
                f" to {end:%Y-%m-%d} only",
                not_after=end.isoformat(),
            )
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(self._certificate, self._key, hashes.SHA256())
        for issuer in self._chain:
            builder = builder.add_certificate(issuer)
        options = [
            pkcs7.PKCS7Options.DetachedSignature,
            pkcs7.PKCS7Options.Binary,
            pkcs7.PKCS7Options.NoCapabilities,
        ]
        return builder.sign(Encoding.DER, options)


def _opened(
    container: bytes, passphrase: str
) -> tuple[
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, x509.Certificate, list[x509.Certificate]
]:
    try:
        key, certificate, chain = pkcs12.load_key_and_certificates(container, passphrase.encode())
    except ValueError as error:
        raise Misconfigured(
            "the organisation's seal does not open: a wrong passphrase or a damaged file"
        ) from error
    if certificate is None or not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Misconfigured("the organisation's seal holds no RSA or EC key with its certificate")
    return key, certificate, chain
