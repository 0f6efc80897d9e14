"""What may go, and from when: never by accident, never early, never under a hold."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.retention import (
    Keeping,
    NotTheOwner,
    OpenInCase,
    Reason,
    ReasonUnknown,
    ReportKept,
    Retention,
    RetentionNotOver,
    UnderHold,
    WithdrawalRefused,
    reason_of,
    require_owner,
    require_withdrawable,
    years_later,
)

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
KEPT = Retention(years=25, by_modality={"MG": 30, "US": 3}, by_organisation={"van": 10})

_DAYS = st.floats(0, 70 * 366, allow_nan=False)
moments = _DAYS.map(lambda days: datetime(1990, 1, 1, tzinfo=UTC) + timedelta(days=days))
keepings = st.builds(
    Keeping,
    study_uid=st.just("1.2.3"),
    owner=st.sampled_from(["", "van", "east"]),
    modalities=st.lists(st.sampled_from(["MG", "US", "CT"]), unique=True).map(tuple),
    last_arrival_at=moments,
    held=st.booleans(),
    open_cases=st.sampled_from([(), ("c-1",)]),
    signed_at=st.none() | moments,
)


def a_study(**changed: object) -> Keeping:
    values: dict[str, object] = {
        "study_uid": "1.2.3",
        "owner": "east",
        "modalities": ("CT",),
        "last_arrival_at": AT - timedelta(days=10),
    }
    return Keeping(**values | changed)  # type: ignore[arg-type]


@given(keepings, st.sampled_from(Reason), moments)
def test_what_is_withdrawn_is_kept_by_no_rule(study: Keeping, reason: Reason, at: datetime) -> None:
    try:
        require_withdrawable(study, reason, KEPT, at=at)
    except WithdrawalRefused:
        return
    assert not study.held
    assert not study.open_cases
    over = at >= study.kept_until(KEPT)
    assert over or (study.signed_at is None and reason is not Reason.RETENTION_EXPIRED)


@given(keepings)
def test_a_study_is_kept_so_many_years_after_the_last_that_was_done_with_it(study: Keeping) -> None:
    for moment in (study.last_arrival_at, study.signed_at or study.last_arrival_at):
        assert study.kept_until(KEPT) >= years_later(moment, 3)
    if "MG" in study.modalities:
        assert study.kept_until(KEPT) >= years_later(study.last_arrival_at, 30)


@pytest.mark.parametrize(
    ("owner", "modalities", "years"),
    [
        ("east", ("CT",), 25),
        ("east", (), 25),
        ("van", ("CT",), 10),
        ("van", ("US",), 3),
        ("van", ("US", "CT"), 10),
        ("east", ("MG", "US"), 30),
    ],
)
def test_the_nearest_figure_counts_and_of_several_the_longest(
    owner: str, modalities: tuple[str, ...], years: int
) -> None:
    assert KEPT.years_of(owner, modalities) == years


@pytest.mark.parametrize(
    ("study", "reason", "refusal"),
    [
        (a_study(held=True), Reason.SAFETY, UnderHold),
        (a_study(open_cases=("c-1",)), Reason.QUALITY, OpenInCase),
        (a_study(signed_at=AT), Reason.SAFETY, ReportKept),
        (a_study(), Reason.RETENTION_EXPIRED, RetentionNotOver),
    ],
)
def test_each_rule_refuses_by_its_name(
    study: Keeping, reason: Reason, refusal: type[WithdrawalRefused]
) -> None:
    with pytest.raises(refusal):
        require_withdrawable(study, reason, KEPT, at=AT)


def test_retention_ends_to_the_second() -> None:
    study = a_study(last_arrival_at=datetime(2000, 2, 29, 12, tzinfo=UTC))
    ends = datetime(2025, 3, 1, 12, tzinfo=UTC)
    assert study.kept_until(KEPT) == ends
    require_withdrawable(study, Reason.RETENTION_EXPIRED, KEPT, at=ends)
    with pytest.raises(RetentionNotOver):
        early = ends - timedelta(seconds=1)
        require_withdrawable(study, Reason.RETENTION_EXPIRED, KEPT, at=early)


def test_a_study_is_its_senders_and_nobodys_where_the_sender_is_unknown() -> None:
    require_owner(a_study(), "east")
    require_owner(a_study(owner=""), None)
    for owner, asks in (("east", "west"), ("", "west"), ("", "")):
        with pytest.raises(NotTheOwner):
            require_owner(a_study(owner=owner), asks)


def test_a_reason_is_a_code_of_the_standard() -> None:
    assert reason_of("113001") is reason_of(" 113001^DCM ") is Reason.QUALITY
    for wrong in ("", "113000", "113001^99X", "quality"):
        with pytest.raises(ReasonUnknown, match="113037"):
            reason_of(wrong)
