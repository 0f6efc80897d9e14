"""Scores of one image -> what is wrong with it; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from ai_assist.card import ModelCard, Output

_TURNS = {"turned_90": 90, "turned_180": 180, "turned_270": 270}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an image may be judged further, and the outputs that speak against it.

    `turned_by` are degrees counter-clockwise from upright, None if it is not turned.
    """

    usable: bool
    raised: tuple[Output, ...]
    turned_by: int | None


def is_raised(output: Output, score: float) -> bool:
    """Say whether a score raises the finding of its output; one in the grey zone never does."""
    if output.grey_zone is not None and output.grey_zone[0] <= score <= output.grey_zone[1]:
        return False
    return score < output.threshold if output.raised_below else score >= output.threshold


def judge(card: ModelCard, scores: Mapping[str, float]) -> Verdict:
    """Return what the scores of one image raise.

    An output that is raised below its threshold is a gate: it says that the image is not what
    the model knows, so nothing else that the model says about it counts.
    """
    raised = tuple(output for output in card.outputs if is_raised(output, scores[output.name]))
    gates = tuple(output for output in raised if output.raised_below)
    if gates:
        return Verdict(usable=False, raised=gates, turned_by=None)
    return Verdict(usable=not raised, raised=raised, turned_by=_turned_by(raised, scores))


def _turned_by(raised: tuple[Output, ...], scores: Mapping[str, float]) -> int | None:
    if not any(output.name == "turned" for output in raised):
        return None
    known = {name: scores[name] for name in _TURNS if name in scores}
    return _TURNS[max(known, key=known.__getitem__)] if known else None
