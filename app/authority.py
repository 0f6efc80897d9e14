"""The demo certificate authority: keys to try the engine with, never for patients.

Each name it writes says so, and every page signed with one of its keys carries the same words.
It makes files in a directory and nothing else; the engine itself takes trust roots from settings.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kernel.digest import sha256_of
from kernel.ids import fresh

DEMO = "DEMO - not qualified"
TERM = timedelta(days=3650)
# A laptop whose clock lags a little must not find the authority 'not valid yet'.
_BACKDATED = timedelta(days=1)
_ROOT, _ROOT_KEY = "demo-authority.pem", "demo-authority.key"


@dataclass(frozen=True, slots=True)
class Authority:
    """The demo authority as it lies in a directory."""

    directory: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def root_file(self) -> Path:
        """The certificate (PEM) that settings name as a demo trust root."""
        return self.directory / _ROOT


def ensure_authority(directory: Path, *, at: datetime) -> Authority:
    """Return the authority of a directory, made there if there is none yet.

    The key is written before the certificate: a directory with a certificate is whole.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / _ROOT).exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(directory / _ROOT_KEY, pem)
        _write(directory / _ROOT, _root(key, at).public_bytes(Encoding.PEM))
    loaded = load_pem_private_key((directory / _ROOT_KEY).read_bytes(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((directory / _ROOT).read_bytes())
    return Authority(directory, certificate, loaded)


def issue(
    authority: Authority,
    *,
    reader_id: str,
    name: str,
    organisation: str,
    passphrase: str,
    valid_from: datetime,
    valid_until: datetime,
) -> Path:
    """Write a new key with its certificate for one reader; return its PKCS#12 file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation[:64]),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, DEMO),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, reader_id),
        ]
    )
    builder = _builder(subject, authority.certificate.subject, key, valid_from, valid_until)
    for extension, critical in _reader_extensions(authority):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(authority.key, hashes.SHA256())
    data = pkcs12.serialize_key_and_certificates(
        name.encode(),
        key,
        certificate,
        [authority.certificate],
        BestAvailableEncryption(passphrase.encode()),
    )
    # The name of the file holds no more than a key may: ids may hold any character.
    path = authority.directory / f"{sha256_of(reader_id.encode())[:16]}.p12"
    _write(path, data)
    return path


def _root(key: ec.EllipticCurvePrivateKey, at: datetime) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "telerad"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, DEMO),
            x509.NameAttribute(NameOID.COMMON_NAME, "telerad demo authority"),
        ]
    )
    usage = _usage(key_cert_sign=True, crl_sign=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(name, name, key, at - _BACKDATED, at + TERM)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _reader_extensions(authority: Authority) -> list[tuple[x509.ExtensionType, bool]]:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True, content_commitment=True), True),
        # RFC 9336, documentSigning, beside the older usage that PDF viewers look for.
        (
            x509.ExtendedKeyUsage(
                [
                    ExtendedKeyUsageOID.EMAIL_PROTECTION,
                    x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36"),
                ]
            ),
            False,
        ),
        (issuer, False),
    ]


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    valid_from: datetime,
    valid_until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_until)
    )


def _usage(**uses: bool) -> x509.KeyUsage:
    none = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**none, **uses})


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, readable by its owner alone."""
    part = path.with_name(f".{path.name}.{fresh()}")
    part.touch(mode=0o600, exist_ok=False)
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
