"""Which studies a caller of DICOMweb may see: a program by its organisation, a person by cases."""

from app.engine import Engine
from app.http.access import Caller, may_see_images
from storage import archive_find
from storage.archive_find import Scope
from storage.engine import Transaction


def scope_of(engine: Engine, caller: Caller) -> Scope | None:
    """Return what a program may see; None is everything.

    The same rule as for the devices of its organisation; a token without one is the node's own.
    """
    from dicom_node.views import View, scope_of_organisation

    if caller.machine is None or caller.machine.organisation_id is None:
        return None
    views = dict.fromkeys(engine.sees_all, View.ALL)
    return scope_of_organisation(caller.machine.organisation_id, views)


def sees(tx: Transaction, engine: Engine, caller: Caller, study_uid: str) -> bool:
    """Say whether a study is open to a caller."""
    if caller.visitor is not None:
        return may_see_images(tx, engine, caller.visitor, study_uid)
    scope = scope_of(engine, caller)
    return scope is None or archive_find.sees(tx, study_uid, scope)
