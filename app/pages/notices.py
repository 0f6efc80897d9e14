"""The inbox of a requesting organisation: conclusions that are there to be read (KZ §21)."""

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from app.http.access import CheckedForm, SignedIn
from app.http.body import TheEngine
from app.identity.errors import AccessRefused
from health_record import commands as health_record

router = APIRouter()


@router.post("/notices/{notice_id}/seen")
def seen(notice_id: str, engine: TheEngine, visitor: SignedIn, form: CheckedForm) -> Response:
    """Note that somebody of the organisation has seen a notice; go on to its case."""
    person = visitor.person
    if not person.is_site_staff or person.organisation_id is None:
        raise AccessRefused("notices are for the staff of the requesting organisation")
    with engine.database.transaction() as tx:
        notice = health_record.mark_seen(tx, person.organisation_id, notice_id, actor=person.actor)
    return RedirectResponse(f"/cases/{notice.case_id}", HTTPStatus.SEE_OTHER)
