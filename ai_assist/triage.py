"""From scores to hints and a level; pure.

The level can only bring a case forward.  Nothing a model says, and no fault of a model, ever
lowers or holds a case: the least a run can give is 'none', which leaves the queue as it was.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ai_assist.card import Kind, Mode, ModelCard
from ai_assist.level import Level, highest, not_above
from ai_assist.quality import judge
from kernel.codes import Coded

_CEILINGS = {
    Mode.OFF: Level.NONE,
    Mode.SHADOW: Level.NONE,
    Mode.ADVISE: Level.ADVISE,
    Mode.ESCALATE: Level.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class Hint:
    """One finding that a model raised on one instance; unverified."""

    instance_uid: str
    name: str
    finding: Coded
    score: float
    level: Level


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a run amounts to; `reason` is a constant code."""

    level: Level
    reason: str
    hints: tuple[Hint, ...]


def ceiling_of(card: ModelCard) -> Level:
    """Return the highest level a card may give: by its mode, and 'advise' if it judges images."""
    ceiling = _CEILINGS[card.effective_mode]
    return not_above(ceiling, Level.ADVISE) if card.kind is Kind.QUALITY else ceiling


def hints_of(card: ModelCard, instance_uid: str, scores: Mapping[str, float]) -> tuple[Hint, ...]:
    """Return what the scores of one instance raise, each no louder than the card may be."""
    ceiling = ceiling_of(card)
    return tuple(
        Hint(
            instance_uid=instance_uid,
            name=output.name,
            finding=output.finding,
            score=scores[output.name],
            level=not_above(output.level, ceiling),
        )
        for output in judge(card, scores).raised
    )


def conclude(hints: Iterable[Hint]) -> Conclusion:
    """Return what the hints of all instances of a run amount to."""
    raised = tuple(hints)
    if not raised:
        return Conclusion(Level.NONE, "nothing_raised", ())
    level = highest(hint.level for hint in raised)
    reason = "raised_in_shadow" if level is Level.NONE else "raised"
    return Conclusion(level, reason, raised)
