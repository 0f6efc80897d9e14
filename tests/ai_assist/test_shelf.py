"""A model runs only if every file is the one its card names."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ai_assist.errors import ModelDisabled, ModelUnknown
from ai_assist.inference import OnnxPredictor
from ai_assist.shelf import CARD_FILE, SUMS_FILE, Shelf, shipped_models

WEIGHTS = "models/model.onnx"
FILES = [
    WEIGHTS,
    CARD_FILE,
    SUMS_FILE,
    "configs/metadata.json",
    "configs/inference.json",
    "docs/model_card.md",
    "docs/data_license.txt",
    "LICENSE",
]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that may be spoiled."""
    (source,) = shipped_models().glob("cxr-qc/*")
    return Path(shutil.copytree(source, tmp_path / "cxr-qc" / source.name))


def test_the_shipped_models_are_whole(shelf: Shelf) -> None:
    assert [card.id for card in shelf.cards] == ["cxr-qc"]
    assert shelf.disabled == ()


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_disables_the_model(bundle: Path, name: str) -> None:
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    shelf = Shelf([bundle.parents[1]])
    assert shelf.cards == ()
    assert [(d.model, d.version) for d in shelf.disabled] == [("cxr-qc", bundle.name)]
    with pytest.raises(ModelDisabled):
        shelf.predictor("cxr-qc", bundle.name)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_disables_the_model(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    shelf = Shelf([bundle.parents[1]])
    assert shelf.cards == ()


def test_weights_changed_after_the_start_are_found_at_load(bundle: Path) -> None:
    shelf = Shelf([bundle.parents[1]])
    (bundle / WEIGHTS).write_bytes(b"other weights")
    with pytest.raises(ModelDisabled, match=WEIGHTS):
        shelf.predictor("cxr-qc", bundle.name)
    assert shelf.cards == ()
    assert "is not the one" in shelf.disabled[0].sentence


def test_no_other_copy_takes_the_place_of_a_spoiled_one(bundle: Path) -> None:
    shelf = Shelf([bundle.parents[1], shipped_models()])
    (bundle / WEIGHTS).write_bytes(b"other weights")
    for _ in range(2):
        with pytest.raises(ModelDisabled):
            shelf.predictor("cxr-qc", bundle.name)


def test_a_folder_with_another_name_than_its_card_is_disabled(bundle: Path) -> None:
    bundle.rename(bundle.with_name("9.9.9"))
    assert Shelf([bundle.parents[1]]).cards == ()


def test_weights_that_fit_their_digest_but_are_no_graph_are_disabled(
    bundle: Path, tmp_path: Path
) -> None:
    shelf = Shelf([bundle.parents[1]], load=_refusing)
    with pytest.raises(ModelDisabled):
        shelf.predictor("cxr-qc", bundle.name)
    assert shelf.cards == ()


def _refusing(card: object, graph: bytes) -> OnnxPredictor:
    return OnnxPredictor(card, b"no graph")  # type: ignore[arg-type]


def test_an_unknown_model_is_refused(shelf: Shelf) -> None:
    with pytest.raises(ModelUnknown):
        shelf.predictor("cxr-qc", "0.0.0")


def test_a_loaded_model_stays_loaded(shelf: Shelf) -> None:
    (card,) = shelf.cards
    first = shelf.predictor(card.id, card.version)
    assert shelf.predictor(card.id, card.version) is first
    scores = first.predict(np.zeros((1, 1, 64, 64), np.float32))
    assert set(scores) == set(card.scores)
    assert all(0 <= score <= 1 for score in scores.values())
