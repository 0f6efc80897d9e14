"""Who sends instances, how, and what is said of them before they come."""

from enum import StrEnum
from typing import NamedTuple

from dicom_node.headers import Defaults
from kernel.people import Actor, Role


class Route(StrEnum):
    """How instances come in."""

    DIMSE = "dimse"
    STOW = "stow"
    ORTHANC = "orthanc"
    FILE = "file"


_KINDS = {
    Route.DIMSE: "ae",
    Route.STOW: "client",
    Route.ORTHANC: "orthanc",
    Route.FILE: "client",
}


class Source(NamedTuple):
    """Who sends instances, and what is assumed where their data sets are silent.

    `name` is the calling AE title, the account of a web client, or the name of an Orthanc.

    `begins` says of a web client that nothing of a study is known to be stored for its request yet;
    what is recovered after a crash is taken for the beginning of one, what was kept aside is not.
    """

    route: Route
    name: str
    organisation_id: str
    defaults: Defaults
    begins: bool = True

    @property
    def actor(self) -> Actor:
        """The sender as the audit chain names it."""
        return Actor(f"{_KINDS[self.route]}:{self.name}", Role.DEVICE, self.organisation_id or None)


class Announced(NamedTuple):
    """What a sender says of an instance before its data set comes."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
