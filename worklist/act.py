"""Who does a thing, when, and because of which fact."""

from dataclasses import dataclass
from datetime import datetime

from kernel.people import Actor


@dataclass(frozen=True, slots=True)
class Act:
    """The circumstances of one change; every change is documented with them (KZ §2(8), §10).

    `cause` is the id of the fact that led to the change, None when a person began it.
    """

    at: datetime
    by: Actor
    cause: str | None = None
