"""What became of an instance, and the status word that says so.

References
----------
DICOM PS3.4 section B.2.3 (storage service class) and PS3.7 Annex C and section 9.1.1.1.9.
"""

from enum import IntEnum, StrEnum

from dicom_node.errors import UnreadableReason


class Outcome(StrEnum):
    """What became of one instance that a peer asked us to store."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    CONFLICTING = "conflicting"
    UNREADABLE = "unreadable"
    MISMATCHED = "mismatched"
    NO_ROOM = "no_room"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    NO_DATA_SET = "no_data_set"
    CLASS_NOT_SUPPORTED = "class_not_supported"
    OPERATION_UNKNOWN = "operation_unknown"


class Status(IntEnum):
    """Status words that this node answers."""

    SUCCESS = 0x0000
    OPTIONAL_ATTRIBUTES_NOT_SUPPORTED = 0x0001
    NO_SUCH_ATTRIBUTE = 0x0105
    INVALID_ATTRIBUTE_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    NO_SUCH_INSTANCE = 0x0112
    INVALID_ARGUMENT = 0x0115
    INVALID_INSTANCE = 0x0117
    NO_SUCH_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    MISSING_VALUE = 0x0121
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORISED = 0x0124
    DUPLICATE_TRANSACTION = 0x0131
    UNRECOGNISED_OPERATION = 0x0211
    RESOURCE_LIMITATION = 0x0213
    OUT_OF_RESOURCES = 0xA700
    CANNOT_COUNT_MATCHES = 0xA701
    CANNOT_PERFORM_SUB_OPERATIONS = 0xA702
    DESTINATION_UNKNOWN = 0xA801
    DATA_SET_DOES_NOT_MATCH = 0xA900
    SUB_OPERATIONS_FAILED = 0xB000
    # PS3.4 section CC.2, of the Unified Procedure Step.
    UPS_CREATED_WITH_MODIFICATIONS = 0xB300
    UPS_LOCK_NOT_GRANTED = 0xB301
    UPS_ALREADY_CANCELED = 0xB304
    UPS_COERCED = 0xB305
    UPS_ALREADY_COMPLETED_WARNING = 0xB306
    CANNOT_UNDERSTAND = 0xC000
    # In the C range the last three digits are the implementation's: ours repeat 0x0111,
    # 'duplicate SOP instance', for a known UID that comes with other content, be it the instance's
    # or, with another patient in it, the study's.
    CANNOT_UNDERSTAND_CONFLICT = 0xC111
    UPS_ENDED = 0xC300
    UPS_TRANSACTION_WRONG = 0xC301
    UPS_ALREADY_IN_PROGRESS = 0xC302
    UPS_NEVER_SCHEDULED_AGAIN = 0xC303
    UPS_FINAL_STATE_UNMET = 0xC304
    UPS_UNKNOWN = 0xC307
    UPS_RECEIVER_UNKNOWN = 0xC308
    UPS_NOT_CREATED_SCHEDULED = 0xC309
    UPS_NOT_IN_PROGRESS = 0xC310
    UPS_ALREADY_COMPLETED = 0xC311
    UPS_PERFORMER_UNREACHABLE = 0xC312
    UPS_PERFORMER_DECLINES = 0xC313
    UPS_ACTION_INAPPROPRIATE = 0xC314
    CANCELLED = 0xFE00
    PENDING = 0xFF00
    PENDING_KEYS_NOT_SUPPORTED = 0xFF01


class ErrorId(IntEnum):
    """Error ids, which say more of a processing failure."""

    STEP_NO_LONGER_UPDATED = 0xA710  # PS3.4 table F.7.2-2


WARNINGS = range(0xB000, 0xC000)
"""Status words with which a receiver has taken an instance, and says something of it."""

PENDING = frozenset({Status.PENDING, Status.PENDING_KEYS_NOT_SUPPORTED})
"""Status words after which more answers come."""

_WORDS: dict[Outcome, Status] = {
    Outcome.STORED: Status.SUCCESS,
    Outcome.DUPLICATE: Status.SUCCESS,
    Outcome.CONFLICTING: Status.CANNOT_UNDERSTAND_CONFLICT,
    Outcome.UNREADABLE: Status.CANNOT_UNDERSTAND,
    Outcome.MISMATCHED: Status.DATA_SET_DOES_NOT_MATCH,
    Outcome.NO_ROOM: Status.OUT_OF_RESOURCES,
    Outcome.UNAVAILABLE: Status.OUT_OF_RESOURCES,
    Outcome.FAILED: Status.PROCESSING_FAILURE,
    Outcome.NO_DATA_SET: Status.CANNOT_UNDERSTAND,
    Outcome.CLASS_NOT_SUPPORTED: Status.SOP_CLASS_NOT_SUPPORTED,
    Outcome.OPERATION_UNKNOWN: Status.UNRECOGNISED_OPERATION,
}

# A data set that parses but lacks what every instance has, or is not what the command announced,
# 'does not match its SOP class'; one that does not parse 'cannot be understood'.
_MISMATCHES = frozenset(
    {
        UnreadableReason.UID_MISSING,
        UnreadableReason.UID_INVALID,
        UnreadableReason.NOT_AN_INSTANCE,
        UnreadableReason.OTHER_SOP_CLASS,
        UnreadableReason.OTHER_INSTANCE,
    }
)


def word_for(outcome: Outcome) -> Status:
    """Return the status word of an outcome."""
    return _WORDS[outcome]


def outcome_of(reason: UnreadableReason) -> Outcome:
    """Return the outcome of an instance that could not be indexed."""
    return Outcome.MISMATCHED if reason in _MISMATCHES else Outcome.UNREADABLE
