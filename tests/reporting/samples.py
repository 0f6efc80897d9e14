"""Sample reports, contents and documents."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kernel.ids import ReportId, StudyUID
from reporting import report as rules
from reporting.document import Content, Party, PatientBlock, title_for
from reporting.glyphs import showable
from reporting.report import Report, Subject
from reporting.sections import (
    FINDINGS,
    IMPRESSION,
    INDICATION,
    PROCEDURE,
    RECOMMENDATION,
    Section,
)
from storage.archive import Manifest, ManifestEntry

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KAZAKH = "Әлібекұлы Өтеген Қуаныш Ғұмар: ошақты көлеңкелер анықталмады. Ңң Үү Ұұ Іі Һһ"
UKRAINIAN = "Ґалаґан Їжакевич Євгенія: вогнищевих змін не виявлено."
BULGARIAN = "Йордан Щърбанов: без патологични изменения, ъ ь ю я."
HOSTILE = '#import "/etc/passwd": * ]# } ) \\ $x^2$ *b* _i_ #panic("x") @ref <l> // c `r` = h'
SIGNED_TEXT = (Section(FINDINGS, "Clear lungs."), Section(IMPRESSION, "No acute finding."))
DX_IMAGE = "1.2.840.10008.5.1.4.1.1.1.1"


def a_subject(**changes: Any) -> Subject:
    """A chest film of a rural site, read by r-1."""
    subject = Subject(
        case_id="case-1",
        request_id="request-1",
        accession="ACC-1",
        patient_ref="patient-1",
        study_uid="1.2.3",
        profile="thoracic",
        modality="DX",
        site_id="site-1",
        site_name="Жаңақала ауылдық ауруханасы",
        author="r-1",
        author_name="Щърбанов Йордан",
        organisation_id="org-1",
        organisation_name="Обласна клінічна лікарня",
        zone="Asia/Almaty",
        language="en",
    )
    return replace(subject, **changes)


def a_draft() -> Report:
    """A report that was just begun."""
    return rules.begin(ReportId("report-1"), a_subject(), at=NOON)


def a_written_draft() -> Report:
    """A draft with findings and impression."""
    return rules.edit(a_draft(), SIGNED_TEXT, expected_revision=1, at=NOON)


def a_finalised_report() -> Report:
    """A report whose first version waits for its signature."""
    draft = a_written_draft()
    return rules.finalise(
        draft, expected_revision=draft.revision, glyphs=showable(), at=NOON + HOUR
    )


def a_sealed_report() -> Report:
    """A report whose first version is signed."""
    return rules.seal(a_finalised_report(), 1, at=NOON + 2 * HOUR)


def a_content(**changes: Any) -> Content:
    """What the finalised version of a chest film says, in three languages."""
    content = Content(
        report_id="0f8c7b6a-1111-5222-8333-444455556666",
        version=1,
        kind="original",
        language="kk",
        zone="Asia/Almaty",
        title=title_for("DX"),
        case_id="case-1",
        request_id="request-1",
        accession="ACC-1",
        study_uid="1.2.3",
        study_description="Chest PA",
        manifest_version=1,
        manifest_digest="ab" * 32,
        profile="thoracic",
        modality="DX",
        patient=PatientBlock(
            ref="patient-1",
            issuer="RURAL-1",
            patient_id="A-1001",
            name="Әлібекұлы^Қуаныш^Ғұмар",
            sex="M",
            birth_date="1961-04-12",
        ),
        site=Party("site-1", "Жаңақала ауылдық ауруханасы"),
        organisation=Party("org-1", "Обласна клінічна лікарня — Центр телерадіології"),
        author=Party("r-1", "Щърбанов Йордан"),
        sections=(
            Section(INDICATION, "Cough and fever for ten days; smoker (30 pack-years)."),
            Section(PROCEDURE, "Chest radiograph, PA."),
            Section(FINDINGS, f"{KAZAKH}\n{UKRAINIAN}\n\n{BULGARIAN}\n\n{HOSTILE}"),
            Section(IMPRESSION, "Патологиялық өзгерістер анықталмады.\nNo acute finding."),
            Section(RECOMMENDATION, "Clinical follow-up."),
        ),
        finalised_at=NOON,
        predecessor=None,
    )
    return replace(content, **changes)


def a_manifest(instances: int = 2) -> Manifest:
    """The study of the sample content."""
    return Manifest(
        study_uid=StudyUID("1.2.3"),
        version=1,
        digest="ab" * 32,
        frozen_at=NOON,
        last_received_at=NOON,
        patient_ref=a_content().patient.ref,  # type: ignore[arg-type]
        accession="ACC-1",
        study_description="Chest PA",
        study_date="20261122",
        study_time="101112.5",
        station_ae_title="VAN1",
        modalities=("DX",),
        body_parts=("CHEST",),
        entries=tuple(
            ManifestEntry(f"1.2.3.1.{n}", "1.2.3.1", DX_IMAGE, "1.2.840.10008.1.2.1", "DX", "00", n)
            for n in range(1, instances + 1)
        ),
    )
