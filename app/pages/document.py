"""Signed documents as they are given out: verified against what was signed, byte by byte."""

import json
from typing import Any

from app.engine import Engine
from health_record import commands as health_record
from kernel.digest import sha256_of
from kernel.errors import Corrupt, NotFound
from reporting import SealedDocument, sealed, sealed_for_case
from storage import archive, patients
from storage.engine import Transaction
from storage.objects import ObjectStore
from worklist.case import Case


class DocumentDamaged(Corrupt):
    """The stored document is not the one that was signed."""

    code = "pages.document_damaged"


class NoDocument(NotFound):
    """The case has no such document."""

    code = "pages.no_document"


def of_version(tx: Transaction, case: Case, version: int) -> SealedDocument:
    """Return the sealed document of a version of the case's report.

    Raises
    ------
    NoDocument, ReportUnknown
        Nothing, or not this version, is signed.
    """
    if case.report_id is not None:
        return sealed(tx, case.report_id, version)
    for document in sealed_for_case(tx, case.id):  # signed a moment before the case hears of it
        if document.version == version:
            return document
    raise NoDocument("the case has no signed report")


def verified(objects: ObjectStore, key: str, sha256: str) -> bytes:
    """Return a stored object that has the digest it should have.

    Raises
    ------
    DocumentDamaged
        It has not.
    """
    content = objects.get(key)
    if sha256_of(content) != sha256:
        raise DocumentDamaged("the stored document is not the one that was signed")
    return content


def fhir_document(engine: Engine, tx: Transaction, document: SealedDocument) -> bytes:
    """Return the FHIR document of a sealed version: the exact bytes that left, where they did.

    Where another form of it left, or nothing yet, it is built from the same evidence.
    """
    for delivery in health_record.list_deliveries(tx, case_id=document.case_id):
        same = (delivery.report_id, delivery.report_version) == (
            document.report_id,
            document.version,
        )
        if same and delivery.prepared is not None:
            body = verified(engine.objects, delivery.prepared.key, delivery.prepared.sha256)
            if _type_of(body) == "document":
                return body
    return _built(engine, tx, document)


def _type_of(body: bytes) -> str:
    bundle: dict[str, Any] = json.loads(body)
    return str(bundle.get("type", ""))


def _built(engine: Engine, tx: Transaction, document: SealedDocument) -> bytes:
    from health_record.document import bundle, exact_bytes
    from health_record.evidence import Evidence
    from health_record.identifiers import Naming
    from health_record.port import Form

    evidence = Evidence(
        sealed=document,
        patient=patients.get(tx, document.patient_ref),
        manifest=archive.manifest(tx, document.study_uid, document.manifest_version),
    )
    pdf = verified(engine.objects, document.pdf_key, document.pdf_sha256)
    return exact_bytes(bundle(evidence, pdf, Form.DOCUMENT, Naming()))
