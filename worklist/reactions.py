"""What the worklist does when it hears of a fact."""

from collections.abc import Callable
from typing import TypeVar

from kernel.facts import (
    DocumentFiled,
    Fact,
    FilingRejected,
    ReportSigned,
    RequesterNotified,
    RequestReceived,
    StudyAmended,
    StudyCompleted,
    StudyCorrected,
    StudyRestored,
    StudyWithdrawn,
    TriageSettled,
)
from kernel.people import ENGINE
from storage.engine import Transaction
from storage.work import Reaction, Reactions
from worklist import commands
from worklist.act import Act
from worklist.settings import WorklistSettings

CONSUMER = "worklist.cases"
RECORD = "record"
"""The destination whose receipt completes a case; the other is the requester."""

_F = TypeVar("_F", bound=Fact)


def reactions(settings: WorklistSettings) -> Reactions:
    """Return how the worklist reacts, as consumer and kind of fact to reaction."""

    def study_completed(tx: Transaction, fact: StudyCompleted) -> None:
        commands.open_case(tx, fact.study_uid, settings=settings, act=_act(tx, fact))

    def request_received(tx: Transaction, fact: RequestReceived) -> None:
        commands.join_request(tx, fact.request_id, settings=settings, act=_act(tx, fact))

    def study_amended(tx: Transaction, fact: StudyAmended) -> None:
        commands.amend(
            tx, fact.study_uid, fact.manifest_version, settings=settings, act=_act(tx, fact)
        )

    def study_corrected(tx: Transaction, fact: StudyCorrected) -> None:
        commands.correct(
            tx,
            fact.study_uid,
            fact.correction,
            of_patient="patient" in fact.what,
            settings=settings,
            act=_act(tx, fact),
        )

    def study_changed(tx: Transaction, fact: StudyWithdrawn | StudyRestored) -> None:
        commands.reconsider(tx, fact.study_uid, settings=settings, act=_act(tx, fact))

    def triage_settled(tx: Transaction, fact: TriageSettled) -> None:
        commands.enqueue(
            tx,
            fact.case_id,
            level=fact.level,
            reason=fact.reason,
            run_ids=fact.run_ids,
            settings=settings,
            act=_act(tx, fact),
        )

    return {
        CONSUMER: dict(
            (
                _on(StudyCompleted, study_completed),
                _on(RequestReceived, request_received),
                _on(StudyAmended, study_amended),
                _on(StudyCorrected, study_corrected),
                _on(StudyWithdrawn, study_changed),
                _on(StudyRestored, study_changed),
                _on(TriageSettled, triage_settled),
                _on(ReportSigned, _report_signed),
                _on(RequesterNotified, _requester_notified),
                _on(DocumentFiled, _document_filed),
                _on(FilingRejected, _filing_rejected),
            )
        )
    }


def _report_signed(tx: Transaction, fact: ReportSigned) -> None:
    commands.finish(
        tx,
        fact.case_id,
        report_id=fact.report_id,
        report_version=fact.report_version,
        document_digest=fact.document_digest,
        author=fact.author,
        act=_act(tx, fact),
    )


def _requester_notified(tx: Transaction, fact: RequesterNotified) -> None:
    commands.deliver(
        tx,
        fact.case_id,
        report_id=fact.report_id,
        report_version=fact.report_version,
        act=_act(tx, fact),
    )


def _document_filed(tx: Transaction, fact: DocumentFiled) -> None:
    if fact.destination != RECORD:
        return
    commands.file(
        tx,
        fact.case_id,
        report_id=fact.report_id,
        report_version=fact.report_version,
        destination=fact.destination,
        act=_act(tx, fact),
    )


def _filing_rejected(tx: Transaction, fact: FilingRejected) -> None:
    commands.refuse_filing(
        tx, fact.case_id, destination=fact.destination, code=fact.code, act=_act(tx, fact)
    )


def _act(tx: Transaction, fact: Fact) -> Act:
    return Act(at=tx.at, by=ENGINE, cause=fact.id)


def _on(kind: type[_F], react: Callable[[Transaction, _F], None]) -> tuple[type[Fact], Reaction]:
    def reaction(tx: Transaction, fact: Fact) -> None:
        if not isinstance(fact, kind):
            raise TypeError(f"{type(fact).__name__} was told where {kind.__name__} is awaited")
        react(tx, fact)

    return kind, reaction
