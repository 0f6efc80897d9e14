"""Withdrawing studies as entrances do it: whose they are, what keeps them, and what follows.

What the rules need is known by three packages: who sent a study by the DICOM node, its cases by
the worklist, its signed reports by reporting.
"""

from datetime import datetime

from dicom_node import commands as dicom_node
from kernel.people import Actor
from reporting import sealed_for_case
from storage import withdrawals
from storage.engine import Transaction
from storage.retention import Keeping, Retention, reason_of, require_owner
from storage.withdrawals import Withdrawal
from worklist import store as worklist
from worklist.case import Case, CaseState

_OVER = frozenset({CaseState.COMPLETED, CaseState.CANCELLED})


def keeping_of(tx: Transaction, study_uid: str) -> Keeping:
    """Return what the rules need to know of a study, and keep its cases from moving.

    Raises
    ------
    StudyUnknown
        There is no such study.
    """
    organisation, ae_title, modalities, last_arrival_at = withdrawals.kept(tx, study_uid)
    # A case that is about to be opened waits for this, or this waits for it.
    worklist.lock_pair(tx, study_uid=study_uid, accession="")
    cases = worklist.cases_of_study(tx, study_uid, lock=True)
    peer = None if organisation else dicom_node.find_sender(tx, ae_title)
    return Keeping(
        study_uid=study_uid,
        owner=organisation or (peer.organisation_id if peer else ""),
        modalities=modalities,
        last_arrival_at=last_arrival_at,
        held=withdrawals.is_held(tx, study_uid),
        open_cases=tuple(case.id for case in cases if case.state not in _OVER),
        signed_at=_signed_at(tx, cases),
    )


def withdraw(
    tx: Transaction,
    study_uid: str,
    code: str,
    retention: Retention,
    *,
    series_uid: str | None = None,
    instance_uids: frozenset[str] | None = None,
    organisation: str | None,
    actor: Actor,
) -> Withdrawal:
    """Withdraw a study, a series or instances of it for a coded reason.

    Parameters
    ----------
    organisation
        Of who asks; None is the node's own, whose every study is.

    Raises
    ------
    WithdrawalRefused
        The reason is none, the study is another organisation's, or a rule keeps it.
    StudyUnknown, InstanceUnknown
        Nothing of this is shown.
    """
    reason = reason_of(code)
    keeping = keeping_of(tx, study_uid)
    require_owner(keeping, organisation)
    return withdrawals.withdraw(
        tx,
        keeping,
        reason,
        retention,
        series_uid=series_uid,
        instance_uids=instance_uids,
        actor=actor,
    )


def _signed_at(tx: Transaction, cases: list[Case]) -> datetime | None:
    signed = [each.signed_at for case in cases for each in sealed_for_case(tx, case.id)]
    return max(signed, default=None)
