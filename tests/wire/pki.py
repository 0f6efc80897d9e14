"""Keys and certificates for the tests of TLS, each made in a moment."""

import ssl
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dicom_node.certificates import Binding, Certificate, read
from dicom_node.peers import Peer
from dicom_node.tls import Secure, TlsFiles, client_context
from kernel.clock import system_clock

LOOPBACK = ip_address("127.0.0.1")
YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Pair:
    """A key and its certificate, in memory and as files."""

    certificate_file: Path
    key_file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def read(self) -> Certificate:
        return read(self.certificate_file.read_bytes())

    def calls(self, *trusted: "Pair") -> Secure:
        """Return how our own sender calls a peer to which others are bound."""
        files = TlsFiles(certificate=self.certificate_file, key=self.key_file)

        def context_of(peer: Peer) -> ssl.SSLContext:
            bound = [
                Binding(ae_title=peer.ae_title, organisation_id="o-1", certificate=each.read)
                for each in trusted
            ]
            return client_context(files, bound)

        return context_of

    def dcmtk(self, trusted: "Pair") -> list[str]:
        """Return the options of a DCMTK tool that shows this pair and trusts another."""
        files = [str(self.key_file), str(self.certificate_file)]
        return ["+tls", *files, "+cf", str(trusted.certificate_file)]

    def client(self, trusted: "Pair", **more: ssl.TLSVersion) -> ssl.SSLContext:
        """Return the context of a client that shows this pair and trusts another."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(trusted.certificate_file)
        context.load_cert_chain(self.certificate_file, self.key_file)
        for name, value in more.items():
            setattr(context, name, value)
        return context


def make(
    folder: Path,
    name: str,
    *,
    issuer: Pair | None = None,
    authority: bool = False,
    valid: tuple[timedelta, timedelta] = (-timedelta(days=1), YEAR),
    purpose: x509.ObjectIdentifier | None = None,
) -> Pair:
    """Write a key and a certificate, self-signed unless an issuer is given, for all purposes."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = system_clock()
    told = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid[0])
        .not_valid_after(now + valid[1])
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
    )
    if purpose is not None:
        told = told.add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
    certificate = told.sign(issuer.key if issuer else key, hashes.SHA256())
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key", certificate, key)
    folder.mkdir(parents=True, exist_ok=True)
    pair.certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    pair.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair


def revoke(
    folder: Path,
    issuer: Pair,
    *revoked: Pair,
    valid: tuple[timedelta, timedelta] = (-timedelta(hours=1), timedelta(days=7)),
    marked: x509.ExtensionType | None = None,
    signer: Pair | None = None,
) -> Path:
    """Write the revocation list of an authority; return where.

    Parameters
    ----------
    marked
        A critical extension, such as those of lists that are parts of one.
    signer
        Signs it in place of the authority in whose name it is.
    """
    now = system_clock()
    told = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now + valid[0])
        .next_update(now + valid[1])
    )
    for pair in revoked:
        serial = pair.certificate.serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        told = told.add_revoked_certificate(entry.build())
    if marked is not None:
        told = told.add_extension(marked, critical=True)
    signed = told.sign((signer or issuer).key, hashes.SHA256())
    path = folder / "revoked.crl"
    written = folder / "revoked.new"
    written.write_bytes(signed.public_bytes(Encoding.PEM))
    return written.replace(path)
