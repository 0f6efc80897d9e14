"""Which studies a device may see when it queries or retrieves.

The rule and what was left are in docs/adr.
"""

from collections.abc import Mapping
from enum import StrEnum

from dicom_node import store
from dicom_node.peers import Peer
from storage.archive_find import Scope


class View(StrEnum):
    """How much of the archive the devices of an organisation see."""

    OWN = "own"
    """Studies that its devices sent, and those of its own requests."""

    ALL = "all"
    """Every study: for the archive and the workstations of who reads for all."""


Views = Mapping[str, View]


def scope_of(peer: Peer, views: Views) -> Scope | None:
    """Return what a peer may see; None is everything.

    Parameters
    ----------
    views
        By organisation; one that is not named sees its own.
    """
    return scope_of_organisation(peer.organisation_id, views)


def scope_of_organisation(organisation_id: str, views: Views) -> Scope | None:
    """Return what an organisation may see, whichever way it asks; see `scope_of`."""
    if views.get(organisation_id, View.OWN) is View.ALL:
        return None
    return store.sight_of(organisation_id)
