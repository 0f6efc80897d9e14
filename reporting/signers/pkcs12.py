"""A key in a PKCS#12 file, opened with its passphrase for one act of signing."""

from asn1crypto import pkcs12 as asn1_pkcs12
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12
from cryptography.x509 import Certificate

from reporting.errors import KeyFileUnreadable, WrongPassphrase

MAX_FILE_BYTES = 64 * 1024

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


class Pkcs12Signer:
    """An opened key file; it is kept no longer than the signature takes."""

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        certificate: Certificate,
        chain: tuple[Certificate, ...],
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._chain = chain

    @property
    def certificate(self) -> bytes:
        """See `Signer.certificate`."""
        return self._certificate.public_bytes(Encoding.DER)

    @property
    def chain(self) -> tuple[bytes, ...]:
        """See `Signer.chain`."""
        return tuple(c.public_bytes(Encoding.DER) for c in self._chain)

    def sign(self, data: bytes, digest: str) -> bytes:
        """See `Signer.sign`."""
        algorithm = _HASHES[digest]
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            return self._key.sign(data, ec.ECDSA(algorithm))
        return self._key.sign(data, padding.PKCS1v15(), algorithm)


def open_key_file(data: bytes, passphrase: str) -> Pkcs12Signer:
    """Open a key file (RFC 7292).

    Raises
    ------
    KeyFileUnreadable
        It is not PKCS#12, is too large, or holds no key with its certificate.
    WrongPassphrase
        The passphrase does not open it.
    """
    _require_shape(data)
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(data, passphrase.encode())
    except ValueError as error:
        raise WrongPassphrase("the passphrase does not open the key file") from error
    except UnsupportedAlgorithm as error:
        raise KeyFileUnreadable("the key file is locked in a way that is not supported") from error
    if key is None or certificate is None:
        raise KeyFileUnreadable("the key file holds no key with its certificate")
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise KeyFileUnreadable("the key in the file is neither an EC nor an RSA key")
    return Pkcs12Signer(key, certificate, tuple(others))


def _require_shape(data: bytes) -> None:
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileUnreadable(f"a key file has at most {MAX_FILE_BYTES} bytes")
    try:
        version = asn1_pkcs12.Pfx.load(data, strict=True)["version"].native
    except ValueError as error:
        raise KeyFileUnreadable("the file is not a PKCS#12 key file") from error
    if version != "v3":
        raise KeyFileUnreadable("the file is not a PKCS#12 key file of version 3")
