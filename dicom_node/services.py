"""The services of the node beside storage and verification, by SOP class.

References
----------
DICOM PS3.4 annexes C (query and retrieve), F (performed steps), J (storage commitment), K (modality
worklist), R (instance availability) and CC (unified procedure step).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import partial

from dicom_node.availability import AvailabilityDesk
from dicom_node.commitment import CommitmentDesk
from dicom_node.committing import CommitmentAnswers
from dicom_node.dimse import Command
from dicom_node.exchange import Offer
from dicom_node.finding import COMBINED_TIMES, RELATIONAL, Finder
from dicom_node.modality_worklist import Worklist
from dicom_node.performing import PerformedStepDesk
from dicom_node.query import Root
from dicom_node.retrieve import Retriever
from dicom_node.send import SendSettings
from dicom_node.tls import Secure
from dicom_node.uids import (
    AVAILABILITY,
    MODALITY_WORKLIST,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    PERFORMED_STEP,
    PERFORMED_STEP_RETRIEVE,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)
from dicom_node.views import Views
from dicom_node.workitems.commands import NoReadings, Performing
from dicom_node.workitems.serving import WorkitemDesk
from storage.archive import Archive

_FIND = {PATIENT_ROOT_FIND: Root.PATIENT, STUDY_ROOT_FIND: Root.STUDY}
_MOVE = {PATIENT_ROOT_MOVE: Root.PATIENT, STUDY_ROOT_MOVE: Root.STUDY}
_GET = {PATIENT_ROOT_GET: Root.PATIENT, STUDY_ROOT_GET: Root.STUDY}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How the services answer."""

    ae_title: str
    """Our own title: where what is found can be retrieved."""

    views: Views = field(default_factory=dict)
    """What the devices of an organisation see; its own studies where nothing is said."""

    zone: tzinfo = UTC
    """The time of the sites, in which the worklist names dates and times."""

    performing: Performing = field(default_factory=NoReadings)
    """Who decides whether a reading may be begun or given back through its workitem."""

    secure: Secure | None = None
    """How the destinations of C-MOVE are called that are called over TLS."""

    max_matches: int = 10_000
    """More matches than a person or a program can mean; the query is ended there and says so."""


def offers(archive: Archive, settings: ServiceSettings) -> Mapping[str, Offer]:
    """Return what is served, by SOP class."""
    finder = Finder(
        archive.database,
        ae_title=settings.ae_title,
        views=settings.views,
        max_matches=settings.max_matches,
    )
    retriever = Retriever(
        archive,
        finder,
        views=settings.views,
        send=SendSettings(ae_title=settings.ae_title, secure=settings.secure),
    )
    workitems = WorkitemDesk(
        archive.database,
        views=settings.views,
        performing=settings.performing,
        max_matches=settings.max_matches,
    )
    worklist = Worklist(archive.database, zone=settings.zone, max_matches=settings.max_matches)
    steps = PerformedStepDesk(archive.database)
    return {
        **workitems.offers(),
        **{
            uid: Offer(
                Command.C_FIND_RQ, partial(finder.find, root=root), (RELATIONAL, COMBINED_TIMES)
            )
            for uid, root in _FIND.items()
        },
        **{
            uid: Offer(Command.C_MOVE_RQ, partial(retriever.move, root=root), (RELATIONAL,))
            for uid, root in _MOVE.items()
        },
        **{
            uid: Offer(Command.C_GET_RQ, partial(retriever.get, root=root), (RELATIONAL,))
            for uid, root in _GET.items()
        },
        MODALITY_WORKLIST: Offer(Command.C_FIND_RQ, worklist.find),
        STORAGE_COMMITMENT: Offer(
            Command.N_ACTION_RQ,
            CommitmentDesk(archive.database).ask,
            besides={Command.N_EVENT_REPORT_RQ: CommitmentAnswers(archive.database).hear},
        ),
        PERFORMED_STEP: Offer(
            Command.N_CREATE_RQ, steps.create, besides={Command.N_SET_RQ: steps.set}
        ),
        PERFORMED_STEP_RETRIEVE: Offer(Command.N_GET_RQ, steps.get),
        AVAILABILITY: Offer(Command.N_CREATE_RQ, AvailabilityDesk(archive.database).create),
    }
