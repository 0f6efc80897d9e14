"""FHIR R4: signed documents, read and found by those who may.

Only what was signed is given; the engine's own health record comes later.

References
----------
HL7 FHIR R4 sections 3.1.0 (RESTful API), 3.1.1 (search) and 3.3 (documents).
"""

import json
import re
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from app.engine import Engine
from app.http.access import Caller, ReadsFhir, record_refusal, rights_in
from app.http.body import TheEngine
from app.http.errors import BodyMalformed
from app.identity.errors import AccessRefused
from app.identity.policy import Right
from app.pages.document import NoDocument, fhir_document
from kernel.clock import Clock
from reporting import SealedDocument, sealed, sealed_for_case
from storage import archive_queries, audit
from storage.archive_queries import StudyQuery
from storage.engine import Transaction
from worklist import queries
from worklist import store as worklist_store

router = APIRouter(prefix="/fhir")
FHIR_JSON = "application/fhir+json"
MAX_FOUND = 50
_VERSION = re.compile(r"(?P<report>[0-9a-f-]{36})[.@](?P<version>\d{1,4})")


@router.get("/metadata")
def capabilities(request: Request, engine: TheEngine) -> Response:
    """Say what this server can do; open to all, as the standard wants it."""
    return _fhir(
        _capability_statement(str(request.base_url), engine.version, engine.database.clock)
    )


@router.get("/Bundle/{bundle_id}")
def read_document(bundle_id: str, engine: TheEngine, caller: ReadsFhir) -> Response:
    """Give the FHIR document of a signed version; its id here is ``<report>.<version>``."""
    with engine.database.reading() as tx:
        document = _by_version(tx, bundle_id)
        _require_open(tx, engine, caller, document)
        bundle: dict[str, Any] = json.loads(fhir_document(engine, tx, document))
    _note(engine, caller, document)
    # The identifier is the document's for good; the id is only its place on a server.
    return _fhir({**bundle, "id": bundle_id})


@router.get("/DiagnosticReport")
def find_reports(request: Request, engine: TheEngine, caller: ReadsFhir) -> Response:
    """Find reports by identifier: of the report's version, or the accession number of the study.

    What a report refers to comes along, since it is part of the same document.
    """
    wanted = request.query_params.get("identifier", "")
    others = set(request.query_params) - {"identifier", "_count", "_format"}
    if not wanted or others:
        raise BodyMalformed("reports are searched by identifier, and by nothing else here")
    with engine.database.reading() as tx:
        documents = _by_identifier(tx, wanted)
        allowed = [one for one in documents if _is_open(tx, engine, caller, one)]
        bundles = [json.loads(fhir_document(engine, tx, one)) for one in allowed]
    for document in allowed:
        _note(engine, caller, document)
    return _fhir(_searchset(str(request.url), bundles))


def _searchset(url: str, bundles: list[dict[str, Any]]) -> dict[str, Any]:
    entries = [
        {
            "fullUrl": entry["fullUrl"],
            "resource": entry["resource"],
            "search": {"mode": "match" if _is_report(entry) else "include"},
        }
        for bundle in bundles
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] != "Composition"
    ]
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": sum(_is_report(entry) for entry in entries),
        "link": [{"relation": "self", "url": url}],
        "entry": sorted(entries, key=lambda entry: not _is_report(entry)),
    }


def _is_report(entry: dict[str, Any]) -> bool:
    return bool(entry["resource"]["resourceType"] == "DiagnosticReport")


def _by_version(tx: Transaction, text: str) -> SealedDocument:
    found = _VERSION.fullmatch(text)
    if found is None:
        raise NoDocument("there is no document of this id")
    return sealed(tx, found["report"], int(found["version"]))


def _by_identifier(tx: Transaction, token: str) -> list[SealedDocument]:
    """Return what a token (``system|value`` or a value alone) identifies.

    The system is not compared: our values are unique, and an accession number is looked for in
    every site that the caller may see.
    """
    value = token.rpartition("|")[2]
    if _VERSION.fullmatch(value):
        return [_by_version(tx, value)]
    if not value or "*" in value or "?" in value:
        return []
    studies = archive_queries.find_studies(tx, StudyQuery(accession=value, limit=MAX_FOUND))
    return [
        document
        for study in studies
        for case in worklist_store.cases_of_study(tx, study.study_uid, lock=False)
        for document in sealed_for_case(tx, case.id)
    ][:MAX_FOUND]


def _is_open(tx: Transaction, engine: Engine, caller: Caller, document: SealedDocument) -> bool:
    case = queries.get_case(tx, document.case_id)
    if caller.visitor is None:
        assert caller.machine is not None
        organisation = caller.machine.organisation_id
        return organisation in {None, case.site_id} or organisation in engine.sees_all
    return Right.SEE_REPORT in rights_in(tx, engine, caller.visitor, case)


def _require_open(
    tx: Transaction, engine: Engine, caller: Caller, document: SealedDocument
) -> None:
    if not _is_open(tx, engine, caller, document):
        record_refusal(engine, caller.actor, f"report:{document.report_id}")
        raise AccessRefused("this document is not, or no longer, open to you")


def _note(engine: Engine, caller: Caller, document: SealedDocument) -> None:
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=caller.actor,
            action="document.viewed",
            subject=f"report:{document.report_id}",
            case_id=document.case_id,
            detail={"version": document.version},
        )


def _fhir(resource: dict[str, Any]) -> Response:
    return JSONResponse(resource, media_type=FHIR_JSON)


def _capability_statement(base: str, version: str, clock: Clock) -> dict[str, Any]:
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": clock().date().isoformat(),
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "software": {"name": "telerad", "version": version},
        "implementation": {"description": "telerad", "url": f"{base.rstrip('/')}/fhir"},
        "rest": [
            {
                "mode": "server",
                "security": {"description": "Bearer token with the scope fhir:read"},
                "resource": [
                    {"type": "Bundle", "interaction": [{"code": "read"}]},
                    {
                        "type": "DiagnosticReport",
                        "interaction": [{"code": "search-type"}],
                        "searchParam": [{"name": "identifier", "type": "token"}],
                    },
                ],
            }
        ],
    }
