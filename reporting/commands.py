"""What an author does with a report, in the caller's transaction; signing is in `sign`."""

from collections.abc import Iterable

import worklist
from kernel.facts import Plain
from kernel.ids import ReportId, derived
from kernel.people import Actor, Role
from reporting import report as rules
from reporting import store
from reporting.document import Content, Party, PatientBlock, title_for
from reporting.errors import ImagesCameSince, LanguageUnknown, NotTheAuthor
from reporting.glyphs import showable
from reporting.report import Report, Subject, Version, VersionKind, VersionState
from reporting.sections import Section
from reporting.wording import LANGUAGES
from storage import archive, audit, patients
from storage.engine import Transaction


def start_draft(tx: Transaction, case_id: str, reader_id: str, *, language: str = "en") -> Report:
    """Return the report of this reader for a case they hold, begun if there is none yet.

    Raises
    ------
    worklist.NotHolder
        The reader does not hold the case.
    LanguageUnknown
        The report cannot be written in this language.
    """
    case = worklist.require_writer(tx, case_id, reader_id)
    known = store.find(tx, case_id=case_id, author=reader_id)
    if known is not None:
        return known
    if language not in LANGUAGES:
        raise LanguageUnknown(f"a report cannot be written in {language!r}", language=language)
    reader = worklist.get_reader(tx, reader_id)
    organisation = worklist.get_organisation(tx, reader.organisation_id)
    subject = Subject(
        case_id=case.id,
        request_id=case.request_id,
        accession=case.accession,
        patient_ref=case.patient_ref,
        study_uid=case.study_uid,
        profile=case.profile,
        modality=case.modality,
        site_id=case.site_id,
        site_name=worklist.get_organisation(tx, case.site_id).name,
        author=reader.id,
        author_name=reader.name,
        organisation_id=organisation.id,
        organisation_name=organisation.name,
        zone=organisation.zone,
        language=language,
    )
    report = rules.begin(ReportId(derived("report", case_id, reader_id)), subject, at=tx.at)
    store.add(tx, report)
    _record(tx, report, "report.begun", version=1)
    return report


def save_draft(
    tx: Transaction,
    report_id: str,
    reader_id: str,
    sections: Iterable[Section],
    *,
    expected_revision: int,
) -> Report:
    """Store the text; if the newest version was finalised, this begins the next one.

    Raises
    ------
    DraftConflict
        The report was changed since the revision that the writer saw.
    AlreadySealed
        The newest version is signed.
    SectionRefused
        The text cannot be stored as it is.
    """
    before = _writable(tx, report_id, reader_id)
    after = rules.edit(before, sections, expected_revision=expected_revision, at=tx.at)
    if after == before:
        return before
    store.save(tx, before, after)
    if after.newest.number != before.newest.number:
        _record(tx, after, "report.superseded", version=before.newest.number)
    return after


def finalise(tx: Transaction, report_id: str, reader_id: str, *, expected_revision: int) -> Version:
    """Make the newest version immutable and freeze all that it says; doing it twice is once.

    If the reader noted late images since, the same text becomes a version that names them.

    Raises
    ------
    SectionEmpty
        Findings or impression are missing.
    UnprintableCharacter
        The signed document could not show the text.
    DraftConflict
        The report was changed since the revision that the writer saw.
    """
    before = _writable(tx, report_id, reader_id)
    current = before
    if _images_came_since(tx, before):
        current = rules.reopen(before, at=tx.at)
        expected_revision += current.revision - before.revision
    after = rules.finalise(
        current, expected_revision=expected_revision, glyphs=showable(), at=tx.at
    )
    if after != before:
        content = _content(tx, after)
        store.save(tx, before, after, content)
        _record(
            tx,
            after,
            "report.finalised",
            version=after.newest.number,
            content_digest=content.digest(),
        )
    return after.newest


def start_addendum(tx: Transaction, report_id: str, reader_id: str) -> Report:
    """Begin an addendum to a signed report; its author may, whoever holds the case now.

    Raises
    ------
    NotTheAuthor
        Somebody else signed the report.
    ReportMoveRefused
        The report is not signed.
    """
    before = _of_author(tx, report_id, reader_id)
    after = rules.begin_addendum(before, at=tx.at)
    store.save(tx, before, after)
    _record(tx, after, "report.addendum_begun", version=after.newest.number)
    return after


def require_writer(tx: Transaction, report: Report, version: Version) -> None:
    """Refuse unless the author may go on with this version now.

    The first versions are written by who holds the case (KZ §35); an addendum comes after the
    case has left its reader, so authorship alone decides.

    Raises
    ------
    worklist.NotHolder
        The author does not hold the case any more.
    """
    if version.kind is VersionKind.ORIGINAL:
        worklist.require_writer(tx, report.subject.case_id, report.subject.author)


def require_current(tx: Transaction, content: Content) -> None:
    """Refuse content that leaves out images which its reader has noted since.

    Raises
    ------
    ImagesCameSince
        It must be finalised again.
    """
    if worklist.get_case(tx, content.case_id).manifest_version > content.manifest_version:
        raise ImagesCameSince(
            "images came after this text was finalised; look at them and finalise it again",
            version=content.version,
        )


def actor_of(report: Report) -> Actor:
    """Return the author as the audit names them."""
    return Actor(
        ref=f"reader:{report.subject.author}",
        role=Role.CONSULTANT,
        organisation=report.subject.organisation_id,
    )


def _of_author(tx: Transaction, report_id: str, reader_id: str) -> Report:
    report = store.get(tx, report_id, lock=True)
    if report.subject.author != reader_id:
        raise NotTheAuthor("only its author may go on with a report", report_id=report_id)
    return report


def _writable(tx: Transaction, report_id: str, reader_id: str) -> Report:
    report = _of_author(tx, report_id, reader_id)
    require_writer(tx, report, report.newest)
    return report


def _images_came_since(tx: Transaction, report: Report) -> bool:
    if report.newest.state is not VersionState.FINALISED:
        return False
    try:
        require_current(tx, store.content_of(tx, report.id, report.newest.number))
    except ImagesCameSince:
        return True
    return False


def _content(tx: Transaction, report: Report) -> Content:
    """Gather all that the newest version says, as it stands now."""
    subject = report.subject
    patient = patients.get(tx, subject.patient_ref)
    seen = worklist.get_case(tx, subject.case_id).manifest_version
    manifest = archive.manifest(tx, subject.study_uid, seen)
    sealed = report.sealed
    return Content(
        report_id=report.id,
        version=report.newest.number,
        kind=report.newest.kind.value,
        language=subject.language,
        zone=subject.zone,
        title=title_for(subject.modality),
        case_id=subject.case_id,
        request_id=subject.request_id,
        accession=subject.accession,
        study_uid=subject.study_uid,
        study_description=manifest.study_description,
        manifest_version=manifest.version,
        manifest_digest=manifest.digest,
        profile=subject.profile,
        modality=subject.modality,
        patient=PatientBlock(
            ref=patient.ref,
            issuer=patient.issuer,
            patient_id=patient.patient_id,
            name=patient.name,
            sex=patient.sex,
            birth_date=patient.birth_date.isoformat() if patient.birth_date else None,
        ),
        site=Party(subject.site_id, subject.site_name),
        organisation=Party(subject.organisation_id, subject.organisation_name),
        author=Party(subject.author, subject.author_name),
        sections=report.newest.sections,
        finalised_at=report.newest.moved_at,
        predecessor=(
            store.content_of(tx, report.id, sealed[-1].number).digest() if sealed else None
        ),
    )


def _record(tx: Transaction, report: Report, action: str, **detail: Plain) -> None:
    audit.record(
        tx,
        actor=actor_of(report),
        action=action,
        subject=f"report:{report.id}",
        case_id=report.subject.case_id,
        detail=detail,
    )
