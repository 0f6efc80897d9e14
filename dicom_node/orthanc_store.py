"""Rows of the Orthancs that are followed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, func, or_, select, update

from dicom_node.errors import OrthancUnknown
from dicom_node.orthancs import Orthanc, Progress, Trouble
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.tables.orthanc import (
    ORTHANC_INSTANCES,
    ORTHANC_RETURNS,
    ORTHANC_STUDIES,
    ORTHANCS,
)

_MAX_SENTENCE = 300
_LOOKED_UP = 500


def save(tx: Transaction, orthanc: Orthanc) -> None:
    """Register an Orthanc, or change the one with its name; what was followed stays."""
    values = asdict(orthanc)
    fresh = {
        "added_at": tx.at,
        "last_change": 0,
        "print": "",
        "newest": 0,
        "failures": 0,
        "started_over_why": "",
    }
    tx.execute(
        insert_into(tx, ORTHANCS)
        .values(**values, **fresh)
        .on_conflict_do_update(
            index_elements=[ORTHANCS.c.name], set_={**values, "failures": 0, "next_at": None}
        )
    )


def remove(tx: Transaction, name: str) -> None:
    """Forget an Orthanc and what was pulled from it; what is stored here stays.

    Raises
    ------
    OrthancUnknown
        None has this name.
    """
    if not tx.execute(delete(ORTHANCS).where(ORTHANCS.c.name == name)).rowcount:
        raise _unknown(name)
    for table in (ORTHANC_STUDIES, ORTHANC_INSTANCES, ORTHANC_RETURNS):
        tx.execute(delete(table).where(table.c.orthanc == name))


def get(tx: Transaction, name: str) -> Orthanc:
    """Return a registered Orthanc.

    Raises
    ------
    OrthancUnknown
        None has this name.
    """
    row = tx.execute(select(ORTHANCS).where(ORTHANCS.c.name == name)).mappings().first()
    if row is None:
        raise _unknown(name)
    return _orthanc(row)


def names(tx: Transaction) -> list[str]:
    """Return the names of the registered Orthancs."""
    return list(tx.execute(select(ORTHANCS.c.name)).scalars())


def listed(tx: Transaction) -> list[tuple[Orthanc, Progress]]:
    """Return every registered Orthanc and how far it was followed, by name."""
    rows = tx.execute(select(ORTHANCS).order_by(ORTHANCS.c.name)).mappings()
    return [(_orthanc(row), _progress(row)) for row in rows]


def hold(
    tx: Transaction, name: str, holder: str, *, until: datetime
) -> tuple[Orthanc, Progress] | None:
    """Take an Orthanc that is due, for one node until a moment; None if it is not to be had."""
    taken = tx.execute(
        update(ORTHANCS)
        .where(
            ORTHANCS.c.name == name,
            or_(ORTHANCS.c.next_at.is_(None), ORTHANCS.c.next_at <= tx.at),
            _free_or_of(tx, holder),
        )
        .values(holder=holder, held_until=until)
    )
    if not taken.rowcount:
        return None
    row = tx.execute(select(ORTHANCS).where(ORTHANCS.c.name == name)).mappings().one()
    return _orthanc(row), _progress(row)


def still_held(tx: Transaction, name: str, holder: str, *, until: datetime) -> bool:
    """Say whether the node still has it, and prolong that."""
    kept = tx.execute(
        update(ORTHANCS)
        .where(ORTHANCS.c.name == name, ORTHANCS.c.holder == holder)
        .values(held_until=until)
    )
    return bool(kept.rowcount)


def note_progress(tx: Transaction, name: str, holder: str, progress: Progress) -> bool:
    """Keep how far it was followed; False if another node follows it by now."""
    trouble = progress.trouble
    kept = tx.execute(
        update(ORTHANCS)
        .where(ORTHANCS.c.name == name, ORTHANCS.c.holder == holder)
        .values(
            last_change=progress.last_change,
            print=progress.print,
            newest=progress.newest,
            seen_at=progress.seen_at,
            failures=progress.failures,
            next_at=progress.next_at,
            trouble_code=trouble.code if trouble else None,
            trouble=trouble.sentence[:_MAX_SENTENCE] if trouble else None,
            trouble_at=trouble.at if trouble else None,
            started_over_at=progress.started_over_at,
            started_over_why=progress.started_over_why[:_MAX_SENTENCE],
        )
    )
    return bool(kept.rowcount)


def start_over(tx: Transaction, name: str, *, why: str) -> None:
    """Have an Orthanc looked through from its first change.

    Raises
    ------
    OrthancUnknown
        None has this name.
    """
    changed = tx.execute(
        update(ORTHANCS)
        .where(ORTHANCS.c.name == name)
        .values(
            last_change=0,
            print="",
            failures=0,
            next_at=None,
            holder=None,  # whoever follows it now must not overwrite this
            held_until=None,
            started_over_at=tx.at,
            started_over_why=why[:_MAX_SENTENCE],
        )
    )
    if not changed.rowcount:
        raise _unknown(name)


def note_study(tx: Transaction, name: str, study_uid: str, *, pulling: bool) -> None:
    """Note that a study is being pulled, or that all of it is here."""
    values = {"pulling": pulling, "pulled_at": tx.at}
    tx.execute(
        insert_into(tx, ORTHANC_STUDIES)
        .values(orthanc=name, study_uid=study_uid, **values)
        .on_conflict_do_update(
            index_elements=[ORTHANC_STUDIES.c.orthanc, ORTHANC_STUDIES.c.study_uid], set_=values
        )
    )


def end_pulls(tx: Transaction, name: str) -> None:
    """Note that no pull from an Orthanc goes on, be all of its study here or not."""
    tx.execute(
        update(ORTHANC_STUDIES)
        .where(ORTHANC_STUDIES.c.orthanc == name, ORTHANC_STUDIES.c.pulling)
        .values(pulling=False)
    )


def knows_study(tx: Transaction, name: str, study_uid: str) -> bool:
    """Say whether a study was pulled from an Orthanc."""
    found = select(ORTHANC_STUDIES.c.study_uid).where(
        ORTHANC_STUDIES.c.orthanc == name, ORTHANC_STUDIES.c.study_uid == study_uid
    )
    return tx.execute(found).first() is not None


def pulls_under_way(tx: Transaction, study_uid: str) -> int:
    """Return from how many Orthancs a study is being pulled."""
    counted = (
        select(func.count())
        .select_from(ORTHANC_STUDIES)
        .where(ORTHANC_STUDIES.c.study_uid == study_uid, ORTHANC_STUDIES.c.pulling)
    )
    return int(tx.execute(counted).scalar_one())


def sources_of(tx: Transaction, study_uid: str) -> list[str]:
    """Return the names of the registered Orthancs that a study came from."""
    found = (
        select(ORTHANC_STUDIES.c.orthanc)
        .where(
            ORTHANC_STUDIES.c.study_uid == study_uid,
            exists().where(ORTHANCS.c.name == ORTHANC_STUDIES.c.orthanc),
        )
        .order_by(ORTHANC_STUDIES.c.orthanc)
    )
    return list(tx.execute(found).scalars())


def note_instance(tx: Transaction, name: str, id: str, file_uuid: str, outcome: str) -> None:
    """Note what became of an instance of an Orthanc."""
    values = {"file_uuid": file_uuid, "outcome": outcome, "pulled_at": tx.at}
    tx.execute(
        insert_into(tx, ORTHANC_INSTANCES)
        .values(orthanc=name, id=id, **values)
        .on_conflict_do_update(
            index_elements=[ORTHANC_INSTANCES.c.orthanc, ORTHANC_INSTANCES.c.id], set_=values
        )
    )


def files_had(tx: Transaction, name: str, ids: Sequence[str], *, lacking: str) -> dict[str, str]:
    """Return id to file for those instances that were pulled; not those of outcome `lacking`."""
    had: dict[str, str] = {}
    for start in range(0, len(ids), _LOOKED_UP):
        found = select(ORTHANC_INSTANCES.c.id, ORTHANC_INSTANCES.c.file_uuid).where(
            ORTHANC_INSTANCES.c.orthanc == name,
            ORTHANC_INSTANCES.c.id.in_(ids[start : start + _LOOKED_UP]),
            ORTHANC_INSTANCES.c.outcome != lacking,
        )
        had.update({row.id: row.file_uuid for row in tx.execute(found)})
    return had


def note_return(tx: Transaction, name: str, instance_uid: str) -> None:
    """Note, before it leaves, that an instance is one that we bring to an Orthanc."""
    tx.execute(
        insert_into(tx, ORTHANC_RETURNS)
        .values(orthanc=name, instance_uid=instance_uid, begun_at=tx.at)
        .on_conflict_do_nothing()
    )


def returned(tx: Transaction, name: str, instance_uids: Sequence[str]) -> frozenset[str]:
    """Return those instances that we brought to an Orthanc ourselves."""
    found: set[str] = set()
    for start in range(0, len(instance_uids), _LOOKED_UP):
        wanted = select(ORTHANC_RETURNS.c.instance_uid).where(
            ORTHANC_RETURNS.c.orthanc == name,
            ORTHANC_RETURNS.c.instance_uid.in_(instance_uids[start : start + _LOOKED_UP]),
        )
        found.update(tx.execute(wanted).scalars())
    return frozenset(found)


def _free_or_of(tx: Transaction, holder: str) -> Any:
    # The same node takes at once what it held before it was killed.
    held = ORTHANCS.c
    return or_(held.holder.is_(None), held.holder == holder, held.held_until <= tx.at)


def _unknown(name: str) -> OrthancUnknown:
    return OrthancUnknown("no Orthanc is registered under this name", name=name)


def _orthanc(row: Mapping[Any, Any]) -> Orthanc:
    return Orthanc(**{name: row[name] for name in Orthanc.__dataclass_fields__})


def _progress(row: Mapping[Any, Any]) -> Progress:
    trouble = None
    if row["trouble_at"] is not None:
        trouble = Trouble(row["trouble_code"], row["trouble"], row["trouble_at"])
    plain = set(Progress.__dataclass_fields__) - {"trouble"}
    return Progress(trouble=trouble, **{name: row[name] for name in plain})
