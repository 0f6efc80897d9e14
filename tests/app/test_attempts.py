"""The rule on failed attempts, without a database."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.identity.attempts import WINDOW, Failure, Limits, pause

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIMITS = Limits(same_login_and_source=3, same_source=6, same_login=9)
failures = st.lists(
    st.builds(
        lambda s, login, source: Failure(NOON - timedelta(seconds=s), login, source),
        st.integers(0, 3600),
        st.booleans(),
        st.booleans(),
    ),
    max_size=20,
)


@given(failures)
def test_a_pause_ends_exactly_when_one_more_attempt_is_allowed(found: list[Failure]):
    wait = pause(found, LIMITS, at=NOON)
    if wait is None:
        return

    assert timedelta() < wait <= WINDOW
    assert pause(found, LIMITS, at=NOON + wait) is None
    assert pause(found, LIMITS, at=NOON + wait - timedelta(milliseconds=1)) is not None


@given(failures)
def test_the_order_of_failures_does_not_matter(found: list[Failure]):
    assert pause(found, LIMITS, at=NOON) == pause(found[::-1], LIMITS, at=NOON)


def test_failures_of_others_elsewhere_do_not_count():
    strangers = [Failure(NOON, same_login=False, same_source=False)] * 100

    assert pause(strangers, LIMITS, at=NOON) is None
