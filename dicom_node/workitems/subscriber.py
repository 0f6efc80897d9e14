"""Who is told of workitems, and of which.  Pure.

References
----------
DICOM PS3.4 section CC.2.3, PS3.18 section 11.10.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from dicom_node.data_sets import Attributes
from dicom_node.workitems import search
from dicom_node.workitems.workitem import Workitem
from kernel.people import Actor

GLOBAL = "1.2.840.10008.5.1.4.34.5"
"""The well-known instance that stands for all workitems."""
FILTERED = "1.2.840.10008.5.1.4.34.5.1"
"""The one that stands for those that match a filter."""
WELL_KNOWN = frozenset({GLOBAL, FILTERED})

HORIZON = timedelta(days=3)
"""An event that could not be told for so long is given up; the state can still be asked for."""
_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=15)


class Channel(StrEnum):
    """How a subscriber is told."""

    AE = "ae"
    """N-EVENT-REPORT on an association to the address of the registered peer."""
    WEB = "web"
    """A WebSocket that the subscriber holds open."""


class Breadth(StrEnum):
    """Of which new workitems a subscriber is told without asking for each."""

    NONE = "none"
    ALL = "all"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks something of a workitem.

    `organisation_id` bounds what is seen unless `sees_all`; `reader_id` is the consultant that
    this person or workstation stands for, if any; `issuer` gave out its ids of patients where it
    does not say who did.
    """

    actor: Actor
    title: str
    organisation_id: str | None
    sees_all: bool = False
    reader_id: str | None = None
    issuer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """An application entity, or a web client under a title of its own."""

    channel: Channel
    title: str
    owner: str
    organisation_id: str | None
    sees_all: bool
    breadth: Breadth = Breadth.NONE
    lock: bool = False
    filter: Attributes | None = None
    attempts: int = 0

    @property
    def id(self) -> str:
        """The key of the subscriber."""
        return f"{self.channel}:{self.title}"

    def wants(self, item: Workitem) -> bool:
        """Say whether a new workitem is one of those that the subscriber asked for."""
        if self.breadth is Breadth.FILTERED:
            return self.filter is not None and search.matches(self.filter, item.shown())
        return self.breadth is Breadth.ALL

    def next_attempt(self, at: datetime) -> datetime:
        """Return when to try again after a failure."""
        pause: timedelta = _FIRST_PAUSE * 2 ** min(self.attempts, 12)
        return at + min(pause, _LONGEST_PAUSE)


def subscriber_id(channel: Channel, title: str) -> str:
    """Return the key of a subscriber."""
    return f"{channel}:{title}"
