"""Rejection notes applied: what a sender takes back is withdrawn, if no rule keeps it.

The note itself goes with what it names.  A note is applied once: what a person restored stays.
Where a rule keeps the study, nothing is hidden in silence and nothing goes: the note is listed as
refused, with the rule, and is tried again where the rule may end.

A site may have what is rejected for quality stay in regular use.  It is then withdrawn by nobody,
so every way out shows it, and the note beside it says what it is.  Once the site decides otherwise
those notes are applied.

References
----------
IHE RAD TF-3, 4.66: rejected instances are hidden, and later occurrences are not accepted; of those
rejected for quality reasons (113001, DCM) a site decides.
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from kernel.people import Actor, Role
from storage import audit, rejections, withdrawals
from storage.archive import InstanceUnknown
from storage.engine import Database, Transaction
from storage.purge import KeepingOf
from storage.rejections import KeyObject, NamedState
from storage.retention import (
    Keeping,
    OpenInCase,
    Reason,
    Retention,
    UnderHold,
    WithdrawalRefused,
    require_owner,
)
from storage.work import DueWork

LOOK_AGAIN = timedelta(hours=1)
"""A hold is released and a case ends some day."""
_AT_ONCE = 5000

log = structlog.get_logger()


class Rejecting:
    """Applies rejection notes.

    Parameters
    ----------
    keeping_of
        Tells what the rules need to know of a study, cases and reports among it.
    shows_quality
        Whether what is rejected for quality stays in regular use.
    """

    def __init__(
        self,
        database: Database,
        retention: Retention,
        *,
        keeping_of: KeepingOf,
        shows_quality: bool = False,
    ) -> None:
        self._shows_quality = shows_quality
        self._database = database
        self._retention = retention
        self._keeping_of = keeping_of

    def due_work(self) -> Sequence[DueWork]:
        """Return what the relay drives."""
        return [
            DueWork(
                name="dicom_node.apply_rejections",
                queue="default",
                due=self.due,
                run=self.apply,
                signs=rejections.DUE_SIGNS,
            )
        ]

    def due(self, tx: Transaction) -> list[str]:
        """Return the notes that are to be applied now."""
        found = rejections.due(tx)
        if not self._shows_quality:
            found += rejections.all_left_in_use(tx)
        return sorted(set(found))

    def apply(self, note_uid: str) -> None:
        """Apply a note to what is here of what it names; done twice, it is done once."""
        with self._database.transaction() as tx:
            note = rejections.find(tx, note_uid)
            if note is None or note.reason is None:
                return
            stays = self._shows_quality and note.reason == Reason.QUALITY.value
            reject = self._left_in_use if stays else self._rejected
            refused = [
                refusal
                for study_uid in rejections.studies_named(tx, note_uid)
                if (refusal := reject(tx, note, study_uid)) is not None
            ]
            if refused:
                self._put_off(tx, note, refused)
            else:
                if not stays:
                    self._hide(tx, note)
                rejections.note_outcome(tx, note_uid, code="", sentence="", due_at=None)

    def _rejected(
        self, tx: Transaction, note: KeyObject, study_uid: str
    ) -> WithdrawalRefused | None:
        """Withdraw what a note names of one study; return the rule that keeps it."""
        keeping = self._keeping_of(tx, study_uid)
        named = rejections.named_in(tx, note.instance_uid, study_uid)
        if named:
            try:
                require_owner(keeping, note.organisation_id)
                self._withdraw(tx, keeping, note, named)
            except WithdrawalRefused as refusal:
                rejections.note_state(tx, note.instance_uid, study_uid, NamedState.REFUSED)
                return refusal
        rejections.note_state(tx, note.instance_uid, study_uid, NamedState.WITHDRAWN)
        return None

    def _left_in_use(
        self, tx: Transaction, note: KeyObject, study_uid: str
    ) -> WithdrawalRefused | None:
        """Note that what a note names of one study stays; return the rule that refuses it."""
        try:
            require_owner(self._keeping_of(tx, study_uid), note.organisation_id)
        except WithdrawalRefused as refusal:
            rejections.note_state(tx, note.instance_uid, study_uid, NamedState.REFUSED)
            return refusal
        rejections.note_state(tx, note.instance_uid, study_uid, NamedState.SHOWN)
        audit.record(
            tx,
            actor=_actor(note),
            action="rejection.left_in_use",
            subject=f"study:{study_uid}",
            detail={"note": note.instance_uid, "reason": note.reason},
        )
        return None

    def _withdraw(
        self, tx: Transaction, keeping: Keeping, note: KeyObject, named: frozenset[str]
    ) -> None:
        """Withdraw by name, never a study as a whole: others may come at this moment."""
        own = {note.instance_uid} if keeping.study_uid == note.study_uid else set()
        uids = sorted(named | own)
        for at in range(0, len(uids), _AT_ONCE):
            withdrawals.withdraw(
                tx,
                keeping,
                Reason(note.reason or ""),
                self._retention,
                instance_uids=frozenset(uids[at : at + _AT_ONCE]),
                actor=_actor(note),
            )

    def _hide(self, tx: Transaction, note: KeyObject) -> None:
        """Take the note itself out of sight too, where no rule keeps its study."""
        try:
            keeping = self._keeping_of(tx, note.study_uid)
            require_owner(keeping, note.organisation_id)
            self._withdraw(tx, keeping, note, frozenset())
        except (WithdrawalRefused, InstanceUnknown) as refusal:
            log.info("rejection.note_stays", note=note.instance_uid, code=refusal.code)

    def _put_off(self, tx: Transaction, note: KeyObject, refused: list[WithdrawalRefused]) -> None:
        """List the note as refused; try again later where the rule may end."""
        ends = any(isinstance(each, UnderHold | OpenInCase) for each in refused)
        first = refused[0]
        log.warning("rejection.refused", note=note.instance_uid, code=first.code)
        rejections.note_outcome(
            tx,
            note.instance_uid,
            code=first.code,
            sentence=first.sentence,
            due_at=tx.at + LOOK_AGAIN if ends else None,
        )
        audit.record(
            tx,
            actor=_actor(note),
            action="rejection.refused",
            subject=f"instance:{note.instance_uid}",
            outcome=audit.Outcome.REFUSED,
            detail={"code": first.code, "reason": note.reason, "studies": len(refused)},
        )


def _actor(note: KeyObject) -> Actor:
    return Actor(note.actor, Role.DEVICE, note.organisation_id or None)
