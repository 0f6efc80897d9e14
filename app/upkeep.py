"""The upkeep of a node: packing what settled in its journal, and re-reading what it keeps."""

import threading
from datetime import timedelta

import structlog

from app.bootstrap import Parts
from kernel.clock import monotonic_s
from kernel.errors import Corrupt, EngineError, Transient
from storage import outbox, unpacked
from storage.courtesy import Courtesy
from storage.flights import Watch
from storage.packs import Packer
from storage.scrub import Pace, Scrub, keep_on

UPKEEP_PAUSE_S = 0.5
LOOK_ANYWAY_S = 10.0
"""A change of what is kept, such as a withdrawal, may settle a study without a fact."""
LEFT_ALONE_S = 600.0
"""So long a study is not tried again that could not be packed, such as one that is damaged."""
UNFORESEEN = "upkeep.unforeseen"
"""What begins the code where the reason is none that was foreseen; the log has it."""
_SLOWEST_MB_PER_S = 0.001
FAULT_PAUSE_S = 5.0

log = structlog.get_logger()


class Upkeep:
    """Packs settled studies of this node's journal and frees the space they took."""

    def __init__(self, packer: Packer, parts: Parts, courtesy: Courtesy | None = None) -> None:
        self._packer = packer
        self._database = parts.database
        self._courtesy = courtesy or Courtesy(watch_of(parts).is_busy)
        self._looked = False
        self._idle_since: int | None = None
        self._looked_at_s = 0.0
        self._left_alone: dict[str, float] = {}
        self._refused: set[str] | None = None
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
        due = self._due()
        packed = 0
        for study_uid in due:
            if self._stop.is_set() or self._courtesy.steps_aside():
                break
            packed += self._pack(study_uid)
        self._packer.move_quarantine()
        if packed or not self._looked:
            self._packer.free_segments()
            self._looked = True
        return packed

    def _pack(self, study_uid: str) -> bool:
        """Pack one study; one that cannot be is left alone for a time, and keeps no other."""
        try:
            self._packer.pack(study_uid)
        except Transient:
            raise  # the store or a disk: the next study would fare no better
        except Corrupt as error:
            log.error("upkeep.not_packed", study=study_uid, code=error.code, reason=error.sentence)
            self._leave_alone(study_uid, error.code)
        except Exception as error:  # whatever it is, it must not keep the others from their packs
            log.exception("upkeep.not_packed", study=study_uid)
            self._leave_alone(study_uid, f"{UNFORESEEN}.{type(error).__name__}")
        else:
            self._take_back(study_uid)
            return True
        return False

    def _leave_alone(self, study_uid: str, code: str) -> None:
        self._left_alone[study_uid] = monotonic_s() + LEFT_ALONE_S
        refused = self._known_refused()
        with self._database.transaction() as tx:
            unpacked.not_packed(tx, self._packer.node, study_uid, code)
        refused.add(study_uid)

    def _take_back(self, study_uid: str) -> None:
        refused = self._known_refused()
        if study_uid in refused:
            with self._database.transaction() as tx:
                unpacked.packed(tx, self._packer.node, study_uid)
            refused.discard(study_uid)

    def _known_refused(self) -> set[str]:
        """Return what is noted not to be packed, by this process or by one before it."""
        if self._refused is None:
            with self._database.reading() as tx:
                self._refused = unpacked.refused(tx, self._packer.node)
        return self._refused

    def _due(self) -> list[str]:
        """Look where a fact was told since nothing was due: that a study settled is one."""
        now = monotonic_s()
        with self._database.reading() as tx:
            newest = outbox.newest(tx)
            if newest == self._idle_since and now - self._looked_at_s < LOOK_ANYWAY_S:
                return []
            self._left_alone = {uid: s for uid, s in self._left_alone.items() if s > now}
            due = self._packer.due(tx, besides=self._left_alone)
        self._idle_since, self._looked_at_s = None if due else newest, now
        return due

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
    """Re-reads what this node keeps, while no association that brought instances is open."""

    def __init__(self, parts: Parts) -> None:
        told = parts.settings.storage
        self._stop = threading.Event()
        self._pace = Pace(
            max(told.scrub_mb_per_s, _SLOWEST_MB_PER_S) * 1e6,
            watch_of(parts).are_open,
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


def watch_of(parts: Parts) -> Watch:
    """Return what asks whether instances arrive at the node of the settings."""
    return Watch(parts.database, parts.settings.node)
