"""What became of everything that was sent: stages, cases, and what is explained or is not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from worklist.case import Case

STAGES = (
    "received",
    "durable",
    "manifest",
    "case",
    "triage",
    "queued",
    "claimed",
    "reported",
    "signed",
    "filed",
    "notified",
    "completed",
    "audit",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: did it hold, and when; `ms` counts from the first byte sent of its study."""

    name: str
    ok: bool = False
    ms: int | None = None
    detail: str = "it did not happen"


@dataclass(frozen=True, slots=True)
class Story:
    """How one study went: the stages that it passed, and whether a model looked at it."""

    study_uid: str
    began: datetime
    passed: Mapping[str, Stage]
    looked_at_by_ai: bool = False

    @property
    def worth(self) -> tuple[int, bool]:
        """How much of the way it shows: the more stages the better, and with AI before without."""
        return len(self.passed), self.looked_at_by_ai


@dataclass(frozen=True, slots=True)
class Account:
    """What did not become a case, and why, with the files that it covers."""

    name: str
    reason: str
    files: tuple[str, ...]


@dataclass(slots=True)
class Outcome:
    """What became of everything that was sent."""

    stories: list[Story] = field(default_factory=list)
    completed: list[Case] = field(default_factory=list)
    files_in_cases: list[str] = field(default_factory=list)
    explained: list[Account] = field(default_factory=list)
    unexplained: list[Account] = field(default_factory=list)

    @property
    def stages(self) -> list[Stage]:
        """Every stage in order, of the study that shows most; of another where it lacks one."""
        best_first = sorted(self.stories, key=lambda story: story.worth, reverse=True)
        return [
            next((s.passed[name] for s in best_first if name in s.passed), Stage(name))
            for name in STAGES
        ]

    @property
    def cases(self) -> list[Case]:
        """The completed cases, those of the studies that show most first."""
        worth = {story.study_uid: story.worth for story in self.stories}
        return sorted(self.completed, key=lambda case: worth[case.study_uid], reverse=True)

    @property
    def files(self) -> int:
        """How many files there were."""
        others = (*self.explained, *self.unexplained)
        return len(self.files_in_cases) + sum(len(one.files) for one in others)

    @property
    def ok(self) -> bool:
        """Whether every stage held for at least one study and nothing is left unexplained."""
        return all(stage.ok for stage in self.stages) and not self.unexplained
