"""Figures of cxr-qc on films it did not learn from, each source and view on its own."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ai_assist.grey import to_model_input
from ai_assist.training.counterfeits import shapes
from ai_assist.training.films import LabelledFilm, read_grey
from ai_assist.training.network import SCORES, SIDE

Scorer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Grey = NDArray[np.float32]

MADE_UP_SEED = 90_210  # apart from every seed that training draws from
MIRROR_FALSE_ALARMS = 0.01
CHEST, INVERTED, TURNED, MIRRORED = (
    SCORES.index(name) for name in ("chest", "inverted", "turned", "mirrored")
)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score on something counts as found; each is a share."""

    chest: float
    inverted: float
    turned: float
    mirrored: float


@dataclass(frozen=True, slots=True)
class ChestFigures:
    """Shares in one group of chest films; every share is of `films`."""

    films: int
    wrongly_refused: float
    inverted_found: float
    turned_found: dict[int, float]
    turned_exact: float
    false_alarm: float
    mirrored_found: float
    mirrored_false_alarm: float
    inverted_and_turned_found: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured: chest films by source and view, other pictures by what they show."""

    chest: dict[str, ChestFigures]
    refused: dict[str, tuple[int, float]]


HANDLINGS: dict[str, Callable[[Grey], Grey]] = {
    "upright": lambda grey: grey,
    "inverted": lambda grey: 255.0 - grey,
    "turned_90": lambda grey: np.rot90(grey, 1),
    "turned_180": lambda grey: np.rot90(grey, 2),
    "turned_270": lambda grey: np.rot90(grey, 3),
    "mirrored": lambda grey: grey[:, ::-1],
    "inverted_turned_90": lambda grey: 255.0 - np.rot90(grey, 1),
}


def score_handled(films: Sequence[LabelledFilm], scorer: Scorer) -> dict[str, NDArray[np.float32]]:
    """Return (films, 7) scores for every handling of the films, by its name."""
    greys = [read_grey(film) for film in films]
    return {
        name: scorer(np.stack([to_model_input(handled(grey), side=SIDE) for grey in greys]))
        for name, handled in HANDLINGS.items()
    }


def mirror_threshold(films: Sequence[LabelledFilm], scorer: Scorer) -> float:
    """Return the mirror threshold that one upright film in a hundred passes, in every group.

    A mirrored film is a warning only (dextrocardia exists), so the threshold is set by the rate
    of false alarms in the worst group, and what it finds is what it finds.
    """
    worst = 0.5
    for members in _grouped(film for film in films if film.is_chest).values():
        upright = scorer(np.stack([to_model_input(read_grey(film), side=SIDE) for film in members]))
        worst = max(worst, float(np.quantile(upright[:, MIRRORED], 1 - MIRROR_FALSE_ALARMS)))
    return round(worst, 3)


def _grouped(films: Iterable[LabelledFilm]) -> dict[str, list[LabelledFilm]]:
    groups: dict[str, list[LabelledFilm]] = defaultdict(list)
    for film in films:
        groups[film.group].append(film)
    return dict(sorted(groups.items()))


def measure(
    films: Sequence[LabelledFilm], scorer: Scorer, thresholds: Thresholds, *, made_up: int
) -> Figures:
    """Measure every group of the films, and `made_up` pictures made for this alone."""
    chest: dict[str, ChestFigures] = {}
    refused: dict[str, tuple[int, float]] = {}
    for name, members in _grouped(films).items():
        handled = score_handled(members, scorer)
        if members[0].is_chest:
            chest[name] = _chest_figures(handled, thresholds)
        else:
            refused[name] = _refused(np.concatenate(list(handled.values())), thresholds)
    imagined = scorer(_made_up(made_up))
    refused["made up"] = _refused(imagined, thresholds)
    return Figures(chest=chest, refused=refused)


def _made_up(count: int) -> NDArray[np.float32]:
    rng = torch.Generator().manual_seed(MADE_UP_SEED)
    pictures = shapes(count, 128, rng)[:, 0].numpy()
    return np.stack([to_model_input(picture, side=SIDE) for picture in pictures])


def _refused(scores: NDArray[np.float32], thresholds: Thresholds) -> tuple[int, float]:
    return len(scores), float((scores[:, CHEST] < thresholds.chest).mean())


def _chest_figures(handled: dict[str, NDArray[np.float32]], thresholds: Thresholds) -> ChestFigures:
    accepted = {how: values[:, CHEST] >= thresholds.chest for how, values in handled.items()}
    inverted = {how: values[:, INVERTED] >= thresholds.inverted for how, values in handled.items()}
    turned = {how: values[:, TURNED] >= thresholds.turned for how, values in handled.items()}
    mirrored = {how: values[:, MIRRORED] >= thresholds.mirrored for how, values in handled.items()}
    exact = [
        accepted[how] & turned[how] & (handled[how][:, TURNED + 1 : TURNED + 4].argmax(1) == place)
        for place, how in enumerate(("turned_90", "turned_180", "turned_270"))
    ]
    both = "inverted_turned_90"
    return ChestFigures(
        films=len(handled["upright"]),
        wrongly_refused=float((~accepted["upright"]).mean()),
        inverted_found=float((accepted["inverted"] & inverted["inverted"]).mean()),
        turned_found={
            angle: float((accepted[f"turned_{angle}"] & turned[f"turned_{angle}"]).mean())
            for angle in (90, 180, 270)
        },
        turned_exact=float(np.concatenate(exact).mean()),
        false_alarm=float((inverted["upright"] | turned["upright"] | mirrored["upright"]).mean()),
        mirrored_found=float((accepted["mirrored"] & mirrored["mirrored"]).mean()),
        mirrored_false_alarm=float(mirrored["upright"].mean()),
        inverted_and_turned_found=float((accepted[both] & inverted[both] & turned[both]).mean()),
    )
