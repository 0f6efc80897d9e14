"""One node of the engine: the listener, what tells of its associations, what it recovers."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from app.board import Part
from app.bootstrap import Parts
from kernel.errors import Misconfigured

if TYPE_CHECKING:
    from dicom_node.flight_teller import FlightTeller
    from dicom_node.followers import Followers
    from dicom_node.following import Following
    from dicom_node.listener import Listener
    from dicom_node.workitems.commands import Performing

log = structlog.get_logger()


def recover(parts: Parts) -> int:
    """Index what a crash left in this node's journal; return how many instances that were."""
    from dicom_node.recovery import admit_record
    from storage import recovery

    starting = parts.pulse_of(Part.STARTING)
    found = recovery.recover(parts.database, parts.journal, admit_record, starting)
    if found:
        log.warning("node.recovered", instances=found)
    return found


def tell_of_start(parts: Parts) -> None:
    """Tell who watches all workitems that this node was started anew."""
    from dicom_node.workitems import commands

    with parts.database.transaction() as tx:
        commands.tell_of_restart(tx)


def listener(parts: Parts) -> "Listener":
    """Return the DICOM listener of the settings, not started yet."""
    from app import dicom_tls
    from dicom_node import commands
    from dicom_node.doors import PlainDoor, networks
    from dicom_node.listener import Listener, ListenerSettings
    from dicom_node.peers import Peer
    from dicom_node.receive import ReceiveLimits
    from dicom_node.services import Offers, ServiceSettings

    def find_peer(title: str) -> Peer | None:
        with parts.database.reading() as tx:
            return commands.find_caller(tx, title)

    told, limits = parts.settings.dicom, ReceiveLimits()
    return Listener(
        ListenerSettings(
            ae_title=told.ae_title,
            host=told.host,
            port=told.port,
            tls_port=told.tls_port,
            max_associations=told.max_associations,
            max_associations_per_peer=told.max_associations_per_peer,
            artim=timedelta(seconds=30),
            limits=limits,
        ),
        parts.intake,
        find_peer,
        in_flight=parts.in_flight,
        offers=Offers(
            parts.archive,
            ServiceSettings(
                ae_title=told.ae_title,
                views=parts.views,
                zone_of=_zones(parts),
                max_matches=told.max_matches,
                secure=lambda: parts.secure,
                performing=lambda: _performing(parts),
            ),
        ),
        door=PlainDoor(networks(told.plain_networks)),
        tls_door=dicom_tls.door(parts.settings, parts.database, limits),
        pulse=parts.pulse_of(Part.ACCEPTING),
        tls_pulse=parts.pulse_of(Part.ACCEPTING_TLS),
    )


def flight_teller(parts: Parts) -> "FlightTeller":
    """Return what tells other processes of the listener's associations, not started yet."""
    from dicom_node.flight_teller import FlightTeller, pause_for

    return FlightTeller(
        parts.database,
        parts.settings.node,
        parts.in_flight,
        pause=pause_for(timedelta(seconds=parts.settings.dicom.quiet_s)),
    )


def followers(parts: Parts) -> "Followers":
    """Return what follows the registered Orthancs, not started yet."""
    from dicom_node.followers import Followers

    stop = threading.Event()
    return Followers(parts.database, lambda: _following(parts, stop), stop)


def _following(parts: Parts, stop: threading.Event) -> "Following":
    from dicom_node.following import Following, FollowSettings

    return Following(
        parts.database,
        parts.intake,
        FollowSettings(
            node=parts.settings.node,
            poll=timedelta(seconds=parts.settings.orthanc.poll_s),
            bounds=parts.orthanc_bounds,
        ),
        password_of=parts.orthanc_password,
        stopping=stop.is_set,
    )


def _performing(parts: Parts) -> "Performing":
    from app.readings import Readings

    return Readings(parts.worklist)


def _zones(parts: Parts) -> Callable[[str], ZoneInfo]:
    """Return what says in which time a site's worklist is: the one that is set, else its own."""
    if parts.settings.dicom.zone:
        zone = _zone(parts.settings.dicom.zone)
        return lambda _: zone

    def of_site(organisation_id: str) -> ZoneInfo:
        from app.pages.moments import zone_of
        from worklist import store
        from worklist.errors import OrganisationUnknown

        with parts.database.reading() as tx:
            try:
                return zone_of(store.get_organisation(tx, organisation_id).zone)
            except OrganisationUnknown:
                return zone_of(None)

    return of_site


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Misconfigured(f"dicom.zone: '{name}' is no IANA time zone") from error
