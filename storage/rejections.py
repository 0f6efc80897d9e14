"""Rows of rejection notes: which key objects came from whom, and which instances each takes back.

A key object is entered with its admission, in the same transaction, so that none is missed; what
is named and not here yet waits, and is withdrawn before its study comes to rest.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, delete, func, literal_column, select, update

from storage import claims
from storage.archive import UNSETTLED_UIDS
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.retention import Reason
from storage.signs import Sign, due_by
from storage.tables.archive import INSTANCES
from storage.tables.rejections import KEY_OBJECTS, REJECTED_INSTANCES

AT_ONCE = 5000
_DUE_LIMIT = 50
_REFUSED = KEY_OBJECTS.c.code != literal_column("''")
"""Spelled as the index is, which holds no others."""


class NamedState(StrEnum):
    """What became of an instance that a note names."""

    WAITING = "waiting"
    """It has not come, or nobody has looked yet."""
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    """A rule keeps it."""
    SHOWN = "shown"
    """It stays in regular use, for so the settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyObject:
    """A key object and who sent it; `reason` is a code value where it is a rejection note."""

    instance_uid: str
    study_uid: str
    actor: str
    organisation_id: str
    reason: str | None
    read: bool
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedNote:
    """A rejection note whose instances are shown, at least in part, and why they are."""

    instance_uid: str
    actor: str
    reason: str
    code: str
    sentence: str
    received_at: datetime
    instances: int
    due_at: datetime | None

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return Reason(self.reason).meaning


def enter(
    tx: Transaction,
    instance_uid: str,
    study_uid: str,
    *,
    actor: str,
    organisation_id: str,
    received_at: datetime,
) -> None:
    """Enter a key object that was admitted; the same again changes nothing."""
    row = {
        "instance_uid": instance_uid,
        "study_uid": study_uid,
        "actor": actor,
        "organisation_id": organisation_id,
        "reason": None,
        "code": "",
        "sentence": "",
        "received_at": received_at,
        "read": False,
        "attempts": 0,
        "due_at": received_at,
    }
    tx.execute(insert_into(tx, KEY_OBJECTS).values(**row).on_conflict_do_nothing())


def unread(tx: Transaction) -> list[str]:
    """Return the key objects that are to be read now."""
    return _due(tx, read=False)


def claim(tx: Transaction, instance_uid: str, *, until: datetime) -> KeyObject | None:
    """Take a key object that is due, until a moment; None if another has it or it is done."""
    return _key_object(claims.claim(tx, KEY_OBJECTS.c.instance_uid, instance_uid, until=until))


def find(tx: Transaction, instance_uid: str) -> KeyObject | None:
    """Return a key object, None if there is none."""
    table = KEY_OBJECTS
    query = select(table).where(table.c.instance_uid == instance_uid)
    return _key_object(tx.execute(query).mappings().first())


def note_read(
    tx: Transaction, instance_uid: str, reason: str | None, named: Mapping[str, Iterable[str]]
) -> None:
    """Keep what a key object was found to be: a rejection of instances by study, or none."""
    mine = KEY_OBJECTS.c.instance_uid == instance_uid
    due_at = None if reason is None else tx.at
    tx.execute(update(KEY_OBJECTS).where(mine).values(read=True, reason=reason, due_at=due_at))
    tx.execute(delete(REJECTED_INSTANCES).where(REJECTED_INSTANCES.c.note_uid == instance_uid))
    rows = [
        {
            "note_uid": instance_uid,
            "instance_uid": uid,
            "study_uid": study_uid,
            "state": NamedState.WAITING.value,
        }
        for study_uid, uids in named.items()
        for uid in uids
    ]
    for start in range(0, len(rows), AT_ONCE):
        insert = insert_into(tx, REJECTED_INSTANCES).on_conflict_do_nothing()
        tx.execute(insert, rows[start : start + AT_ONCE])


_SIGN = due_by(KEY_OBJECTS.c.due_at)
UNREAD_SIGNS = (_SIGN,)
DUE_SIGNS = (_SIGN, Sign(lambda _at: _just_came()))
"""Of notes that are due, and of those that name what has come and not come to rest."""


def due(tx: Transaction) -> list[str]:
    """Return the notes to apply now: those that are due, and those that name what just came."""
    # All of them: what cannot be applied yet stays among these, and must not hide another.
    late = tx.execute(_just_came().distinct()).scalars()
    return sorted({*_due(tx, read=True), *late})


def awaited(tx: Transaction, study_uid: str) -> bool:
    """Say whether a key object of a study is unread, or a note names what just came of it."""
    table = KEY_OBJECTS
    unread = select(table.c.instance_uid).where(
        table.c.due_at.is_not(None), table.c.read.is_(False), table.c.study_uid == study_uid
    )
    if tx.execute(unread.limit(1)).first() is not None:
        return True
    named = _here().where(
        REJECTED_INSTANCES.c.state == NamedState.WAITING.value,
        REJECTED_INSTANCES.c.study_uid == study_uid,
    )
    return tx.execute(named.limit(1)).first() is not None


def studies_named(tx: Transaction, note_uid: str) -> list[str]:
    """Return the studies of what a note names, is here, and was not withdrawn for it."""
    named = REJECTED_INSTANCES.c
    query = _here(named.study_uid).where(
        named.note_uid == note_uid, named.state != NamedState.WITHDRAWN.value
    )
    return sorted(set(tx.execute(query).scalars()))


def named_in(tx: Transaction, note_uid: str, study_uid: str) -> frozenset[str]:
    """Return what a note names of a study, is shown, and was not withdrawn for it before."""
    named = REJECTED_INSTANCES.c
    query = _here(named.instance_uid).where(
        named.note_uid == note_uid,
        named.study_uid == study_uid,
        named.state != NamedState.WITHDRAWN.value,  # what was restored since stays
        INSTANCES.c.withdrawn.is_(None),
    )
    return frozenset(tx.execute(query).scalars())


def note_state(tx: Transaction, note_uid: str, study_uid: str, state: NamedState) -> None:
    """Note what became of the instances of a study that a note names and that are here.

    What it took back once it did: that may have been restored since.
    """
    named = REJECTED_INSTANCES.c
    here = select(INSTANCES.c.instance_uid).where(INSTANCES.c.study_uid == study_uid)
    tx.execute(
        update(REJECTED_INSTANCES)
        .where(
            named.note_uid == note_uid,
            named.study_uid == study_uid,
            named.instance_uid.in_(here),
            named.state != NamedState.WITHDRAWN.value,
        )
        .values(state=state.value)
    )


def note_outcome(
    tx: Transaction, note_uid: str, *, code: str, sentence: str, due_at: datetime | None
) -> None:
    """Note what refused a note, nothing where nothing did, and when it is tried again."""
    tx.execute(
        update(KEY_OBJECTS)
        .where(KEY_OBJECTS.c.instance_uid == note_uid)
        .values(code=code, sentence=sentence[:300], due_at=due_at)
    )


def refused(tx: Transaction, *, study_uid: str = "", limit: int = 200) -> list[RefusedNote]:
    """Return the notes that a rule refuses, the newest first; those of one study if it is named."""
    query = _notes(NamedState.REFUSED).where(_REFUSED)
    if study_uid:
        query = query.where(REJECTED_INSTANCES.c.study_uid == study_uid)
    return [_note(row) for row in tx.execute(query.limit(limit)).mappings()]


def left_in_use(tx: Transaction, study_uid: str) -> list[RefusedNote]:
    """Return the notes of a study whose instances the settings leave in regular use."""
    query = _notes(NamedState.SHOWN).where(REJECTED_INSTANCES.c.study_uid == study_uid)
    told = {"code": "rejection.in_use", "sentence": "by the settings of this node they stay in use"}
    return [_note({**row, **told}) for row in tx.execute(query).mappings()]


def all_left_in_use(tx: Transaction) -> list[str]:
    """Return notes whose instances are in regular use: the settings may not say so any more."""
    table = REJECTED_INSTANCES
    query = select(table.c.note_uid).where(table.c.state == literal_column("'shown'")).distinct()
    return list(tx.execute(query.limit(_DUE_LIMIT)).scalars())


def _notes(state: NamedState) -> Select[Any]:
    named = REJECTED_INSTANCES.c
    return (
        select(KEY_OBJECTS, func.count().label("instances"))
        .join(REJECTED_INSTANCES, named.note_uid == KEY_OBJECTS.c.instance_uid)
        .where(named.state == state.value)
        .group_by(KEY_OBJECTS.c.instance_uid)
        .order_by(KEY_OBJECTS.c.received_at.desc())
    )


def _note(row: Mapping[Any, Any]) -> RefusedNote:
    return RefusedNote(**{name: row[name] for name in RefusedNote.__dataclass_fields__})


def _here(wanted: Any = REJECTED_INSTANCES.c.note_uid) -> Select[Any]:
    """Select of those named that are here, in the study that the note says."""
    return (
        select(wanted)
        .select_from(REJECTED_INSTANCES)
        .join(
            INSTANCES,
            (INSTANCES.c.instance_uid == REJECTED_INSTANCES.c.instance_uid)
            & (INSTANCES.c.study_uid == REJECTED_INSTANCES.c.study_uid),
        )
    )


def _just_came() -> Select[Any]:
    """Select the notes that name what came and was not seen to, of studies that are not at rest."""
    return _here().where(
        REJECTED_INSTANCES.c.state == NamedState.WAITING.value,
        REJECTED_INSTANCES.c.study_uid.in_(UNSETTLED_UIDS),
    )


def _due(tx: Transaction, *, read: bool) -> list[str]:
    return claims.due(tx, KEY_OBJECTS.c.instance_uid, KEY_OBJECTS.c.read.is_(read))


def _key_object(row: Mapping[Any, Any] | None) -> KeyObject | None:
    if row is None:
        return None
    return KeyObject(**{name: row[name] for name in KeyObject.__dataclass_fields__})
