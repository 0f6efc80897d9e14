"""The organisation's seal, judged by OpenSSL."""

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from health_record.adapters.folder import BUNDLE, SEAL, FolderRecord
from health_record.errors import SealUnusable
from health_record.port import Form, Receipt
from health_record.seal import OrganisationSeal
from kernel.clock import system_clock
from kernel.errors import Misconfigured
from tests.health_record.samples import Hands, an_outgoing

PASSPHRASE = "open sesame"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def a_container(key: Key) -> tuple[bytes, bytes, x509.Certificate]:
    """Return a PKCS#12 container of an organisation, the PEM of its authority, its certificate."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("Demo Authority, not qualified", authority_key, None, authority_key)
    certificate = _certificate("Demo Centre, not qualified", key, authority, authority_key)
    container = pkcs12.serialize_key_and_certificates(
        b"seal", key, certificate, [authority], BestAvailableEncryption(PASSPHRASE.encode())
    )
    return container, authority.public_bytes(Encoding.PEM), certificate


def _certificate(
    name: str, key: Key, issuer: x509.Certificate | None, issuer_key: Key
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = system_clock()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )


def verified(content: Path, seal: Path, authority: Path) -> bool:
    """Ask OpenSSL whether the seal is over these bytes and leads to this authority."""
    asked = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(seal)]
    asked += ["-content", str(content), "-CAfile", str(authority), "-purpose", "any"]
    return subprocess.run([*asked, "-out", "/dev/null"], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa.generate_private_key(65537, 2048), id="RSA"),
        pytest.param(ec.generate_private_key(ec.SECP256R1()), id="EC"),
    ],
)
def test_openssl_accepts_the_sealed_bundle_and_no_other(tmp_path: Path, key: Key):
    container, authority, _ = a_container(key)
    (tmp_path / "authority.pem").write_bytes(authority)
    seal = OrganisationSeal(container, PASSPHRASE, clock=system_clock)

    receipt = FolderRecord(tmp_path / "record", seal).submit(an_outgoing(Form.DOCUMENT))

    assert isinstance(receipt, Receipt)
    place = tmp_path / "record" / receipt.reference
    assert verified(place / BUNDLE, place / SEAL, tmp_path / "authority.pem")
    (place / BUNDLE).write_bytes((place / BUNDLE).read_bytes().replace(b"final", b"draft"))
    assert not verified(place / BUNDLE, place / SEAL, tmp_path / "authority.pem")


def test_an_expired_certificate_seals_nothing_and_says_until_when_it_was_valid():
    container, _, certificate = a_container(ec.generate_private_key(ec.SECP256R1()))
    end = certificate.not_valid_after_utc
    seal = OrganisationSeal(container, PASSPHRASE, clock=Hands(end + timedelta(seconds=1)))

    with pytest.raises(SealUnusable, match=f"{end:%Y-%m-%d}"):
        seal(b"content")


@pytest.mark.parametrize(("damaged", "passphrase"), [(False, "wrong"), (True, PASSPHRASE)])
def test_a_container_that_does_not_open_stops_the_start(damaged: bool, passphrase: str):
    container, _, _ = a_container(ec.generate_private_key(ec.SECP256R1()))

    with pytest.raises(Misconfigured, match="does not open"):
        OrganisationSeal(container[:-20] if damaged else container, passphrase, clock=system_clock)
