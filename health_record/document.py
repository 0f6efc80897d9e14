"""The two Bundles in which a signed report leaves, built from evidence as exact bytes.

The *document* is what is kept and sealed; the *transaction* asks a FHIR server to create the same
resources unless it has them, so that sending it again never doubles anything.
"""

from health_record.allowed import WHOLE_REPORT, AllowList, only_allowed
from health_record.errors import DocumentTooLarge, EvidenceDiffers
from health_record.evidence import Evidence
from health_record.identifiers import Naming
from health_record.port import Form
from health_record.resources import ReportResources, Written
from health_record.spelling import Resource, instant
from kernel.digest import canonical_json, sha256_of
from kernel.ids import derived

MAX_DOCUMENT_BYTES = 48 * 1024 * 1024


def bundle(
    evidence: Evidence,
    pdf: bytes,
    form: Form,
    naming: Naming,
    allowed: AllowList = WHOLE_REPORT,
) -> Resource:
    """Return the Bundle of a sealed report in the form that a destination takes.

    Raises
    ------
    EvidenceDiffers
        `pdf` is not the file that was sealed, or the manifest not the one that was read.
    """
    if evidence.manifest.digest != evidence.sealed.manifest_digest:
        raise EvidenceDiffers(
            "the manifest is not the one that the report was read from",
            study_uid=evidence.sealed.study_uid,
        )
    if sha256_of(pdf) != evidence.sealed.pdf_sha256:
        raise EvidenceDiffers(
            "the stored PDF is not the one that was sealed", report_id=evidence.sealed.report_id
        )
    resources = ReportResources(evidence, pdf, naming)
    if form is Form.DOCUMENT:
        return _document(evidence, resources, naming, allowed)
    return _transaction(resources, allowed)


def exact_bytes(bundle: Resource) -> bytes:
    """Return the one spelling of a Bundle, which is stored, sealed and sent as it is.

    Raises
    ------
    DocumentTooLarge
        It is larger than 48 MiB.
    """
    body = canonical_json(bundle)
    if len(body) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(
            f"the document has {len(body)} bytes, at most {MAX_DOCUMENT_BYTES} may leave",
            length=len(body),
        )
    return body


def _document(
    evidence: Evidence, resources: ReportResources, naming: Naming, allowed: AllowList
) -> Resource:
    """FHIR R4 documents 2.42: identifier, timestamp, the Composition first, all in one Bundle."""
    sealed = evidence.sealed
    identifier = naming.of("bundle", sealed.report_id, sealed.version)
    written = resources.all(pdf_url=f"urn:uuid:{resources.id_of('Binary')}")
    return {
        "resourceType": "Bundle",
        "id": derived("fhir", "Bundle", identifier.system, identifier.value),
        "identifier": identifier.spelled(),
        "type": "document",
        "timestamp": instant(sealed.signed_at),
        "entry": [
            {"fullUrl": one.url, "resource": leaves}
            for one in written
            if (leaves := only_allowed({**one.body, "id": one.id}, allowed)) is not None
        ],
    }


def _transaction(resources: ReportResources, allowed: AllowList) -> Resource:
    """FHIR R4 http 3.1.0.11: all entries or none, each created only if it is not there yet."""
    written = resources.all(pdf_url=f"Binary/{resources.id_of('Binary')}")
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry for one in written if (entry := _request(one, allowed)) is not None],
    }


def _request(one: Written, allowed: AllowList) -> Resource | None:
    leaves = only_allowed(one.body, allowed)
    if leaves is None:
        return None
    if one.identifier is None:
        # The derived id is the guard: the same content at the same place again is one resource.
        request = {"method": "PUT", "url": f"{one.type}/{one.id}"}
        return {"fullUrl": one.url, "resource": {**leaves, "id": one.id}, "request": request}
    request = {"method": "POST", "url": one.type, "ifNoneExist": one.identifier.query()}
    return {"fullUrl": one.url, "resource": leaves, "request": request}
