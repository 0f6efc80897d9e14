"""How UPS-RS answers: the warnings that belong to a refusal or to a success with a word.

References
----------
DICOM PS3.18 chapter 11, tables of response header fields.
"""

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import Response

from app.http import problems
from dicom_node.workitems import errors
from dicom_node.workitems.workitem import Remark
from kernel.errors import EngineError

_INCONSISTENT = "The submitted request is inconsistent with the current state of the UPS Instance."
_REFUSED: Mapping[type[EngineError], str] = {
    errors.TransactionWrong: "The Transaction UID is incorrect.",
    errors.TransactionMissing: "The Transaction UID is missing.",
    errors.AlreadyInProgress: _INCONSISTENT,
    errors.NeverScheduledAgain: _INCONSISTENT,
    errors.FinalStateUnmet: _INCONSISTENT,
    errors.Ended: _INCONSISTENT,
    errors.NotInProgress: _INCONSISTENT,
    errors.AlreadyCompleted: "The UPS is already COMPLETED.",
    errors.PerformerDeclines: "Performer chooses not to cancel.",
    errors.PerformerUnreachable: "The performer cannot be contacted.",
}
_REMARKED: Mapping[Remark, str] = {
    Remark.CREATED_WITH_MODIFICATIONS: "The UPS was created with modifications.",
    Remark.COERCED: "The UPS was updated with modifications.",
    Remark.LOCK_NOT_GRANTED: "Deletion Lock not granted.",
    Remark.ALREADY_CANCELED: "The UPS is already in the requested state of CANCELED.",
    Remark.ALREADY_COMPLETED: "The UPS is already in the requested state of COMPLETED.",
}


def refused(request: Request, error: EngineError) -> Response:
    """Return the answer for a refusal, with the warning that the standard asks for."""
    answer = problems.answer(request, error)
    kind = next((kind for kind in type(error).__mro__ if kind in _REFUSED), None)
    if kind is not None:
        answer.headers["Warning"] = f'299 telerad "{_REFUSED[kind]}"'
    return answer


def warned(remark: Remark) -> dict[str, str]:
    """Return the headers of a success that is worth a word."""
    return {"Warning": f'299 telerad "{_REMARKED[remark]}"'} if remark in _REMARKED else {}
