"""Priors at peers, as a case has them: asked for when it opens, told on its page and by command."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.settings import PriorsSettings
from kernel.facts import CaseOpened, Fact
from storage import priors as rows
from storage.engine import Transaction
from storage.priors import PriorState
from storage.work import Reactions
from worklist import store as worklist

if TYPE_CHECKING:  # a page that tells of priors opens no DICOM toolkit
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


def bounds_of(told: PriorsSettings) -> "PriorBounds":
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
    """Return what follows when a case opens: whose priors, the worklist knows."""
    from dicom_node import prior_work

    def opened(tx: Transaction, fact: Fact) -> None:
        assert isinstance(fact, CaseOpened)
        case = worklist.get_case(tx, fact.case_id)
        if case.misfiled_by is None:
            prior_work.ask(
                tx, patient_ref=case.patient_ref, study_uid=case.study_uid, bounds=bounds
            )

    return {CONSUMER: {CaseOpened: opened}}


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
