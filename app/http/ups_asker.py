"""Who asks something of a workitem over the web, and whether it is theirs to see."""

from dataclasses import replace
from typing import TYPE_CHECKING

from fastapi import Request

from app.engine import Engine
from app.http.access import FORM_TOKEN_HEADER, Caller, rights_in
from app.identity import secret
from app.identity.errors import AccessRefused, FormForged
from app.identity.policy import Right
from kernel.people import Role
from storage.engine import Transaction

if TYPE_CHECKING:
    from dicom_node.workitems.subscriber import Asker
    from dicom_node.workitems.workitem import Workitem

WEB_TITLE = "WEB"
"""The Requesting AE of who names none."""
_PATIENT = 0x0010
"""The group of the attributes of the patient."""
_WORKING = frozenset({Role.ADMINISTRATOR, Role.CONSULTANT, Role.ATTENDING, Role.TECHNOLOGIST})


def asker_of(engine: Engine, caller: Caller, title: str = "") -> "Asker":
    """Return who asks: each sees what their organisation has to do with (ADR 14).

    A program without an organisation is one of the node itself and sees all.

    Raises
    ------
    AccessRefused
        The person works with no workitems.
    ReceiverUnknown
        The title is no AE title.
    """
    from dicom_node.workitems import commands
    from dicom_node.workitems.subscriber import Asker

    told = commands.receiving_title(title) if title else WEB_TITLE
    if caller.visitor is None:
        assert caller.machine is not None
        organisation_id = caller.machine.organisation_id
        return Asker(
            actor=caller.actor,
            title=told,
            organisation_id=organisation_id,
            sees_all=organisation_id is None or organisation_id in engine.sees_all,
        )
    person = caller.visitor.person
    if not person.roles & _WORKING or person.organisation_id is None:
        raise AccessRefused("workitems are for those who work in an organisation")
    reads = Role.CONSULTANT in person.roles
    return Asker(
        actor=person.actor,
        title=told,
        organisation_id=person.organisation_id,
        reader_id=person.reader_id if reads else None,
    )


def seen_of(tx: Transaction, engine: Engine, caller: Caller, item: "Workitem") -> "Workitem":
    """Return a workitem as a person sees it: who the patient is, only where that is open to them.

    Raises
    ------
    WorkitemUnknown
        The reading for which it stands is not theirs: they do not hear that it exists.
    """
    from dicom_node.workitems.errors import WorkitemUnknown
    from worklist import queries

    if item.case_id is None or caller.visitor is None:
        return item
    granted = rights_in(tx, engine, caller.visitor, queries.get_case(tx, item.case_id))
    if Right.SEE_CASE not in granted:
        raise WorkitemUnknown("no workitem has this UID")
    return item if Right.SEE_PATIENT in granted else _without_patient(item)


def require_own_page(request: Request, caller: Caller) -> None:
    """Check that a change which a person makes comes from a page of their session.

    Raises
    ------
    FormForged
        It does not.
    """
    if caller.visitor is None:
        return
    shown = request.headers.get(FORM_TOKEN_HEADER, "")
    if not secret.same(shown, caller.visitor.form_token):
        raise FormForged("the request is not from a page of this session")


def _without_patient(item: "Workitem") -> "Workitem":
    from dicom_node.data_sets import Attributes

    kept = {tag: each for tag, each in item.attributes.by_tag.items() if tag >> 16 != _PATIENT}
    return replace(item, attributes=Attributes(kept))
