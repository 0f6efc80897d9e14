"""Rows of what speaks for a study being whole: performed steps, announcements, learnt pauses."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, or_, select, true, update

from dicom_node.announcements import Announcement, Kind
from dicom_node.pauses import Pauses
from dicom_node.performed_steps import PerformedStep, StepState
from dicom_node.plain_attributes import from_plain, to_plain
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.tables.evidence import ANNOUNCED, PAUSES, PERFORMED_STEPS, PERFORMED_STUDIES


def add_performed(tx: Transaction, step: PerformedStep) -> PerformedStep | None:
    """Keep a new performed step; where its UID is taken, return who has it instead."""
    made = tx.execute(
        insert_into(tx, PERFORMED_STEPS)
        .values(
            uid=step.uid,
            ae_title=step.ae_title,
            organisation_id=step.organisation_id,
            state=step.state.value,
            digest=step.digest,
            body=to_plain(step.body),
            created_at=tx.at,
            changed_at=tx.at,
        )
        .on_conflict_do_nothing()
        .execution_options(preserve_rowcount=True)
    )
    if not made.rowcount:
        return find_performed(tx, step.uid, lock=True)
    rows = [
        {"step_uid": step.uid, "study_uid": study_uid, "accession": accession}
        for study_uid, accession in step.studies
    ]
    tx.execute(insert_into(tx, PERFORMED_STUDIES).values(rows))
    return None


def find_performed(tx: Transaction, uid: str, *, lock: bool = False) -> PerformedStep | None:
    """Return a performed step, None if there is none with this UID."""
    wanted = select(PERFORMED_STEPS).where(PERFORMED_STEPS.c.uid == uid)
    row = tx.execute(wanted.with_for_update() if lock else wanted).mappings().first()
    return None if row is None else _performed(row)


def save_performed(tx: Transaction, step: PerformedStep) -> None:
    """Keep what a performed step has become."""
    tx.execute(
        update(PERFORMED_STEPS)
        .where(PERFORMED_STEPS.c.uid == step.uid)
        .values(state=step.state.value, body=to_plain(step.body), changed_at=tx.at)
    )


def performed_for(
    tx: Transaction, *, study_uid: str | None, accession: str, organisations: Sequence[str]
) -> list[PerformedStep]:
    """Return what devices of some organisations performed for a study, or for an accession."""
    same = [PERFORMED_STUDIES.c.study_uid == study_uid] if study_uid else []
    if accession:
        same.append(PERFORMED_STUDIES.c.accession == accession)
    if not same:
        return []
    found = tx.execute(
        select(PERFORMED_STEPS)
        .where(
            PERFORMED_STEPS.c.uid.in_(select(PERFORMED_STUDIES.c.step_uid).where(or_(*same))),
            PERFORMED_STEPS.c.organisation_id.in_(organisations),
        )
        .order_by(PERFORMED_STEPS.c.created_at, PERFORMED_STEPS.c.uid)
    )
    return [_performed(row) for row in found.mappings()]


def announce(tx: Transaction, told: Announcement) -> None:
    """Keep an announcement in the place of what its source said of the study before."""
    values = {
        "organisation_id": told.organisation_id,
        "whole": told.whole,
        "number": len(told.instances),
        "instances": list(told.instances),
        "told_at": tx.at,
    }
    key = {"study_uid": told.study_uid, "kind": told.kind.value, "source": told.source}
    tx.execute(
        insert_into(tx, ANNOUNCED)
        .values(**key, **values)
        .on_conflict_do_update(index_elements=list(key), set_=values)
    )


def announced_for(
    tx: Transaction, study_uid: str, *, organisations: Sequence[str]
) -> list[Announcement]:
    """Return what senders of some organisations announced of a study."""
    found = tx.execute(
        select(ANNOUNCED).where(
            ANNOUNCED.c.study_uid == study_uid, ANNOUNCED.c.organisation_id.in_(organisations)
        )
    )
    return [
        Announcement(
            study_uid=row["study_uid"],
            kind=Kind(row["kind"]),
            source=row["source"],
            organisation_id=row["organisation_id"],
            whole=row["whole"],
            instances=tuple(row["instances"]),
        )
        for row in found.mappings()
    ]


TOLD_WHOLE = select(ANNOUNCED.c.study_uid).where(ANNOUNCED.c.whole == true())
"""The studies of which somebody announced all there is: only these may be whole at once."""


def pauses_of(tx: Transaction, ae_title: str) -> Pauses:
    """Return what is known of the pauses of a device; of one that is new, nothing."""
    return _pauses(tx, PAUSES.c.ae_title == ae_title).get(ae_title, Pauses())


def all_pauses(tx: Transaction) -> dict[str, Pauses]:
    """Return what is known of the pauses of all devices."""
    return _pauses(tx)


def save_pauses(tx: Transaction, ae_title: str, pauses: Pauses) -> None:
    """Keep what is known of the pauses of a device."""
    values = {"counts": list(pauses.counts), "changed_at": tx.at}
    tx.execute(
        insert_into(tx, PAUSES)
        .values(ae_title=ae_title, **values)
        .on_conflict_do_update(index_elements=[PAUSES.c.ae_title], set_=values)
    )


def _pauses(tx: Transaction, *such: ColumnElement[bool]) -> dict[str, Pauses]:
    found = tx.execute(select(PAUSES.c.ae_title, PAUSES.c.counts).where(*such))
    known = {row.ae_title: tuple(row.counts) for row in found}
    return {
        title: Pauses(counts)
        for title, counts in known.items()
        if len(counts) == len(Pauses().counts)  # else the classes were others
    }


def _performed(row: Mapping[Any, Any]) -> PerformedStep:
    return PerformedStep(
        uid=row["uid"],
        ae_title=row["ae_title"],
        organisation_id=row["organisation_id"],
        state=StepState(row["state"]),
        body=from_plain(row["body"]),
        digest=row["digest"],
    )
