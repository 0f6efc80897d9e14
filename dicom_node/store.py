"""Rows of the DICOM node: peers with certificates, scheduled steps, commitments, metadata due."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, or_, select, update

from dicom_node.certificates import Binding, Certificate
from dicom_node.commitments import ASKED, Commitment
from dicom_node.errors import StepUnknown
from dicom_node.orders import CANCELLED, RECEIVED, UNPERFORMED, ScheduledStep, StepsWanted
from dicom_node.peers import Peer
from storage import claims
from storage.archive_find import ASKER, Scope
from storage.engine import Transaction
from storage.insertion import insert_into
from storage.signs import due_by
from storage.tables.dicom_node import (
    COMMITMENTS,
    METADATA_DUE,
    PEER_CERTIFICATES,
    PEERS,
    SCHEDULED_STEPS,
)

STEPS_PAGE = 200


def save_peer(tx: Transaction, peer: Peer) -> None:
    """Register a peer, or change the one with its title; one that was removed is back."""
    values = {**asdict(peer), "removed_at": None}
    tx.execute(
        insert_into(tx, PEERS)
        .values(**values, added_at=tx.at)
        .on_conflict_do_update(index_elements=[PEERS.c.ae_title], set_=values)
    )


def find_peer(tx: Transaction, ae_title: str) -> Peer | None:
    """Return the registered peer of an AE title, None if there is none."""
    query = select(PEERS).where(PEERS.c.ae_title == ae_title, PEERS.c.removed_at.is_(None))
    row = tx.execute(query).mappings().first()
    return None if row is None else _peer(row)


def find_sender(tx: Transaction, ae_title: str) -> Peer | None:
    """Return the peer that an AE title stands for as a sender: one that was removed, too."""
    row = tx.execute(select(PEERS).where(PEERS.c.ae_title == ae_title)).mappings().first()
    return None if row is None else _peer(row)


def peers(tx: Transaction) -> list[Peer]:
    """Return every registered peer in the order of the titles."""
    query = select(PEERS).where(PEERS.c.removed_at.is_(None)).order_by(PEERS.c.ae_title)
    return [_peer(row) for row in tx.execute(query).mappings()]


def removed_peers(tx: Transaction) -> list[tuple[Peer, datetime]]:
    """Return the peers that were removed, in the order of the titles, with the moment of it."""
    query = select(PEERS).where(PEERS.c.removed_at.is_not(None)).order_by(PEERS.c.ae_title)
    return [(_peer(row), row["removed_at"]) for row in tx.execute(query).mappings()]


def removed_at(tx: Transaction, ae_title: str) -> datetime | None:
    """Return when the peer of an AE title was removed, None if it is registered or unknown."""
    query = select(PEERS.c.removed_at).where(PEERS.c.ae_title == ae_title)
    return tx.execute(query).scalar_one_or_none()


def remove_peer(tx: Transaction, ae_title: str) -> None:
    """Register a peer no longer; the row stays, for what it sent is its organisation's."""
    tx.execute(
        update(PEERS)
        .where(PEERS.c.ae_title == ae_title, PEERS.c.removed_at.is_(None))
        .values(removed_at=tx.at)
    )


def save_binding(tx: Transaction, binding: Binding) -> None:
    """Bind a certificate to an AE title; one that was revoked for it is good again."""
    values = {
        "ae_title": binding.ae_title,
        "organisation_id": binding.organisation_id,
        **asdict(binding.certificate),
        "revoked_at": binding.revoked_at,
    }
    tx.execute(
        insert_into(tx, PEER_CERTIFICATES)
        .values(**values, added_at=tx.at)
        .on_conflict_do_update(
            index_elements=[PEER_CERTIFICATES.c.fingerprint, PEER_CERTIFICATES.c.ae_title],
            set_=values,
        )
    )


def bindings_of(tx: Transaction, fingerprint: str) -> list[Binding]:
    """Return every binding of a certificate, revoked ones too."""
    found = select(PEER_CERTIFICATES).where(PEER_CERTIFICATES.c.fingerprint == fingerprint)
    return [_binding(row) for row in tx.execute(found).mappings()]


def bindings(tx: Transaction, ae_title: str | None = None) -> list[Binding]:
    """Return the bindings of an AE title, or all, revoked ones too."""
    found = select(PEER_CERTIFICATES).order_by(
        PEER_CERTIFICATES.c.ae_title, PEER_CERTIFICATES.c.not_after
    )
    if ae_title is not None:
        found = found.where(PEER_CERTIFICATES.c.ae_title == ae_title)
    return [_binding(row) for row in tx.execute(found).mappings()]


def bound_fingerprints(tx: Transaction) -> list[str]:
    """Return the fingerprints of all certificates that are or were bound, in order."""
    found = (
        select(PEER_CERTIFICATES.c.fingerprint).distinct().order_by(PEER_CERTIFICATES.c.fingerprint)
    )
    return list(tx.execute(found).scalars())


def revoke_binding(tx: Transaction, ae_title: str, fingerprint: str) -> bool:
    """Take a binding back; say whether there was one that was not revoked yet."""
    done = tx.execute(
        update(PEER_CERTIFICATES)
        .where(
            PEER_CERTIFICATES.c.ae_title == ae_title,
            PEER_CERTIFICATES.c.fingerprint == fingerprint,
            PEER_CERTIFICATES.c.revoked_at.is_(None),
        )
        .values(revoked_at=tx.at)
    )
    return bool(done.rowcount)


def save_step(tx: Transaction, step: ScheduledStep, *, at: datetime) -> None:
    """Keep a scheduled step, not what was performed for it; telling it twice changes nothing."""
    values = {**asdict(step), "changed_at": at}
    del values["progress"], values["reason"]
    tx.execute(
        insert_into(tx, SCHEDULED_STEPS)
        .values(**values)
        .on_conflict_do_update(index_elements=[SCHEDULED_STEPS.c.request_id], set_=values)
    )


def change_step(
    tx: Transaction, request_id: str, *, state: str, scheduled_at: datetime | None, at: datetime
) -> None:
    """Change the state and the time of a step.

    Raises
    ------
    StepUnknown
        The request was never told.
    """
    changed = tx.execute(
        update(SCHEDULED_STEPS)
        .where(SCHEDULED_STEPS.c.request_id == request_id)
        .values(state=state, scheduled_at=scheduled_at, changed_at=at)
    )
    if not changed.rowcount:
        raise StepUnknown("no scheduled step belongs to this request", request_id=request_id)


def note_progress(
    tx: Transaction, request_id: str, *, progress: str, reason: str, at: datetime
) -> None:
    """Note what was performed for a step, and why it was discontinued if it was."""
    tx.execute(
        update(SCHEDULED_STEPS)
        .where(SCHEDULED_STEPS.c.request_id == request_id)
        .values(progress=progress, reason=reason, changed_at=at)
    )


def find_step(tx: Transaction, request_id: str) -> ScheduledStep | None:
    """Return the step of a request, None if it was never told."""
    found = tx.execute(select(SCHEDULED_STEPS).where(SCHEDULED_STEPS.c.request_id == request_id))
    row = found.mappings().first()
    return None if row is None else _step(row)


def steps_for(tx: Transaction, *, study_uid: str, accession: str) -> list[ScheduledStep]:
    """Return the steps that a study may belong to: by its UID, or by its accession number."""
    same = [SCHEDULED_STEPS.c.study_uid == study_uid]
    if accession:
        same.append(SCHEDULED_STEPS.c.accession == accession)
    found = tx.execute(
        select(SCHEDULED_STEPS).where(or_(*same)).order_by(SCHEDULED_STEPS.c.request_id)
    )
    return [_step(row) for row in found.mappings()]


def open_steps(
    tx: Transaction, wanted: StepsWanted, *, after: str = "", limit: int = STEPS_PAGE
) -> list[ScheduledStep]:
    """Return the next open steps of an organisation, by request id.

    A step that lacks what is asked for is among them.
    """
    steps = SCHEDULED_STEPS.c
    conditions = [
        steps.organisation_id == wanted.organisation_id,
        steps.state == RECEIVED,
        steps.progress.in_(UNPERFORMED),
        steps.request_id > after,
    ]
    if wanted.accession:
        conditions.append(steps.accession.in_(("", wanted.accession)))
    if wanted.station_ae_title:
        conditions.append(steps.station_ae_title.in_(("", wanted.station_ae_title)))
    if wanted.scheduled_from is not None:
        conditions.append(
            or_(steps.scheduled_at.is_(None), steps.scheduled_at >= wanted.scheduled_from)
        )
    if wanted.scheduled_until is not None:
        conditions.append(
            or_(steps.scheduled_at.is_(None), steps.scheduled_at <= wanted.scheduled_until)
        )
    found = tx.execute(
        select(SCHEDULED_STEPS).where(*conditions).order_by(steps.request_id).limit(limit)
    )
    return [_step(row) for row in found.mappings()]


def add_commitment(tx: Transaction, commitment: Commitment) -> Commitment:
    """Keep a commitment that was asked for; return it, or the one already asked under its UID."""
    tx.execute(
        insert_into(tx, COMMITMENTS)
        .values(
            id=commitment.id,
            ae_title=commitment.ae_title,
            transaction_uid=commitment.transaction_uid,
            asked=[list(pair) for pair in commitment.asked],
            state=ASKED,
            attempts=0,
            asked_at=tx.at,
            due_at=tx.at,
            ended_at=None,
        )
        .on_conflict_do_nothing()
    )
    found = tx.execute(
        select(COMMITMENTS).where(
            COMMITMENTS.c.ae_title == commitment.ae_title,
            COMMITMENTS.c.transaction_uid == commitment.transaction_uid,
        )
    )
    return _commitment(found.mappings().one())


COMMITMENT_SIGNS = (due_by(COMMITMENTS.c.due_at),)
METADATA_SIGNS = (due_by(METADATA_DUE.c.due_at),)


def commitments_due(tx: Transaction) -> list[str]:
    """Return the ids of commitments that are to be reported now."""
    return claims.due(tx, COMMITMENTS.c.id)


def claim_commitment(tx: Transaction, commitment_id: str, *, until: datetime) -> Commitment | None:
    """Take a commitment that is due, until a moment; None if another has it or it is over."""
    row = claims.claim(tx, COMMITMENTS.c.id, commitment_id, until=until)
    return None if row is None else _commitment(row)


def postpone_commitment(tx: Transaction, commitment_id: str, *, due_at: datetime) -> None:
    """Set the moment of the next attempt."""
    tx.execute(update(COMMITMENTS).where(COMMITMENTS.c.id == commitment_id).values(due_at=due_at))


def end_commitment(tx: Transaction, commitment_id: str, state: str) -> None:
    """Note that a commitment is over, and how."""
    tx.execute(
        update(COMMITMENTS)
        .where(COMMITMENTS.c.id == commitment_id)
        .values(state=state, due_at=None, ended_at=tx.at)
    )


def _commitment(row: Mapping[Any, Any]) -> Commitment:
    return Commitment(
        id=row["id"],
        ae_title=row["ae_title"],
        transaction_uid=row["transaction_uid"],
        asked=tuple((sop_class, instance) for sop_class, instance in row["asked"]),
        attempts=row["attempts"],
        asked_at=row["asked_at"],
    )


def plan_metadata(tx: Transaction, study_uid: str, manifest_version: int) -> None:
    """Note that the metadata of a study are to be prepared, as of one manifest."""
    fresh_row = {"manifest_version": manifest_version, "attempts": 0, "due_at": tx.at}
    tx.execute(
        insert_into(tx, METADATA_DUE)
        .values(study_uid=study_uid, **fresh_row)
        .on_conflict_do_update(index_elements=["study_uid"], set_=fresh_row)
    )


def metadata_due(tx: Transaction) -> list[str]:
    """Return the studies whose metadata are to be prepared now."""
    return claims.due(tx, METADATA_DUE.c.study_uid)


def claim_metadata(tx: Transaction, study_uid: str, *, until: datetime) -> tuple[int, int] | None:
    """Take a study that is due, until a moment; return (manifest version, attempt) if it was."""
    row = claims.claim(tx, METADATA_DUE.c.study_uid, study_uid, until=until)
    return None if row is None else (row["manifest_version"], row["attempts"])


def end_metadata(tx: Transaction, study_uid: str, manifest_version: int) -> None:
    """Note that this is over; not if a later manifest was told of meanwhile."""
    tx.execute(
        delete(METADATA_DUE).where(
            METADATA_DUE.c.study_uid == study_uid,
            METADATA_DUE.c.manifest_version == manifest_version,
        )
    )


def gives_out(tx: Transaction, organisation_id: str, issuer: str) -> bool:
    """Say whether the ids of an issuer are those that devices of an organisation use."""
    query = select(PEERS.c.ae_title).where(
        PEERS.c.organisation_id == organisation_id, PEERS.c.issuer == issuer
    )
    return tx.execute(query.limit(1)).first() is not None


def sight_of(organisation_id: str) -> Scope:
    """Return which studies an organisation sees: of its devices, and of its open requests.

    Devices that were removed are among them: what they sent stays in sight.
    """
    return Scope(_DEVICES, _ASKED, {ASKER: organisation_id})


_DEVICES = select(PEERS.c.ae_title).where(PEERS.c.organisation_id == bindparam(ASKER))
_ASKED = select(
    SCHEDULED_STEPS.c.study_uid, SCHEDULED_STEPS.c.accession, SCHEDULED_STEPS.c.patient_ref
).where(SCHEDULED_STEPS.c.organisation_id == bindparam(ASKER), SCHEDULED_STEPS.c.state != CANCELLED)


def _peer(row: Mapping[Any, Any]) -> Peer:
    return Peer(**{name: row[name] for name in Peer.__dataclass_fields__})


def _binding(row: Mapping[Any, Any]) -> Binding:
    return Binding(
        ae_title=row["ae_title"],
        organisation_id=row["organisation_id"],
        certificate=Certificate(**{name: row[name] for name in Certificate.__dataclass_fields__}),
        revoked_at=row["revoked_at"],
    )


def _step(row: Mapping[Any, Any]) -> ScheduledStep:
    return ScheduledStep(**{name: row[name] for name in ScheduledStep.__dataclass_fields__})
