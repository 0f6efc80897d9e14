"""What an author does with a report on a real database."""

import pytest

import reporting
from reporting import commands
from reporting.errors import (
    DraftConflict,
    ImagesCameSince,
    LanguageUnknown,
    NotTheAuthor,
    ReportUnknown,
)
from reporting.report import VersionState
from reporting.sections import ADDENDUM, RECOMMENDATION, Section
from tests.reporting.samples import SIGNED_TEXT
from worklist import NotHolder


def test_only_who_holds_the_case_begins_its_report(room):
    case_id = room.claimed_case()

    with pytest.raises(NotHolder):
        room.begin(case_id, "r-2")

    report = room.begin(case_id)
    assert (report.subject.author_name, report.subject.zone) == ("Щърбанов Йордан", "Asia/Almaty")
    assert report.subject.site_name == "Ауылдық аурухана"
    assert room.actions(case_id) == [("report.begun", "success")]


def test_beginning_twice_finds_the_same_report(room):
    case_id = room.claimed_case()
    report = room.save(room.begin(case_id), *SIGNED_TEXT)

    assert room.begin(case_id) == report


def test_a_language_without_wording_is_refused(room):
    case_id = room.claimed_case()

    with room.database.transaction() as tx, pytest.raises(LanguageUnknown):
        commands.start_draft(tx, case_id, "r-1", language="xx")


def test_two_windows_never_overwrite_each_other(room):
    report = room.begin(room.claimed_case())
    room.save(report, *SIGNED_TEXT)

    with pytest.raises(DraftConflict):
        room.save(report, Section(RECOMMENDATION, "from the other window"))
    with room.database.reading() as tx:
        kept = reporting.report_for_case(tx, report.subject.case_id)
    assert kept is not None
    assert kept.newest.sections == SIGNED_TEXT


def test_a_reader_who_lost_the_case_writes_no_more_and_the_text_is_kept(room):
    case_id = room.claimed_case()
    report = room.save(room.begin(case_id), *SIGNED_TEXT)
    room.release(case_id)

    with pytest.raises(NotHolder):
        room.save(report, Section(RECOMMENDATION, "late"))
    with pytest.raises(NotHolder):
        room.finalise(report)
    with room.database.reading() as tx:
        assert reporting.report_for_case(tx, case_id, "r-1") == report


def test_nobody_else_writes_in_a_report(room):
    report = room.begin(room.claimed_case())

    with pytest.raises(NotTheAuthor):
        room.save(report, *SIGNED_TEXT, reader="r-2")


def test_a_report_that_does_not_exist_is_not_found(room):
    with room.database.reading() as tx:
        assert reporting.report_for_case(tx, "case-?") is None
        with pytest.raises(ReportUnknown):
            reporting.versions_of(tx, "report-?")
        with pytest.raises(ReportUnknown):
            reporting.sealed(tx, "report-?", 1)


def test_finalising_freezes_patient_study_and_text(room):
    report = room.finalised()

    with room.database.reading() as tx:
        content = commands.store.content_of(tx, report.id, 1)
    assert content.patient.name == "Әлібекұлы^Қуаныш^Ғұмар"
    assert content.patient.birth_date == "1961-04-12"
    assert (content.manifest_version, content.accession) == (1, "ACC-1")
    assert content.sections == SIGNED_TEXT
    assert content.finalised_at == room.at


def test_an_edit_after_finalising_makes_a_new_version(room):
    report = room.finalised()

    edited = room.save(
        report, *SIGNED_TEXT, Section(RECOMMENDATION, "CT"), revision=report.revision + 1
    )

    with room.database.reading() as tx:
        states = [v.state for v in reporting.versions_of(tx, report.id)]
    assert states == [VersionState.SUPERSEDED, VersionState.DRAFT]
    assert edited.newest.number == 2
    assert ("report.superseded", "success") in room.actions(report.subject.case_id)


def test_images_noted_after_finalising_must_be_in_what_is_signed(room, r1_signer):
    report = room.finalised()
    room.note_late_image(report.subject.case_id, "r-1")

    with pytest.raises(ImagesCameSince):
        room.signing.sign(report.id, 1, r1_signer)
    with room.database.reading() as tx:
        report = reporting.report_for_case(tx, report.subject.case_id)
    assert room.finalise(report).number == 2

    assert room.signing.sign(report.id, 2, r1_signer).manifest_version == 2


def test_an_addendum_is_signed_after_the_case_has_left_its_reader(room, r1_signer):
    report = room.finalised()
    room.signing.sign(report.id, 1, r1_signer)
    room.release(report.subject.case_id)
    with room.database.transaction() as tx:
        report = commands.start_addendum(tx, report.id, "r-1")
    report = room.save(report, *SIGNED_TEXT, Section(ADDENDUM, "Old films: unchanged."))
    room.finalise(report)

    document = room.signing.sign(report.id, 2, r1_signer)

    assert document.kind == "addendum"
    assert document.sections[-1].text == "Old films: unchanged."
    with room.database.reading() as tx:
        both = reporting.sealed_for_case(tx, report.subject.case_id)
    assert [d.version for d in both] == [1, 2]
    facts = room.facts(report.subject.case_id, "ReportSigned")
    assert [f.report_version for f in facts] == [1, 2]
