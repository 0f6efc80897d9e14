"""What pages and the command line ask the worklist; nothing here changes anything."""

from dataclasses import dataclass
from datetime import datetime

from storage.engine import Transaction
from worklist import store
from worklist.case import Case, StateReason
from worklist.match import SENTENCES, DeskReason
from worklist.request import RequestState
from worklist.rotation import Choice, next_reader
from worklist.settings import WorklistSettings
from worklist.store import (
    case_history,
    count_cases,
    find_case,
    get_case,
    get_organisation,
    get_reader,
    get_request,
    list_cases,
    list_organisations,
    list_profiles,
    list_readers,
    list_requests,
    offers_of,
)
from worklist.wait import why

__all__ = [
    "DeskRow",
    "QueueRow",
    "case_history",
    "count_cases",
    "desk",
    "find_case",
    "get_case",
    "get_organisation",
    "get_reader",
    "get_request",
    "list_cases",
    "list_organisations",
    "list_profiles",
    "list_readers",
    "list_requests",
    "offers_of",
    "queue_view",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskRow:
    """A study without a case or a request without its study; neither has a running clock.

    `study_uid` is None where a request waits for its study.
    """

    study_uid: str | None
    request_id: str | None
    accession: str
    patient_ref: str
    reason: DeskReason
    sentence: str
    since: datetime


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One waiting case: its position from 1, why it waits, and who was passed over for it."""

    position: int
    case: Case
    reason: StateReason
    choice: Choice


def desk(tx: Transaction, *, limit: int = 200) -> list[DeskRow]:
    """Return what waits to be joined (KZ §13), the longest waiting first."""
    studies = [
        DeskRow(
            study_uid=row.study_uid,
            request_id=row.request_id,
            accession=row.accession,
            patient_ref=row.patient_ref,
            reason=DeskReason(row.reason),
            sentence=row.sentence,
            since=row.since,
        )
        for row in store.desk_studies(tx, limit=limit)
    ]
    requests = [
        DeskRow(
            study_uid=None,
            request_id=request.id,
            accession=request.accession,
            patient_ref=request.patient_ref,
            reason=DeskReason.STUDY_AWAITED,
            sentence=SENTENCES[DeskReason.STUDY_AWAITED],
            since=request.received_at,
        )
        for request in store.list_requests(tx, state=RequestState.RECEIVED, limit=limit)
    ]
    return sorted([*studies, *requests], key=lambda row: row.since)[:limit]


def queue_view(
    tx: Transaction, profile: str, *, settings: WorklistSettings, limit: int = 50
) -> list[QueueRow]:
    """Return a profile's queue from its head, with the reason of each wait.

    Each row is judged as if its case were next: a case with somebody free waits in order only.
    """
    cases = store.queue(tx, profile, limit=limit)
    seats = store.seats(tx, profile)
    declined = store.declined(tx, cases)
    conflicts = store.in_conflict(tx, [case.patient_ref for case in cases])
    rows = []
    for position, case in enumerate(cases, start=1):
        choice = next_reader(
            case,
            seats,
            at=tx.at,
            declined=declined.get(case.id, frozenset()),
            in_conflict=conflicts.get(case.patient_ref, frozenset()),
            named_rule=settings.named_rule,
        )
        reason = why(case, choice, at=tx.at, alarm_share=settings.alarm_share)
        rows.append(QueueRow(position, case, reason, choice))
    return rows
