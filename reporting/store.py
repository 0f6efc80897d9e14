"""Reports in the database."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping

from kernel.codes import Coded
from kernel.errors import Corrupt
from kernel.ids import ReportId
from reporting.document import Content, SealedDocument
from reporting.errors import DraftConflict, ReportUnknown
from reporting.report import Report, Subject, Version, VersionKind, VersionState
from reporting.sections import Section
from storage.engine import Transaction
from storage.tables.reporting import REPORT_VERSIONS, REPORTS, SEALED_DOCUMENTS

_PAGE = 200


class ContentDamaged(Corrupt):
    """The stored content of a finalised version does not have the digest it was frozen with."""

    code = "reporting.content_damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What sealing adds to a finalised version."""

    pdf_key: str
    pdf_sha256: str
    sr_key: str
    sr_sha256: str
    sr_series_uid: str
    sr_instance_uid: str
    signer_subject: str
    demo_signature: bool
    signed_at: datetime


def add(tx: Transaction, report: Report) -> None:
    """Store a new report."""
    tx.execute(
        insert(REPORTS).values(
            id=report.id,
            case_id=report.subject.case_id,
            author=report.subject.author,
            revision=report.revision,
            subject=asdict(report.subject),
            begun_at=tx.at,
            moved_at=tx.at,
        )
    )
    for version in report.versions:
        tx.execute(insert(REPORT_VERSIONS).values(_version_row(report, version)))


def save(tx: Transaction, before: Report, after: Report, content: Content | None = None) -> None:
    """Store what changed between two states of a report.

    Parameters
    ----------
    content
        What the newest version says, given when it was finalised between the two.

    Raises
    ------
    DraftConflict
        Another transaction changed the report since `before` was loaded.
    """
    moved = tx.execute(
        update(REPORTS)
        .where(REPORTS.c.id == before.id, REPORTS.c.revision == before.revision)
        .values(revision=after.revision, moved_at=tx.at)
    )
    if moved.rowcount != 1:
        raise DraftConflict(before.revision, get(tx, before.id).revision)
    old = {version.number: version for version in before.versions}
    for version in after.versions:
        row = _version_row(after, version)
        if content is not None and version.number == content.version:
            row |= {"content": content.to_plain(), "content_digest": content.digest()}
        if version.number not in old:
            tx.execute(insert(REPORT_VERSIONS).values(row))
        elif version != old[version.number]:
            tx.execute(
                update(REPORT_VERSIONS)
                .where(
                    REPORT_VERSIONS.c.report_id == after.id,
                    REPORT_VERSIONS.c.number == version.number,
                )
                .values(row)
            )


def get(tx: Transaction, report_id: str, *, lock: bool = False) -> Report:
    """Return a report with all its versions.

    With `lock` nobody else changes it until the transaction ends.  A report is locked before its
    case, everywhere, so that two transactions never wait for each other.

    Raises
    ------
    ReportUnknown
        There is no such report.
    """
    query = select(REPORTS).where(REPORTS.c.id == report_id)
    row = tx.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise ReportUnknown("there is no such report", report_id=report_id)
    return _report(tx, row)


def find(tx: Transaction, *, case_id: str, author: str) -> Report | None:
    """Return the report of a case by an author, if it was begun."""
    query = select(REPORTS).where(REPORTS.c.case_id == case_id, REPORTS.c.author == author)
    row = tx.execute(query).mappings().first()
    return None if row is None else _report(tx, row)


def of_case(tx: Transaction, case_id: str) -> list[Report]:
    """Return the reports of a case by all its authors, the last touched first."""
    query = (
        select(REPORTS)
        .where(REPORTS.c.case_id == case_id)
        .order_by(REPORTS.c.moved_at.desc(), REPORTS.c.id)
    )
    return [_report(tx, row) for row in tx.execute(query).mappings().all()]


def content_of(tx: Transaction, report_id: str, number: int) -> Content:
    """Return what a finalised version says.

    Raises
    ------
    ReportUnknown
        There is no such version, or it is still a draft.
    ContentDamaged
        It is not what was finalised.
    """
    row = tx.execute(
        select(REPORT_VERSIONS.c.content, REPORT_VERSIONS.c.content_digest).where(
            REPORT_VERSIONS.c.report_id == report_id, REPORT_VERSIONS.c.number == number
        )
    ).first()
    if row is None or row.content is None:
        raise ReportUnknown(
            f"the report has no finalised version {number}", report_id=report_id, version=number
        )
    content = Content.from_plain(row.content)
    if content.digest() != row.content_digest:
        raise ContentDamaged(
            "the stored content is not what was finalised", report_id=report_id, version=number
        )
    return content


def add_seal(tx: Transaction, content: Content, seal: Seal) -> None:
    """Store where the sealed document of a version lies; a second one is impossible."""
    tx.execute(
        insert(SEALED_DOCUMENTS).values(
            report_id=content.report_id,
            number=content.version,
            case_id=content.case_id,
            **asdict(seal),
        )
    )


def sealed(tx: Transaction, report_id: str, number: int) -> SealedDocument | None:
    """Return the sealed document of a version, None if it is not sealed."""
    row = (
        tx.execute(
            select(SEALED_DOCUMENTS).where(
                SEALED_DOCUMENTS.c.report_id == report_id, SEALED_DOCUMENTS.c.number == number
            )
        )
        .mappings()
        .first()
    )
    return None if row is None else _sealed(content_of(tx, report_id, number), row)


def all_sealed(tx: Transaction) -> Iterator[tuple[str, int]]:
    """Yield (report, version) of every sealed document in order."""
    last = ("", 0)
    key = (SEALED_DOCUMENTS.c.report_id, SEALED_DOCUMENTS.c.number)
    while True:
        report_id, number = last
        after = (key[0] > report_id) | ((key[0] == report_id) & (key[1] > number))
        page = tx.execute(select(*key).where(after).order_by(*key).limit(_PAGE)).all()
        yield from ((row.report_id, row.number) for row in page)
        if len(page) < _PAGE:
            return
        last = (page[-1].report_id, page[-1].number)


def _version_row(report: Report, version: Version) -> dict[str, Any]:
    return {
        "report_id": report.id,
        "number": version.number,
        "kind": version.kind.value,
        "state": version.state.value,
        "sections": [
            [s.code.value, s.code.scheme, s.code.meaning, s.text] for s in version.sections
        ],
        "moved_at": version.moved_at,
    }


def _report(tx: Transaction, row: RowMapping) -> Report:
    found = tx.execute(
        select(REPORT_VERSIONS)
        .where(REPORT_VERSIONS.c.report_id == row["id"])
        .order_by(REPORT_VERSIONS.c.number)
    ).mappings()
    return Report(
        id=ReportId(row["id"]),
        subject=Subject(**row["subject"]),
        revision=row["revision"],
        versions=tuple(_version(version) for version in found),
    )


def _version(row: RowMapping) -> Version:
    return Version(
        number=row["number"],
        kind=VersionKind(row["kind"]),
        state=VersionState(row["state"]),
        sections=tuple(
            Section(Coded(value, scheme, meaning), text)
            for value, scheme, meaning, text in row["sections"]
        ),
        moved_at=row["moved_at"],
    )


def _sealed(content: Content, row: RowMapping) -> SealedDocument:
    return SealedDocument(
        report_id=content.report_id,
        version=content.version,
        kind=content.kind,
        case_id=content.case_id,
        request_id=content.request_id,
        accession=content.accession,
        patient_ref=content.patient.ref,
        study_uid=content.study_uid,
        manifest_version=content.manifest_version,
        manifest_digest=content.manifest_digest,
        profile=content.profile,
        modality=content.modality,
        language=content.language,
        site_id=content.site.id,
        author=content.author.id,
        author_name=content.author.name,
        organisation_id=content.organisation.id,
        organisation_name=content.organisation.name,
        title=content.title.meaning,
        title_code=content.title,
        sections=content.sections,
        content_digest=content.digest(),
        finalised_at=content.finalised_at,
        signed_at=row["signed_at"],
        pdf_key=row["pdf_key"],
        pdf_sha256=row["pdf_sha256"],
        sr_key=row["sr_key"],
        sr_sha256=row["sr_sha256"],
        sr_instance_uid=row["sr_instance_uid"],
        sr_series_uid=row["sr_series_uid"],
        signer_subject=row["signer_subject"],
        demo_signature=row["demo_signature"],
    )
