"""Write a trained cxr-qc as a MONAI bundle with its card and sums.

References
----------
MONAI Bundle specification: ``configs/metadata.json``, ``configs/inference.json``, ``models/``.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version as version_of
from pathlib import Path

from ai_assist.grey import HIGH_PERCENTILE, LOW_PERCENTILE, PREPROCESS_ID, PREPROCESS_VERSION
from ai_assist.shelf import CARD_FILE, SUMS_FILE
from ai_assist.training import words
from ai_assist.training.evaluate import ChestFigures, Figures, Thresholds
from ai_assist.training.films import LabelledFilm
from ai_assist.training.network import SCORES, SIDE
from ai_assist.training.teach import Course
from kernel.digest import sha256_of

WEIGHTS = "models/model.onnx"
SCHEME = "99TELERAD"
DIGITS = 4

_FINDINGS = {
    "chest": ("NOT-FRONTAL-CHEST", "Not a frontal chest film"),
    "inverted": ("INVERTED", "Greys of the film are inverted"),
    "turned": ("TURNED", "Film is turned by a quarter, half or three quarters"),
    "mirrored": ("MIRRORED", "Film may be mirrored"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What goes into a bundle."""

    name: str
    version: str
    created: date
    graph: bytes
    thresholds: Thresholds
    figures: Figures
    left_out: Mapping[str, Figures] | None
    parameters: int
    films: Sequence[LabelledFilm]
    course: Course


def write(contents: Contents, out: Path) -> Path:
    """Write the bundle under ``<out>/<name>/<version>`` and return that folder."""
    folder = out / contents.name / contents.version
    files: dict[str, bytes] = {
        WEIGHTS: contents.graph,
        "configs/metadata.json": _json(_metadata(contents)),
        "configs/inference.json": _json(_inference()),
        "docs/model_card.md": model_card(contents).encode(),
        "docs/data_license.txt": words.DATA_LICENSE.encode(),
        "LICENSE": words.LICENSE.encode(),
    }
    files[CARD_FILE] = _json(_registry(contents, files))
    files[SUMS_FILE] = "".join(
        f"{sha256_of(data)}  {path}\n" for path, data in sorted(files.items())
    ).encode()
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _metadata(contents: Contents) -> dict[str, object]:
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/"
        "0.8.1/meta_schema_20240725.json",
        "version": contents.version,
        "changelog": {contents.version: "first version"},
        "monai_version": version_of("monai"),
        "pytorch_version": version_of("torch"),
        "numpy_version": version_of("numpy"),
        "required_packages_version": {"onnxruntime": version_of("onnxruntime")},
        "name": contents.name,
        "task": "Quality of chest radiographs: kind, polarity, orientation",
        "description": words.DESCRIPTION,
        "authors": words.AUTHORS,
        "copyright": words.COPYRIGHT,
        "data_source": words.DATA_SOURCE,
        "data_type": "jpeg",
        "image_classes": "one greyscale radiograph, brighter is denser",
        "label_classes": "true by construction",
        "pred_classes": ", ".join(SCORES),
        "eval_metrics": _rounded(_plain_figures(contents.figures)),
        "intended_use": words.INTENDED_USE,
        "references": words.REFERENCES,
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "DX|CR",
                    "num_channels": 1,
                    "spatial_shape": [SIDE, SIDE],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {"0": "greys as shown, higher is brighter"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probabilities",
                    "format": "classes",
                    "num_channels": len(SCORES),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {str(place): name for place, name in enumerate(SCORES)},
                }
            },
        },
    }


def _inference() -> dict[str, object]:
    return {
        "bundle_root": ".",
        "weights": "$@bundle_root + '/models/model.onnx'",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
                {
                    "_target_": "Resized",
                    "keys": "image",
                    "spatial_size": [SIDE, SIDE],
                    "mode": "bilinear",
                    "anti_aliasing": True,
                },
                {
                    "_target_": "ScaleIntensityRangePercentilesd",
                    "keys": "image",
                    "lower": LOW_PERCENTILE,
                    "upper": HIGH_PERCENTILE,
                    "b_min": 0.0,
                    "b_max": 1.0,
                    "clip": True,
                },
            ],
        },
        "session": {
            "_target_": "onnxruntime.InferenceSession",
            "path_or_bytes": "@weights",
            "providers": ["CPUExecutionProvider"],
        },
        "scores": list(SCORES),
    }


def _registry(contents: Contents, files: Mapping[str, bytes]) -> dict[str, object]:
    return {
        "id": contents.name,
        "version": contents.version,
        "title": words.TITLE,
        "created": contents.created.isoformat(),
        "supersedes": None,
        "kind": "quality",
        "files": [
            {"path": path, "sha256": sha256_of(data), "bytes": len(data)}
            for path, data in sorted(files.items())
        ],
        "weights": WEIGHTS,
        "intended_use": words.INTENDED_USE,
        "not_for": words.NOT_FOR,
        "population": {"age_years": [0, 120], "trained_on": "children of 1 to 5 years; adults"},
        "regulatory": {"status": "research", "regions": [], "document": None},
        "mode": "advise",
        "max_escalated_per_hour": 0,
        "eligibility": {
            "modalities": ["CR", "DX"],
            "body_parts": ["CHEST", "THORAX", "LUNG", ""],
            "views": ["PA", "AP", ""],
            "presentation_intents": ["FOR PRESENTATION", ""],
            "min_matrix": 128,
            "age_years": None,
            "max_lossy_ratio": 40,
        },
        "input": {
            "preprocess": PREPROCESS_ID,
            "preprocess_version": PREPROCESS_VERSION,
            "shape": [1, SIDE, SIDE],
            "range": [0, 1],
            "aspect": "stretch",
        },
        "scores": list(SCORES),
        "outputs": _outputs(contents),
        "calibration": {"method": "none", "note": "labels are true by construction"},
        "performance": _performance(contents),
        "ood": {
            "score": "chest",
            "refused_below": contents.thresholds.chest,
            "alarm_above_refused_share": 0.1,
        },
        "resources": {"threads": 1, "memory_mb": 100, "timeout_s": 20},
        "explain": None,
    }


def _outputs(contents: Contents) -> list[dict[str, object]]:
    films = [film for film in contents.films if film.split == "dev"]
    provenance = {"set": "dev", "n": len(films), "date": contents.created.isoformat()}
    return [
        {
            "name": name,
            "finding": {"value": value, "scheme": SCHEME, "meaning": meaning},
            "range": [0, 1],
            "threshold": getattr(contents.thresholds, name),
            "raised_below": name == "chest",
            "grey_zone": None,
            "level": "advise",
            "provenance": provenance,
        }
        for name, (value, meaning) in _FINDINGS.items()
    ]


def _performance(contents: Contents) -> list[dict[str, object]]:
    day = contents.created.isoformat()
    rows: list[dict[str, object]] = [
        {"set": "dev", "group": group, "external": False, "date": day}
        | _rounded(_plain_chest(figures))
        for group, figures in contents.figures.chest.items()
    ]
    rows += [
        {
            "set": "dev",
            "group": group,
            "external": False,
            "date": day,
            "pictures": count,
            "refused": round(share, DIGITS),
        }
        for group, (count, share) in contents.figures.refused.items()
    ]
    return rows


def _plain_figures(figures: Figures) -> dict[str, object]:
    chest: dict[str, object] = {
        group: _plain_chest(values) for group, values in figures.chest.items()
    }
    return chest | {
        f"not chest: {group}": {"pictures": count, "refused": share}
        for group, (count, share) in figures.refused.items()
    }


def _plain_chest(figures: ChestFigures) -> dict[str, object]:
    return {
        "films": figures.films,
        "wrongly_refused": figures.wrongly_refused,
        "inverted_found": figures.inverted_found,
        "turned_found": {str(angle): share for angle, share in figures.turned_found.items()},
        "turned_angle_right": figures.turned_exact,
        "false_alarm": figures.false_alarm,
        "mirrored_found": figures.mirrored_found,
        "mirrored_false_alarm": figures.mirrored_false_alarm,
        "inverted_and_turned_found": figures.inverted_and_turned_found,
    }


def _rounded(value: dict[str, object]) -> dict[str, object]:
    return {
        key: _rounded(part)
        if isinstance(part, dict)
        else round(part, DIGITS)
        if isinstance(part, float)
        else part
        for key, part in value.items()
    }


def model_card(contents: Contents) -> str:
    """Return the card as people read it."""
    head = words.CARD_HEAD.format(
        version=contents.version,
        title=words.TITLE,
        intended_use=words.INTENDED_USE,
        not_for=words.NOT_FOR,
        chest=contents.thresholds.chest,
        inverted=contents.thresholds.inverted,
        turned=contents.thresholds.turned,
        mirrored=contents.thresholds.mirrored,
        parameters=f"{contents.parameters:,}",
        steps=contents.course.steps,
        seed=contents.course.seed,
    )
    return head + _figures_text(contents) + words.CARD_LIMITS


def _figures_text(contents: Contents) -> str:
    learned = Counter(film.group for film in contents.films if film.split == "train")
    lines = ["## Figures on films it did not learn from", ""]
    lines += [
        "Unseen patients of the *same* two sources (dev split), each group on its own;",
        "measured with the graph that is shipped. Nothing is pooled.",
        "",
    ]
    lines += _chest_table(contents.figures.chest, learned)
    lines += [
        "",
        "Pictures that are not chest films, as they are and inverted, turned, mirrored:",
        "",
        *_refused_table(contents.figures.refused, learned),
        "",
    ]
    lines += ["## Left out of training, then measured", ""]
    if contents.left_out is None:
        lines += ["Not measured in this training.", ""]
        return "\n".join(lines) + "\n"
    lines += [
        "Each row: the same training (fewer steps) without that source or kind.",
        "Made by `ai_assist.training.left_out.measure_left_out`.",
        "",
    ]
    for name, figures in contents.left_out.items():
        lines += [f"Without {name}:", ""]
        if figures.chest:
            lines += [*_chest_table(figures.chest, Counter()), ""]
        shown = {kind: found for kind, found in figures.refused.items() if kind != "made up"}
        if shown:
            lines += [*_refused_table(shown, Counter()), ""]
    return "\n".join(lines) + "\n"


def _chest_table(groups: Mapping[str, ChestFigures], learned: Counter[str]) -> list[str]:
    lines = [
        "| group | learned from | measured | wrongly refused | inverted found | turned 90 / 180 / "
        "270 found | false alarm, upright | mirrored found | of these alarms: mirrored |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for group, found in groups.items():
        turned = " / ".join(f"{share:.3f}" for share in found.turned_found.values())
        lines.append(
            f"| {group} | {learned[group]} | {found.films} | {found.wrongly_refused:.3f} "
            f"| {found.inverted_found:.3f} | {turned} | {found.false_alarm:.3f} "
            f"| {found.mirrored_found:.3f} | {found.mirrored_false_alarm:.3f} |"
        )
    return lines


def _refused_table(kinds: Mapping[str, tuple[int, float]], learned: Counter[str]) -> list[str]:
    lines = ["| kind | learned from | measured | refused |", "| --- | --: | --: | --: |"]
    lines += [
        f"| {kind} | {learned[kind]} | {count} | {share:.3f} |"
        for kind, (count, share) in kinds.items()
    ]
    return lines
