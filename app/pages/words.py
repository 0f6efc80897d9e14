"""Words for codes, in the tone of a page: one table a code list."""

from collections.abc import Callable, Mapping
from typing import Any

from storage.audit import FORMER_OUTCOMES
from worklist.case import SENTENCES, CaseState, DeclineReason, StateReason
from worklist.match import DeskReason
from worklist.request import Form, Payer

STATES: Mapping[str, str] = {
    CaseState.RECEIVED: "received",
    CaseState.QUEUED: "waiting",
    CaseState.OFFERED: "offered",
    CaseState.READING: "being read",
    CaseState.SIGNED: "signed",
    CaseState.DELIVERED: "delivered",
    CaseState.COMPLETED: "completed",
    CaseState.ESCALATED: "needs a decision",
    CaseState.CANCELLED: "cancelled",
}
FORMS: Mapping[str, str] = {
    Form.EMERGENT: "emergent",
    Form.URGENT: "urgent",
    Form.PLANNED: "planned",
}
PAYERS: Mapping[str, str] = {
    Payer.STATE_GUARANTEED: "state-guaranteed volume",
    Payer.MANDATORY_INSURANCE: "mandatory insurance",
    Payer.VOLUNTARY_INSURANCE: "voluntary insurance",
    Payer.PAID: "paid by the patient",
}
TRIAGE: Mapping[str, str] = {
    "none": "nothing flagged",
    "advise": "look at this",
    "escalate": "moved forward",
    "critical": "critical suspicion",
}
DECLINES: Mapping[str, str] = {
    DeclineReason.CONFLICT: "conflict of interest",
    DeclineReason.NEEDS_OTHER_SKILL: "needs another skill",
    DeclineReason.TECHNICAL: "technical: images cannot be read here",
    DeclineReason.NO_TIME: "no time",
    DeclineReason.OTHER: "other reason",
}
DESK: Mapping[str, str] = {reason: reason.value.replace("_", " ") for reason in DeskReason}
DELIVERIES: Mapping[str, str] = {
    "pending": "waiting for its next attempt",
    "attempting": "on its way",
    "filed": "filed",
    "rejected": "refused",
    "parked": "given up, needs a person",
}
DESTINATIONS: Mapping[str, str] = {
    "record": "health record",
    "requester": "requesting organisation",
}
ROLES: Mapping[str, str] = {
    "administrator": "administrator",
    "consultant": "consultant",
    "attending": "attending doctor",
    "technologist": "technologist",
    "pharmacist": "pharmacist",
    "patient": "patient",
    "device": "device",
    "system": "the engine",
}
ACTIONS: Mapping[str, str] = {
    "access.refused": "was refused access",
    "case.alarm": "raised an alarm",
    "case.amended": "noted further images",
    "case.asked_again": "asked the consultants again",
    "case.cancelled": "called the case off",
    "case.claimed": "took the case",
    "case.completed": "completed the case",
    "case.corrected": "noted a correction of the study",
    "case.declined": "declined the case",
    "case.delivered": "delivered the conclusion",
    "case.escalated": "handed the case to a person",
    "case.filed": "noted the receipt of the health record",
    "case.filing_rejected": "noted that the health record refused",
    "case.late_images_noted": "took note of late images",
    "case.lease_expired": "took the case back after silence",
    "case.offer_expired": "took an unanswered offer back",
    "case.offered": "offered the case",
    "case.opened": "opened the case",
    "case.queued": "put the case into the queue",
    "case.queued_without_triage": "queued the case without waiting for the AI",
    "case.released": "gave the case back",
    "case.signed": "noted the signature",
    "case.triage_settled": "noted the result of the AI",
    "case.viewed": "looked at the case",
    "case.waits": "noted why the case waits",
    "commitment.answered": "noted a peer's answer about images sent to it",
    "commitment.asked": "asked for storage commitment",
    "commitment.reported": "answered about storage commitment",
    "delivery.attempted": "began a delivery",
    "delivery.filed": "delivered the document",
    "delivery.parked": "gave a delivery up",
    "delivery.postponed": "put a delivery off",
    "delivery.rejected": "noted a refused delivery",
    "delivery.replayed": "sent a delivery again",
    "delivery.scheduled": "planned a delivery",
    "document.viewed": "looked at the FHIR document",
    "file.imported": "brought in a file",
    "image.viewed": "looked at an image",
    "instance.imported": "had an object made of a file stored",
    "instance.quarantined": "sent an image that is kept aside",
    "instance.readmitted": "admitted an image that was kept aside",
    "instances.stored": "sent images",
    "journal.viewed": "looked at this journal",
    "key_objects.unreadable": "sent key objects that cannot be read",
    "notice.seen": "saw the notice",
    "priors.asked_for": "asked a peer for priors",
    "rejection.left_in_use": "took images back for their quality, which stay in use",
    "rejection.refused": "was refused to take images back",
    "report.addendum_begun": "began an addendum",
    "report.begun": "began the report",
    "report.finalised": "finalised the report",
    "report.previewed": "looked at the unsigned document",
    "report.signed": "signed the report",
    "report.signing_refused": "was refused the signature",
    "report.superseded": "changed a finalised report",
    "report.viewed": "looked at the signed report",
    "request.viewed": "looked at the request",
    "studies.queried": "searched for studies",
    "studies.searched": "searched for studies",
    "study.announced": "told what the study consists of",
    "study.attached": "joined study and request",
    "study.availability_told": "told a peer that the study is here",
    "study.completed": "noted that the study is complete",
    "study.exported": "gave the study out",
    "study.fetched": "fetched the study from a peer",
    "study.held": "put the study on hold",
    "study.on_desk": "put the study on the desk",
    "study.original_retrieved": "retrieved images as they came, without corrections",
    "study.purged": "deleted the study for good",
    "study.released": "ended the hold of the study",
    "study.retrieved": "retrieved images",
    "study.sent": "sent the study to a peer",
    "study.storing_began": "began to send images",
    "study.viewed": "opened the images to read them",
    "triage.planned": "planned the AI check",
    "triage.settled": "settled the AI check",
    "workitem.assigned": "named the consultant of the reading",
    "workitem.cancel_requested": "asked for the reading to be cancelled",
    "workitem.corrected": "corrected what the reading is described by",
    "workitem.created": "entered the reading in the work list",
    "workitem.state_changed": "moved the reading on in the work list",
    "workitem.updated": "described the reading anew",
    "workitem.viewed": "looked at the reading in the work list",
    "worklist.queried": "asked for the worklist",
}


def _from(table: Mapping[str, str]) -> Callable[[Any], str]:
    """Return a filter that gives the words of a code, and an unknown code as plain words."""
    return lambda code: table.get(code) or str(code).replace(".", " ").replace("_", " ")


FILTERS: Mapping[str, Callable[[Any], str]] = {
    "state": _from(STATES),
    "form": _from(FORMS),
    "payer": _from(PAYERS),
    "triage": _from(TRIAGE),
    "decline_reason": _from(DECLINES),
    "desk_reason": _from(DESK),
    "delivery_state": _from(DELIVERIES),
    "destination": lambda name: DESTINATIONS.get(name) or str(name).replace(":", " ", 1),
    "role": _from(ROLES),
    "action": _from(ACTIONS),
    "outcome": _from(FORMER_OUTCOMES),
    "move_reason": lambda code: (
        SENTENCES[StateReason(code)] if code in set(StateReason) else str(code).replace("_", " ")
    ),
}
