"""What is signed: the content of a finalised version, and the sealed document made from it."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kernel.codes import Coded
from kernel.digest import canonical_json, sha256_of
from reporting.sections import Section

SCHEMA = "telerad-report/1"

_DIAGNOSTIC_IMAGING = Coded("18748-4", "LN", "Diagnostic Imaging Report")
_XRAY = Coded("43468-8", "LN", "X-Ray Report")
# DICOM PS3.16 CID 7000, Diagnostic Imaging Report Document Titles; modality as in (0008,0060).
TITLES: dict[str, Coded] = {
    "CR": _XRAY,
    "DX": _XRAY,
    "CT": Coded("25045-6", "LN", "CT Report"),
    "MR": Coded("25056-3", "LN", "MRI Report"),
    "US": Coded("25061-3", "LN", "Ultrasound Report"),
}


def title_for(modality: str) -> Coded:
    """Return the coded title of the report of a modality."""
    return TITLES.get(modality, _DIAGNOSTIC_IMAGING)


def in_zone(at: datetime, zone: str) -> datetime:
    """Return a moment as clocks of a zone show it; UTC where the machine does not know the zone."""
    try:
        return at.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        return at.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Party:
    """A person or organisation as the document names it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientBlock:
    """The patient as the document names them; `birth_date` is ISO 8601."""

    ref: str
    issuer: str
    patient_id: str
    name: str
    sex: str
    birth_date: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """All that a finalised version says, frozen; its digest is what the signature stands for.

    `predecessor` is the digest of the sealed version that an addendum adds to.
    """

    report_id: str
    version: int
    kind: str
    language: str
    zone: str
    title: Coded
    case_id: str
    request_id: str
    accession: str
    study_uid: str
    study_description: str
    manifest_version: int
    manifest_digest: str
    profile: str
    modality: str
    patient: PatientBlock
    site: Party
    organisation: Party
    author: Party
    sections: tuple[Section, ...]
    finalised_at: datetime
    predecessor: str | None

    def to_plain(self) -> dict[str, Any]:
        """Return the content as plain JSON values."""
        plain = asdict(self)
        plain["schema"] = SCHEMA
        plain["finalised_at"] = self.finalised_at.isoformat()
        plain["sections"] = [asdict(section) for section in self.sections]
        return plain

    def to_bytes(self) -> bytes:
        """Return the one canonical spelling of the content."""
        return canonical_json(self.to_plain())

    def digest(self) -> str:
        """Return the SHA-256 of the canonical spelling."""
        return sha256_of(self.to_bytes())

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """Rebuild the content from its plain values."""
        values = {name: value for name, value in plain.items() if name != "schema"}
        values["title"] = Coded(**plain["title"])
        values["patient"] = PatientBlock(**plain["patient"])
        for name in ("site", "organisation", "author"):
            values[name] = Party(**plain[name])
        values["sections"] = tuple(
            Section(Coded(**section["code"]), section["text"]) for section in plain["sections"]
        )
        values["finalised_at"] = datetime.fromisoformat(plain["finalised_at"])
        return cls(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedDocument:
    """A signed version of a report and where its bytes lie in the object store.

    `title` is the meaning of `title_code`; digests are SHA-256 of the whole file.
    """

    report_id: str
    version: int
    kind: str
    case_id: str
    request_id: str
    accession: str
    patient_ref: str
    study_uid: str
    manifest_version: int
    manifest_digest: str
    profile: str
    modality: str
    language: str
    site_id: str
    author: str
    author_name: str
    organisation_id: str
    organisation_name: str
    title: str
    title_code: Coded
    sections: tuple[Section, ...]
    content_digest: str
    finalised_at: datetime
    signed_at: datetime
    pdf_key: str
    pdf_sha256: str
    sr_key: str
    sr_sha256: str
    sr_instance_uid: str
    sr_series_uid: str
    signer_subject: str
    demo_signature: bool
