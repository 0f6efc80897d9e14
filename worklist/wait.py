"""Why a queued case still waits, and when that is an alarm."""

from datetime import datetime

from worklist.case import Case, StateReason
from worklist.clock import share_used
from worklist.request import Form
from worklist.rotation import Choice, PassedBy

_ALARM = {
    StateReason.NO_CONSULTANT: StateReason.NO_CONSULTANT_ALARM,
    StateReason.EVERYONE_BUSY: StateReason.EVERYONE_BUSY_ALARM,
    StateReason.NAMED_AWAITED: StateReason.NAMED_AWAITED_ALARM,
}


def why(case: Case, choice: Choice, *, at: datetime, alarm_share: float) -> StateReason:
    """Return why nobody gets the case now.

    That nobody is there alarms at once for an urgent case, else when `alarm_share` of the term is
    used up.  That all who are there are busy is the usual life of a queue: it alarms by the share
    alone, also for an urgent case.
    """
    if choice.reader is not None:
        return StateReason.WAITS_IN_ORDER
    reason = _reason(case, choice)
    late = share_used(case.legal_clock_start, case.due, at=at) >= alarm_share
    at_once = case.form is not Form.PLANNED and reason is not StateReason.EVERYONE_BUSY
    return _ALARM[reason] if late or at_once else reason


def _reason(case: Case, choice: Choice) -> StateReason:
    codes = {passed.code for passed in choice.passed_over}
    if PassedBy.NOT_NAMED in codes:
        return StateReason.NAMED_AWAITED
    if PassedBy.AT_LIMIT in codes:
        return StateReason.EVERYONE_BUSY
    return StateReason.NO_CONSULTANT
