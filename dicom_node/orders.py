"""Scheduled procedure steps: what the requests say will be acquired, where and when.

A projection of `RequestReceived` and `RequestChanged`; completeness and the modality worklist
read it, nobody else writes it.

References
----------
DICOM PS3.4 Annex K; IHE Scheduled Workflow.
"""

from dataclasses import dataclass
from datetime import datetime

from kernel.ids import derived_uid

RECEIVED = "received"
CANCELLED = "cancelled"
UNPERFORMED = ("", "STARTED")
"""Progress of a step that a worklist shows: nothing of it was done, or it goes on."""


def requested_study_uid(request_id: str) -> str:
    """Return the study that is made for a request which names none; always the same."""
    return str(derived_uid("requested-study", request_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledStep:
    """One examination that a request asks for."""

    request_id: str
    organisation_id: str
    patient_ref: str
    accession: str
    study_uid: str | None
    modality: str
    station_ae_title: str
    procedure: str
    scheduled_at: datetime | None
    profile: str | None
    form: str
    state: str
    progress: str = ""
    """What its performed steps say, as (0040,0020) has it; empty while there are none."""

    reason: str = ""
    """Why it was discontinued: coding scheme and code."""

    @property
    def is_open(self) -> bool:
        """Whether images for it are still expected (KZ §15: a cancelled one is not done)."""
        return self.state != CANCELLED


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsWanted:
    """Which open steps to bring; an empty field brings all.

    `scheduled_from` and `scheduled_until` bound the time of those that have one.
    """

    organisation_id: str
    accession: str = ""
    station_ae_title: str = ""
    scheduled_from: datetime | None = None
    scheduled_until: datetime | None = None
