"""The suite's FHIR server is real and keeps what it is given."""

import json
import urllib.request

import pytest

from tests.services.sekmet import Sekmet

pytestmark = pytest.mark.service


def test_a_resource_is_kept_and_found(sekmet: Sekmet) -> None:
    identifier = {"system": "urn:oid:1.2.3", "value": "smoke"}
    patient = {"resourceType": "Patient", "identifier": [identifier]}
    request = urllib.request.Request(
        f"{sekmet.url}/Patient",
        data=json.dumps(patient).encode(),
        headers={"Content-Type": "application/fhir+json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 201
    (found,) = sekmet.find("Patient", identifier="urn:oid:1.2.3|smoke")
    assert found["identifier"] == [identifier]
