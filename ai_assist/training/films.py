"""The labelled pictures that cxr-qc learns from and is measured on."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image

from kernel.digest import sha256_of
from kernel.errors import Misconfigured, NotFound

Split = Literal["train", "dev"]

NOT_CHEST_TRAIN_SHARE = 0.75
STORED_SIDE = 96  # room to crop before the 64 pixels of the model


@dataclass(frozen=True, slots=True)
class LabelledFilm:
    """One picture of the data folder."""

    path: Path
    source: str
    view: str
    kind: str
    is_chest: bool
    split: Split
    sha256: str

    @property
    def group(self) -> str:
        """The stratum its figures are reported in: source and view, or what it shows."""
        if not self.is_chest:
            return self.kind.removeprefix("ood_")
        return f"{self.source} {self.view}".strip()


class DataFolderMissing(NotFound):
    """There is no ``labels.csv`` in the data folder."""

    code: ClassVar[str] = "ai_assist.data_folder_missing"


class DataFolderChanged(Misconfigured):
    """A picture is not the one that ``labels.csv`` names."""

    code: ClassVar[str] = "ai_assist.data_folder_changed"


def read_labels(data: Path) -> list[LabelledFilm]:
    """Read ``labels.csv``; pictures that are not of a chest are split by ranges of their number.

    The chest films come with a split by patient.  The others carry no patient: neighbours in
    the numbering may be slices of one person, so the first three quarters of each class train
    and the last quarter measures.

    Raises
    ------
    DataFolderMissing
        There is no ``labels.csv``.
    """
    index = data / "labels.csv"
    if not index.is_file():
        raise DataFolderMissing("the data folder has no labels.csv", folder=str(data))
    with index.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    chests = [
        _film(data, row, "dev" if row["split"] == "dev" else "train")
        for row in rows
        if row["split"] != "ood"
    ]
    return chests + _split_by_range(data, [row for row in rows if row["split"] == "ood"])


def _split_by_range(data: Path, rows: Sequence[dict[str, str]]) -> list[LabelledFilm]:
    classes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["file"]):
        classes[row["label"]].append(row)
    films: list[LabelledFilm] = []
    for members in classes.values():
        cut = round(len(members) * NOT_CHEST_TRAIN_SHARE)
        films += [_film(data, row, "train") for row in members[:cut]]
        films += [_film(data, row, "dev") for row in members[cut:]]
    return films


def _film(data: Path, row: dict[str, str], split: Split) -> LabelledFilm:
    return LabelledFilm(
        path=data / row["file"],
        source=row["source"],
        view=row["view"],
        kind=row["label"],
        is_chest=row["split"] != "ood",
        split=split,
        sha256=row["sha256"],
    )


def read_grey(film: LabelledFilm) -> np.ndarray:
    """Return (rows, columns) float32 greys of a picture, checked against its digest.

    Raises
    ------
    DataFolderChanged
        The bytes are not those that ``labels.csv`` names.
    """
    data = film.path.read_bytes()
    if sha256_of(data) != film.sha256:
        raise DataFolderChanged("a training picture is not the labelled one", file=film.path.name)
    with Image.open(film.path) as picture:
        return np.asarray(picture.convert("L"), dtype=np.float32)


def stack(films: Iterable[LabelledFilm]) -> torch.Tensor:
    """Return (films, 1, 96, 96) uint8, each picture stretched to the square."""
    squares = []
    for film in films:
        grey = Image.fromarray(read_grey(film).astype(np.uint8))
        small = grey.resize((STORED_SIDE, STORED_SIDE), Image.Resampling.BILINEAR)
        squares.append(np.asarray(small, dtype=np.uint8))
    return torch.from_numpy(np.stack(squares)).unsqueeze(1)
