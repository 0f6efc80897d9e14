"""The services of the node beside storage and verification, by SOP class.

References
----------
DICOM PS3.4 annexes C (query and retrieve), F (performed steps), J (storage commitment), K (modality
worklist), R (instance availability) and CC (unified procedure step).
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from functools import partial
from typing import TYPE_CHECKING

from dicom_node.dimse import Command
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
    UPS_PULL,
    UPS_PUSH,
    UPS_QUERY,
    UPS_WATCH,
)
from dicom_node.views import Views
from storage.archive import Archive

if TYPE_CHECKING:
    from dicom_node.exchange import Offer
    from dicom_node.finding import Finder
    from dicom_node.tls import Secure
    from dicom_node.workitems.commands import Performing

_QUERY = frozenset({PATIENT_ROOT_FIND, STUDY_ROOT_FIND})
_RETRIEVAL = frozenset({PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE, PATIENT_ROOT_GET, STUDY_ROOT_GET})
_PERFORMED = frozenset({PERFORMED_STEP, PERFORMED_STEP_RETRIEVE})
_WORKITEMS = frozenset({UPS_PUSH, UPS_PULL, UPS_WATCH, UPS_QUERY})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How the services answer."""

    ae_title: str
    """Our own title: where what is found can be retrieved."""

    views: Views = field(default_factory=dict)
    """What the devices of an organisation see; its own studies where nothing is said."""

    zone_of: Callable[[str], tzinfo] = lambda _: UTC
    """The time of a site, by its organisation, in which the worklist names dates and times."""

    performing: "Callable[[], Performing] | None" = None
    """Who decides whether a reading may be begun or given back through its workitem; None: no."""

    secure: "Callable[[], Secure] | None" = None
    """How the destinations of C-MOVE are called that are called over TLS."""

    max_matches: int = 10_000
    """More matches than a person or a program can mean; the query is ended there and says so."""


class Offers(Mapping[str, "Offer"]):
    """What is served, by SOP class.

    What a service needs is imported when the first request for it comes: a node to which all only
    send instances never loads the toolkits.
    """

    def __init__(self, archive: Archive, settings: ServiceSettings) -> None:
        self._archive = archive
        self._settings = settings
        self._lock = threading.Lock()
        self._made: dict[str, Offer] = {}
        self._makers: dict[str, Callable[[], Mapping[str, Offer]]] = {
            **dict.fromkeys(_QUERY, self._queries),
            **dict.fromkeys(_RETRIEVAL, self._retrievals),
            **dict.fromkeys(_PERFORMED, self._performed_steps),
            **dict.fromkeys(_WORKITEMS, self._workitems),
            MODALITY_WORKLIST: self._worklist,
            STORAGE_COMMITMENT: self._commitment,
            AVAILABILITY: self._availability,
        }

    def __getitem__(self, uid: str) -> "Offer":
        make = self._makers[uid]
        with self._lock:
            if uid not in self._made:
                self._made.update(make())
            return self._made[uid]

    def __contains__(self, uid: object) -> bool:
        return uid in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def _finder(self) -> "Finder":
        from dicom_node.finding import Finder

        return Finder(
            self._archive,
            ae_title=self._settings.ae_title,
            views=self._settings.views,
            max_matches=self._settings.max_matches,
        )

    def _queries(self) -> "Mapping[str, Offer]":
        from dicom_node.exchange import Offer
        from dicom_node.finding import COMBINED_TIMES, RELATIONAL
        from dicom_node.query import Root

        find, questions = self._finder().find, (RELATIONAL, COMBINED_TIMES)
        roots = {PATIENT_ROOT_FIND: Root.PATIENT, STUDY_ROOT_FIND: Root.STUDY}
        return {
            uid: Offer(Command.C_FIND_RQ, partial(find, root=root), questions)
            for uid, root in roots.items()
        }

    def _retrievals(self) -> "Mapping[str, Offer]":
        from dicom_node.exchange import Offer
        from dicom_node.finding import RELATIONAL
        from dicom_node.query import Root
        from dicom_node.retrieve import Retriever
        from dicom_node.send import SendSettings

        told = self._settings
        secure = told.secure() if told.secure else None
        send = SendSettings(ae_title=told.ae_title, secure=secure)
        retriever = Retriever(self._archive, self._finder(), views=told.views, send=send)
        moves = {PATIENT_ROOT_MOVE: Root.PATIENT, STUDY_ROOT_MOVE: Root.STUDY}
        gets = {PATIENT_ROOT_GET: Root.PATIENT, STUDY_ROOT_GET: Root.STUDY}
        return {
            **{
                uid: Offer(Command.C_MOVE_RQ, partial(retriever.move, root=root), (RELATIONAL,))
                for uid, root in moves.items()
            },
            **{
                uid: Offer(Command.C_GET_RQ, partial(retriever.get, root=root), (RELATIONAL,))
                for uid, root in gets.items()
            },
        }

    def _worklist(self) -> "Mapping[str, Offer]":
        from dicom_node.exchange import Offer
        from dicom_node.modality_worklist import Worklist

        told = self._settings
        worklist = Worklist(
            self._archive.database, zone_of=told.zone_of, max_matches=told.max_matches
        )
        return {MODALITY_WORKLIST: Offer(Command.C_FIND_RQ, worklist.find)}

    def _commitment(self) -> "Mapping[str, Offer]":
        from dicom_node.commitment import CommitmentDesk
        from dicom_node.committing import CommitmentAnswers
        from dicom_node.exchange import Offer

        database = self._archive.database
        besides = {Command.N_EVENT_REPORT_RQ: CommitmentAnswers(database).hear}
        offer = Offer(Command.N_ACTION_RQ, CommitmentDesk(database).ask, besides=besides)
        return {STORAGE_COMMITMENT: offer}

    def _performed_steps(self) -> "Mapping[str, Offer]":
        from dicom_node.exchange import Offer
        from dicom_node.performing import PerformedStepDesk

        steps = PerformedStepDesk(self._archive.database)
        return {
            PERFORMED_STEP: Offer(
                Command.N_CREATE_RQ, steps.create, besides={Command.N_SET_RQ: steps.set}
            ),
            PERFORMED_STEP_RETRIEVE: Offer(Command.N_GET_RQ, steps.get),
        }

    def _availability(self) -> "Mapping[str, Offer]":
        from dicom_node.availability import AvailabilityDesk
        from dicom_node.exchange import Offer

        desk = AvailabilityDesk(self._archive.database)
        return {AVAILABILITY: Offer(Command.N_CREATE_RQ, desk.create)}

    def _workitems(self) -> "Mapping[str, Offer]":
        from dicom_node.workitems.commands import NoReadings
        from dicom_node.workitems.serving import WorkitemDesk

        told = self._settings
        return WorkitemDesk(
            self._archive.database,
            views=told.views,
            performing=told.performing() if told.performing else NoReadings(),
            max_matches=told.max_matches,
        ).offers()
