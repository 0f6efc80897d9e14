"""Priors at peers, as a case has them: asked for when it opens, told on its page and by command."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kernel.facts import (
    CaseCompleted,
    CaseOpened,
    Fact,
    PatientsMerged,
    RequestChanged,
    StudyCorrected,
)
from storage import patients
from storage import priors as rows
from storage.engine import Transaction
from storage.priors import PriorState
from storage.work import Reactions
from worklist import store as worklist
from worklist.case import OVER, Case, case_id_of
from worklist.intake import patient_of
from worklist.request import RequestState

if TYPE_CHECKING:  # a page that tells of priors opens no DICOM toolkit
    from app.settings import PriorsSettings
    from dicom_node.prior_choice import PriorBounds

CONSUMER = "app.priors"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPrior:
    """A peer that is asked, or a study that it has, with how that stands.

    The study is empty where the peer itself is meant; `next_at` is of the next attempt.
    """

    peer: str
    study_uid: str
    date: str
    modalities: str
    state: str
    code: str
    sentence: str
    next_at: datetime | None

    def as_words(self) -> dict[str, str]:
        """Return it as scripts are told."""
        next_at = "" if self.next_at is None else self.next_at.isoformat(timespec="seconds")
        plain = ("peer", "study_uid", "date", "modalities", "state", "code", "sentence")
        return {**{name: getattr(self, name) for name in plain}, "next_at": next_at}


def bounds_of(told: "PriorsSettings") -> "PriorBounds":
    """Return the bounds in the words of the DICOM node."""
    from dicom_node.prior_choice import PriorBounds

    return PriorBounds(
        studies=told.studies,
        years=told.years,
        images=told.images,
        at_once=told.at_once,
        again=timedelta(hours=told.again_hours),
        move=timedelta(minutes=told.move_minutes),
        give_up=timedelta(hours=told.give_up_hours),
    )


def reactions(bounds: "PriorBounds") -> Reactions:
    """Return what follows when a case opens, ends, or turns out to be of somebody else.

    Whose priors are looked for, and whether anybody waits for them, the worklist knows.
    """
    from dicom_node import prior_work

    def opened(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, CaseOpened)
        case = worklist.get_case(tx, fact.case_id)
        if case.misfiled_by is None and case.state not in OVER:
            prior_work.ask(
                tx, patient_ref=case.patient_ref, study_uid=case.study_uid, bounds=bounds
            )

    def corrected(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, StudyCorrected)
        ref = rows.whose(tx, fact.study_uid)
        if "patient" not in fact.what or ref is None:
            return
        ask_anew(tx, _open_cases(tx, ref, fact.study_uid), fact.at)
        for before in rows.asked_for(tx, fact.study_uid):
            _call_off_unless_waited_for(tx, before, "the study is another patient's")

    def merged(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, PatientsMerged)
        ask_anew(tx, worklist.open_cases_of(tx, _known_as(tx, fact.survivor)), fact.at)

    def ask_anew(tx: Transaction, cases: Iterable[Case], since: datetime) -> None:
        """Ask for whose the cases are by now; what was asked since a moment knew that."""
        for case in cases:
            now = patient_of(tx, case)
            if now is not None:
                prior_work.ask(
                    tx,
                    patient_ref=now,
                    study_uid=case.study_uid,
                    bounds=bounds,
                    known_better=since,
                )

    return {
        CONSUMER: {
            CaseOpened: opened,
            StudyCorrected: corrected,
            PatientsMerged: merged,
            CaseCompleted: _completed,
            RequestChanged: _request_changed,
        }
    }


def _completed(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, CaseCompleted)
    case = worklist.get_case(tx, fact.case_id)
    _call_off_unless_waited_for(tx, case.patient_ref, "the case is completed")


def _request_changed(tx: Transaction, fact: Fact) -> None:
    assert isinstance(fact, RequestChanged)
    case = worklist.find_case(tx, case_id_of(fact.request_id))
    if case is not None and fact.state == RequestState.CANCELLED:
        _call_off_unless_waited_for(tx, case.patient_ref, "the case was cancelled")


def _call_off_unless_waited_for(tx: Transaction, patient_ref: str, why: str) -> None:
    """Look for no more priors of a patient, unless another case of theirs is open."""
    from dicom_node import prior_work

    refs = _known_as(tx, patient_ref)
    if not any(patient_of(tx, case) in refs for case in worklist.open_cases_of(tx, refs)):
        prior_work.call_off(tx, patient_ref, why)


def _open_cases(tx: Transaction, patient_ref: str, study_uid: str) -> list[Case]:
    """Return the open cases of a patient and of a study, each once."""
    of_study = worklist.cases_of_study(tx, study_uid, lock=False)
    both = [*worklist.open_cases_of(tx, _known_as(tx, patient_ref)), *of_study]
    return list({case.id: case for case in both if case.state not in OVER}.values())


def _known_as(tx: Transaction, patient_ref: str) -> set[str]:
    return {str(each.ref) for each in patients.known_as(tx, patient_ref)} | {patient_ref}


def told_of(tx: Transaction, patient_ref: str) -> list[ToldPrior]:
    """Return how the priors of a patient stand: who was asked, then the studies, latest first."""
    searches, studies = rows.of_patient(tx, patient_ref)
    asked = [_told(each, "", "", "") for each in searches]
    return asked + [
        _told(each, each.study_uid, each.study_date, each.modalities) for each in studies
    ]


def _told(row: rows.Search | rows.Prior, study_uid: str, day: str, modalities: str) -> ToldPrior:
    return ToldPrior(
        peer=row.ae_title,
        study_uid=study_uid,
        date=f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 else day,
        modalities=modalities,
        state=row.state.value,
        code=row.code,
        sentence=row.sentence,
        next_at=row.due_at if row.state is PriorState.WAITING else None,
    )
