"""The page of one request, for the site that asked: what came for it, and what can be added."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.http.access import SignedIn
from app.http.body import TheEngine
from app.http.requests import opened_request
from app.imports import study_of
from app.pages.rendering import render
from storage import archive_queries, audit
from storage.archive_queries import SeriesRow
from storage.engine import Transaction
from worklist import store
from worklist.case import Case
from worklist.request import Request as ReadingRequest

router = APIRouter()


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Everything on the page."""

    request: ReadingRequest
    cases: tuple[Case, ...]
    series: tuple[SeriesRow, ...]


@router.get("/requests/{request_id}")
def request_page(
    request_id: str, request: Request, engine: TheEngine, visitor: SignedIn
) -> Response:
    """Show a request."""
    found = opened_request(engine, visitor, request_id)
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=visitor.person.actor,
            action="request.viewed",
            subject=f"request:{request_id}",
        )
    with engine.database.reading() as tx:
        page = page_for(tx, found)
    return render(request, "request.html", {"page": page})


def page_for(tx: Transaction, request: ReadingRequest) -> RequestPage:
    """Gather what the page shows: no names, no pictures."""
    return RequestPage(
        request=request,
        cases=tuple(store.cases_of_request(tx, request.id)),
        series=tuple(archive_queries.series_of(tx, study_of(tx, request))),
    )
