"""Every verdict has its words."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.completeness import Arrivals, CompletenessPolicy, Told, WaitUntil, judge
from dicom_node.verdicts import VERDICTS, WAITS
from tests.dicom_node.test_completeness import a_step

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
minutes = st.integers(0, 120).map(lambda m: timedelta(minutes=m))
tolds = st.builds(
    Told,
    missing=st.integers(0, 2),
    whole=st.booleans(),
    performing=st.booleans(),
    learnt=st.none() | st.integers(5, 120).map(lambda s: timedelta(seconds=s)),
)


@given(
    lasted=minutes, rested=minutes, told=tolds, in_flight=st.integers(0, 1), ordered=st.booleans()
)
def test_a_person_can_read_why_a_study_waits_or_why_it_was_settled(
    lasted: timedelta, rested: timedelta, told: Told, in_flight: int, ordered: bool
) -> None:
    verdict = judge(
        Arrivals(first_at=NOON, last_at=NOON + lasted),
        [a_step()] if ordered else [],
        in_flight=in_flight,
        policy=CompletenessPolicy(),
        at=NOON + lasted + rested,
        told=told,
    )
    words = WAITS if isinstance(verdict, WaitUntil) else VERDICTS
    assert words[verdict.why].endswith(".")
