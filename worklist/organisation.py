"""The organisations that ask for readings and those that give them."""

from dataclasses import dataclass
from enum import StrEnum

from kernel.ids import OrganisationId


class OrganisationKind(StrEnum):
    """What an organisation is to the engine (KZ §8, §11)."""

    REQUESTING = "requesting"
    CONSULTING = "consulting"


@dataclass(frozen=True, slots=True)
class Organisation:
    """A site that asks or an organisation whose specialists answer.

    `zone` is the IANA name of its time zone; moments are stored in UTC and shown in this zone.
    """

    id: OrganisationId
    name: str
    kind: OrganisationKind
    zone: str = "UTC"
