"""The queue page: what is there for me to do, and why everything else waits.

No names in lists: whoever needs one opens the case, and that is in its journal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from app.http.access import AnswersOffers, CheckedForm, SignedIn, Visitor, own_refs
from app.http.body import TheEngine
from app.http.errors import BodyMalformed
from app.identity.errors import AccessRefused
from app.pages.rendering import render
from health_record import commands as health_record
from health_record.notice import Notice
from kernel.people import Role
from storage.engine import Transaction
from worklist import commands as worklist
from worklist import queries
from worklist import store as worklist_store
from worklist.act import Act
from worklist.case import Case, CaseState, DeclineReason
from worklist.queue import in_line
from worklist.readers import Reader
from worklist.request import Request as ReadingRequest
from worklist.request import RequestState

router = APIRouter()
PAGE = 25  # about what a screen holds; more lines only cost a poor link time
_MAX_NOTE = 500


@dataclass(frozen=True, slots=True)
class Waiting:
    """One profile's queue from its head or from behind a case; `next_after` names the next page."""

    profile: str
    name: str
    cases: tuple[Case, ...]
    next_after: str | None
    first_page: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """What the consultant sees: offers, cases in hand, and the queues of the lists they are on."""

    reader: Reader
    on_duty: bool
    offered: tuple[Case, ...]
    reading: tuple[Case, ...]
    waiting: tuple[Waiting, ...]
    signed: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """Cases by arrival, the newest first; `next_after` is the arrival number for the next page."""

    title: str
    cases: tuple[Case, ...]
    next_after: int | None
    empty: str


@dataclass(frozen=True, slots=True)
class QueuePage:
    """Everything on the page; each part is None where it is not the visitor's."""

    desk: Desk | None
    listed: Listed | None
    requests: tuple[ReadingRequest, ...]
    notices: tuple[Notice, ...]
    alarms: tuple[Case, ...]
    sites: Mapping[str, str]
    profiles: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the page begins: a profile's queue behind a case, or the list behind a number."""

    profile: str | None = None
    after_case: str | None = None
    after_number: int | None = None


@router.get("/queue")
def queue_page(
    request: Request,
    engine: TheEngine,
    visitor: SignedIn,
    profile: str | None = None,
    after: str | None = None,
    before: int | None = None,
) -> Response:
    """Show the queue; `after` is a case of `profile`, `before` an arrival number."""
    with engine.database.reading() as tx:
        page = page_for(tx, visitor, Place(profile, after, before))
    return render(request, "queue.html", {"page": page, "declines": list(DeclineReason)})


@router.post("/presence")
def set_presence(engine: TheEngine, visitor: SignedIn, form: CheckedForm) -> Response:
    """Note that the consultant is there to take cases, or is not."""
    reader_id = visitor.person.reader_id
    if reader_id is None or Role.CONSULTANT not in visitor.person.roles:
        raise AccessRefused("only consultants are on or off duty")
    with engine.database.transaction() as tx:
        worklist.set_presence(
            tx,
            reader_id,
            present=form.get("present") == "1",
            act=Act(tx.at, visitor.person.actor),
        )
    engine.nudge()
    return RedirectResponse("/queue", HTTPStatus.SEE_OTHER)


@router.post("/cases/{case_id}/accept")
def accept(engine: TheEngine, opened: AnswersOffers, form: CheckedForm) -> Response:
    """Take an offered case."""
    person = opened.visitor.person
    with engine.database.transaction() as tx:
        worklist.accept(
            tx,
            opened.case.id,
            person.reader_id or "",
            settings=engine.worklist,
            act=Act(tx.at, person.actor),
        )
    engine.nudge()
    return RedirectResponse(f"/cases/{opened.case.id}/read", HTTPStatus.SEE_OTHER)


@router.post("/cases/{case_id}/decline")
def decline(engine: TheEngine, opened: AnswersOffers, form: CheckedForm) -> Response:
    """Decline an offered case, with a reason."""
    person = opened.visitor.person
    try:
        reason = DeclineReason(form.get("reason", ""))
    except ValueError as error:
        raise BodyMalformed("name one of the reasons for declining") from error
    with engine.database.transaction() as tx:
        worklist.decline(
            tx,
            opened.case.id,
            person.reader_id or "",
            reason,
            note=form.get("note", "")[:_MAX_NOTE],
            act=Act(tx.at, person.actor),
        )
    engine.nudge()
    return RedirectResponse("/queue", HTTPStatus.SEE_OTHER)


def page_for(tx: Transaction, visitor: Visitor, place: Place) -> QueuePage:
    """Gather what a visitor's queue page shows; a few indexed queries, however many cases."""
    person, organisation = visitor.person, visitor.organisation
    staff = person.is_site_staff and organisation is not None
    own_site = organisation.id if staff and organisation else None
    return QueuePage(
        desk=_desk(tx, visitor, place),
        listed=_listed(tx, visitor, place),
        requests=_requests(tx, own_site),
        notices=tuple(health_record.notices_for(tx, own_site, unseen_only=True, limit=PAGE))
        if own_site
        else (),
        alarms=tuple(queries.list_cases(tx, alarm=True, limit=PAGE))
        if visitor.is_dispatcher
        else (),
        sites={o.id: o.name for o in queries.list_organisations(tx)},
        profiles={p.id: p.name for p in queries.list_profiles(tx)},
    )


def _desk(tx: Transaction, visitor: Visitor, place: Place) -> Desk | None:
    reader_id = visitor.person.reader_id
    if reader_id is None or Role.CONSULTANT not in visitor.person.roles:
        return None
    reader = queries.get_reader(tx, reader_id)
    mine = {
        state: tuple(queries.list_cases(tx, state=state, reader=reader_id, limit=PAGE))
        for state in (CaseState.OFFERED, CaseState.READING)
    }
    valid = [c.profile for c in reader.competences if c.valid(tx.at)]
    names = {p.id: p.name for p in queries.list_profiles(tx)}
    recent = queries.list_cases(tx, reader=reader_id, limit=10)
    return Desk(
        reader=reader,
        on_duty=reader.on_duty(tx.at),
        offered=tuple(in_line(mine[CaseState.OFFERED])),
        reading=tuple(in_line(mine[CaseState.READING])),
        waiting=tuple(_waiting(tx, profile, names[profile], place) for profile in sorted(valid)),
        signed=tuple(case for case in recent if case.signed_by == reader_id),
    )


def _waiting(tx: Transaction, profile: str, name: str, place: Place) -> Waiting:
    behind = None
    if place.profile == profile and place.after_case is not None:
        behind = queries.find_case(tx, place.after_case)
    found = worklist_store.queue(tx, profile, after=behind, limit=PAGE + 1)
    shown = tuple(found[:PAGE])
    more = shown[-1].id if len(found) > PAGE else None
    return Waiting(profile, name, shown, more, first_page=behind is None)


def _listed(tx: Transaction, visitor: Visitor, place: Place) -> Listed | None:
    person = visitor.person
    after, limit = place.after_number, PAGE + 1
    if person.is_site_staff and person.organisation_id is not None:
        found = queries.list_cases(
            tx, organisation=person.organisation_id, after=after, limit=limit
        )
        return _page("Cases of our site", found, "No case of this site yet.")
    if Role.PATIENT in person.roles and person.patient_ref is not None:
        found = queries.list_cases(tx, patient_refs=own_refs(tx, person), after=after, limit=limit)
        return _page("My cases", found, "There is no case about you.")
    if visitor.is_dispatcher:
        found = queries.list_cases(tx, after=after, limit=limit)
        return _page("All cases", found, "No case yet.")
    if Role.ADMINISTRATOR in person.roles and person.organisation_id is not None:
        found = queries.list_cases(
            tx, organisation=person.organisation_id, after=after, limit=limit
        )
        return _page("Cases of our organisation", found, "No case of this organisation yet.")
    return None


def _page(title: str, found: list[Case], empty: str) -> Listed:
    shown = tuple(found[:PAGE])
    return Listed(title, shown, shown[-1].arrival_number if len(found) > PAGE else None, empty)


def _requests(tx: Transaction, site: str | None) -> tuple[ReadingRequest, ...]:
    if site is None:
        return ()
    return tuple(
        queries.list_requests(tx, state=RequestState.RECEIVED, organisation=site, limit=PAGE)
    )
