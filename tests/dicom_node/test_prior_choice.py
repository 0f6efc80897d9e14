"""Which studies of a peer are fetched: the latest few, not the old, the large or those at hand."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.prior_choice import PriorBounds, choose
from dicom_node.priors import PriorStudy

BEFORE = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def a_prior(uid: str, day: str = "20260101", instances: int | None = 10) -> PriorStudy:
    return PriorStudy(
        study_uid=uid,
        study_date=day,
        study_time="",
        description="",
        accession="",
        modalities=("CT",),
        instances=instances,
    )


def chosen(*found: PriorStudy, known: frozenset[str] = frozenset(), **bounds: int) -> list[str]:
    choice = choose(found, own="own", known=known, before=BEFORE, bounds=PriorBounds(**bounds))  # type: ignore[arg-type]
    return [each.study_uid for each in choice.fetch]


def test_the_latest_are_fetched_and_the_study_of_the_case_is_not() -> None:
    found = [a_prior("a", "20240101"), a_prior("b", "20260301"), a_prior("own", "20261122")]
    assert chosen(*found) == ["b", "a"]
    assert chosen(*found, studies=1) == ["b"]
    assert chosen(*found, studies=0) == []


def test_what_is_older_than_the_bound_or_has_no_date_is_left() -> None:
    found = [a_prior("old", "20161231"), a_prior("none", ""), a_prior("new", "20211115")]
    assert chosen(*found) == ["new"]
    assert chosen(*found, years=10) == ["new", "old"]


def test_what_is_here_counts_and_is_not_fetched_again() -> None:
    found = [a_prior("a", "20260103"), a_prior("b", "20260102"), a_prior("c", "20260101")]
    assert chosen(*found, known=frozenset({"a"}), studies=2) == ["b"]


def test_a_large_study_is_left_and_one_that_says_no_size_is_fetched() -> None:
    found = [
        a_prior("large", instances=11),
        a_prior("just", instances=10),
        a_prior("?", "20250101", None),
    ]
    assert chosen(*found, images=10) == ["just", "?"]


def test_every_study_is_told_of() -> None:
    found = [
        a_prior("own"),
        a_prior("here", "20260905"),
        a_prior("large", "20260904", 9999),
        a_prior("new", "20260903"),
        a_prior("old", "19990101"),
    ]
    told = choose(found, own="own", known=frozenset({"here"}), before=BEFORE, bounds=PriorBounds())
    assert told.sentence == (
        "It has 4 other studies: 1 fetched, 1 here or coming already, 1 too large, "
        "1 left as old or too many."
    )
    none = choose(found[:1], own="own", known=frozenset(), before=BEFORE, bounds=PriorBounds())
    assert none.sentence == "It has no other study of the patient."


def test_the_bound_of_a_leap_day_is_a_day() -> None:
    leap = choose(
        [a_prior("a", "20230301")],
        own="own",
        known=frozenset(),
        before=date(2028, 2, 29),
        bounds=PriorBounds(),
    )
    assert len(leap.fetch) == 1


studies = st.builds(
    a_prior,
    st.sampled_from([f"1.{n}" for n in range(12)]),
    st.dates(date(1990, 1, 1), BEFORE).map(lambda day: day.strftime("%Y%m%d")) | st.just(""),
    st.none() | st.integers(0, 6000),
)


@given(
    st.lists(studies, unique_by=lambda one: one.study_uid), st.integers(0, 6), st.integers(1, 30)
)
def test_the_bounds_hold_whatever_a_peer_says(
    found: list[PriorStudy], number: int, years: int
) -> None:
    bounds = PriorBounds(studies=number, years=years)
    choice = choose(found, own="1.0", known=frozenset({"1.1"}), before=BEFORE, bounds=bounds)
    assert len(choice.fetch) + len(choice.too_large) + choice.here <= number
    total = len(choice.fetch) + len(choice.too_large) + choice.here + choice.passed_over
    assert total == len([one for one in found if one.study_uid != "1.0"])
    oldest = f"{BEFORE.year - years}{BEFORE:%m}01"
    for one in choice.fetch:
        assert one.study_uid not in ("1.0", "1.1")
        assert one.study_date >= oldest
        assert one.instances is None or one.instances <= bounds.images


@given(st.integers(1, 40))
def test_what_fails_is_tried_later_and_later_and_then_given_up(attempts: int) -> None:
    bounds = PriorBounds(give_up=timedelta(hours=1))
    soon = bounds.next_attempt(attempts, begun_at=NOON, at=NOON)
    assert soon is not None
    assert timedelta() < soon - NOON <= timedelta(minutes=15)
    assert bounds.next_attempt(attempts, begun_at=NOON, at=NOON + timedelta(hours=1)) is None
