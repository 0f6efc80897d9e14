"""Consultants: what they may read, whether they are there, how much they take at once."""

from dataclasses import dataclass
from datetime import datetime

from kernel.ids import OrganisationId, ReaderId


@dataclass(frozen=True, slots=True)
class Competence:
    """A place on the list of consultants of one profile (KZ §23), with its certificate's term.

    None as a bound means that the certificate has no such bound.
    """

    profile: str
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def valid(self, at: datetime) -> bool:
        """Say whether the certificate is valid at a moment; its last moment no longer is."""
        begun = self.valid_from is None or self.valid_from <= at
        return begun and (self.valid_until is None or at < self.valid_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A consultant (KZ §2(3)).

    `present_until` is the end of the shift; `unanswered` counts offers in a row that ran out.
    """

    id: ReaderId
    name: str
    organisation_id: OrganisationId
    competences: tuple[Competence, ...] = ()
    max_open: int = 3
    present: bool = False
    present_until: datetime | None = None
    unanswered: int = 0

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles on whose lists the consultant stands, certificate valid or not."""
        return tuple(c.profile for c in self.competences)

    def competence(self, profile: str) -> Competence | None:
        """Return the place on the list of a profile, None if there is none."""
        return next((c for c in self.competences if c.profile == profile), None)

    def on_duty(self, at: datetime) -> bool:
        """Say whether the consultant is present and the shift has not ended."""
        return self.present and (self.present_until is None or at < self.present_until)
