"""Corrections: what is shown follows from what came and what is in force, and nothing else."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.facts import StudyCorrected
from kernel.ids import fresh
from kernel.people import Actor, Role
from storage import archive, audit, corrections, outbox, patients
from storage.correction import Correction, CorrectionRefused, Kind, MergeCycle, ReasonMissing
from storage.engine import Database, Transaction
from storage.journal import Place
from storage.shown import Shown, of_others, study_shown
from tests.services.migrated import migrate
from tests.storage.lock_waits import until_waiting
from tests.storage.test_archive import new_instance

BY = Actor("user:clerk", Role.ADMINISTRATOR)
WHY = "two cards, one person"


@pytest.fixture
def base(each_database: Database) -> Database:
    return each_database


def a_patient(tx: Transaction, patient_id: str, *, issuer: str = "SITE", name: str = "A^B") -> str:
    return patients.register(
        tx, issuer=issuer, patient_id=patient_id, name=name, sex="F", birth_date=None
    )


def a_study(
    tx: Transaction, study: str, patient_id: str, *, instance: int = 1
) -> archive.Admission:
    row = new_instance(tx, f"{study}.1.{instance}", study, patient_id=patient_id)
    place = Place("n1-s.seg", hash((study, instance)) & 0xFFFFFF, 10, f"{study}{instance}"[-64:])
    return archive.admit(tx, row, place)


def seen(tx: Transaction, study: str) -> tuple[str, str]:
    archive.freeze_manifest(tx, study)
    found = archive.manifest(tx, study)
    return found.patient_ref, found.accession


def most(tx: Transaction, study: str) -> Shown | None:
    shown = study_shown(tx, study)
    return None if shown is None else shown.most


def told(tx: Transaction, study: str) -> list[StudyCorrected]:
    return [fact for fact in outbox.facts_of(tx, study) if isinstance(fact, StudyCorrected)]


def test_a_merged_patients_studies_are_the_other_ones_until_it_is_withdrawn(base: Database) -> None:
    with base.transaction() as tx:
        stays, goes = a_patient(tx, "P1", name="STAYS^X"), a_patient(tx, "P2")
        a_study(tx, "1.2.1", "P2")
        digest = archive.freeze_manifest(tx, "1.2.1").digest  # type: ignore[union-attr]
        made = corrections.merge(tx, goes, stays, reason=WHY, actor=BY)
    with base.transaction() as tx:
        assert seen(tx, "1.2.1") == (stays, "A1")
        assert patients.get(tx, goes).name == "STAYS^X"
        assert patients.registered(tx, goes).patient_id == "P2"
        assert archive.manifest(tx, "1.2.1").digest == digest
        shown = most(tx, "1.2.1")
        assert shown is not None
        assert shown.patient is not None
        assert (shown.patient.patient_id, shown.another_person) == ("P1", False)
        corrections.withdraw(tx, made.number, reason="they are two", actor=BY)
        assert seen(tx, "1.2.1") == (goes, "A1")
        assert study_shown(tx, "1.2.1") is None
        history = corrections.listed(tx)
        actions = [entry.action for entry in audit.latest(tx)]
    assert [(one.kind, one.reason, one.withdrawn_reason) for one in history] == [
        (Kind.MERGE, WHY, "they are two")
    ]
    assert "correction.made" in actions


def test_a_merge_never_goes_round(base: Database) -> None:
    with base.transaction() as tx:
        one, two, three = (a_patient(tx, name) for name in ("P1", "P2", "P3"))
        corrections.merge(tx, one, two, reason=WHY, actor=BY)
        corrections.merge(tx, two, three, reason=WHY, actor=BY)
        for other in (one, two, three):
            with pytest.raises(MergeCycle):
                corrections.merge(tx, three, other, reason=WHY, actor=BY)
        with pytest.raises(CorrectionRefused):
            corrections.merge(tx, one, three, reason=WHY, actor=BY)


def test_what_arrives_after_a_merge_is_shown_as_the_others_too(base: Database) -> None:
    with base.transaction() as tx:
        stays, goes = a_patient(tx, "P1"), a_patient(tx, "P2")
        corrections.merge(tx, goes, stays, reason=WHY, actor=BY)
        assert a_study(tx, "1.2.3", "P2") is archive.Admission.STORED
        assert a_study(tx, "1.2.3", "P1", instance=2) is archive.Admission.STORED
    with base.transaction() as tx:
        assert a_study(tx, "1.2.3", "P2", instance=3) is archive.Admission.STORED
        assert seen(tx, "1.2.3") == (stays, "A1")


def test_a_moved_study_still_takes_what_its_device_sends_and_no_other(base: Database) -> None:
    with base.transaction() as tx:
        right = a_patient(tx, "P9")
        a_study(tx, "1.2.4", "P1")
        corrections.move_study(tx, "1.2.4", right, reason="wrong line picked", actor=BY)
        assert a_study(tx, "1.2.4", "P1", instance=2) is archive.Admission.STORED
        assert a_study(tx, "1.2.4", "P7", instance=3) is archive.Admission.QUARANTINED
        assert a_study(tx, "1.2.4", "P9", instance=4) is archive.Admission.STORED
        assert seen(tx, "1.2.4")[0] == right
        facts = told(tx, "1.2.4")
        shown = most(tx, "1.2.4")
        whole = study_shown(tx, "1.2.4")
    assert [(fact.what, fact.same_person) for fact in facts] == [(["patient"], False)]
    assert shown is not None
    assert shown.another_person
    assert whole is not None
    assert whole.of("1.2.4.1.4") is None


def test_an_image_of_another_in_a_study_that_was_moved_back_has_its_moment(base: Database) -> None:
    with base.transaction() as tx:
        one, two = a_patient(tx, "P1"), a_patient(tx, "P2")
        a_study(tx, "1.2.5", "P1")
        corrections.move_study(tx, "1.2.5", two, reason=WHY, actor=BY)
        assert a_study(tx, "1.2.5", "P2", instance=2) is archive.Admission.STORED
        corrections.move_study(tx, "1.2.5", one, reason=WHY, actor=BY)

        shown = study_shown(tx, "1.2.5")

        assert shown is not None
        assert shown.most is None
        late = shown.of("1.2.5.1.2")
        assert late is not None
        assert late.patient is not None
        assert (late.patient.ref, late.at) == (one, tx.at)


def test_who_reads_is_told_of_images_that_are_another_patients_again(base: Database) -> None:
    with base.transaction() as tx:
        stays, goes = a_patient(tx, "P1"), a_patient(tx, "P2")
        a_study(tx, "1.2.7", "P1")
        made = corrections.merge(tx, goes, stays, reason=WHY, actor=BY)
        a_study(tx, "1.2.7", "P2", instance=2)
        assert (told(tx, "1.2.7"), of_others(tx, "1.2.7")) == ([], 0)
        corrections.withdraw(tx, made.number, reason="they are two", actor=BY)
        assert [fact.what for fact in told(tx, "1.2.7")] == [["images"]]
        assert of_others(tx, "1.2.7") == 1
        corrections.correct_patient(tx, goes, {"name": "X^Y"}, reason=WHY, actor=BY)
        assert [fact.what for fact in told(tx, "1.2.7")] == [["images"], ["images"]]
        whole = study_shown(tx, "1.2.7")
    assert whole is not None
    assert whole.most is None
    own = whole.of("1.2.7.1.2")
    assert own is not None
    assert (own.patient, own.demographics) == (None, {"name": "X^Y"})


def test_demographics_go_back_to_what_was_sent(base: Database) -> None:
    with base.transaction() as tx:
        ref = a_patient(tx, "P1", name="DOE^J")
        a_study(tx, "1.2.5", "P1")
        first = corrections.correct_patient(
            tx, ref, {"name": "ROE^J", "birth_date": "1970-04-03"}, reason=WHY, actor=BY
        )
        second = corrections.correct_patient(tx, ref, {"name": "POE^J"}, reason=WHY, actor=BY)
        assert patients.get(tx, ref).name == "POE^J"
        shown = most(tx, "1.2.5")
        assert shown is not None
        assert shown.demographics == {"name": "POE^J", "birth_date": "1970-04-03"}
        corrections.withdraw(tx, first.number, reason=WHY, actor=BY)
        assert (patients.get(tx, ref).name, patients.get(tx, ref).birth_date) == ("POE^J", None)
        corrections.withdraw(tx, second.number, reason=WHY, actor=BY)
        assert patients.get(tx, ref).name == "DOE^J"
        assert study_shown(tx, "1.2.5") is None


@pytest.mark.parametrize(
    "values",
    [{}, {"height": "2"}, {"name": "A\\B"}, {"name": "x" * 401}, {"birth_date": "3.4.1970"}],
)
def test_a_value_that_cannot_be_is_refused(database: Database, values: dict[str, str]) -> None:
    with database.transaction() as tx:
        ref = a_patient(tx, "P1")
        with pytest.raises(CorrectionRefused):
            corrections.correct_patient(tx, ref, values, reason=WHY, actor=BY)


@pytest.mark.parametrize("reason", ["", "  ", "x" * 301])
def test_nothing_is_corrected_without_a_reason(database: Database, reason: str) -> None:
    with database.transaction() as tx:
        one, two = a_patient(tx, "P1"), a_patient(tx, "P2")
        with pytest.raises(ReasonMissing):
            corrections.merge(tx, one, two, reason=reason, actor=BY)


def test_the_same_id_without_an_issuer_waits_for_a_person(base: Database) -> None:
    with base.transaction() as tx:
        unstated = a_patient(tx, "P1", issuer=patients.unstated_issuer("van"))
        stated = a_patient(tx, "P1", issuer="HOSPITAL")
        pairs = [(one.ref, two.ref) for one, two in patients.lookalikes(tx)]
        assert pairs == [(unstated, stated)]
        assert stated in patients.same_person(tx, unstated)
        apart = corrections.keep_apart(tx, unstated, stated, reason="twins", actor=BY)
        assert patients.lookalikes(tx) == []
        assert patients.same_person(tx, unstated) == {unstated}
        assert patients.same_person(tx, stated) == {stated}
        corrections.withdraw(tx, apart.number, reason="not twins", actor=BY)
        corrections.merge(tx, unstated, stated, reason=WHY, actor=BY)
        assert patients.lookalikes(tx) == []
        assert patients.same_person(tx, stated) == {unstated, stated}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["merge", "move", "number", "withdraw"]),
        st.integers(0, 4),
        st.integers(0, 4),
    ),
    max_size=14,
)


def expected(study: int, owner: int, said: list[tuple[int, str, int, int]]) -> tuple[int, str]:
    """Say independently whose a study is: the last word on it, then every merge."""
    number = "A1"
    for _, kind, one, two in sorted(said):
        if kind == "move" and one == study:
            owner = two
        if kind == "number" and one == study:
            number = f"N{two}"
    merged = {one: two for _, kind, one, two in said if kind == "merge"}
    for _ in merged:
        owner = merged.get(owner, owner)
    return owner, number


@given(steps=STEPS)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_view_is_a_function_of_the_corrections_in_force(
    database: Database, steps: list[tuple[str, int, int]]
) -> None:
    mark = fresh()[:8]
    root = f"1.9.{int(mark, 16)}"
    made: dict[int, tuple[int, str, int, int]] = {}
    with database.transaction() as tx:
        refs = [a_patient(tx, f"{mark}-{n}") for n in range(5)]
        for n in range(5):
            a_study(tx, f"{root}.{n}", f"{mark}-{n}")
        for step, one, two in steps:
            _try(tx, made, step, refs, root, one, two)
        for n in range(5):
            owner, number = expected(n, n, list(made.values()))
            assert seen(tx, f"{root}.{n}") == (refs[owner], number)
            assert (study_shown(tx, f"{root}.{n}") is None) == ((owner, number) == (n, "A1"))
        for number in sorted(made, reverse=True):
            corrections.withdraw(tx, number, reason=WHY, actor=BY)
        for n in range(5):
            assert seen(tx, f"{root}.{n}") == (refs[n], "A1")


def _try(
    tx: Transaction,
    made: dict[int, tuple[int, str, int, int]],
    step: str,
    refs: list[str],
    root: str,
    one: int,
    two: int,
) -> None:
    try:
        done: Correction
        if step == "merge":
            done = corrections.merge(tx, refs[one], refs[two], reason=WHY, actor=BY)
        elif step == "move":
            done = corrections.move_study(tx, f"{root}.{one}", refs[two], reason=WHY, actor=BY)
        elif step == "number":
            done = corrections.renumber_study(tx, f"{root}.{one}", f"N{two}", reason=WHY, actor=BY)
        else:
            number = sorted(made)[one] if one < len(made) else 0
            if number:
                corrections.withdraw(tx, number, reason=WHY, actor=BY)
                del made[number]
            return
    except CorrectionRefused:
        return
    made[done.number] = (done.number, step, one, two)


ARRIVALS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, 1), st.integers(0, 3)),
        st.tuples(st.sampled_from(["merge", "move"]), st.integers(0, 3), st.integers(0, 3)),
        st.tuples(st.just("withdraw"), st.integers(0, 9), st.just(0)),
    ),
    max_size=24,
)


@given(steps=ARRIVALS)
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_each_instance_is_shown_as_who_stands_for_the_one_it_names(
    database: Database, steps: list[tuple[str, int, int]]
) -> None:
    mark = fresh()[:8]
    root = f"1.9.{int(mark, 16)}"
    made: dict[int, tuple[int, str, int, int]] = {}
    named: dict[tuple[int, int], int] = {}
    with database.transaction() as tx:
        refs = [a_patient(tx, f"{mark}-{n}") for n in range(4)]
        for step, one, two in steps:
            if step == "arrive":
                number = len(named) + 1
                came = a_study(tx, f"{root}.{one}", f"{mark}-{two}", instance=number)
                if came is archive.Admission.STORED:
                    named[one, number] = two
            elif step != "move" or any(study == one for study, _ in named):
                _try(tx, made, step, refs, root, one, two)
        _check_shown(tx, named, made, refs, root)
        for number in sorted(made, reverse=True):
            corrections.withdraw(tx, number, reason=WHY, actor=BY)
        assert [study_shown(tx, f"{root}.{study}") for study in {one for one, _ in named}] == [
            None for _ in {one for one, _ in named}
        ]


def _check_shown(
    tx: Transaction,
    named: dict[tuple[int, int], int],
    made: dict[int, tuple[int, str, int, int]],
    refs: list[str],
    root: str,
) -> None:
    """Say independently whose an instance is: of whom the study was moved to, or whom it names."""
    for (study, number), two in named.items():
        owner, _ = expected(study, two, list(made.values()))
        shown = study_shown(tx, f"{root}.{study}")
        own = None if shown is None else shown.of(f"{root}.{study}.1.{number}")
        assert (refs[two] if own is None or own.patient is None else own.patient.ref) == refs[owner]
        moved = any(kind == "move" and one == study for _, kind, one, _ in made.values())
        assert own is None or own.another_person is moved


@pytest.mark.service
def test_a_study_that_begins_during_a_merge_is_the_survivors_too(blank_postgresql_url: str) -> None:
    database = Database(blank_postgresql_url)
    migrate(database)
    with database.transaction() as tx:
        stays, goes = a_patient(tx, "P1"), a_patient(tx, "P2")

    def merge() -> None:
        with database.transaction() as tx:
            corrections.merge(tx, goes, stays, reason=WHY, actor=BY)

    with ThreadPoolExecutor(1) as pool, database.transaction() as tx:
        a_study(tx, "1.2.6", "P2")
        merging = pool.submit(merge)
        until_waiting(database, merging)
    merging.result()
    with database.transaction() as tx:
        assert seen(tx, "1.2.6")[0] == stays
        shown = most(tx, "1.2.6")
    assert shown is not None
    database.dispose()
