"""What a DICOMweb address names, if it is open to the caller; seen and refused are both noted."""

from app.engine import Engine
from app.http.access import Caller, record_refusal
from app.http.sight import sees
from app.identity.errors import AccessRefused
from kernel.ids import is_uid
from storage import audit, series_queries
from storage.archive import InstanceUnknown, StudyUnknown
from storage.series_queries import Held


class OriginalRefused(AccessRefused):
    """What a correction put right is seen by those alone who correct."""

    code = "dicomweb.original_refused"


def opened(
    engine: Engine,
    caller: Caller,
    study_uid: str,
    series_uid: str | None = None,
    instance_uid: str | None = None,
    *,
    original: bool = False,
) -> list[Held]:
    """Return the instances under an address, in reading order.

    Parameters
    ----------
    original
        They are given as they came, whatever was corrected since.

    Raises
    ------
    AccessRefused
        The study is not open to this person.
    OriginalRefused
        The caller does not correct studies.
    StudyUnknown, InstanceUnknown
        Nothing is stored there; only those hear so who may see the study.
    """
    unknown = StudyUnknown if instance_uid is None else InstanceUnknown
    asked = (study_uid, series_uid, instance_uid)
    if not all(uid is None or is_uid(uid) for uid in asked):
        raise unknown("nothing is stored under this address")
    if original:
        _require_corrector(engine, caller, study_uid)
    with engine.database.reading() as tx:
        allowed = original or sees(tx, engine, caller, study_uid)
        found = series_queries.held(tx, study_uid, series_uid, instance_uid) if allowed else []
        case_id = _case_of(engine, study_uid) if found else None
    if not allowed:
        record_refusal(engine, caller.actor, f"study:{study_uid}")
        if caller.visitor is None:  # a program of one site does not hear what others hold
            raise unknown("nothing is stored under this address")
        raise AccessRefused("this study is not, or no longer, open to you", study_uid=study_uid)
    if not found:
        raise unknown("nothing is stored under this address")
    with engine.database.transaction() as tx:
        audit.record(
            tx,
            actor=caller.actor,
            action="study.original_retrieved" if original else "study.retrieved",
            subject=f"study:{study_uid}",
            case_id=case_id,
            detail={"instances": len(found), "series": series_uid, "instance": instance_uid},
        )
    return found


def opened_instance(
    engine: Engine, caller: Caller, study_uid: str, series_uid: str, instance_uid: str
) -> Held:
    """Return one instance; see `opened`."""
    (found,) = opened(engine, caller, study_uid, series_uid, instance_uid)
    return found


def _require_corrector(engine: Engine, caller: Caller, study_uid: str) -> None:
    if caller.visitor is None or not caller.visitor.is_dispatcher:
        record_refusal(engine, caller.actor, f"study:{study_uid}")
        raise OriginalRefused(
            "instances as they came, without corrections, are for those who correct them: "
            "administrators of consulting organisations"
        )


def _case_of(engine: Engine, study_uid: str) -> str | None:
    """Return the case in whose journal the access belongs.

    Of a study with several it belongs into the journal of each, and with none into that of the
    case to come: there it stands by its study.
    """
    from worklist.store import cases_of_study

    with engine.database.reading() as tx:
        cases = cases_of_study(tx, study_uid, lock=False)
    return cases[0].id if len(cases) == 1 else None
