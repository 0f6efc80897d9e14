"""The FHIR R4 resources of one signed report, each built from evidence and nothing else.

The mapping is that of the report content model: the request is a ServiceRequest, the study an
ImagingStudy, the report a DiagnosticReport with its Composition, the sealed PDF a Binary behind a
DocumentReference, the signature a Provenance.  Every id is derived, so building twice gives the
same bytes.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from health_record.evidence import Evidence
from health_record.identifiers import Identifier, Naming, dicom_uid, sha256_uri
from health_record.spelling import (
    GENDERS,
    LOINC,
    Resource,
    clean,
    concept,
    date_of,
    human_names,
    instant,
    narrative,
)
from kernel.ids import derived
from storage.archive import ManifestEntry

IMAGING_STUDY_REPORT = "18748-4"
ADDENDUM = "addendum"  # a version that adds to a signed one
# What may stand as the conclusion: LOINC impression, DICOM CID 7002 impression.
IMPRESSIONS = frozenset({("LN", "19005-8"), ("DCM", "121073")})
AUTHOR_SIGNATURE = "1.2.840.10065.1.12.1.1"  # ASTM E1762-95: author's signature
MAX_LISTED_INSTANCES = 5000
_V2 = "http://terminology.hl7.org/CodeSystem/v2-"
_V3 = "http://terminology.hl7.org/CodeSystem/v3-"
_PDF = "application/pdf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One resource with its id.

    `identifier` is what a server can be asked by whether it has it; None where servers cannot be
    asked: R4 gives Binary and Provenance no identifier, and not every server finds a Composition.
    """

    id: str
    identifier: Identifier | None
    body: Resource

    @property
    def type(self) -> str:
        """Return the FHIR type."""
        return str(self.body["resourceType"])

    @property
    def url(self) -> str:
        """Return the fullUrl by which the other entries of the Bundle refer to it."""
        return f"urn:uuid:{self.id}"


class ReportResources:
    """All resources of one version of a report, the Composition first."""

    def __init__(self, evidence: Evidence, pdf: bytes, naming: Naming) -> None:
        self._sealed = evidence.sealed
        self._patient = evidence.patient
        self._manifest = evidence.manifest
        self._pdf = pdf
        self._naming = naming
        sealed, patient = evidence.sealed, evidence.patient
        self._ids: dict[str, Identifier] = {
            "Patient": naming.patient(patient.issuer, patient.patient_id, patient.ref),
            "Practitioner": naming.of("practitioner", sealed.author),
            "Organization": naming.of("organisation", sealed.organisation_id),
            "PractitionerRole": naming.of("role", sealed.author, sealed.organisation_id),
            "ServiceRequest": naming.of("request", sealed.request_id),
            "ImagingStudy": dicom_uid(sealed.study_uid),
            "DiagnosticReport": naming.report_version(sealed.report_id, sealed.version),
            "DocumentReference": naming.of("document", sealed.report_id, sealed.version),
            "Composition": naming.of("composition", sealed.report_id, sealed.version),
            # These only make the ids; the digest keeps the place of other bytes another one.
            "Binary": naming.of("binary", sealed.report_id, sealed.version, sealed.pdf_sha256),
            "Provenance": naming.of(
                "provenance", sealed.report_id, sealed.version, sealed.pdf_sha256
            ),
        }

    def all(self, *, pdf_url: str) -> tuple[Written, ...]:
        """Return every resource; `pdf_url` is where the attachments point to the Binary."""
        return (
            self._written("Composition", self._composition(), named=False),
            self._written("DiagnosticReport", self._diagnostic_report(pdf_url)),
            self._written("ImagingStudy", self._imaging_study()),
            self._written("ServiceRequest", self._service_request()),
            self._written("Patient", self._patient_resource()),
            self._written("Practitioner", self._practitioner()),
            self._written("PractitionerRole", self._practitioner_role()),
            self._written("Organization", self._organization()),
            self._written("Provenance", self._provenance(), named=False),
            self._written("DocumentReference", self._document_reference(pdf_url)),
            self._written("Binary", self._binary(), named=False),
        )

    def id_of(self, kind: str) -> str:
        """Return the id that the resource of a type has in every Bundle."""
        identifier = self._ids[kind]
        return derived("fhir", kind, identifier.system, identifier.value)

    def _written(self, kind: str, body: Resource, *, named: bool = True) -> Written:
        identifier = self._ids[kind] if named else None
        return Written(
            id=self.id_of(kind), identifier=identifier, body={"resourceType": kind, **body}
        )

    def _ref(self, kind: str) -> Resource:
        return {"reference": f"urn:uuid:{self.id_of(kind)}", "type": kind}

    def _identifier(self, kind: str) -> Resource:
        return self._ids[kind].spelled()

    def _document_status(self) -> str:
        """FHIR R4 composition-status: there is no narrower word than amended there."""
        return "amended" if self._sealed.kind == ADDENDUM else "final"

    def _type(self) -> Resource:
        """The general document code, and beside it that of the modality."""
        coding = [
            {"system": LOINC, "code": IMAGING_STUDY_REPORT, "display": "Diagnostic imaging study"}
        ]
        title = self._sealed.title_code
        if (title.scheme, title.value) != ("LN", IMAGING_STUDY_REPORT):
            coding += concept(title, self._naming.root)["coding"]
        return {"coding": coding, "text": clean(self._sealed.title)}

    def _label(self) -> Resource:
        """Mark what a demo key signed, so that no record takes it for the real thing.

        References
        ----------
        FHIR R4 resource 2.26.3.1.1, test data: the security label HTEST.
        """
        if not self._sealed.demo_signature:
            return {}
        return {"meta": {"security": [{"system": f"{_V3}ActReason", "code": "HTEST"}]}}

    def _composition(self) -> Resource:
        sealed = self._sealed
        sections = [
            {
                "title": clean(section.code.meaning),
                "code": concept(section.code, self._naming.root),
                "text": narrative(section.text),
            }
            for section in sealed.sections
        ]
        signed = {
            "title": "Signed document",
            "entry": [self._ref("DiagnosticReport"), self._ref("DocumentReference")],
        }
        return {
            **self._label(),
            "identifier": self._identifier("Composition"),
            "language": self._sealed.language,
            "status": self._document_status(),
            "type": self._type(),
            "subject": self._ref("Patient"),
            "date": instant(sealed.signed_at),
            "author": [self._ref("PractitionerRole")],
            "title": clean(sealed.title),
            "attester": [
                {
                    "mode": "professional",
                    "time": instant(sealed.signed_at),
                    "party": self._ref("Practitioner"),
                }
            ],
            "custodian": self._ref("Organization"),
            "section": [*sections, signed],
        }

    def _diagnostic_report(self, pdf_url: str) -> Resource:
        sealed = self._sealed
        resource: Resource = {
            **self._label(),
            "identifier": [
                self._identifier("DiagnosticReport"),
                self._naming.of("report", sealed.report_id).spelled(),
            ],
            "basedOn": [self._ref("ServiceRequest")],
            "status": "appended" if sealed.kind == ADDENDUM else "final",
            "category": [{"coding": [{"system": f"{_V2}0074", "code": "RAD"}]}],
            "code": self._type(),
            "subject": self._ref("Patient"),
            "issued": instant(sealed.signed_at),
            "performer": [self._ref("Organization")],
            "resultsInterpreter": [self._ref("PractitionerRole")],
            "imagingStudy": [self._ref("ImagingStudy")],
            "presentedForm": [self._attachment(pdf_url)],
        }
        conclusion = "\n\n".join(
            clean(section.text)
            for section in sealed.sections
            if (section.code.scheme, section.code.value) in IMPRESSIONS
        )
        if conclusion.strip():
            resource["conclusion"] = conclusion
        return resource

    def _imaging_study(self) -> Resource:
        manifest = self._manifest
        series = list(_by_series(manifest.entries))
        resource: Resource = {
            "identifier": [
                self._identifier("ImagingStudy"),
                *self._accession_identifiers(),
            ],
            "status": "available",
            "modality": [_modality(code) for code in manifest.modalities if code],
            "subject": self._ref("Patient"),
            "basedOn": [self._ref("ServiceRequest")],
            "numberOfSeries": len(series),
            "numberOfInstances": len(manifest.entries),
            "series": [
                _series(uid, entries, listed=len(manifest.entries) <= MAX_LISTED_INSTANCES)
                for uid, entries in series
            ],
        }
        started = date_of(manifest.study_date)
        if started is not None:
            resource["started"] = started
        if clean(manifest.study_description).strip():
            resource["description"] = clean(manifest.study_description)
        return {key: value for key, value in resource.items() if value != []}

    def _service_request(self) -> Resource:
        site = self._naming.of("organisation", self._sealed.site_id)
        return {
            "identifier": [self._identifier("ServiceRequest"), *self._accession_identifiers()],
            "status": "completed",
            "intent": "order",
            "subject": self._ref("Patient"),
            "requester": {"type": "Organization", "identifier": site.spelled()},
            "performer": [self._ref("PractitionerRole")],
        }

    def _accession_identifiers(self) -> list[Resource]:
        if not clean(self._sealed.accession).strip():
            return []
        accession = self._naming.accession(self._sealed.site_id, self._sealed.accession)
        kind = {"coding": [{"system": f"{_V2}0203", "code": "ACSN"}]}
        return [{"type": kind, **accession.spelled()}]

    def _patient_resource(self) -> Resource:
        patient = self._patient
        resource: Resource = {
            "identifier": [self._identifier("Patient")],
            "gender": GENDERS.get(patient.sex.strip().upper(), "unknown"),
        }
        names = human_names(patient.name)
        if names:
            resource["name"] = names
        if patient.birth_date is not None:
            resource["birthDate"] = patient.birth_date.isoformat()
        return resource

    def _practitioner(self) -> Resource:
        return {
            "identifier": [self._identifier("Practitioner")],
            "name": [{"text": clean(self._sealed.author_name)}],
        }

    def _practitioner_role(self) -> Resource:
        return {
            "identifier": [self._identifier("PractitionerRole")],
            "practitioner": self._ref("Practitioner"),
            "organization": self._ref("Organization"),
        }

    def _organization(self) -> Resource:
        return {
            "identifier": [self._identifier("Organization")],
            "name": clean(self._sealed.organisation_name),
        }

    def _provenance(self) -> Resource:
        """Say who signed which bytes; the signature itself is inside the PDF (PAdES)."""
        sealed, manifest = self._sealed, self._manifest
        signed_at = instant(sealed.signed_at)
        read = self._naming.of("manifest", manifest.study_uid, manifest.version, manifest.digest)
        targets = ("Composition", "DiagnosticReport", "DocumentReference")
        return {
            "target": [self._ref(kind) for kind in targets],
            "occurredDateTime": signed_at,
            "recorded": signed_at,
            "activity": {"coding": [{"system": f"{_V3}DocumentCompletion", "code": "LA"}]},
            "agent": [
                {
                    "type": {"coding": [{"system": f"{_V3}ParticipationType", "code": "AUT"}]},
                    "who": self._ref("Practitioner"),
                    "onBehalfOf": self._ref("Organization"),
                }
            ],
            "entity": [
                {"role": "source", "what": {"identifier": read.spelled()}},
                {
                    "role": "derivation",
                    "what": {"identifier": sha256_uri(sealed.pdf_sha256).spelled()},
                },
            ],
            "signature": [
                {
                    "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": AUTHOR_SIGNATURE}],
                    "when": signed_at,
                    "who": {**self._ref("Practitioner"), "display": clean(sealed.signer_subject)},
                    "targetFormat": _PDF,
                    "sigFormat": _PDF,
                }
            ],
        }

    def _document_reference(self, pdf_url: str) -> Resource:
        sealed = self._sealed
        return {
            **self._label(),
            "masterIdentifier": self._identifier("DocumentReference"),
            "identifier": [self._identifier("DocumentReference")],
            "status": "current",
            "docStatus": self._document_status(),
            "type": self._type(),
            "subject": self._ref("Patient"),
            "date": instant(sealed.signed_at),
            "author": [self._ref("PractitionerRole")],
            "custodian": self._ref("Organization"),
            "content": [{"attachment": self._attachment(pdf_url)}],
            "context": {
                "related": [
                    self._ref("ImagingStudy"),
                    {"identifier": dicom_uid(sealed.sr_instance_uid).spelled()},
                ]
            },
        }

    def _attachment(self, pdf_url: str) -> Resource:
        return {
            "contentType": _PDF,
            "language": self._sealed.language,
            "url": pdf_url,
            "size": len(self._pdf),
            "hash": pdf_hash(self._pdf),
            "title": clean(self._sealed.title),
            "creation": instant(self._sealed.signed_at),
        }

    def _binary(self) -> Resource:
        return {"contentType": _PDF, "data": base64.b64encode(self._pdf).decode()}


def pdf_hash(pdf: bytes) -> str:
    """Return the hash that FHIR R4 Attachment asks for: SHA-1, base64, not for security."""
    return base64.b64encode(hashlib.sha1(pdf, usedforsecurity=False).digest()).decode()


def _by_series(
    entries: tuple[ManifestEntry, ...],
) -> Iterator[tuple[str, list[ManifestEntry]]]:
    series: dict[str, list[ManifestEntry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.series_uid, entry.instance_uid)):
        series.setdefault(entry.series_uid, []).append(entry)
    yield from series.items()


def _series(uid: str, entries: list[ManifestEntry], *, listed: bool) -> Resource:
    resource: Resource = {
        "uid": uid,
        "modality": _modality(entries[0].modality or "OT"),
        "numberOfInstances": len(entries),
    }
    if listed:
        resource["instance"] = [
            {
                "uid": entry.instance_uid,
                "sopClass": {
                    "system": "urn:ietf:rfc:3986",
                    "code": f"urn:oid:{entry.sop_class_uid}",
                },
            }
            for entry in entries
        ]
    return resource


def _modality(code: str) -> Resource:
    return {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": clean(code)}
