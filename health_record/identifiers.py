"""The business identifiers under which a health record knows what we file."""

import base64
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from health_record.spelling import Resource, clean
from kernel.errors import Misconfigured
from kernel.ids import is_uid

DICOM_UID = "urn:dicom:uid"
URI = "urn:ietf:rfc:3986"


@dataclass(frozen=True, slots=True)
class Identifier:
    """A FHIR identifier: a value and the system in which it is unique."""

    system: str
    value: str

    def spelled(self) -> Resource:
        """Return the FHIR datatype."""
        return {"system": self.system, "value": self.value}

    def query(self) -> str:
        """Return the search query that finds the resource of this identifier.

        References
        ----------
        FHIR R4 search 3.1.1.4.10 (token) and 3.1.1.4.0.2 (escaping of ``\\``, ``|``, ``,``, ``$``).
        """
        return urlencode({"identifier": f"{_escaped(self.system)}|{_escaped(self.value)}"})


@dataclass(frozen=True, slots=True)
class Naming:
    """How the deployment names its things to the outside; `root` is a URI that it owns."""

    root: str = "https://telerad.example/id"

    def __post_init__(self) -> None:
        if not self.root.startswith(("https://", "http://", "urn:")) or self.root.endswith("/"):
            raise Misconfigured("the identifier root must be a URI without a slash at its end")

    def of(self, kind: str, *parts: str | int) -> Identifier:
        """Return the identifier of one of our own things: report, request, practitioner, …"""
        return Identifier(f"{self.root}/{kind}", "@".join(map(str, parts)))

    def patient(self, issuer: str, patient_id: str, ref: str) -> Identifier:
        """Return the identifier of a patient as the issuer gave it (DICOM PS3.3 C.2.2).

        A patient without one (an unidentified emergency) goes by the engine's own reference.
        """
        patient_id = clean(patient_id).strip()
        if not patient_id:
            return self.of("patient-ref", ref)
        if is_uid(issuer):
            return Identifier(f"urn:oid:{issuer}", patient_id)
        if issuer.startswith(("urn:", "https://", "http://")):
            return Identifier(issuer, patient_id)
        return Identifier(f"{self.root}/patient/{quote(issuer, safe='')}", patient_id)

    def accession(self, site_id: str, accession: str) -> Identifier:
        """Return the identifier of an accession number, unique within the site that gave it."""
        return Identifier(
            f"{self.root}/accession/{quote(site_id, safe='')}", clean(accession).strip()
        )

    def report_version(self, report_id: str, version: int) -> Identifier:
        """Return the identifier of one version of a report: what is delivered and receipted."""
        return self.of("report-version", report_id, version)


def dicom_uid(uid: str) -> Identifier:
    """Return the identifier of a DICOM object (FHIR R4 ImagingStudy, DICOM PS3.5 section 9)."""
    return Identifier(DICOM_UID, f"urn:oid:{uid}")


def sha256_uri(digest_hex: str) -> Identifier:
    """Return a SHA-256 digest as a name of the bytes it belongs to (RFC 6920 section 3)."""
    digest = base64.urlsafe_b64encode(bytes.fromhex(digest_hex)).decode().rstrip("=")
    return Identifier(URI, f"ni:///sha-256;{digest}")


def _escaped(text: str) -> str:
    for special in ("\\", "|", ",", "$"):
        text = text.replace(special, "\\" + special)
    return text
