"""What leaves: valid FHIR R4, whole, deterministic, and nothing that is not on the list."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from health_record.adapters.structure import require_valid
from health_record.allowed import WHOLE_REPORT, only_allowed
from health_record.document import bundle, exact_bytes
from health_record.errors import DocumentInvalid, DocumentTooLarge, EvidenceDiffers
from health_record.evidence import Evidence
from health_record.port import Form
from health_record.resources import MAX_LISTED_INSTANCES
from kernel.codes import Coded
from reporting import Section
from tests.health_record.samples import IMPRESSION, NAMING, PDF, an_entry, an_evidence

FORMS = pytest.mark.parametrize("form", list(Form))


def built(evidence: Evidence, form: Form = Form.DOCUMENT, pdf: bytes = PDF) -> dict[str, Any]:
    return dict(bundle(evidence, pdf, form, NAMING))


def one(content: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [
        entry["resource"] for entry in content["entry"] if entry["resource"]["resourceType"] == kind
    ]
    return dict(found)


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@FORMS
def test_the_structure_is_valid_fhir_r4(form: Form):
    require_valid(built(an_evidence(), form))


@FORMS
def test_every_reference_leads_to_an_entry_of_the_same_bundle(form: Form):
    content = built(an_evidence(), form)
    urls = {entry["fullUrl"] for entry in content["entry"]}

    assert len(urls) == len(content["entry"]) == 11
    assert set(references(content)) <= urls


@FORMS
def test_building_twice_gives_the_same_bytes(form: Form):
    first = exact_bytes(built(an_evidence(), form))

    assert first == exact_bytes(built(an_evidence(), form))
    assert json.loads(first) == built(an_evidence(), form)


def test_a_document_begins_with_its_composition_and_holds_the_signed_pdf():
    content = built(an_evidence())
    binary = content["entry"][-1]

    assert content["type"] == "document"
    assert content["entry"][0]["resource"]["resourceType"] == "Composition"
    assert base64.b64decode(one(content, "Binary")["data"]) == PDF
    report = one(content, "DiagnosticReport")
    assert report["presentedForm"][0]["url"] == binary["fullUrl"]
    assert report["conclusion"] == IMPRESSION.text


def test_the_report_carries_what_the_record_asks_for():
    report = one(built(an_evidence()), "DiagnosticReport")

    assert report["status"] == "final"
    assert [c["code"] for c in report["code"]["coding"]] == ["18748-4", "43468-8"]
    assert report["resultsInterpreter"]
    assert report["imagingStudy"]
    assert report["performer"]


def test_the_study_is_listed_by_series_and_instance():
    study = one(built(an_evidence()), "ImagingStudy")

    assert study["identifier"][0] == {
        "system": "urn:dicom:uid",
        "value": "urn:oid:1.2.826.0.1.3680043.8.498.100.1",
    }
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (2, 3)
    assert [len(series["instance"]) for series in study["series"]] == [2, 1]
    assert study["started"] == "2026-11-22"


def test_provenance_names_the_bytes_that_were_signed_and_those_that_were_read():
    evidence = an_evidence()
    provenance = one(built(evidence), "Provenance")
    named = [entity["what"]["identifier"]["value"] for entity in provenance["entity"]]

    assert named[0].endswith(evidence.manifest.digest)
    assert named[1].startswith("ni:///sha-256;")
    assert provenance["signature"][0]["type"][0]["code"] == "1.2.840.10065.1.12.1.1"


def test_an_addendum_says_so():
    content = built(an_evidence(version=3, kind="addendum"))

    assert one(content, "DiagnosticReport")["status"] == "appended"
    assert one(content, "Composition")["status"] == "amended"


def test_a_later_first_signed_version_is_still_final():
    assert one(built(an_evidence(version=3)), "DiagnosticReport")["status"] == "final"


@pytest.mark.parametrize("demo", [True, False])
def test_what_a_demo_key_signed_is_marked_as_test_data(demo: bool):
    labelled = one(built(an_evidence(demo_signature=demo)), "DocumentReference").get("meta")

    assert (labelled is not None) == demo


def test_a_transaction_creates_only_what_is_not_there():
    for entry in built(an_evidence(), Form.TRANSACTION)["entry"]:
        request, kind = entry["request"], entry["resource"]["resourceType"]
        if kind in ("Binary", "Composition", "Provenance"):
            assert request == {"method": "PUT", "url": f"{kind}/{entry['resource']['id']}"}
        else:
            assert request["method"] == "POST"
            assert request["ifNoneExist"].startswith("identifier=")
            assert "id" not in entry["resource"]


def test_nothing_leaves_that_is_not_on_the_list():
    patient = {"resourceType": "Patient", "id": "p", "telecom": [{"value": "+7 700"}]}

    assert only_allowed(patient, WHOLE_REPORT) == {"resourceType": "Patient", "id": "p"}
    assert only_allowed({"resourceType": "Observation", "id": "o"}, WHOLE_REPORT) is None


def test_a_destination_with_a_shorter_list_gets_less():
    shorter = {**WHOLE_REPORT, "Patient": frozenset({"resourceType", "id", "identifier"})}
    content = bundle(an_evidence(), PDF, Form.DOCUMENT, NAMING, shorter)

    assert set(one(content, "Patient")) == {"resourceType", "id", "identifier"}
    require_valid(content)


def test_a_pdf_that_is_not_the_sealed_one_does_not_leave():
    with pytest.raises(EvidenceDiffers, match="sealed"):
        built(an_evidence(), pdf=PDF + b"changed")


def test_a_manifest_that_is_not_the_one_read_does_not_leave():
    with pytest.raises(EvidenceDiffers, match="manifest"):
        built(an_evidence(manifest_digest="0" * 64))


def test_an_invalid_document_does_not_leave_and_its_values_are_not_told():
    content = built(an_evidence())
    for entry in content["entry"]:
        if entry["resource"]["resourceType"] == "Patient":
            entry["resource"]["birthDate"] = "SECRET-VALUE"

    with pytest.raises(DocumentInvalid) as refusal:
        require_valid(content)

    assert "birthDate" in refusal.value.sentence
    assert "SECRET-VALUE" not in refusal.value.sentence


def test_a_document_beyond_the_bound_does_not_leave():
    huge = b"%PDF-1.7\n" + b"0" * (48 * 1024 * 1024)

    with pytest.raises(DocumentTooLarge):
        exact_bytes(built(an_evidence(pdf=huge), pdf=huge))


def test_a_very_large_study_is_counted_and_not_listed():
    evidence = an_evidence()
    entries = tuple(an_entry(1, number) for number in range(1, MAX_LISTED_INSTANCES + 2))
    large = replace(evidence, manifest=replace(evidence.manifest, entries=entries))
    study = one(built(large), "ImagingStudy")

    assert study["numberOfInstances"] == MAX_LISTED_INSTANCES + 1
    assert "instance" not in study["series"][0]


def test_a_patient_without_an_id_goes_by_the_engines_own_reference():
    evidence = an_evidence()
    unknown = replace(evidence, patient=replace(evidence.patient, patient_id=" ", name=""))
    patient = one(built(unknown), "Patient")

    assert patient["identifier"][0]["value"] == evidence.patient.ref
    assert "name" not in patient
    require_valid(built(unknown))


@settings(max_examples=60, deadline=None)
@given(
    name=st.text(max_size=60),
    patient_id=st.text(max_size=30),
    issuer=st.text(max_size=30),
    text=st.text(min_size=1, max_size=200).filter(lambda t: t.strip() != ""),
    accession=st.text(max_size=16),
    description=st.text(max_size=60),
    study_date=st.text(max_size=8),
    form=st.sampled_from(Form),
)
def test_no_text_of_the_field_makes_an_invalid_document(
    name: str,
    patient_id: str,
    issuer: str,
    text: str,
    accession: str,
    description: str,
    study_date: str,
    form: Form,
):
    evidence = an_evidence(
        accession=accession, sections=(Section(Coded("59776-5", "LN", "Findings"), text),)
    )
    patient = replace(evidence.patient, name=name, patient_id=patient_id, issuer=issuer)
    manifest = replace(evidence.manifest, study_description=description, study_date=study_date)
    content = built(replace(evidence, patient=patient, manifest=manifest), form)

    require_valid(content)
    assert json.loads(exact_bytes(content)) == content
