"""The FHIR R4 adapter against a real server, and against one that misbehaves."""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from health_record.adapters.fhir_r4 import MAX_ANSWER_BYTES, FhirR4Record, FhirR4Settings
from health_record.errors import RecordDeniesAccess, RecordUnavailable
from health_record.port import Form, Receipt, Rejected
from kernel.clock import system_clock
from kernel.errors import Misconfigured
from tests.health_record.faulty import (
    EMPTY_SEARCH,
    Reply,
    Script,
    faulty_record,
    finds_nothing_and,
)
from tests.health_record.samples import PDF, an_outgoing
from tests.services.missing import required
from tests.services.ports import free_port
from tests.services.sekmet import Sekmet, running_sekmet

TOKEN = "a-bearer-token"


@contextmanager
def speaking_to(url: str, **settings: object) -> Iterator[FhirR4Record]:
    with closing(FhirR4Record(FhirR4Settings(base_url=url, **settings))) as record:  # type: ignore[arg-type]
        yield record


def answer_of(script: Script) -> Receipt | Rejected:
    with faulty_record(script) as server, speaking_to(server.url) as record:
        return record.submit(an_outgoing(Form.TRANSACTION))


def outcome(*sentences: str) -> bytes:
    issues = [{"severity": "error", "code": "invalid", "diagnostics": one} for one in sentences]
    return json.dumps({"resourceType": "OperationOutcome", "issue": issues}).encode()


def a_tls_server(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return the context of a server on 127.0.0.1 and the file of its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "record")])
    now = system_clock()
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    both, authority = folder / "both.pem", folder / "authority.pem"
    pem = certificate.public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(secret + pem)
    authority.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, authority


@pytest.fixture(scope="module")
def guarded() -> Iterator[Sekmet]:
    """A running FHIR server that asks for a token."""
    with required(), running_sekmet(token=TOKEN) as server:
        yield server


@pytest.mark.service
def test_a_report_is_filed_with_everything_it_stands_on(guarded: Sekmet):
    with speaking_to(guarded.url, token=TOKEN) as record:
        first = record.submit(an_outgoing(Form.TRANSACTION, 1))
        second = record.submit(an_outgoing(Form.TRANSACTION, 2))

    assert isinstance(first, Receipt)
    assert isinstance(second, Receipt)
    kinds = ("DiagnosticReport", "ImagingStudy", "ServiceRequest", "Provenance", "Patient")
    assert [len(guarded.find(kind)) for kind in kinds] == [2] * len(kinds)
    # Both reports have one author: found by identifier, not doubled.
    (author,) = guarded.find("Practitioner")
    (organisation,) = guarded.find("Organization")
    (role,) = guarded.find("PractitionerRole")
    assert role["practitioner"]["reference"] == f"Practitioner/{author['id']}"
    assert role["organization"]["reference"] == f"Organization/{organisation['id']}"


@pytest.mark.service
def test_what_was_filed_refers_to_what_the_server_holds(guarded: Sekmet):
    with speaking_to(guarded.url, token=TOKEN) as record:
        receipt = record.submit(an_outgoing(Form.TRANSACTION, 4))

    assert isinstance(receipt, Receipt)
    report = guarded.get(receipt.reference)
    patient = guarded.get(report["subject"]["reference"])
    study = guarded.get(report["imagingStudy"][0]["reference"])
    request = guarded.get(report["basedOn"][0]["reference"])
    assert patient["identifier"][0]["value"] == "P-4"
    assert study["numberOfInstances"] == 3
    assert request["identifier"][1]["value"] == "A4"
    assert base64.b64decode(guarded.get(report["presentedForm"][0]["url"])["data"]) == PDF


@pytest.mark.service
def test_a_wrong_token_waits_for_the_operator(guarded: Sekmet):
    with (
        speaking_to(guarded.url, token="wrong") as record,
        pytest.raises(RecordDeniesAccess, match="credentials"),
    ):
        record.submit(an_outgoing(Form.TRANSACTION, 3))


@pytest.mark.service
def test_a_server_that_comes_up_late_takes_the_document_then():
    port = free_port()
    with speaking_to(f"http://127.0.0.1:{port}/fhir") as record:
        with pytest.raises(RecordUnavailable, match="cannot be reached"):
            record.submit(an_outgoing(Form.TRANSACTION))
        with required(), running_sekmet(port):
            assert isinstance(record.submit(an_outgoing(Form.TRANSACTION)), Receipt)


@pytest.mark.parametrize("status", [400, 410, 412, 413, 415, 422])
def test_a_judgement_on_the_document_is_a_rejection_with_its_reason(status: int):
    answer = answer_of(finds_nothing_and(Reply(status, outcome("Patient.birthDate is wrong"))))

    assert isinstance(answer, Rejected)
    assert answer.code == "health_record.record_refused"
    assert answer.sentence == (f"the health record answered {status}: Patient.birthDate is wrong")


@pytest.mark.parametrize("status", [301, 404, 408, 409, 423, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_judges_nothing_is_tried_again(status: int):
    with pytest.raises(RecordUnavailable, match=str(status)):
        answer_of(finds_nothing_and(Reply(status, b"<html>no</html>")))


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_not_a_judgement_on_the_document(status: int):
    with pytest.raises(RecordDeniesAccess):
        answer_of(finds_nothing_and(Reply(status)))


def test_a_yes_is_not_believed_until_the_report_can_be_read():
    with pytest.raises(RecordUnavailable, match="does not show it"):
        answer_of(finds_nothing_and(Reply(200, b'{"resourceType":"Bundle"}')))


def test_a_line_that_breaks_leaves_the_outcome_unknown():
    with pytest.raises(RecordUnavailable, match="cannot be reached"):
        answer_of(finds_nothing_and(None))


def test_an_answer_without_end_is_not_read():
    with pytest.raises(RecordUnavailable, match="Bundle"):
        answer_of(lambda _method, _path: Reply(200, b" " * (MAX_ANSWER_BYTES + 1)))


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"resourceType":"Patient"}',
        b'{"resourceType":"Bundle","entry":7}',
        b'{"resourceType":"Bundle","entry":[1,{"resource":[]}]}',
    ],
)
def test_a_strange_answer_to_a_search_is_no_receipt(body: bytes):
    def script(method: str, _path: str) -> Reply:
        return Reply(200, body)

    with pytest.raises(RecordUnavailable):
        answer_of(script)


def test_a_long_reason_is_taken_as_its_first_issues_without_controls():
    refusal = answer_of(finds_nothing_and(Reply(422, outcome("a\x1b[2Jb", "c", "d", "e"))))

    assert isinstance(refusal, Rejected)
    assert refusal.sentence == "the health record answered 422: a[2Jb; c; d"


def test_a_record_that_hangs_is_left_after_the_timeout():
    gone = threading.Event()

    def hangs(_method: str, _path: str) -> Reply:
        gone.wait(30)
        return Reply(200, EMPTY_SEARCH)

    with (
        faulty_record(hangs) as server,
        speaking_to(server.url, answer_timeout=timedelta(milliseconds=200)) as record,
    ):
        with pytest.raises(RecordUnavailable, match="ReadTimeout"):
            record.submit(an_outgoing(Form.TRANSACTION))
        gone.set()


@pytest.mark.parametrize(
    "url", ["http://record.example/fhir", "ftp://record.example", "record.example", "https://"]
)
def test_patient_data_never_goes_out_in_the_clear(url: str):
    with pytest.raises(Misconfigured):
        FhirR4Record(FhirR4Settings(base_url=url))


def test_a_server_without_a_trusted_certificate_is_told_nothing(tmp_path: Path):
    tls, authority = a_tls_server(tmp_path)
    script = finds_nothing_and(Reply(422, outcome("judged")))
    with faulty_record(script, tls=tls) as server:
        with (
            speaking_to(server.url) as record,
            pytest.raises(RecordUnavailable, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            record.submit(an_outgoing(Form.TRANSACTION))
        assert server.asked == []
        with speaking_to(server.url, ca_file=authority) as record:
            assert isinstance(record.submit(an_outgoing(Form.TRANSACTION)), Rejected)


def test_the_token_goes_with_every_question():
    with faulty_record(finds_nothing_and(Reply(500))) as server:
        with (
            speaking_to(server.url, token=TOKEN) as record,
            pytest.raises(RecordUnavailable),
        ):
            record.submit(an_outgoing(Form.TRANSACTION))
        assert [authorization for _, _, authorization in server.asked] == [f"Bearer {TOKEN}"] * 2
