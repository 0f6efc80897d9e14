"""The services of the node beside storage and verification, by SOP class.

References
----------
DICOM PS3.4 annexes C (query and retrieve), J (storage commitment) and K (modality worklist).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from dicom_node.contexts import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from dicom_node.dimse import Command
from dicom_node.exchange import Offer
from dicom_node.finding import COMBINED_TIMES, RELATIONAL, Finder
from dicom_node.query import Root
from dicom_node.views import Views
from storage.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """How the services answer."""

    ae_title: str
    """Our own title: where what is found can be retrieved."""

    views: Views = field(default_factory=dict)
    """What the devices of an organisation see; its own studies where nothing is said."""

    max_matches: int = 10_000
    """More matches than a person or a program can mean; the query is ended there and says so."""


def offers(database: Database, settings: ServiceSettings) -> Mapping[str, Offer]:
    """Return what is served, by SOP class."""
    return _finding(database, settings)


def _finding(database: Database, settings: ServiceSettings) -> dict[str, Offer]:
    finder = Finder(
        database,
        ae_title=settings.ae_title,
        views=settings.views,
        max_matches=settings.max_matches,
    )
    roots = {PATIENT_ROOT_FIND: Root.PATIENT, STUDY_ROOT_FIND: Root.STUDY}
    return {
        uid: Offer(Command.C_FIND_RQ, partial(finder.find, root=root), (RELATIONAL, COMBINED_TIMES))
        for uid, root in roots.items()
    }
