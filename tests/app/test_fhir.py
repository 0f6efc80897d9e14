"""FHIR: documents read back by programs and people who may."""

import httpx

from tests.app.clinic import Clinic
from tests.app.test_access import signed


def test_a_signed_report_is_found_by_accession_and_read_as_its_document(clinic: Clinic):
    case = signed(clinic)
    program = clinic.program("fhir:read")

    found = program.get("/fhir/DiagnosticReport", params={"identifier": "A-1"}).json()
    assert (found["type"], found["total"]) == ("searchset", 1)
    report = found["entry"][0]["resource"]
    assert report["resourceType"] == "DiagnosticReport"
    assert report["status"] == "final"

    identifier = f"{case.report_id}@{case.report_version}"
    same = program.get("/fhir/DiagnosticReport", params={"identifier": f"urn:x|{identifier}"})
    assert same.json()["entry"][0]["resource"] == report

    document = program.get(f"/fhir/Bundle/{case.report_id}.{case.report_version}").json()
    assert document["type"] == "document"
    assert document["id"] == f"{case.report_id}.{case.report_version}"
    assert document["entry"][0]["resource"]["resourceType"] == "Composition"


def test_what_is_not_there_is_an_operation_outcome(clinic: Clinic):
    program = clinic.program("fhir:read")

    for path, status in (
        ("/fhir/Bundle/nothing", 404),
        ("/fhir/Bundle/00000000-0000-0000-0000-000000000000.1", 404),
        ("/fhir/DiagnosticReport", 400),
        ("/fhir/DiagnosticReport?subject=1&identifier=2", 400),
        ("/fhir/Nothing", 404),
    ):
        answer = program.get(path)
        assert answer.status_code == status, path
        assert answer.json()["resourceType"] == "OperationOutcome"
    assert program.get("/fhir/DiagnosticReport?identifier=unknown").json()["total"] == 0


def test_only_those_who_may_read_a_document_read_it(clinic: Clinic):
    case = signed(clinic)
    path = f"/fhir/Bundle/{case.report_id}.{case.report_version}"

    for login, status in {"east": 200, "patient": 200, "one": 200, "two": 403, "head": 403}.items():
        client = clinic.browser(login).client
        assert client.get(path).status_code == status, login
        found = client.get("/fhir/DiagnosticReport", params={"identifier": "A-1"}).json()
        assert found["total"] == (1 if status == 200 else 0)
    assert httpx.get(clinic.server.url + path).status_code == 401
    assert clinic.program("dicomweb:read").get(path).status_code == 403


def test_a_program_of_a_site_reads_the_documents_of_its_own_requests(clinic: Clinic):
    case = signed(clinic)
    path = f"/fhir/Bundle/{case.report_id}.{case.report_version}"

    for organisation, status in {"east": 200, "west": 403, "alpha": 403}.items():
        program = clinic.program("fhir:read", organisation)
        assert program.get(path).status_code == status, organisation
        found = program.get("/fhir/DiagnosticReport", params={"identifier": "A-1"}).json()
        assert found["total"] == (1 if status == 200 else 0)


def test_what_the_server_can_do_is_open_to_all(clinic: Clinic):
    statement = httpx.get(f"{clinic.server.url}/fhir/metadata").json()

    assert statement["resourceType"] == "CapabilityStatement"
    assert statement["fhirVersion"] == "4.0.1"
