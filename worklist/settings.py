"""The settings of the worklist; each open reading of the law is one named setting."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worklist.clock import ClockRule, Targets
from worklist.errors import SettingOutOfRange
from worklist.rotation import NamedRule


@dataclass(frozen=True, slots=True, kw_only=True)
class WorklistSettings:
    """How cases are timed, ordered and offered.

    Raises
    ------
    SettingOutOfRange
        A duration is not positive or a share is not within 0 and 1.
    """

    targets: Targets = field(default_factory=Targets)
    clock_rule: ClockRule = ClockRule.WHEN_DOCUMENTS_COMPLETE  # KZ §13 is the general rule
    triage_deadline: timedelta = timedelta(minutes=5)  # a case never waits longer for AI
    # A finite head start keeps most of the gain for true positives without starving the rest.
    head_start_escalate: timedelta = timedelta(hours=3)
    head_start_critical: timedelta = timedelta(hours=1)
    offer_longest: timedelta = timedelta(minutes=15)  # an unanswered offer costs at most this
    offer_share: float = 0.1  # ... or this share of the time left, where that is less
    offer_shortest: timedelta = timedelta(minutes=2)  # time to answer also when overdue
    lease: timedelta = timedelta(minutes=60)  # silence that gives a case back; work renews it
    unanswered_limit: int = 2  # offers run out in a row that mark a consultant absent
    alarm_share: float = 0.5  # share of the term after which waiting alarms (urgent: at once)
    named_rule: NamedRule = NamedRule.ONLY  # the requester chose a person; others need a word
    named_uses_turn: bool = True  # keeps the numbers of assignments even
    look_again: timedelta = timedelta(seconds=30)  # shifts and certificates begin without a fact
    look_depth: int = 50  # of those that cannot move, how many have their reason written at once

    def __post_init__(self) -> None:
        """Refuse values that no deployment can mean."""
        durations = (
            self.triage_deadline,
            self.head_start_escalate,
            self.head_start_critical,
            self.offer_longest,
            self.offer_shortest,
            self.lease,
            self.look_again,
        )
        if min(durations) <= timedelta():
            raise SettingOutOfRange("every duration of the worklist is positive")
        if not (0 < self.offer_share <= 1 and 0 <= self.alarm_share <= 1):
            raise SettingOutOfRange("shares lie within 0 and 1")
        if self.unanswered_limit < 1 or self.look_depth < 1:
            raise SettingOutOfRange("counts are at least 1")

    def head_start(self, level: str) -> timedelta | None:
        """Return by when after its clock start a case of this triage level is due; None: as is."""
        return {"escalate": self.head_start_escalate, "critical": self.head_start_critical}.get(
            level
        )

    def offer_until(self, due: datetime, *, at: datetime) -> datetime:
        """Return when an offer made now runs out: a share of the slack, within its bounds."""
        share = (due - at) * self.offer_share
        return at + max(self.offer_shortest, min(self.offer_longest, share))
