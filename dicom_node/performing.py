"""Modality Performed Procedure Step served: N-CREATE, N-SET and N-GET, each kept before answered.

A device changes and reads only what devices of its own organisation created.

References
----------
DICOM PS3.4 sections F.7 (MPPS) and F.8 (retrieve).
"""

from dicom_node import announcements, evidence, store
from dicom_node.data_sets import UTF_8, Attributes, attribute
from dicom_node.dimse import Element
from dicom_node.errors import (
    DataSetUnreadable,
    PerformedStepUnknown,
    StepAttributeMissing,
    StepContradicts,
    StepEnded,
    StepRefused,
    StepValueInvalid,
    StepValueMissing,
)
from dicom_node.exchange import Exchange
from dicom_node.peers import Peer
from dicom_node.performed_steps import PerformedStep, StepState, changed, created, progress
from dicom_node.plain_attributes import to_plain
from dicom_node.statuses import ErrorId, Status
from kernel.digest import digest_of_value
from kernel.errors import EngineError, NotFound, Transient
from kernel.facts import ProcedureStepEnded, ProcedureStepStarted
from kernel.ids import derived_uid, is_uid
from kernel.people import Actor, Role
from storage import audit, outbox
from storage.engine import Database, Transaction

_WORDS: dict[type[StepRefused], Status] = {
    StepAttributeMissing: Status.MISSING_ATTRIBUTE,
    StepValueMissing: Status.MISSING_VALUE,
    StepValueInvalid: Status.INVALID_ATTRIBUTE_VALUE,
    StepContradicts: Status.DUPLICATE_INSTANCE,
    StepEnded: Status.PROCESSING_FAILURE,
}


class PerformedStepDesk:
    """Takes what modalities tell of their steps, and tells it back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, exchange: Exchange) -> None:
        """Answer one N-CREATE; told again in the same words, it is the same answer."""
        peer, uid = exchange.terms.peer, exchange.request.sop_instance_uid
        if uid and not is_uid(uid):
            exchange.answer(Status.INVALID_INSTANCE)
            return
        try:
            told = exchange.identifier()
            uid = uid or _derived(peer, told)
            exchange.request = exchange.request._replace(sop_instance_uid=uid)
            step = created(uid, told, ae_title=peer.ae_title, organisation_id=peer.organisation_id)
            with self._database.transaction() as tx:
                _begin(tx, step)
        except (StepRefused, DataSetUnreadable, Transient) as refusal:
            _refuse(exchange, refusal)
        else:
            exchange.answer(Status.SUCCESS)

    def set(self, exchange: Exchange) -> None:
        """Answer one N-SET."""
        try:
            told = exchange.identifier()
            with self._database.transaction() as tx:
                before = _own(tx, exchange, lock=True)
                _change(tx, before, changed(before, told), exchange.terms.peer)
        except (StepRefused, NotFound, DataSetUnreadable, Transient) as refusal:
            _refuse(exchange, refusal)
        else:
            exchange.answer(Status.SUCCESS)

    def get(self, exchange: Exchange) -> None:
        """Answer one N-GET with what is asked for, all of it where nothing is named."""
        try:
            with self._database.reading() as tx:
                step = _own(tx, exchange)
        except (NotFound, Transient) as refusal:
            _refuse(exchange, refusal)
            return
        wanted = exchange.request.attribute_tags
        given = [each for tag, each in step.body.by_tag.items() if tag in wanted or not wanted]
        text = attribute("SpecificCharacterSet", UTF_8)
        given = [text, *(each for each in given if each.tag != text.tag)]
        exchange.answer(Status.SUCCESS, attributes=given)


def refresh_scheduled(tx: Transaction, step: PerformedStep) -> None:
    """Bring the scheduled steps that a performed one is for up to what was performed."""
    for study_uid, accession in step.studies:
        for scheduled in store.steps_for(tx, study_uid=study_uid, accession=accession):
            if scheduled.organisation_id == step.organisation_id:
                refresh(tx, scheduled.request_id)


def refresh(tx: Transaction, request_id: str) -> None:
    """Note on a scheduled step what its performed steps have come to."""
    scheduled = store.find_step(tx, request_id)
    if scheduled is None:
        return
    done = evidence.performed_for(
        tx,
        study_uid=scheduled.study_uid,
        accession=scheduled.accession,
        organisations=[scheduled.organisation_id],
    )
    found, reason = progress(done)
    said = f"{reason.scheme}:{reason.code}" if reason else ""
    store.note_progress(tx, request_id, progress=found.value, reason=said, at=tx.at)


def _begin(tx: Transaction, step: PerformedStep) -> None:
    before = evidence.add_performed(tx, step)
    if before is not None:
        if (before.ae_title, before.digest) != (step.ae_title, step.digest):
            raise StepContradicts("a step with this UID was created before, and is another")
        return
    refresh_scheduled(tx, step)
    outbox.append(
        tx,
        ProcedureStepStarted(
            subject=step.uid,
            at=tx.at,
            actor=f"ae:{step.ae_title}",
            step_uid=step.uid,
            organisation_id=step.organisation_id,
            study_uids=[study_uid for study_uid, _ in step.studies],
        ),
    )
    _note(tx, step, "step.started", step.ae_title)


def _change(tx: Transaction, before: PerformedStep, after: PerformedStep, peer: Peer) -> None:
    evidence.save_performed(tx, after)
    listed = announcements.of_step(after)
    if listed is not None:
        evidence.announce(tx, listed)
    if after.state is StepState.IN_PROGRESS:
        return
    refresh_scheduled(tx, after)
    reason = after.reason
    outbox.append(
        tx,
        ProcedureStepEnded(
            subject=after.uid,
            at=tx.at,
            actor=f"ae:{peer.ae_title}",
            step_uid=after.uid,
            organisation_id=after.organisation_id,
            study_uids=[study_uid for study_uid, _ in after.studies],
            state=after.state.value,
            reason_code=reason.code if reason else None,
            reason_scheme=reason.scheme if reason else None,
            instances=len(after.instances),
        ),
    )
    _note(tx, after, "step.ended", peer.ae_title)


def _derived(peer: Peer, told: Attributes) -> str:
    """Return the UID of a step that its device gave none: the same for the same content."""
    return derived_uid("performed-step", peer.ae_title, digest_of_value(to_plain(told)))


def _own(tx: Transaction, exchange: Exchange, *, lock: bool = False) -> PerformedStep:
    step = evidence.find_performed(tx, exchange.request.sop_instance_uid, lock=lock)
    if step is None or step.organisation_id != exchange.terms.peer.organisation_id:
        raise PerformedStepUnknown("no performed step of this organisation has this UID")
    return step


def _refuse(exchange: Exchange, refusal: EngineError) -> None:
    if isinstance(refusal, NotFound):
        status = Status.NO_SUCH_INSTANCE
    elif isinstance(refusal, StepRefused):
        status = _WORDS[type(refusal)]
    else:
        status = Status.PROCESSING_FAILURE
    ended = {Element.ERROR_ID: int(ErrorId.STEP_NO_LONGER_UPDATED)}
    exchange.answer(
        status,
        comment=refusal.sentence,
        counts=ended if isinstance(refusal, StepEnded) else None,
    )


def _note(tx: Transaction, step: PerformedStep, action: str, ae_title: str) -> None:
    reason = step.reason
    audit.record(
        tx,
        actor=Actor(f"ae:{ae_title}", Role.DEVICE, step.organisation_id or None),
        action=action,
        subject=f"step:{step.uid}",
        detail={
            "state": step.state.value,
            "studies": [study_uid for study_uid, _ in step.studies],
            "reason": f"{reason.scheme}:{reason.code}" if reason else None,
        },
    )
