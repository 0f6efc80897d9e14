"""The training command runs from a data folder to a bundle that the shelf takes."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ai_assist.shelf import Shelf
from kernel.digest import sha256_of

torch = pytest.importorskip("torch", reason="training needs the 'train' extra")

from ai_assist.training.augment import Handling, draw_handling, handle, standardise  # noqa: E402
from ai_assist.training.counterfeits import ruins, shapes  # noqa: E402
from ai_assist.training.cxr_qc import train  # noqa: E402
from ai_assist.training.films import (  # noqa: E402
    DataFolderChanged,
    DataFolderMissing,
    read_labels,
)
from ai_assist.training.teach import Course  # noqa: E402

AT = datetime(2026, 11, 22, tzinfo=UTC)
ONE_STEP = Course(
    steps=2,
    chests_per_source=4,
    others=2,
    made_up=2,
    ruined=2,
    made_up_pool=20,
    made_up_measured=20,
)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A tiny data folder in the shape of the real one; its pictures are noise."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    rows = []
    kinds = [("a", "no_finding", "AP", "train"), ("a", "no_finding", "AP", "dev")]
    kinds += [("b", "opacity", "PA", "train"), ("b", "opacity", "PA", "dev")]
    for number, (source, label, view, split) in enumerate(
        kinds * 2 + [("c", "ood_Hand", "", "ood")] * 4
    ):
        name = f"images/{number}.png"
        Image.fromarray(rng.integers(0, 255, (80, 70), dtype=np.uint8)).save(folder / name)
        digest = sha256_of((folder / name).read_bytes())
        rows.append(
            {"file": name, "label": label, "view": view, "source": source, "split": split}
            | {"sha256": digest}
        )
    with (folder / "labels.csv").open("w", newline="") as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_training_writes_a_bundle_that_the_shelf_takes(data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    folder = train(data, tmp_path / "out", progress=said.append, at=AT, course=ONE_STEP)
    shelf = Shelf([tmp_path / "out"])
    assert shelf.disabled == ()
    assert [(card.id, card.version) for card in shelf.cards] == [("cxr-qc", folder.name)]
    scores = shelf.predictor("cxr-qc", folder.name).predict(np.zeros((1, 1, 64, 64), np.float32))
    assert abs(scores["turned"] - sum(scores[f"turned_{a}"] for a in (90, 180, 270))) < 1e-3
    assert said


def test_the_same_seed_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    digests = {
        sha256_of(
            (
                train(data, tmp_path / name, progress=lambda _: None, at=AT, course=ONE_STEP)
                / "models/model.onnx"
            ).read_bytes()
        )
        for name in ("one", "two")
    }
    assert len(digests) == 1


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFolderMissing):
        read_labels(tmp_path)


def test_a_changed_picture_is_refused(data: Path, tmp_path: Path) -> None:
    Image.new("L", (80, 70)).save(data / "images/0.png")
    with pytest.raises(DataFolderChanged):
        train(data, tmp_path / "out", progress=lambda _: None, at=AT, course=ONE_STEP)


def test_other_pictures_are_split_by_ranges_of_their_number(data: Path) -> None:
    others = [film for film in read_labels(data) if not film.is_chest]
    learned = [film.path.name for film in others if film.split == "train"]
    measured = [film.path.name for film in others if film.split == "dev"]
    assert len(learned) == 3
    assert max(learned) < min(measured)


def test_handling_does_what_its_labels_say() -> None:
    film = torch.rand(1, 1, 8, 8)
    done = handle(film, Handling(*(torch.tensor([value]) for value in (1, 1, 1))))
    assert torch.allclose(done, 1 - torch.rot90(film.flip(-1), 1, dims=(-2, -1)))
    untouched = handle(film, Handling(*(torch.tensor([0]) for _ in range(3))))
    assert torch.equal(untouched, film)


def test_labels_are_drawn_evenly_and_made_up_pictures_lie_in_range() -> None:
    rng = torch.Generator().manual_seed(3)
    drawn = draw_handling(400, rng)
    assert all(80 < int((drawn.quarter_turns == turn).sum()) < 120 for turn in range(4))
    pictures = shapes(40, 64, rng)
    broken = ruins(pictures[:10], rng)
    for made in (pictures, broken, standardise(pictures)):
        assert bool(torch.isfinite(made).all())
        assert float(made.min()) >= -1e-4
        assert float(made.max()) <= 1 + 1e-4
