"""A report and its versions: draft, finalised, sealed; pure.

A version is written as a draft, becomes immutable when it is finalised, and is sealed with its
author's signature (KZ §37).  Any edit of a finalised version makes the next one.  A sealed
version is never edited: what is to be added goes into an addendum, which is a version again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from kernel.ids import ReportId
from reporting.errors import (
    AlreadySealed,
    DraftConflict,
    NewerVersionExists,
    ReportMoveRefused,
    ReportUnknown,
    SectionEmpty,
    SectionRefused,
)
from reporting.sections import (
    ADDENDUM,
    Section,
    bound,
    clean,
    require_complete,
    require_showable,
    written,
)


class VersionState(StrEnum):
    """Where one version of a report stands."""

    DRAFT = "draft"
    FINALISED = "finalised"
    SUPERSEDED = "superseded"
    SEALED = "sealed"


class VersionKind(StrEnum):
    """What a version is to the ones before it."""

    ORIGINAL = "original"
    ADDENDUM = "addendum"


MOVES: dict[VersionState, frozenset[VersionState]] = {
    VersionState.DRAFT: frozenset({VersionState.FINALISED}),
    VersionState.FINALISED: frozenset({VersionState.SEALED, VersionState.SUPERSEDED}),
    VersionState.SUPERSEDED: frozenset(),
    VersionState.SEALED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of the text."""

    number: int
    kind: VersionKind
    state: VersionState
    sections: tuple[Section, ...]
    moved_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a report is about and who writes it, settled when the draft is begun.

    `zone` is the IANA time zone of the author's organisation, `language` an ISO 639-1 code.
    """

    case_id: str
    request_id: str
    accession: str
    patient_ref: str
    study_uid: str
    profile: str
    modality: str
    site_id: str
    site_name: str
    author: str
    author_name: str
    organisation_id: str
    organisation_name: str
    zone: str
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One author's report of one case.

    `revision` grows with each change, so that a writer who saw an older one is noticed.
    """

    id: ReportId
    subject: Subject
    revision: int
    versions: tuple[Version, ...]

    @property
    def newest(self) -> Version:
        """The version that work goes on with."""
        return self.versions[-1]

    @property
    def sealed(self) -> tuple[Version, ...]:
        """The versions that were signed, oldest first."""
        return tuple(v for v in self.versions if v.state is VersionState.SEALED)

    def version(self, number: int) -> Version:
        """Return one version.

        Raises
        ------
        ReportUnknown
            The report has no version of this number.
        """
        for version in self.versions:
            if version.number == number:
                return version
        raise ReportUnknown(f"the report has no version {number}", version=number)


def begin(report_id: ReportId, subject: Subject, *, at: datetime) -> Report:
    """Return a new report with an empty draft as its first version."""
    first = Version(
        number=1,
        kind=VersionKind.ORIGINAL,
        state=VersionState.DRAFT,
        sections=(),
        moved_at=at,
    )
    return Report(id=report_id, subject=subject, revision=1, versions=(first,))


def edit(
    report: Report, sections: Iterable[Section], *, expected_revision: int, at: datetime
) -> Report:
    """Return the report with this text; a finalised version is superseded by the next one.

    Text that equals the stored one changes nothing, so that an autosave makes no version.

    Raises
    ------
    DraftConflict
        The writer saw another revision than the stored one.
    AlreadySealed
        The newest version is sealed.
    SectionRefused
        A section cannot be stored, or a sealed section was changed in an addendum.
    """
    newest = report.newest
    if newest.state is VersionState.SEALED:
        raise AlreadySealed(
            "the report is signed; write an addendum instead", version=newest.number
        )
    if expected_revision != report.revision:
        raise DraftConflict(expected_revision, report.revision)
    text = (
        written(sections)
        if newest.kind is VersionKind.ORIGINAL
        else _added(newest.sections, tuple(sections))
    )
    if text == newest.sections:
        return report
    if newest.state is VersionState.DRAFT:
        return _with_newest(report, replace(newest, sections=text, moved_at=at))
    superseded = _with_newest(report, _moved(newest, VersionState.SUPERSEDED, at=at))
    return _with_next(superseded, newest.kind, text, at=at)


def finalise(
    report: Report, *, expected_revision: int, glyphs: frozenset[int], at: datetime
) -> Report:
    """Return the report with its newest version immutable; a finalised one stays as it is.

    Parameters
    ----------
    glyphs
        The code points that the fonts of the document can show.

    Raises
    ------
    DraftConflict
        The writer saw another revision than the stored one.
    SectionEmpty
        Findings, impression, or the text of an addendum are missing.
    UnprintableCharacter
        The signed document could not show the text.
    ReportMoveRefused
        The newest version is sealed.
    """
    newest = report.newest
    if newest.state is VersionState.FINALISED:
        return report
    if expected_revision != report.revision:
        raise DraftConflict(expected_revision, report.revision)
    require_complete(newest.sections)
    require_showable(newest.sections, glyphs)
    if newest.kind is VersionKind.ADDENDUM and not newest.sections[-1].text:
        raise SectionEmpty("the addendum has no text", section=ADDENDUM.value)
    return _with_newest(report, _moved(newest, VersionState.FINALISED, at=at))


def reopen(report: Report, *, at: datetime) -> Report:
    """Return the report with its finalised text as the next draft.

    Images that came late and were noted by the reader make what was finalised incomplete.
    """
    newest = report.newest
    superseded = _with_newest(report, _moved(newest, VersionState.SUPERSEDED, at=at))
    return _with_next(superseded, newest.kind, newest.sections, at=at)


def require_sealable(report: Report, number: int) -> Version:
    """Return the version if it may be signed now.

    Raises
    ------
    ReportUnknown
        There is no such version.
    NewerVersionExists
        The text was edited after this version was finalised.
    ReportMoveRefused
        The version is not finalised, or it is sealed.
    """
    version = report.version(number)
    if version.number != report.newest.number:
        raise NewerVersionExists(
            f"version {number} cannot be signed: version {report.newest.number} is newer",
            version=number,
            newest=report.newest.number,
        )
    _require_move(version, VersionState.SEALED)
    return version


def seal(report: Report, number: int, *, at: datetime) -> Report:
    """Return the report with a finalised version sealed; the caller holds its signature."""
    version = require_sealable(report, number)
    return _with_newest(report, _moved(version, VersionState.SEALED, at=at))


def begin_addendum(report: Report, *, at: datetime) -> Report:
    """Return the report with a draft that repeats the sealed text and adds an empty addendum.

    Raises
    ------
    ReportMoveRefused
        The newest version is not sealed: it can simply be edited.
    """
    newest = report.newest
    if newest.state is not VersionState.SEALED:
        raise ReportMoveRefused(newest.state, VersionKind.ADDENDUM, newest.number)
    text = (*newest.sections, Section(ADDENDUM, ""))
    return _with_next(report, VersionKind.ADDENDUM, text, at=at)


def _added(before: tuple[Section, ...], after: tuple[Section, ...]) -> tuple[Section, ...]:
    if after[:-1] != before[:-1] or not after or after[-1].code != ADDENDUM:
        raise SectionRefused(
            "an addendum leaves the signed sections as they are and changes its own text only"
        )
    text = (*before[:-1], clean(after[-1]))
    bound(text)
    return text


def _require_move(version: Version, target: VersionState) -> None:
    if target not in MOVES[version.state]:
        raise ReportMoveRefused(version.state, target, version.number)


def _moved(version: Version, target: VersionState, *, at: datetime) -> Version:
    _require_move(version, target)
    return replace(version, state=target, moved_at=at)


def _with_newest(report: Report, version: Version) -> Report:
    return replace(report, revision=report.revision + 1, versions=(*report.versions[:-1], version))


def _with_next(
    report: Report, kind: VersionKind, sections: tuple[Section, ...], *, at: datetime
) -> Report:
    version = Version(
        number=report.newest.number + 1,
        kind=kind,
        state=VersionState.DRAFT,
        sections=sections,
        moved_at=at,
    )
    return replace(report, revision=report.revision + 1, versions=(*report.versions, version))
