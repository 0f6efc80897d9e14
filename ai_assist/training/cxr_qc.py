"""Train, measure and pack cxr-qc: is this an upright, not inverted, frontal chest film?"""

from datetime import datetime
from pathlib import Path

import torch

from ai_assist.card import parse_card
from ai_assist.inference import OnnxPredictor
from ai_assist.shelf import CARD_FILE, verified_files
from ai_assist.training.bundle import Contents, write
from ai_assist.training.evaluate import Thresholds, measure, mirror_threshold
from ai_assist.training.export import onnx_scorer, to_onnx
from ai_assist.training.films import read_labels
from ai_assist.training.left_out import measure_left_out, read_figures
from ai_assist.training.network import parameter_count
from ai_assist.training.teach import Course, Progress, teach

NAME = "cxr-qc"
VERSION = "0.1.0"


def train(
    data: Path,
    out: Path,
    *,
    progress: Progress,
    at: datetime,
    course: Course | None = None,
    left_out: Path | bool = False,
) -> Path:
    """Train cxr-qc on a data folder and write its bundle; return the bundle's folder.

    One thread, some minutes; the same data, seed and library versions give the same weights.

    Parameters
    ----------
    data
        Folder with ``labels.csv`` and the pictures it names.
    out
        Folder of models; the bundle becomes ``<out>/cxr-qc/<version>``.
    progress
        Told one line at a time how far it is.
    at
        When this is done; the card's date.
    left_out
        Whether to train three further times with a source or kind left out, for the card, which
        takes as long again twice over; or a file of figures from such a measurement.

    Raises
    ------
    DataFolderMissing, DataFolderChanged
        The data folder is not what its ``labels.csv`` says.
    """
    torch.set_num_threads(1)
    course = course or Course()
    films = read_labels(data)
    progress(f"{len(films)} labelled pictures")
    network = teach(films, course, progress)
    progress("measuring on films that were not learned from")
    graph = to_onnx(network)
    scorer = onnx_scorer(graph)
    dev = [film for film in films if film.split == "dev"]
    thresholds = Thresholds(
        chest=0.5, inverted=0.5, turned=0.5, mirrored=mirror_threshold(dev, scorer)
    )
    figures = measure(dev, scorer, thresholds, made_up=course.made_up_measured)
    unseen = read_figures(left_out) if isinstance(left_out, Path) else None
    if left_out is True:
        unseen = measure_left_out(data, progress=progress)
    contents = Contents(
        name=NAME,
        version=VERSION,
        created=at.date(),
        graph=graph,
        thresholds=thresholds,
        figures=figures,
        left_out=unseen,
        parameters=parameter_count(network),
        films=films,
        course=course,
    )
    folder = write(contents, out)
    _prove(folder)
    progress(f"written to {folder}")
    return folder


def _prove(folder: Path) -> None:
    """Load what was written just as the shelf will, so that a bad bundle is seen here."""
    card = parse_card((folder / CARD_FILE).read_bytes())
    OnnxPredictor(card, verified_files(folder, card)[card.weights])
