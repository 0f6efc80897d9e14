"""Deleting by policy: what an address names is withdrawn, for a reason, and purged later.

References
----------
DICOM PS3.18 chapter 10 has no such transaction; the addresses are those of retrieving.  IHE RAD
TF-3, 4.66: the reason is one of Imaging Object Change Management.
"""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.engine import Engine
from app.http.access import Caller, DeletesDicom, record_refusal
from app.http.body import TheEngine
from app.http.dicom_address import INSTANCE, SERIES, STUDY, Address, Named
from app.http.dicom_stow import require_own_page
from app.http.errors import BodyMalformed
from app.http.sight import sees
from app.identity.errors import AccessRefused
from kernel.ids import is_uid
from kernel.people import Role
from storage.archive import StudyUnknown
from storage.retention import WithdrawalRefused

router = APIRouter(prefix="/dicomweb")


@router.delete(STUDY)
@router.delete(SERIES)
@router.delete(INSTANCE)
def delete(
    named: Named, request: Request, engine: TheEngine, caller: DeletesDicom, reason: str = ""
) -> Response:
    """Withdraw a study, a series or an instance; `reason` is a code such as 113001."""
    if not all(uid is None or is_uid(uid) for uid in named.uids):
        raise StudyUnknown("nothing is stored under this address")
    if len(set(request.query_params.getlist("reason"))) > 1:
        raise BodyMalformed("a withdrawal has one reason")
    organisation = _organisation(request, engine, caller, named)
    try:
        _withdraw(engine, caller, named, reason, organisation)
    except WithdrawalRefused:
        record_refusal(engine, caller.actor, f"study:{named.study_uid}")
        raise
    engine.nudge()
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _withdraw(
    engine: Engine, caller: Caller, named: Address, reason: str, organisation: str | None
) -> None:
    from app import keeping

    with engine.database.transaction() as tx:
        keeping.withdraw(
            tx,
            named.study_uid,
            reason,
            engine.retention,
            series_uid=named.series_uid,
            instance_uids=frozenset({named.instance_uid}) if named.instance_uid else None,
            organisation=organisation,
            actor=caller.actor,
        )


def _organisation(request: Request, engine: Engine, caller: Caller, named: Address) -> str | None:
    """Return whose studies the caller may withdraw; None is everybody's.

    A program is of its organisation, and does not hear of what it may not see; a person is an
    administrator.
    """
    if caller.machine is not None:
        with engine.database.reading() as tx:
            seen = sees(tx, engine, caller, named.study_uid)
        if not seen:
            record_refusal(engine, caller.actor, f"study:{named.study_uid}")
            raise StudyUnknown("nothing is stored under this address")
        return caller.machine.organisation_id
    assert caller.visitor is not None
    require_own_page(request, caller.visitor)
    person = caller.visitor.person
    if Role.ADMINISTRATOR not in person.roles:
        record_refusal(engine, caller.actor, f"study:{named.study_uid}")
        raise AccessRefused("studies are withdrawn by administrators of their organisation")
    return person.organisation_id or ""
