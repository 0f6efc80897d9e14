"""The work that is due: one attempt to bring one document to one destination.

Nothing slow happens inside a transaction: the delivery is claimed with a lease, the document is
built and submitted outside, and a second transaction records what came of it with the fact that
tells the others.  A worker killed in between leaves a lease that runs out; since every adapter is
idempotent, the next attempt doubles nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from health_record import document, store, telling
from health_record.adapters import inbox, structure
from health_record.delivery import (
    Delivery,
    DeliveryState,
    Prepared,
    Refusal,
    RetryPolicy,
    claimed,
    filed,
    parked,
    postponed,
    rejected,
)
from health_record.errors import DeliveryMoveRefused, DestinationUnknown, EvidenceDiffers
from health_record.evidence import Collect, Evidence
from health_record.identifiers import Naming
from health_record.port import Form, OutgoingDocument, Receipt, RecordAdapter, Rejected
from health_record.telling import REQUESTER
from kernel.digest import sha256_of
from kernel.errors import EngineError, NotFound, Refused, Transient
from kernel.ids import fresh
from storage import outbox
from storage.engine import Database, Transaction
from storage.objects import ObjectStore
from storage.work import DueWork

__all__ = ["REQUESTER", "Deliveries", "DeliverySettings"]

_Answer = Receipt | Rejected | EngineError
_MAX_FURTHER = 100
Further = Callable[[str], RecordAdapter | None]
AsDicom = Callable[[Evidence, bytes, bytes], bytes]


def _nobody(_destination: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How deliveries are attempted.

    `lease` must be longer than an attempt normally takes; a shorter one costs a second,
    harmless attempt.  `in_flight` keeps one slow destination from taking every worker.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    lease: timedelta = timedelta(minutes=2)
    in_flight: int = 2
    naming: Naming = field(default_factory=Naming)


class Deliveries:
    """Attempts what is due.

    Parameters
    ----------
    adapters
        The destinations outside, by name.
    further
        Gives the adapter of a destination that comes and goes while we run, None if it is gone.
    as_dicom
        Makes the DICOM object of a signed PDF, beside its SR, for destinations of that form.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        adapters: Mapping[str, RecordAdapter],
        *,
        collect: Collect,
        settings: DeliverySettings | None = None,
        further: Further = _nobody,
        as_dicom: AsDicom | None = None,
    ) -> None:
        self._database = database
        self._objects = objects
        self._adapters = dict(adapters)
        self._collect = collect
        self._settings = settings or DeliverySettings()
        self._further = further
        self._as_dicom = as_dicom

    def due_work(self) -> tuple[DueWork, ...]:
        """Return what the relay asks for; notices never wait for a slow health record."""
        return (
            DueWork(
                name="health_record.notify",
                queue="default",
                due=self.due_notices,
                run=self.attempt,
                signs=store.SIGNS,
            ),
            DueWork(
                name="health_record.attempt",
                queue="outward",
                due=self.due_deliveries,
                run=self.attempt,
                signs=store.SIGNS,
            ),
        )

    def due_deliveries(self, tx: Transaction) -> list[str]:
        """Return the deliveries outward that are due, no more than may be in flight."""
        known = (REQUESTER, *self._adapters)
        others = store.destinations_due(tx, beside=known, limit=_MAX_FURTHER)
        served = (*self._adapters, *(name for name in others if self._further(name)))
        return [one for name in served for one in self._due_at(tx, name)]

    def due_notices(self, tx: Transaction) -> list[str]:
        """Return the notices that are due."""
        return self._due_at(tx, REQUESTER)

    def attempt(self, delivery_id: str) -> None:
        """Try one delivery once; called twice, or for one that is not due, it does nothing."""
        delivery = self._claim(delivery_id)
        if delivery is None:
            return
        if delivery.destination == REQUESTER:
            self._notify(delivery)
            return
        answer = self._submit(delivery)
        with self._database.transaction() as tx:
            if self._still_held(tx, delivery):
                self._settle(tx, delivery, answer)

    def _due_at(self, tx: Transaction, destination: str) -> list[str]:
        free = self._settings.in_flight - store.in_flight(tx, destination)
        return store.due(tx, destination, limit=free) if free > 0 else []

    def _claim(self, delivery_id: str) -> Delivery | None:
        """Take the delivery until the lease runs out; None if it is not to be had."""
        with self._database.transaction() as tx:
            before = store.locked(tx, delivery_id, wait=False)
            if before is None or not self._serves(before.destination):
                return None
            try:
                delivery = claimed(
                    before,
                    at=tx.at,
                    lease=fresh(),
                    until=tx.at + self._settings.lease,
                    policy=self._settings.retry,
                )
            except DeliveryMoveRefused:
                return None  # a doubled call: it is done, waits, or another worker has it
            store.save(tx, delivery)
            held = delivery.state is DeliveryState.ATTEMPTING
            # Written before anything leaves: an attempt without an answer may have disclosed.
            telling.record(tx, delivery, "delivery.attempted" if held else "delivery.parked")
            return delivery if held else None

    def _notify(self, delivery: Delivery) -> None:
        """Leave the notice and call it delivered in one transaction: durable before yes."""
        try:
            organisation_id = self._evidence(delivery).sealed.site_id
        except EngineError as error:
            with self._database.transaction() as tx:
                if self._still_held(tx, delivery):
                    self._settle(tx, delivery, error)
            return
        with self._database.transaction() as tx:
            if self._still_held(tx, delivery):
                self._settle(tx, delivery, inbox.leave_notice(tx, delivery, organisation_id))

    def _submit(self, delivery: Delivery) -> _Answer:
        try:
            adapter = self._adapter_of(delivery.destination)
            outgoing = self._outgoing(delivery, adapter)
        except NotFound as error:
            return error
        except Refused as error:
            return Rejected(error.code, error.sentence)
        except EngineError as error:
            return error
        try:
            return adapter.submit(outgoing)
        except EngineError as error:
            return error

    def _serves(self, destination: str) -> bool:
        if destination == REQUESTER or destination in self._adapters:
            return True
        return self._further(destination) is not None

    def _adapter_of(self, destination: str) -> RecordAdapter:
        adapter = self._adapters.get(destination) or self._further(destination)
        if adapter is None:
            raise DestinationUnknown("this destination is not registered any more")
        return adapter

    def _outgoing(self, delivery: Delivery, adapter: RecordAdapter) -> OutgoingDocument:
        """Return the document; its bytes are built once and the same ones sent each time."""
        evidence = self._evidence(delivery)
        sealed = evidence.sealed
        pdf = self._objects.get(sealed.pdf_key)
        prepared = delivery.prepared
        if prepared is None:
            prepared = self._keep(delivery, self._built(evidence, pdf, adapter.form))
        body = self._objects.get(prepared.key)
        if sha256_of(body) != prepared.sha256 or sha256_of(pdf) != sealed.pdf_sha256:
            raise EvidenceDiffers(
                "the stored document is not the one that was prepared", delivery_id=delivery.id
            )
        return OutgoingDocument(
            delivery_id=delivery.id,
            destination=delivery.destination,
            case_id=delivery.case_id,
            report_id=delivery.report_id,
            report_version=delivery.report_version,
            form=adapter.form,
            body=body,
            body_sha256=prepared.sha256,
            pdf=pdf,
            pdf_sha256=sealed.pdf_sha256,
            report=self._settings.naming.report_version(
                delivery.report_id, delivery.report_version
            ),
            sr=self._sr(evidence) if adapter.form is Form.DICOM else b"",
        )

    def _built(self, evidence: Evidence, pdf: bytes, form: Form) -> bytes:
        if form is Form.DICOM:
            if self._as_dicom is None:
                raise DestinationUnknown("nothing here makes DICOM objects of documents")
            if sha256_of(pdf) != evidence.sealed.pdf_sha256:
                raise EvidenceDiffers("the stored PDF is not the one that was sealed")
            return self._as_dicom(evidence, pdf, self._sr(evidence))
        bundle = document.bundle(evidence, pdf, form, self._settings.naming)
        structure.require_valid(bundle)
        return document.exact_bytes(bundle)

    def _sr(self, evidence: Evidence) -> bytes:
        sr = self._objects.get(evidence.sealed.sr_key)
        if sha256_of(sr) != evidence.sealed.sr_sha256:
            raise EvidenceDiffers("the stored structured report is not the one that was sealed")
        return sr

    def _evidence(self, delivery: Delivery) -> Evidence:
        with self._database.reading() as tx:
            evidence = self._collect(tx, delivery)
        if evidence.sealed.pdf_sha256 != delivery.document_digest:
            raise EvidenceDiffers(
                "the sealed document is not the one that was said to be signed",
                delivery_id=delivery.id,
            )
        return evidence

    def _keep(self, delivery: Delivery, body: bytes) -> Prepared:
        """Store the bytes that will leave; the digest in the key keeps two builds apart."""
        sha256 = sha256_of(body)
        prepared = Prepared(key=f"outgoing/{delivery.id}/{sha256}.json", sha256=sha256)
        self._objects.put(prepared.key, body, sha256)
        with self._database.transaction() as tx:
            if self._still_held(tx, delivery):
                store.save(tx, replace(delivery, prepared=prepared))
        return prepared

    def _still_held(self, tx: Transaction, delivery: Delivery) -> bool:
        """Say whether our lease still stands; if not, the one who has it now settles."""
        now = store.locked(tx, delivery.id, wait=True)
        return now is not None and now.lease == delivery.lease

    def _settle(self, tx: Transaction, delivery: Delivery, answer: _Answer) -> None:
        """Record what came of an attempt, with the fact that tells the others."""
        held = store.get(tx, delivery.id)
        match answer:
            case Receipt():
                settled, action = filed(held, answer.reference, at=tx.at), "delivery.filed"
                outbox.append(tx, telling.success(tx, settled))
            case Rejected():
                refusal = Refusal(answer.code, answer.sentence)
                settled, action = rejected(held, refusal, at=tx.at), "delivery.rejected"
                outbox.append(tx, telling.rejection(tx, settled, answer.code))
            case Transient():
                refusal = Refusal(answer.code, answer.sentence)
                policy = self._settings.retry
                settled = postponed(held, refusal, at=tx.at, policy=policy)
                gave_up = settled.state is DeliveryState.PARKED
                action = "delivery.parked" if gave_up else "delivery.postponed"
            case _:
                refusal = Refusal(answer.code, answer.sentence)
                settled, action = parked(held, refusal, at=tx.at), "delivery.parked"
        store.save(tx, settled)
        telling.record(tx, settled, action)
        telling.log(settled, action)
