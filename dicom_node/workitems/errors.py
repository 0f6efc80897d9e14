"""What is refused of a workitem, each with the rule in one sentence.

References
----------
DICOM PS3.4 section CC.2, tables of status codes; `words` has the word of each.
"""

from kernel.errors import NotFound, Refused


class WorkitemUnknown(NotFound):
    """No workitem has this UID, or the asker may not know that it has."""

    code = "workitems.unknown"
    clause = "DICOM PS3.4 CC.2, status C307"


class WorkitemExists(Refused):
    """The UID is taken."""

    code = "workitems.exists"
    clause = "DICOM PS3.4 table CC.1.1-2"


class WorkitemMalformed(Refused):
    """What describes the workitem cannot be read, or is larger than any workitem."""

    code = "workitems.malformed"


class NotScheduled(Refused):
    """A workitem begins SCHEDULED."""

    code = "workitems.not_scheduled"
    clause = "DICOM PS3.4 CC.2.5.3"


class AttributeMissing(Refused):
    """An attribute that each workitem has is missing."""

    code = "workitems.attribute_missing"
    clause = "DICOM PS3.4 table CC.2.5-3"


class ValueMissing(AttributeMissing):
    """An attribute that each workitem has is empty."""

    code = "workitems.value_missing"


class ValueInvalid(Refused):
    """The value is none that the attribute can have."""

    code = "workitems.value_invalid"
    clause = "DICOM PS3.4 table CC.2.5-3"


class AttributeFixed(Refused):
    """The attribute cannot be changed in this way."""

    code = "workitems.attribute_fixed"
    clause = "DICOM PS3.4 table CC.2.5-3"


class TransactionMissing(Refused):
    """The change needs the Transaction UID of the performer."""

    code = "workitems.transaction_missing"
    clause = "DICOM PS3.4 table CC.1.1-2, status C301"


class TransactionWrong(TransactionMissing):
    """Only the performer, who knows the Transaction UID, changes a workitem in progress."""

    code = "workitems.transaction_wrong"


class AlreadyInProgress(Refused):
    """Somebody performs it already."""

    code = "workitems.already_in_progress"
    clause = "DICOM PS3.4 table CC.1.1-2, status C302"


class NeverScheduledAgain(Refused):
    """A workitem becomes SCHEDULED by being created and in no other way."""

    code = "workitems.never_scheduled_again"
    clause = "DICOM PS3.4 table CC.1.1-2, status C303"


class FinalStateUnmet(Refused):
    """What a workitem has to say in its final state is missing."""

    code = "workitems.final_state_unmet"
    clause = "DICOM PS3.4 table CC.2.5-3, status C304"


class Ended(Refused):
    """A workitem in its final state is not changed any more."""

    code = "workitems.ended"
    clause = "DICOM PS3.4 table CC.1.1-2, status C300"


class NotInProgress(Refused):
    """Only a workitem in progress is completed or canceled, or changed by its performer."""

    code = "workitems.not_in_progress"
    clause = "DICOM PS3.4 table CC.1.1-2, status C310"


class AlreadyCompleted(Refused):
    """What is completed is not canceled."""

    code = "workitems.already_completed"
    clause = "DICOM PS3.4 table CC.2.2-2, status C311"


class PerformerUnreachable(Refused):
    """Nobody who listens could tell the performer of the request."""

    code = "workitems.performer_unreachable"
    clause = "DICOM PS3.4 table CC.2.2-2, status C312"


class PerformerDeclines(Refused):
    """The performer chooses not to cancel."""

    code = "workitems.performer_declines"
    clause = "DICOM PS3.4 table CC.2.2-2, status C313"


class PerformerRefused(Refused):
    """Who asks may not perform this workitem."""

    code = "workitems.performer_refused"
    clause = "DICOM PS3.7 C.5.4, not authorised"


class ReceiverUnknown(Refused):
    """No registered application entity has the title to which events shall go."""

    code = "workitems.receiver_unknown"
    clause = "DICOM PS3.4 table CC.2.3-2, status C308"


class ReceiverForeign(Refused):
    """The title belongs to somebody else."""

    code = "workitems.receiver_foreign"


class SubscriberUnknown(NotFound):
    """Nobody is subscribed under this title."""

    code = "workitems.subscriber_unknown"


class ActionInappropriate(Refused):
    """The action does not fit the instance that it names."""

    code = "workitems.action_inappropriate"
    clause = "DICOM PS3.4 table CC.2.3-2, status C314"


class TooMany(Refused):
    """The bound on subscribers, subscriptions or workitems is reached."""

    code = "workitems.too_many"
