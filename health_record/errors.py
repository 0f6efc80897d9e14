"""What can go wrong on the way out."""

from kernel.errors import Corrupt, NotFound, Refused, Transient


class DeliveryMoveRefused(Refused):
    """The delivery is in a state that this move does not start from."""

    code = "health_record.delivery_move_refused"

    def __init__(self, delivery_id: str, source: str, target: str, why: str = "") -> None:
        reason = f": {why}" if why else ""
        super().__init__(
            f"a delivery that is {source} cannot become {target}{reason}",
            delivery_id=delivery_id,
            source=str(source),
            target=str(target),
        )


class DeliveryUnknown(NotFound):
    """No delivery has this id."""

    code = "health_record.delivery_unknown"


class NoticeUnknown(NotFound):
    """The organisation has no notice with this id."""

    code = "health_record.notice_unknown"


class DestinationUnknown(NotFound):
    """A delivery has a destination that nobody serves here, or not any more."""

    code = "health_record.destination_unknown"


class DocumentTooLarge(Refused):
    """The document is larger than any destination is asked to take."""

    code = "health_record.document_too_large"


class DocumentInvalid(Refused):
    """The document that was built is not valid FHIR R4; it does not leave."""

    code = "health_record.document_invalid"


class EvidenceDiffers(Corrupt):
    """Bytes to be delivered are not those that were signed or prepared."""

    code = "health_record.evidence_differs"


class StudyMisfiled(Corrupt):
    """The study of a signed report was found to be another patient's: a person must decide."""

    code = "health_record.study_misfiled"


class RecordUnavailable(Transient):
    """The health record cannot be reached or does not answer as it should."""

    code = "health_record.unavailable"


class RecordDeniesAccess(Transient):
    """The health record does not accept our credentials: for the operator, not the document."""

    code = "health_record.access_denied"


class FolderUnwritable(Transient):
    """The folder of the embedded health record cannot be written."""

    code = "health_record.folder_unwritable"


class FolderFull(Transient):
    """The disk of the embedded health record is full."""

    code = "health_record.folder_full"


class SealUnusable(Transient):
    """The organisation's seal cannot be used now: its certificate is not valid today."""

    code = "health_record.seal_unusable"
