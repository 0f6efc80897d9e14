"""Requests, cases, the queue and the turn of consultants: who reads what, when, and why."""

from worklist.case import CancelReason, Case, CaseState, DeclineReason, StateReason
from worklist.commands import require_holder, require_writer
from worklist.errors import (
    CaseMoveRefused,
    CaseUnknown,
    NotHolder,
    NotOfferedToReader,
    OrganisationUnknown,
    ReaderUnknown,
    RequestUnknown,
)
from worklist.organisation import Organisation, OrganisationKind
from worklist.profile import Profile, Takes
from worklist.readers import Competence, Reader
from worklist.request import Form, NewRequest, Payer, Request, RequestState
from worklist.store import (
    get_case,
    get_organisation,
    get_reader,
    get_request,
    list_cases,
    list_organisations,
    list_profiles,
    list_readers,
    list_requests,
)

__all__ = [
    "CancelReason",
    "Case",
    "CaseMoveRefused",
    "CaseState",
    "CaseUnknown",
    "Competence",
    "DeclineReason",
    "Form",
    "NewRequest",
    "NotHolder",
    "NotOfferedToReader",
    "Organisation",
    "OrganisationKind",
    "OrganisationUnknown",
    "Payer",
    "Profile",
    "Reader",
    "ReaderUnknown",
    "Request",
    "RequestState",
    "RequestUnknown",
    "StateReason",
    "Takes",
    "get_case",
    "get_organisation",
    "get_reader",
    "get_request",
    "list_cases",
    "list_organisations",
    "list_profiles",
    "list_readers",
    "list_requests",
    "require_holder",
    "require_writer",
]
