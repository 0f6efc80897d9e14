"""Does a sealed document still prove what it should?

A signature alone does not: a reader may be shown a page that was changed in a revision appended
after signing.  Accepted is only a document whose last signature is intact, trusted, and covers
the whole file, and whose attached content has the digest that was signed for.
"""

import io
import zlib
from dataclasses import dataclass
from datetime import datetime

from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.general import SigningError
from pyhanko.sign.validation import validate_pdf_signature
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel

from kernel.digest import sha256_of
from reporting.certificates import named, validation_context
from reporting.errors import SealBroken
from reporting.render import ATTACHMENT
from reporting.trust import Trust

# With these the toolkit answers a file that is not what it should be (found by flipping bytes).
_MALFORMED = (
    PdfError,
    SigningError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    zlib.error,
)
_NON_REPUDIATION = KeyUsageConstraints(key_usage={"non_repudiation"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SealCheck:
    """What was found; `problem` is None when the document proves what it should."""

    problem: str | None
    subject: str = ""
    content_digest: str = ""


def check(pdf: bytes, trust: Trust, *, content_digest: str, at: datetime) -> SealCheck:
    """Examine a sealed document; whatever the bytes are, the answer is a finding.

    Parameters
    ----------
    content_digest
        The digest of the content that was finalised.
    at
        The moment of signing: the certificate was checked then, and may have run out since.
    """
    try:
        return _check(pdf, trust, content_digest, at)
    except _MALFORMED as error:
        return SealCheck(problem=f"the signed document cannot be read ({type(error).__name__})")


def require_sealed(pdf: bytes, trust: Trust, *, content_digest: str, at: datetime) -> str:
    """Return the subject of the signer if the document proves what it should.

    Raises
    ------
    SealBroken
        Saying what fails.
    """
    found = check(pdf, trust, content_digest=content_digest, at=at)
    if found.problem is not None:
        raise SealBroken(found.problem, content_digest=content_digest)
    return found.subject


def _check(pdf: bytes, trust: Trust, content_digest: str, at: datetime) -> SealCheck:
    reader = PdfFileReader(io.BytesIO(pdf))
    signatures = reader.embedded_signatures
    if not signatures:
        return SealCheck(problem="the document carries no signature")
    status = validate_pdf_signature(
        signatures[-1],
        signer_validation_context=validation_context(trust, at=at),
        key_usage_settings=_NON_REPUDIATION,
    )
    found = sha256_of(_attached(reader))
    return SealCheck(
        problem=_problem(status) or _content_problem(found, content_digest),
        subject=named(status.signing_cert.subject),
        content_digest=found,
    )


def _problem(status: PdfSignatureStatus) -> str | None:
    if not status.intact:
        return "the document was changed after it was signed"
    if not status.valid:
        return "the signature does not match the key of its certificate"
    if not status.trusted:
        return "the certificate of the signature is not trusted"
    if status.coverage is not SignatureCoverageLevel.ENTIRE_FILE:
        return "something was appended to the document after it was signed"
    if not status.bottom_line:
        return "the document was changed in a way that its signature does not permit"
    return None


def _content_problem(found: str, expected: str) -> str | None:
    if found == expected:
        return None
    return "the content in the signed document is not the content that was finalised"


def _attached(reader: PdfFileReader) -> bytes:
    """Return the canonical content that the page carries (ISO 32000-2 section 7.11.4)."""
    for specification in reader.root.get("/AF", ()):
        entry = specification.get_object()
        if entry.get("/UF") == ATTACHMENT:
            return bytes(entry["/EF"]["/F"].data)
    raise ValueError(f"it carries no {ATTACHMENT}")
