"""How cxr-qc does on a source or kind it never saw: trained without it, measured on just that.

Two sources are too few to know how the model does on a third; this is the nearest that the data
at hand allow.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ai_assist.training.evaluate import ChestFigures, Figures, Thresholds, measure
from ai_assist.training.export import onnx_scorer, to_onnx
from ai_assist.training.films import read_labels
from ai_assist.training.teach import Course, Progress, teach

LEFT_OUT: dict[str, frozenset[str]] = {
    "nih": frozenset({"nih"}),
    "kermany": frozenset({"kermany"}),
    "hands and head CT": frozenset({"ood_Hand", "ood_HeadCT"}),
}
LEFT_OUT_STEPS = 1500
THRESHOLDS = Thresholds(chest=0.5, inverted=0.5, turned=0.5, mirrored=0.95)


def measure_left_out(
    data: Path, *, progress: Progress, course: Course | None = None
) -> dict[str, Figures]:
    """Train once without each entry of `LEFT_OUT` and return what was measured on it."""
    torch.set_num_threads(1)
    course = course or Course(steps=LEFT_OUT_STEPS)
    films = read_labels(data)
    found: dict[str, Figures] = {}
    for name, left in LEFT_OUT.items():
        progress(f"training without {name}")
        kept = [film for film in films if not left & {film.source, film.kind}]
        unseen = [
            film
            for film in films
            if left & {film.source, film.kind} and (film.split == "dev" or not film.is_chest)
        ]
        network = teach(kept, course, progress)
        scorer = onnx_scorer(to_onnx(network))
        found[name] = measure(unseen, scorer, THRESHOLDS, made_up=course.made_up_measured)
    return found


def write_figures(found: dict[str, Figures], target: Path) -> None:
    """Write what `measure_left_out` found as JSON."""
    plain = {name: asdict(figures) for name, figures in found.items()}
    target.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def read_figures(source: Path) -> dict[str, Figures]:
    """Read what `write_figures` wrote."""
    plain: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return {name: _figures(values) for name, values in plain.items()}


def _figures(plain: dict[str, Any]) -> Figures:
    chest = {
        group: ChestFigures(
            **{
                **values,
                "turned_found": {int(k): share for k, share in values["turned_found"].items()},
            }
        )
        for group, values in plain["chest"].items()
    }
    refused = {kind: (int(count), share) for kind, (count, share) in plain["refused"].items()}
    return Figures(chest=chest, refused=refused)
