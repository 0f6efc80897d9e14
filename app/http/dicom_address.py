"""What a DICOMweb address names: a study, a series of it, an instance of that.

References
----------
DICOM PS3.18 section 10.4.1 (resources of the retrieve transaction).
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

STUDY = "/studies/{study_uid}"
SERIES = STUDY + "/series/{series_uid}"
INSTANCE = SERIES + "/instances/{instance_uid}"


@dataclass(frozen=True, slots=True)
class Address:
    """The UIDs of an address; what it does not go down to is None."""

    study_uid: str
    series_uid: str | None = None
    instance_uid: str | None = None

    @property
    def uids(self) -> tuple[str, str | None, str | None]:
        """The three of them, from the study down."""
        return self.study_uid, self.series_uid, self.instance_uid


async def address_of(request: Request) -> Address:
    """Return what the path of a request names; awaited, as is what needs no thread."""
    named = request.path_params
    return Address(named["study_uid"], named.get("series_uid"), named.get("instance_uid"))


Named = Annotated[Address, Depends(address_of)]
