"""The status words with which workitems are answered.

References
----------
DICOM PS3.4 section CC.2, tables CC.2.1-2, CC.2.2-2, CC.2.3-2, CC.2.5-2, CC.2.6-1, CC.2.7-1.
"""

from collections.abc import Mapping

from dicom_node.errors import DataSetUnreadable
from dicom_node.statuses import Status
from dicom_node.workitems import errors
from dicom_node.workitems.workitem import Remark
from kernel.errors import EngineError

_REFUSALS: Mapping[type[EngineError], Status] = {
    errors.WorkitemUnknown: Status.UPS_UNKNOWN,
    errors.WorkitemExists: Status.DUPLICATE_INSTANCE,
    errors.WorkitemMalformed: Status.INVALID_ATTRIBUTE_VALUE,
    DataSetUnreadable: Status.INVALID_ATTRIBUTE_VALUE,
    errors.NotScheduled: Status.UPS_NOT_CREATED_SCHEDULED,
    errors.ValueMissing: Status.MISSING_VALUE,
    errors.AttributeMissing: Status.MISSING_ATTRIBUTE,
    errors.ValueInvalid: Status.INVALID_ATTRIBUTE_VALUE,
    errors.AttributeFixed: Status.NO_SUCH_ATTRIBUTE,
    errors.TransactionMissing: Status.UPS_TRANSACTION_WRONG,
    errors.AlreadyInProgress: Status.UPS_ALREADY_IN_PROGRESS,
    errors.NeverScheduledAgain: Status.UPS_NEVER_SCHEDULED_AGAIN,
    errors.FinalStateUnmet: Status.UPS_FINAL_STATE_UNMET,
    errors.Ended: Status.UPS_ENDED,
    errors.NotInProgress: Status.UPS_NOT_IN_PROGRESS,
    errors.AlreadyCompleted: Status.UPS_ALREADY_COMPLETED,
    errors.PerformerUnreachable: Status.UPS_PERFORMER_UNREACHABLE,
    errors.PerformerDeclines: Status.UPS_PERFORMER_DECLINES,
    errors.PerformerRefused: Status.NOT_AUTHORISED,
    errors.ReceiverForeign: Status.NOT_AUTHORISED,
    errors.ReceiverUnknown: Status.UPS_RECEIVER_UNKNOWN,
    errors.SubscriberUnknown: Status.UPS_RECEIVER_UNKNOWN,
    errors.ActionInappropriate: Status.UPS_ACTION_INAPPROPRIATE,
    errors.TooMany: Status.RESOURCE_LIMITATION,
}
_REMARKS: Mapping[Remark, Status] = {
    Remark.NONE: Status.SUCCESS,
    Remark.NOT_ALL_SUPPORTED: Status.OPTIONAL_ATTRIBUTES_NOT_SUPPORTED,
    Remark.CREATED_WITH_MODIFICATIONS: Status.UPS_CREATED_WITH_MODIFICATIONS,
    Remark.LOCK_NOT_GRANTED: Status.UPS_LOCK_NOT_GRANTED,
    Remark.ALREADY_CANCELED: Status.UPS_ALREADY_CANCELED,
    Remark.COERCED: Status.UPS_COERCED,
    Remark.ALREADY_COMPLETED: Status.UPS_ALREADY_COMPLETED_WARNING,
}


def word_for(error: EngineError) -> Status:
    """Return the status word of a refusal; anything that is none is a processing failure."""
    kinds = (kind for kind in type(error).__mro__ if kind in _REFUSALS)
    found = next(kinds, None)
    return Status.PROCESSING_FAILURE if found is None else _REFUSALS[found]


def word_of(remark: Remark) -> Status:
    """Return the status word of what succeeded."""
    return _REMARKS[remark]
