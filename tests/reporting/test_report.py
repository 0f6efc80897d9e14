"""The rules of a report: versions, their states, and text that may not be lost or altered."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kernel.codes import Coded
from kernel.errors import Refused
from reporting import report as rules
from reporting.errors import (
    AlreadySealed,
    DraftConflict,
    NewerVersionExists,
    ReportMoveRefused,
    ReportUnknown,
    SectionEmpty,
    SectionRefused,
    TextTooLong,
    UnprintableCharacter,
)
from reporting.glyphs import showable
from reporting.report import MOVES, VersionKind, VersionState
from reporting.sections import (
    ADDENDUM,
    FINDINGS,
    IMPRESSION,
    MAX_SECTION_CHARACTERS,
    RECOMMENDATION,
    WRITTEN,
    Section,
    written,
)
from tests.reporting.samples import (
    HOUR,
    NOON,
    SIGNED_TEXT,
    a_content,
    a_draft,
    a_finalised_report,
    a_sealed_report,
    a_written_draft,
)


def test_a_second_window_cannot_overwrite_what_the_first_saved():
    loaded = a_draft()
    first = rules.edit(loaded, SIGNED_TEXT, expected_revision=loaded.revision, at=NOON)

    with pytest.raises(DraftConflict) as refusal:
        rules.edit(first, (), expected_revision=loaded.revision, at=NOON)

    assert (refusal.value.expected, refusal.value.actual) == (1, 2)
    assert first.newest.sections == SIGNED_TEXT


def test_saving_the_same_text_again_changes_nothing():
    finalised = a_finalised_report()

    again = rules.edit(finalised, SIGNED_TEXT, expected_revision=finalised.revision, at=NOON)

    assert again == finalised


@pytest.mark.parametrize("missing", [FINDINGS, IMPRESSION])
def test_a_report_without_findings_or_impression_is_not_finalised(missing):
    text = [section for section in SIGNED_TEXT if section.code != missing]
    draft = rules.edit(a_draft(), text, expected_revision=1, at=NOON)

    with pytest.raises(SectionEmpty, match=missing.meaning):
        rules.finalise(draft, expected_revision=2, glyphs=showable(), at=NOON)


def test_blank_text_is_no_text():
    text = [Section(FINDINGS, " \n\t "), Section(IMPRESSION, "Normal.")]
    draft = rules.edit(a_draft(), text, expected_revision=1, at=NOON)

    with pytest.raises(SectionEmpty):
        rules.finalise(draft, expected_revision=2, glyphs=showable(), at=NOON)


def test_finalising_twice_is_finalising_once():
    finalised = a_finalised_report()

    assert rules.finalise(finalised, expected_revision=0, glyphs=showable(), at=NOON) == finalised


def test_an_edit_after_finalising_makes_the_next_version_and_the_old_one_cannot_be_signed():
    finalised = a_finalised_report()
    more = (*SIGNED_TEXT, Section(RECOMMENDATION, "CT."))

    edited = rules.edit(finalised, more, expected_revision=finalised.revision, at=NOON)

    assert [v.state for v in edited.versions] == [VersionState.SUPERSEDED, VersionState.DRAFT]
    assert edited.versions[0].sections == SIGNED_TEXT
    with pytest.raises(NewerVersionExists):
        rules.seal(edited, 1, at=NOON)


def test_only_a_finalised_version_can_be_sealed():
    with pytest.raises(ReportMoveRefused) as refusal:
        rules.seal(a_written_draft(), 1, at=NOON)
    assert (refusal.value.source, refusal.value.target) == ("draft", "sealed")

    with pytest.raises(ReportMoveRefused):
        rules.seal(a_sealed_report(), 1, at=NOON)
    with pytest.raises(ReportUnknown):
        rules.seal(a_finalised_report(), 2, at=NOON)


def test_a_sealed_report_is_not_edited():
    sealed = a_sealed_report()

    with pytest.raises(AlreadySealed):
        rules.edit(sealed, (), expected_revision=sealed.revision, at=NOON)


def test_an_addendum_repeats_the_signed_text_and_adds_to_it():
    report = rules.begin_addendum(a_sealed_report(), at=NOON)
    text = (*SIGNED_TEXT, Section(ADDENDUM, "Old films have come: unchanged."))

    report = rules.edit(report, text, expected_revision=report.revision, at=NOON)
    report = rules.finalise(
        report, expected_revision=report.revision, glyphs=showable(), at=NOON + HOUR
    )
    report = rules.seal(report, 2, at=NOON + HOUR)

    assert report.newest.kind is VersionKind.ADDENDUM
    assert report.newest.sections == text
    assert [v.number for v in report.sealed] == [1, 2]


def test_an_addendum_cannot_change_the_signed_text():
    report = rules.begin_addendum(a_sealed_report(), at=NOON)
    changed = (Section(FINDINGS, "Else."), SIGNED_TEXT[1], Section(ADDENDUM, "x"))

    for text in (changed, SIGNED_TEXT, ()):
        with pytest.raises(SectionRefused):
            rules.edit(report, text, expected_revision=report.revision, at=NOON)


def test_an_empty_addendum_is_not_finalised():
    report = rules.begin_addendum(a_sealed_report(), at=NOON)

    with pytest.raises(SectionEmpty):
        rules.finalise(report, expected_revision=report.revision, glyphs=showable(), at=NOON)


def test_only_a_sealed_report_gets_an_addendum():
    with pytest.raises(ReportMoveRefused):
        rules.begin_addendum(a_finalised_report(), at=NOON)


def test_text_beyond_its_bounds_is_refused():
    with pytest.raises(TextTooLong, match="20000"):
        written([Section(FINDINGS, "x" * (MAX_SECTION_CHARACTERS + 1))])
    with pytest.raises(TextTooLong, match="60000"):
        written([Section(code, "x" * MAX_SECTION_CHARACTERS) for code in WRITTEN])


@pytest.mark.parametrize(
    "section",
    [Section(ADDENDUM, "x"), Section(Coded("1", "L", "Bill"), "x")],
    ids=["addendum", "unknown"],
)
def test_a_section_that_is_not_written_is_refused(section):
    with pytest.raises(SectionRefused):
        written([section])


def test_a_section_given_twice_is_refused():
    with pytest.raises(SectionRefused, match="twice"):
        written([Section(FINDINGS, "a"), Section(FINDINGS, "b")])


@pytest.mark.parametrize("hidden", ["\x00", "\x1b", "\u202e", "\u2066", "\ud800"])
def test_text_that_would_not_read_as_it_is_stored_is_refused(hidden):
    with pytest.raises(UnprintableCharacter):
        written([Section(FINDINGS, f"no{hidden}nodule")])


def test_a_character_without_a_glyph_is_refused_before_it_is_signed():
    text = [Section(FINDINGS, "肺 clear"), Section(IMPRESSION, "Normal.")]
    draft = rules.edit(a_draft(), text, expected_revision=1, at=NOON)

    with pytest.raises(UnprintableCharacter, match=r"U\+80BA"):
        rules.finalise(draft, expected_revision=2, glyphs=showable(), at=NOON)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200))
def test_cleaning_is_done_once(text):
    try:
        once = written([Section(FINDINGS, text)])
    except UnprintableCharacter:
        return
    assert written(once) == once


@given(order=st.permutations(WRITTEN))
def test_sections_stand_in_the_order_of_the_report_however_they_are_sent(order):
    assert [s.code for s in written(Section(code, "x") for code in order)] == list(WRITTEN)


def test_line_ends_of_every_system_become_one():
    (section,) = written([Section(FINDINGS, "a\r\nb\rc\u2028d\x0be  \n")])

    assert section.text == "a\nb\nc\nd\ne"


@given(text=st.text(max_size=50), other=st.text(max_size=50))
def test_the_digest_stands_for_the_text(text, other):
    one = a_content(sections=(Section(FINDINGS, text),))
    two = a_content(sections=(Section(FINDINGS, other),))

    assert (one.digest() == two.digest()) == (text == other)


def test_the_digest_stands_for_the_patient_and_the_images_too():
    content = a_content()
    patient = replace(content.patient, name="Else^Somebody")

    assert a_content(patient=patient).digest() != content.digest()
    assert a_content(manifest_digest="cd" * 32).digest() != content.digest()


def test_content_survives_being_stored():
    content = a_content()

    assert type(content).from_plain(content.to_plain()) == content


class ReportMachine(RuleBasedStateMachine):
    """Any author, in any order, with any mistake: what must hold, holds."""

    @initialize()
    def begin(self):
        self.report = a_draft()
        self.frozen: dict[int, tuple[Section, ...]] = {}
        self.finalised: set[int] = set()

    def attempt(self, change):
        before = self.report
        try:
            self.report = change(before)
        except Refused:
            assert self.report == before
            return
        assert self.report == before or self.report.revision > before.revision

    @rule(
        findings=st.sampled_from(["", "a", "b"]),
        impression=st.sampled_from(["", "x"]),
        stale=st.booleans(),
    )
    def edit(self, findings, impression, stale):
        text = [Section(FINDINGS, findings), Section(IMPRESSION, impression)]
        revision = self.report.revision - stale
        self.attempt(lambda r: rules.edit(r, text, expected_revision=revision, at=NOON))

    @rule(text=st.sampled_from(["", "more", "again"]))
    def add(self, text):
        sections = (*self.report.newest.sections[:-1], Section(ADDENDUM, text))
        revision = self.report.revision
        self.attempt(lambda r: rules.edit(r, sections, expected_revision=revision, at=NOON))

    @rule()
    def finalise(self):
        revision = self.report.revision
        self.attempt(
            lambda r: rules.finalise(r, expected_revision=revision, glyphs=showable(), at=NOON)
        )
        if self.report.newest.state is VersionState.FINALISED:
            self.finalised.add(self.report.newest.number)

    @rule(back=st.integers(0, 2))
    def seal(self, back):
        self.attempt(lambda r: rules.seal(r, r.newest.number - back, at=NOON))

    @precondition(lambda self: self.report.newest.state is VersionState.SEALED)
    @rule()
    def begin_addendum(self):
        self.attempt(lambda r: rules.begin_addendum(r, at=NOON))

    @invariant()
    def nothing_is_sealed_that_was_not_finalised(self):
        assert {v.number for v in self.report.sealed} <= self.finalised

    @invariant()
    def what_is_finalised_never_changes(self):
        for version in self.report.versions:
            if version.state is not VersionState.DRAFT:
                assert self.frozen.setdefault(version.number, version.sections) == version.sections

    @invariant()
    def versions_are_numbered_without_gaps_and_only_the_newest_is_open(self):
        versions = self.report.versions
        assert [v.number for v in versions] == list(range(1, len(versions) + 1))
        assert all(not MOVES[v.state] for v in versions[:-1])

    @invariant()
    def signed_text_has_findings_and_impression(self):
        for version in self.report.sealed:
            assert {FINDINGS, IMPRESSION} <= {s.code for s in version.sections if s.text}


TestReportMachine = ReportMachine.TestCase
