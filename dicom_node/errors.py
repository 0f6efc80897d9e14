"""What the DICOM node refuses, and why."""

from enum import StrEnum

from kernel.errors import Corrupt, NotFound, Refused, Transient


class UnreadableReason(StrEnum):
    """Why bytes are not an instance that can be indexed."""

    NOT_PART10 = "not_part10"
    NO_TRANSFER_SYNTAX = "no_transfer_syntax"
    UNKNOWN_TRANSFER_SYNTAX = "unknown_transfer_syntax"
    CUT_SHORT = "cut_short"
    HEADER_TOO_LONG = "header_too_long"
    NOT_INFLATABLE = "not_inflatable"
    NOT_A_DATA_SET = "not_a_data_set"
    UID_MISSING = "uid_missing"
    UID_INVALID = "uid_invalid"
    NOT_AN_INSTANCE = "not_an_instance"
    OTHER_SOP_CLASS = "other_sop_class"
    OTHER_INSTANCE = "other_instance"
    DAMAGED = "damaged"


class Unreadable(Refused):
    """The bytes cannot be indexed as one DICOM instance; they are kept, listed and answered for."""

    code = "dicom_node.unreadable"
    clause = "DICOM PS3.5 section 7, PS3.10 section 7.1"

    def __init__(self, reason: UnreadableReason, sentence: str) -> None:
        super().__init__(sentence, reason=reason.value)
        self.reason = reason


class PeerUnknown(NotFound):
    """No registered device has this AE title."""

    code = "dicom_node.peer_unknown"


class PeerRemoved(PeerUnknown):
    """The device with this AE title was removed, and is not registered until it is added again."""

    code = "dicom_node.peer_removed"


class AeTitleInvalid(Refused):
    """The text is not an application entity title."""

    code = "dicom_node.ae_title_invalid"
    clause = "DICOM PS3.5 table 6.2-1, VR AE"


class PeerInvalid(Refused):
    """The address of a peer cannot be one."""

    code = "dicom_node.peer_invalid"


class StepUnknown(NotFound):
    """No scheduled step belongs to this request."""

    code = "dicom_node.step_unknown"


class CorrectionNotShown(Corrupt):
    """A corrected instance cannot be rewritten, and goes out under no wrong name."""

    code = "dicom_node.correction_not_shown"


class FileRefused(Refused):
    """A file that is no DICOM cannot become an object of ours."""

    code = "dicom_node.file_refused"


class PictureRefused(Refused):
    """The pixels of an instance cannot be shown as a plain picture."""

    code = "dicom_node.picture_refused"


class DecoderAway(Transient):
    """What decodes could not be run to its end now; of the pixels that says nothing."""

    code = "dicom_node.decoder_away"


class PeerUnreachable(Transient):
    """A device could not be reached, or broke the association off."""

    code = "dicom_node.peer_unreachable"


class NodeBusy(Transient):
    """This node does as much of a kind at once as it can."""

    code = "dicom_node.busy"


class AssociationRefused(Transient):
    """A device refused the association."""

    code = "dicom_node.association_refused"


class ProtocolBroken(Exception):
    """The peer left the upper layer protocol; the association is aborted with `reason`.

    References
    ----------
    DICOM PS3.8 section 9.3.8: reasons of the service-provider.
    """

    def __init__(self, reason: int, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class PeerGone(Exception):
    """The connection ended, or the peer fell silent or too slow."""


class NoTlsSession(PeerGone):
    """The handshake failed: of versions, ciphers, certificates or patience."""


class DataSetUnreadable(Refused):
    """The data set of a message cannot be read."""

    code = "dicom_node.data_set_unreadable"


class QueryRefused(Refused):
    """The identifier of a query does not match its SOP class; `attribute` says where.

    The answer is the status word A900 with the attribute as its offending element.
    """

    code = "dicom_node.query_refused"
    clause = "DICOM PS3.4 sections C.4.1.1.4 and K.4.1.1.4"

    def __init__(self, sentence: str, attribute: str) -> None:
        super().__init__(sentence, attribute=attribute)
        self.attribute = attribute


class QueryTooWide(Refused):
    """More would have to be read to answer a query than one may make the node read."""

    code = "dicom_node.query_too_wide"
    clause = "DICOM PS3.4 section C.4.1.1.4"


class CommitmentInvalid(Refused):
    """What asks for storage commitment does not say what for."""

    code = "dicom_node.commitment_invalid"
    clause = "DICOM PS3.4 section J.3.2.1"


class StepRefused(Refused):
    """What a modality tells of a performed procedure step is not taken."""

    code = "dicom_node.step_refused"
    clause = "DICOM PS3.4 section F.7.2"


class StepAttributeMissing(StepRefused):
    """An attribute that a performed step has to have is not there."""

    code = "dicom_node.step_attribute_missing"
    clause = "DICOM PS3.4 table F.7.2-1"

    def __init__(self, keyword: str) -> None:
        super().__init__(f"{keyword} is missing", attribute=keyword)


class StepValueMissing(StepRefused):
    """An attribute of a performed step that has to have a value has none."""

    code = "dicom_node.step_value_missing"
    clause = "DICOM PS3.4 table F.7.2-1"

    def __init__(self, keyword: str) -> None:
        super().__init__(f"{keyword} is empty", attribute=keyword)


class StepValueInvalid(StepRefused):
    """A value of a performed step cannot be, or may not be changed."""

    code = "dicom_node.step_value_invalid"
    clause = "DICOM PS3.4 table F.7.2-1"

    def __init__(self, keyword: str, why: str) -> None:
        super().__init__(f"{keyword} {why}", attribute=keyword)


class StepEnded(StepRefused):
    """A completed or discontinued step is never changed again."""

    code = "dicom_node.step_ended"
    clause = "DICOM PS3.4 section F.7.2.2.2"

    def __init__(self, state: str) -> None:
        super().__init__(f"the step is {state.lower()} and no longer updated", state=state)


class StepContradicts(StepRefused):
    """A step with this UID exists and says something else."""

    code = "dicom_node.step_contradicts"
    clause = "DICOM PS3.4 section F.7.2.1"


class PerformedStepUnknown(NotFound):
    """No performed step of the device's organisation has this UID."""

    code = "dicom_node.performed_step_unknown"
    clause = "DICOM PS3.4 section F.7.2.2"


class PriorsRefused(Refused):
    """A peer does not answer queries for priors, or does not send to this node."""

    code = "dicom_node.priors_refused"
    clause = "DICOM PS3.4 sections C.4.1 and C.4.2"


class OrthancInvalid(Refused):
    """What is said of an Orthanc cannot be."""

    code = "dicom_node.orthanc_invalid"


class OrthancUnknown(NotFound):
    """No Orthanc is registered under this name."""

    code = "dicom_node.orthanc_unknown"


class OrthancUnreachable(Transient):
    """An Orthanc could not be reached, fell silent, or broke an answer off."""

    code = "dicom_node.orthanc_unreachable"


class OrthancDeniesAccess(Transient):
    """An Orthanc does not take our user and password: for the operator to mend."""

    code = "dicom_node.orthanc_denies_access"


class OrthancAnswersBadly(Transient):
    """An Orthanc failed, or its answer is not one of the Orthanc REST API."""

    code = "dicom_node.orthanc_answers_badly"


class OrthancLacks(NotFound):
    """An Orthanc does not, or no longer, hold what was asked for."""

    code = "dicom_node.orthanc_lacks"


class OrthancRefuses(Refused):
    """An Orthanc judged an object and does not take it."""

    code = "dicom_node.orthanc_refuses"


class CertificateUnreadable(Refused):
    """The file holds no certificate."""

    code = "dicom_node.certificate_unreadable"


class CertificateUnknown(NotFound):
    """No such certificate is bound to this AE title."""

    code = "dicom_node.certificate_unknown"


class NotProven(Refused):
    """A caller has not proven to be the application entity that it names."""

    code = "dicom_node.not_proven"
    clause = "DICOM PS3.15 section B.12, PS3.8 section 9.3.4"


class TlsRequired(NotProven):
    """The title was used without TLS, and may not be."""

    code = "dicom_node.tls_required"


class CertificateNotBound(NotProven):
    """Nobody bound the certificate to an AE title."""

    code = "dicom_node.certificate_not_bound"


class CertificateOfAnother(NotProven):
    """The certificate belongs to another AE title."""

    code = "dicom_node.certificate_of_another"


class CertificateOfAnotherSite(NotProven):
    """The title has moved to another site since the certificate was bound to it."""

    code = "dicom_node.certificate_of_another_site"


class CertificateRevoked(NotProven):
    """The binding was taken back."""

    code = "dicom_node.certificate_revoked"


class CertificateExpired(NotProven):
    """The certificate is not valid yet, or not any more."""

    code = "dicom_node.certificate_expired"


class RevocationUnknown(NotProven):
    """Whether the authority took the certificate back cannot be known now."""

    code = "dicom_node.revocation_unknown"
    clause = "RFC 9325 section 7.5, RFC 5280 section 6.3"


class RevocationListMissing(RevocationUnknown):
    """There is no revocation list of who issued the certificate."""

    code = "dicom_node.revocation_list_missing"


class RevocationListExpired(RevocationUnknown):
    """The revocation list of who issued the certificate has run out, or is of the future."""

    code = "dicom_node.revocation_list_expired"


class CertificateRevokedByIssuer(NotProven):
    """The authority that issued the certificate took it back."""

    code = "dicom_node.certificate_revoked_by_issuer"
    clause = "RFC 9325 section 7.5, RFC 5280 section 5.3"


class AnnouncementInvalid(Refused):
    """What a sender announces does not say of what."""

    code = "dicom_node.announcement_invalid"
    clause = "DICOM PS3.4 table R.3.2-1"


class ServiceLacking(Refused):
    """A peer does not serve the SOP class that it is asked for."""

    code = "dicom_node.service_lacking"
