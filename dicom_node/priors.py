"""Prior studies at a registered peer: found by C-FIND, brought to this node by C-MOVE.

What comes, comes through our own listener like any instance: durable before it is acknowledged.

References
----------
DICOM PS3.4 sections C.4.1 (C-FIND), C.4.2 (C-MOVE) and C.6.2 (study root).
"""

from dataclasses import dataclass
from datetime import timedelta

from dicom_node.asking import asking
from dicom_node.data_sets import UTF_8, Attributes, attribute
from dicom_node.dimse import Command, Element, Question, Response
from dicom_node.errors import AssociationRefused, PeerUnreachable, PriorsRefused
from dicom_node.peers import Peer
from dicom_node.send import SendSettings
from dicom_node.statuses import PENDING, Status
from dicom_node.uids import STUDY_ROOT_FIND, STUDY_ROOT_MOVE
from kernel.clock import monotonic_s
from kernel.ids import is_uid

MAX_PRIORS = 500
"""More studies of one patient than anybody compares; the query is ended there."""
_MAX_ANSWERS = 4 * MAX_PRIORS
"""An archive that gives more does not match by Patient ID, or never ends."""

_MAX_DIGITS = 9  # more instances no study has, and no column holds

_ASKED = (
    "PatientID",
    "IssuerOfPatientID",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedInstances",
)
_SUCCESSES = frozenset({Status.SUCCESS, Status.SUB_OPERATIONS_FAILED})
_BUSY = frozenset(
    {
        Status.OUT_OF_RESOURCES,
        Status.CANNOT_COUNT_MATCHES,
        Status.CANNOT_PERFORM_SUB_OPERATIONS,
        Status.PROCESSING_FAILURE,
        Status.CANCELLED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorStudy:
    """A study that a peer holds of a patient; dates and times as the peer writes them."""

    study_uid: str
    study_date: str
    study_time: str
    description: str
    accession: str
    modalities: tuple[str, ...]
    instances: int | None
    """How many the peer says there are; None if it does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a peer says it sent: the account of its C-MOVE."""

    completed: int
    failed: int
    warnings: int
    failed_uids: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was left out."""
        return not self.failed


def find(
    peer: Peer,
    *,
    patient_id: str,
    issuer: str,
    settings: SendSettings,
    within: timedelta = timedelta(minutes=5),
) -> list[PriorStudy]:
    """Find the studies of a patient at a peer, the newest first.

    An id means a patient of its issuer alone: an answer that names another issuer is left out, and
    one that names none is taken only if the peer's own ids are of the issuer that is asked for.

    Parameters
    ----------
    within
        The time for all of it; the association is then aborted.

    Raises
    ------
    PeerUnreachable, AssociationRefused
        It cannot be asked now, or does not come to an end.
    PriorsRefused, ServiceLacking
        It does not answer such queries, or with studies of anybody.
    """
    deadline_s = monotonic_s() + within.total_seconds()
    if not patient_id or set(patient_id) & {"*", "?", "\\"}:
        return []  # no id, or one that would ask for other patients as well
    keys = {"PatientID": patient_id, "QueryRetrieveLevel": "STUDY", "SpecificCharacterSet": UTF_8}
    asked = [attribute(keyword) for keyword in _ASKED if keyword not in keys]
    asked += [attribute(keyword, value) for keyword, value in keys.items()]
    found: dict[str, PriorStudy] = {}
    with asking(peer, STUDY_ROOT_FIND, settings) as archive:
        question = Question(command=Command.C_FIND_RQ, sop_class_uid=STUDY_ROOT_FIND)
        for number, (answer, told) in enumerate(archive.answers(question, asked)):
            if answer.status not in PENDING:
                _require_success(answer, peer)
            elif number == _MAX_ANSWERS:
                archive.call.abort()
                raise PriorsRefused(
                    f"the peer answers for one patient with more than {number} studies",
                    ae_title=peer.ae_title,
                )
            elif monotonic_s() > deadline_s:
                archive.call.abort()
                raise PeerUnreachable(
                    "the peer did not answer the query in time", ae_title=peer.ae_title
                )
            elif len(found) == MAX_PRIORS:
                archive.call.abort()
                break
            elif is_uid(told.value("StudyInstanceUID")) and _is_of(told, patient_id, issuer, peer):
                found[told.value("StudyInstanceUID")] = _prior(told)
    return sorted(found.values(), key=lambda one: (one.study_date, one.study_time), reverse=True)


def fetch(
    peer: Peer,
    study_uid: str,
    *,
    settings: SendSettings,
    within: timedelta = timedelta(minutes=10),
) -> Fetched:
    """Have a peer send a study to this node; return its account once it is done.

    The peer has to know this node by its AE title, and the node has to listen.

    Parameters
    ----------
    within
        The time for all of it; the association is then aborted.

    Raises
    ------
    PeerUnreachable, AssociationRefused
        It cannot be asked now, or is not done in time; asking again does no harm.
    PriorsRefused, ServiceLacking
        It does not know this node, or does not serve retrieval.
    """
    deadline_s = monotonic_s() + within.total_seconds()
    identifier = [
        attribute("QueryRetrieveLevel", "STUDY"),
        attribute("StudyInstanceUID", study_uid),
    ]
    with asking(peer, STUDY_ROOT_MOVE, settings, answer=within) as archive:
        question = Question(
            command=Command.C_MOVE_RQ,
            sop_class_uid=STUDY_ROOT_MOVE,
            move_destination=settings.ae_title,
        )
        for answer, told in archive.answers(question, identifier):
            if answer.status not in PENDING:
                _require_success(answer, peer)
                return _fetched(answer, told)
            if monotonic_s() > deadline_s:
                archive.call.abort()
                raise PeerUnreachable(
                    "the peer did not send the study in time", ae_title=peer.ae_title
                )
    raise PeerUnreachable("the peer gave no account of its sending", ae_title=peer.ae_title)


def _require_success(answer: Response, peer: Peer) -> None:
    if answer.status in _SUCCESSES:
        return
    told = {"ae_title": peer.ae_title, "status": f"{answer.status:04X}", "said": answer.comment}
    if answer.status == Status.DESTINATION_UNKNOWN:
        raise PriorsRefused("the peer does not know this node as a destination", **told)
    if answer.status in _BUSY:
        raise AssociationRefused("the peer cannot answer now", **told)
    raise PriorsRefused(f"the peer refused with status {answer.status:04X}", **told)


def _is_of(told: Attributes, patient_id: str, issuer: str, peer: Peer) -> bool:
    same = told.value("PatientID").strip() in ("", patient_id.strip())
    return same and (told.value("IssuerOfPatientID") or peer.issuer) == issuer


def _prior(told: Attributes) -> PriorStudy:
    number = told.value("NumberOfStudyRelatedInstances").strip()[:_MAX_DIGITS]
    return PriorStudy(
        study_uid=told.value("StudyInstanceUID"),
        study_date=told.value("StudyDate"),
        study_time=told.value("StudyTime"),
        description=told.value("StudyDescription"),
        accession=told.value("AccessionNumber"),
        modalities=told.values("ModalitiesInStudy"),
        instances=int(number) if number.isdecimal() else None,
    )


def _fetched(answer: Response, told: Attributes) -> Fetched:
    return Fetched(
        completed=answer.counts.get(Element.COMPLETED, 0),
        failed=answer.counts.get(Element.FAILED, 0),
        warnings=answer.counts.get(Element.WARNING, 0),
        failed_uids=told.values("FailedSOPInstanceUIDList"),
    )
