"""A FHIR R4 server as the health record: one transaction, and reading back what it holds."""

import json
import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from health_record.errors import RecordDeniesAccess, RecordUnavailable
from health_record.identifiers import Identifier
from health_record.port import Form, OutgoingDocument, Receipt, Rejected
from health_record.resources import pdf_hash
from health_record.spelling import Resource, clean
from kernel.errors import Misconfigured

MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_NAMED_ISSUES = 3
REFUSED = "health_record.record_refused"
CONFLICT = "health_record.conflict"
FHIR_JSON = "application/fhir+json"

# Answers that say nothing about the document: credentials, the address, the moment.  They are
# matters for the operator or for time, and the document waits for either.
_NO_ACCESS = frozenset({401, 403, 407})
_LATER = frozenset({404, 405, 408, 409, 423, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirR4Settings:
    """Where the server is and how it is spoken to.

    `plain_http` allows an address without TLS beyond this machine, for a private network that
    encrypts by other means.
    """

    base_url: str
    token: str | None = None
    ca_file: Path | None = None
    connect_timeout: timedelta = timedelta(seconds=5)
    answer_timeout: timedelta = timedelta(seconds=30)
    plain_http: bool = False


class FhirR4Record:
    """Files documents on a FHIR R4 server.

    Raises
    ------
    Misconfigured
        The address is not http(s), or would send patient data in the clear.
    """

    form = Form.TRANSACTION

    def __init__(self, settings: FhirR4Settings) -> None:
        _require_safe(settings)
        headers = {"Accept": FHIR_JSON, "Cache-Control": "no-cache"}
        if settings.token:
            headers["Authorization"] = f"Bearer {settings.token}"
        seconds = settings.answer_timeout.total_seconds()
        self._base = settings.base_url.rstrip("/")
        self._client = httpx.Client(
            headers=headers,
            verify=ssl.create_default_context(cafile=settings.ca_file),
            timeout=httpx.Timeout(seconds, connect=settings.connect_timeout.total_seconds()),
            trust_env=False,
        )

    def submit(self, document: OutgoingDocument) -> Receipt | Rejected:
        """See `RecordAdapter.submit`."""
        known = self._known(document)
        if known is not None:
            return known
        status, answer = self._ask("POST", self._base, document.body)
        if 400 <= status < 500 and status not in _NO_ACCESS | _LATER:
            return Rejected(REFUSED, f"the health record answered {status}: {_issues(answer)}")
        _require_success(status, answer)
        known = self._known(document)
        if known is None:
            raise RecordUnavailable("the health record took the document but does not show it")
        return known

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _known(self, document: OutgoingDocument) -> Receipt | Rejected | None:
        """Ask for the report by its identifier; None if the record does not have it.

        Asked before, so that a document that is there is not sent again, and after, because a yes
        is believed once it can be read.
        """
        url = f"{self._base}/DiagnosticReport?{document.report.query()}&_count=2"
        status, answer = self._ask("GET", url)
        _require_success(status, answer)
        if answer is None or answer.get("resourceType") != "Bundle":
            raise RecordUnavailable("the health record does not answer a search with a Bundle")
        found = [one for one in _matches(answer) if _is_named(one, document.report)]
        if not found:
            return None
        if len(found) > 1 or not _presents(found[0], document.pdf):
            return Rejected(
                CONFLICT, "the health record holds another document of this report version"
            )
        return Receipt(f"DiagnosticReport/{found[0].get('id', '')}")

    def _ask(self, method: str, url: str, body: bytes | None = None) -> tuple[int, Resource | None]:
        """Return the status and the answer, if it is JSON of a size worth reading."""
        headers = {} if body is None else {"Content-Type": FHIR_JSON, "Prefer": "return=minimal"}
        try:
            with self._client.stream(method, url, content=body, headers=headers) as response:
                return response.status_code, _parsed(_bounded(response))
        except httpx.HTTPError as error:
            raise RecordUnavailable(
                f"the health record cannot be reached: {type(error).__name__}: {clean(str(error))}"
            ) from error


def _require_safe(settings: FhirR4Settings) -> None:
    parts = urlsplit(settings.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured("the address of the health record must begin with https://")
    loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme == "http" and not (loopback or settings.plain_http):
        raise Misconfigured("the health record must be spoken to by https://, not in the clear")


def _require_success(status: int, answer: Resource | None) -> None:
    if status in _NO_ACCESS:
        raise RecordDeniesAccess(
            f"the health record answered {status}: it does not accept our credentials",
            status=status,
        )
    if not 200 <= status < 300:
        raise RecordUnavailable(
            f"the health record answered {status}: {_issues(answer)}", status=status
        )


def _bounded(response: httpx.Response) -> bytes:
    """Read an answer up to the bound; the rest of a longer one is not worth its memory."""
    kept = bytearray()
    for chunk in response.iter_bytes():
        kept += chunk
        if len(kept) > MAX_ANSWER_BYTES:
            return b""
    return bytes(kept)


def _parsed(body: bytes) -> Resource | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _issues(answer: Resource | None) -> str:
    """Return the first sentences of an OperationOutcome, bounded where they are stored."""
    if answer is None or answer.get("resourceType") != "OperationOutcome":
        return "no reason was given"
    sentences = [
        str(issue.get("diagnostics") or issue.get("code") or "")
        for issue in _dicts(answer.get("issue"))
    ]
    return clean("; ".join(filter(None, sentences[:MAX_NAMED_ISSUES]))) or "no reason was given"


def _matches(answer: Resource) -> list[Resource]:
    resources = [entry.get("resource") for entry in _dicts(answer.get("entry"))]
    return [one for one in _dicts(resources) if one.get("resourceType") == "DiagnosticReport"]


def _is_named(resource: Resource, identifier: Identifier) -> bool:
    return any(
        (one.get("system"), one.get("value")) == (identifier.system, identifier.value)
        for one in _dicts(resource.get("identifier"))
    )


def _presents(resource: Resource, pdf: bytes) -> bool:
    """Say whether the report that is there presents the PDF that was signed."""
    forms = _dicts(resource.get("presentedForm"))
    return any(form.get("hash") == pdf_hash(pdf) for form in forms)


def _dicts(value: object) -> list[Resource]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
