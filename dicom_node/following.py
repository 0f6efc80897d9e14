"""Following an Orthanc: what became stable there is pulled, and only then counts as seen.

The position in its list of changes is kept in the same database as the archive index, and moves
on after the instances of a change are durable here.  A kill between the two costs a second look:
what was stored before is the same answer again.  An instance or a study that cannot be had, however
often it is asked for, is set aside with its reason and holds nothing else up.
"""

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from dicom_node import orthanc_store as store
from dicom_node.admission import Announced, Route, Source
from dicom_node.errors import (
    OrthancAnswersBadly,
    OrthancLacks,
    OrthancUnreachable,
    Unreadable,
    UnreadableReason,
)
from dicom_node.headers import Defaults
from dicom_node.intake import Answer, Intake
from dicom_node.orthanc import Bounds, Change, Remote, RemoteInstance, RemoteStudy
from dicom_node.orthancs import Orthanc, Progress, Trouble, pause_after
from dicom_node.part10 import split
from dicom_node.statuses import Outcome
from dicom_node.stow import store_part10
from kernel.errors import EngineError, Refused, Transient
from kernel.people import ENGINE
from storage import audit
from storage.engine import Database, Transaction
from storage.frame import Frame

IN_MEMORY = 32 << 20
SET_ASIDE = "set_aside"
PATIENCE = 5
"""Looks in a row that one instance or study may spoil before it is set aside."""

_STABLE, _NEW = "StableStudy", "NewInstance"
_NOT_DURABLE = frozenset({Outcome.NO_ROOM, Outcome.UNAVAILABLE, Outcome.FAILED})
_HELD = timedelta(minutes=2)
_HEAD = 1 << 17
_FRAME = 1 << 20

log = structlog.get_logger()


class PulledNotStored(Transient):
    """What was pulled cannot be made durable now."""

    code = "dicom_node.pulled_not_stored"


class LookEnded(Transient):
    """This look goes no further: the node ends, or another follows this Orthanc by now."""

    code = "dicom_node.look_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowSettings:
    """How an Orthanc is followed; `node` is unique among those that share the database."""

    node: str
    poll: timedelta = timedelta(seconds=5)
    bounds: Bounds = field(default_factory=Bounds)


class Following:
    """Follows Orthancs, one look at a time.

    Parameters
    ----------
    password_of
        Gives the password of an Orthanc by its name; empty where there is none.
    stopping
        Says whether to end after the instance in hand.
    """

    def __init__(
        self,
        database: Database,
        intake: Intake,
        settings: FollowSettings,
        *,
        password_of: Callable[[str], str],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._intake = intake
        self._settings = settings
        self._password_of = password_of
        self._stopping = stopping

    def look(self, name: str) -> bool:
        """Look once at an Orthanc that is due; say whether there is more to see at once."""
        settings = self._settings
        with self._database.transaction() as tx:
            held = store.hold(tx, name, settings.node, until=tx.at + _HELD)
        if held is None:
            return False
        orthanc, progress = held
        walk = _Walk(self, orthanc, progress)
        try:
            with closing(Remote(orthanc, self._password_of(name), settings.bounds)) as remote:
                walk.go(remote)
        except LookEnded:
            return False
        except EngineError as failure:
            walk.failed(failure)
            return False
        return walk.more


class _Walk:
    """One look at one Orthanc."""

    def __init__(self, following: Following, orthanc: Orthanc, progress: Progress) -> None:
        self._following = following
        self._database = following._database
        self._orthanc = orthanc
        self._progress = progress
        self.more = False

    def go(self, remote: Remote) -> None:
        newest = remote.newest_change()
        self._progress = replace(self._progress, newest=newest)
        changes = self._next_changes(remote, newest)
        for change in changes:
            if self._following._stopping():
                break
            if change.kind in (_STABLE, _NEW):
                self._pull(remote, change)
                self._passed(change)
        else:
            if changes:
                self._passed(changes[-1])
            self.more = bool(changes) and changes[-1].number < newest
        self._keep(next_at=None if self.more else self._in(self._poll))

    def failed(self, failure: EngineError) -> None:
        failures = self._progress.failures + 1
        log.warning("orthanc.waits", orthanc=self._orthanc.name, code=failure.code)
        self._progress = replace(
            self._progress,
            failures=failures,
            trouble=Trouble(failure.code, failure.sentence, self._database.clock()),
        )
        self._write(
            replace(self._progress, next_at=self._in(pause_after(failures, poll=self._poll)))
        )

    @property
    def _poll(self) -> timedelta:
        return self._following._settings.poll

    def _in(self, pause: timedelta) -> datetime:
        return self._database.clock() + pause

    def _next_changes(self, remote: Remote, newest: int) -> list[Change]:
        """Return what follows; from the first change on where the numbers are not those we knew."""
        known = self._progress
        if not known.last_change:
            return remote.changes(0)
        if newest < known.last_change:
            self._start_over(
                f"its newest change is {newest}, and we had read {known.last_change}: "
                "its database was made anew"
            )
            return remote.changes(0)
        # Ours comes along, so that a number that was given a second time is noticed.
        found = remote.changes(known.last_change - 1)
        if not found or found[0].number > known.last_change:
            return found  # ours went with what was deleted there
        first, *rest = found
        if known.print and first.print != known.print:
            self._start_over(
                f"its change {first.number} is not the one that we had read: "
                "its database was made anew"
            )
            return remote.changes(0)
        return rest

    def _start_over(self, why: str) -> None:
        at = self._database.clock()
        log.warning("orthanc.started_over", orthanc=self._orthanc.name)
        self._progress = replace(
            self._progress, last_change=0, print="", started_over_at=at, started_over_why=why
        )
        self._write(self._progress)
        with self._database.transaction() as tx:
            store.end_pulls(tx, self._orthanc.name)
            _note(tx, self._orthanc, "orthanc.started_over", audit.Outcome.SUCCESS)

    def _pull(self, remote: Remote, change: Change) -> None:
        try:
            if change.kind == _STABLE:
                self._pull_study(remote, remote.study(change.id))
            else:
                self._pull_late(remote, change.id)
        except OrthancLacks:
            log.info("orthanc.gone", orthanc=self._orthanc.name, change=change.number)
            self._end_pulls()
        except Refused as refusal:
            self._set_aside("a study", change.id, refusal)
            self._end_pulls()
        except OrthancAnswersBadly as failure:
            if self._progress.failures < PATIENCE:
                raise
            self._set_aside("a study", change.id, failure)
            self._end_pulls()

    def _end_pulls(self) -> None:
        """Let no study wait for the rest of a pull that nobody goes on with."""
        with self._database.transaction() as tx:
            store.end_pulls(tx, self._orthanc.name)

    def _pull_late(self, remote: Remote, instance_id: str) -> None:
        """Pull a new instance of a study that was pulled; others wait until theirs is stable."""
        study = remote.study_of(instance_id)
        with self._database.reading() as tx:
            known = store.knows_study(tx, self._orthanc.name, study.study_uid)
        if known:
            self._pull_instances(remote, [remote.instance(instance_id)])

    def _pull_study(self, remote: Remote, study: RemoteStudy) -> None:
        self._note_study(study, pulling=True)
        for series_id in study.series:
            with suppress(OrthancLacks):  # deleted there in the meantime
                self._pull_instances(remote, remote.instances_of(series_id))
        self._note_study(study, pulling=False)

    def _note_study(self, study: RemoteStudy, *, pulling: bool) -> None:
        with self._database.transaction() as tx:
            store.note_study(tx, self._orthanc.name, study.study_uid, pulling=pulling)

    def _pull_instances(self, remote: Remote, found: Sequence[RemoteInstance]) -> None:
        name = self._orthanc.name
        with self._database.reading() as tx:
            had = store.files_had(tx, name, [each.id for each in found], lacking=SET_ASIDE)
            ours = store.returned(tx, name, [each.instance_uid for each in found])
        for instance in found:
            if instance.instance_uid in ours or had.get(instance.id) == instance.file_uuid:
                continue
            if self._following._stopping():
                raise LookEnded("this node is ending")
            outcome = self._pulled(remote, instance)
            with self._database.transaction() as tx:
                node = self._following._settings.node
                if not store.still_held(tx, name, node, until=tx.at + _HELD):
                    raise LookEnded("another node follows this Orthanc by now")
                store.note_instance(tx, name, instance.id, instance.file_uuid, outcome)

    def _pulled(self, remote: Remote, instance: RemoteInstance) -> str:
        """Pull one instance; return what became of it."""
        try:
            answer = self._stored(remote, instance)
        except OrthancLacks:
            return "gone"
        except Refused as refusal:
            return self._set_aside("an instance", instance.id, refusal)
        except OrthancAnswersBadly as failure:
            if self._progress.failures < PATIENCE:
                raise
            return self._set_aside("an instance", instance.id, failure)
        if answer.outcome in _NOT_DURABLE:
            raise PulledNotStored(f"what was pulled is not stored: {answer.reason}")
        return answer.outcome.value

    def _set_aside(self, what: str, id: str, failure: EngineError) -> str:
        at = self._database.clock()
        sentence = f"{what} was set aside: {failure.sentence}"
        log.warning("orthanc.set_aside", orthanc=self._orthanc.name, code=failure.code)
        self._progress = replace(self._progress, trouble=Trouble(failure.code, sentence, at))
        with self._database.transaction() as tx:
            _note(
                tx,
                self._orthanc,
                "orthanc.set_aside",
                audit.Outcome.FAILED,
                of=id,
                code=failure.code,
            )
        return SET_ASIDE

    def _stored(self, remote: Remote, instance: RemoteInstance) -> Answer:
        if instance.size > IN_MEMORY:
            return self._streamed(remote, instance)
        source = self._source()
        for _ in range(2):
            with remote.download(instance.id) as download:
                part10 = b"".join(download)
            if remote.md5(instance.id) in (None, download.md5):
                return store_part10(self._following._intake, part10, source)
        # Twice the same: it is not the way that damaged it.  It is kept where a person sees it.
        return self._following._intake.keep_unreadable(source, part10, _damaged())

    def _streamed(self, remote: Remote, instance: RemoteInstance) -> Answer:
        """Pass a large instance on to the journal as it comes."""
        with remote.download(instance.id) as download:
            chunks, head = iter(download), bytearray()
            while len(head) < _HEAD and (chunk := next(chunks, b"")):
                head += chunk
            file = split(head)
            announced = Announced(
                file.sop_class_uid, file.sop_instance_uid, file.transfer_syntax_uid
            )
            stream = self._following._intake.begin(announced, self._source(), Frame(_FRAME))
            try:
                stream.write(memoryview(head)[file.data_set_offset :])
                for chunk in chunks:
                    stream.write(chunk)
                if remote.md5(instance.id) not in (None, download.md5):
                    raise OrthancUnreachable("a large instance came damaged")
                return stream.finish()
            finally:
                stream.discard()

    def _source(self) -> Source:
        told = self._orthanc
        defaults = Defaults(told.issuer, told.character_set)
        return Source(Route.ORTHANC, told.name, told.organisation_id, defaults)

    def _passed(self, change: Change) -> None:
        """Note that everything up to a change is durable here."""
        self._keep(last_change=change.number, print=change.print)

    def _keep(self, **changed: object) -> None:
        at = self._database.clock()
        self._progress = replace(self._progress, seen_at=at, failures=0, **changed)  # type: ignore[arg-type]
        self._write(self._progress)

    def _write(self, progress: Progress) -> None:
        with self._database.transaction() as tx:
            node = self._following._settings.node
            if not store.note_progress(tx, self._orthanc.name, node, progress):
                raise LookEnded("another node follows this Orthanc by now")


def _damaged() -> Unreadable:
    return Unreadable(
        UnreadableReason.DAMAGED, "the bytes are not those whose MD5 the Orthanc keeps"
    )


def _note(
    tx: Transaction, orthanc: Orthanc, action: str, outcome: audit.Outcome, **detail: str
) -> None:
    audit.record(
        tx,
        actor=ENGINE,
        action=action,
        subject=f"orthanc:{orthanc.name}",
        outcome=outcome,
        detail=detail,
    )
