"""Sealing: a PAdES signature of the author over the whole document.

The port is a key and its certificate: bytes in, raw signature out, so that files, tokens and
national signing services fit it alike.  All that is PDF and CMS stays here.
"""

import asyncio
import io
from datetime import datetime
from typing import Any, Protocol

from asn1crypto import x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import InvisSigSettings, MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner
from pyhanko.sign.signers.pdf_cms import Signer as CmsSigner
from pyhanko.sign.signers.pdf_signer import PdfSigningSession
from pyhanko_certvalidator.registry import SimpleCertificateStore

FIELD = "Author"
DIGEST = "sha256"
# Room for the value of any signature in use (RSA 4096 bits is 512 bytes).
_LONGEST_SIGNATURE = 512


class Signer(Protocol):
    """A person's key, ready to sign; every implementation passes one contract suite."""

    @property
    def certificate(self) -> bytes:
        """The certificate of the key, DER."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Certificates between it and a trusted authority, DER; may be empty."""

    def sign(self, data: bytes, digest: str) -> bytes:
        """Return the signature over `data`, hashed with `digest` (such as ``sha256``).

        ECDSA as a DER sequence, RSA as PKCS #1 v1.5.
        """


def seal(pdf: bytes, signer: Signer, *, author_name: str, reason: str, at: datetime) -> bytes:
    """Return the document with the author's signature over all of it.

    The signature certifies that nothing may be changed; an addendum is a document of its own.
    The caller has checked the certificate; call from a thread that runs no event loop.

    References
    ----------
    ETSI EN 319 142-1, PAdES baseline B-B; ISO 32000-2 section 12.8.2.2 (DocMDP).
    """
    metadata = PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm=DIGEST,
        subfilter=SigSeedSubFilter.PADES,
        name=author_name,
        reason=reason,
        certify=True,
        docmdp_permissions=MDPPerm.NO_CHANGES,
    )
    field = SigFieldSpec(
        FIELD,
        # Out of sight, not hidden: PDF/A forbids hidden fields, PDF/UA exempts those off the page.
        invis_sig_settings=InvisSigSettings(box_out_of_bounds=True),
        readable_field_name=author_name,
    )
    pdf_signer = _TimedPdfSigner(metadata, _PortSigner(signer), field, at)
    output = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    asyncio.run(pdf_signer.async_sign_pdf(writer, output=output))
    return output.getvalue()


class _PortSigner(CmsSigner):
    """Our port as the toolkit wants it."""

    def __init__(self, signer: Signer) -> None:
        store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
        store.register_multiple([x509.Certificate.load(der) for der in signer.chain])
        super().__init__(
            signing_cert=x509.Certificate.load(signer.certificate), cert_registry=store
        )
        self._signer = signer

    async def async_sign_raw(
        self, data: bytes, digest_algorithm: str, dry_run: bool = False
    ) -> bytes:
        if dry_run:
            return bytes(_LONGEST_SIGNATURE)
        return self._signer.sign(data, digest_algorithm)


class _TimedPdfSigner(PdfSigner):
    """Signs with the time that it is given; the toolkit would read the machine's clock."""

    def __init__(
        self, metadata: PdfSignatureMetadata, signer: CmsSigner, field: SigFieldSpec, at: datetime
    ) -> None:
        super().__init__(metadata, signer, new_field_spec=field)
        self._at = at

    def init_signing_session(self, *args: Any, **options: Any) -> PdfSigningSession:
        session = super().init_signing_session(*args, **options)
        session.system_time = self._at
        return session
