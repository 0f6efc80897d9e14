"""One node of the engine: the listener, and the upkeep of the journal it writes."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from app.bootstrap import Parts
from kernel.errors import EngineError, Misconfigured
from storage.courtesy import Courtesy
from storage.packs import Packer
from storage.scrub import Pace, Scrub, keep_on

UPKEEP_PAUSE_S = 0.5
_SLOWEST_MB_PER_S = 0.001
FAULT_PAUSE_S = 5.0

if TYPE_CHECKING:
    from dicom_node.followers import Followers
    from dicom_node.listener import Listener

log = structlog.get_logger()


class Upkeep:
    """Packs settled studies of this node's journal and frees the space they took."""

    def __init__(self, packer: Packer, parts: Parts, courtesy: Courtesy | None = None) -> None:
        self._packer = packer
        self._database = parts.database
        self._courtesy = courtesy or Courtesy(parts.in_flight.is_busy)
        self._looked = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the study in hand; the rest is found again at the next start."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def turn(self) -> int:
        """Pack what is due; return how many studies that were.

        Instances that arrive go first: a study waits for its pack while they do, within a bound.
        """
        if self._courtesy.steps_aside():
            return 0
        with self._database.reading() as tx:
            due = self._packer.due(tx)
        for study_uid in due:
            if self._stop.is_set() or self._courtesy.steps_aside():
                break
            self._packer.pack(study_uid)
        self._packer.move_quarantine()
        if due or not self._looked:
            self._packer.free_segments()
            self._looked = True
        return len(due)

    def _run(self) -> None:
        while not self._stop.is_set():
            pause = UPKEEP_PAUSE_S
            try:
                self.turn()
            except EngineError as error:
                log.warning("upkeep.waits", code=error.code, reason=error.sentence)
                pause = FAULT_PAUSE_S
            except Exception:
                log.exception("upkeep.failed")
                pause = FAULT_PAUSE_S
            self._stop.wait(pause)


class Scrubbing:
    """Re-reads what this node keeps, while nobody has an association open."""

    def __init__(self, parts: Parts, associations: Callable[[], int]) -> None:
        told = parts.settings.storage
        self._stop = threading.Event()
        self._pace = Pace(
            max(told.scrub_mb_per_s, _SLOWEST_MB_PER_S) * 1e6,
            lambda: associations() > 0,
            self._stop,
        )
        self._scrub = Scrub(
            parts.database,
            parts.archive,
            parts.stored_objects,
            period=timedelta(days=told.scrub_days),
        )
        self._thread = threading.Thread(target=self._run, name="scrub", daemon=True)

    def start(self) -> None:
        """Begin, or go on where the last start ended."""
        self._thread.start()

    def stop(self) -> None:
        """End after the pack in hand; the next start goes on there."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                keep_on(self._scrub, self._pace, self._stop, told=_scrub_waits)
            except Exception:
                log.exception("scrub.failed")
                self._stop.wait(FAULT_PAUSE_S)


def _scrub_waits(error: EngineError) -> None:
    log.warning("scrub.waits", code=error.code, reason=error.sentence)


def recover(parts: Parts) -> int:
    """Index what a crash left in this node's journal; return how many instances that were."""
    from dicom_node.recovery import admit_record
    from storage import recovery

    found = recovery.recover(parts.database, parts.journal, admit_record)
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
    from app.readings import Readings
    from dicom_node import commands
    from dicom_node.doors import PlainDoor, networks
    from dicom_node.listener import Listener, ListenerSettings
    from dicom_node.peers import Peer
    from dicom_node.receive import ReceiveLimits
    from dicom_node.services import ServiceSettings, offers

    def find_peer(title: str) -> Peer | None:
        with parts.database.reading() as tx:
            return commands.find_peer(tx, title)

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
        offers=offers(
            parts.archive,
            ServiceSettings(
                ae_title=told.ae_title,
                views=parts.views,
                zone=_zone(told.zone),
                max_matches=told.max_matches,
                secure=parts.secure,
                performing=Readings(parts.worklist),
            ),
        ),
        door=PlainDoor(networks(told.plain_networks)),
        tls_door=dicom_tls.door(parts.settings, parts.database, limits),
    )


def followers(parts: Parts) -> "Followers":
    """Return what follows the registered Orthancs, not started yet."""
    from dicom_node.followers import Followers
    from dicom_node.following import Following, FollowSettings

    stop = threading.Event()
    following = Following(
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
    return Followers(following, stop)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Misconfigured(f"dicom.zone: '{name}' is no IANA time zone") from error
