"""The shipped cxr-qc on pictures: what it must find, and what it must leave alone."""

from collections.abc import Callable

import numpy as np
import pytest

from ai_assist.card import ModelCard
from ai_assist.grey import to_model_input
from ai_assist.inputs import greys_of, read
from ai_assist.quality import judge
from ai_assist.shelf import Shelf
from tests.ai_assist.films import CHESTS, noise, picture, real_chests

Greys = np.ndarray
HANDLINGS: dict[str, tuple[Callable[[Greys], Greys], str, int | None]] = {
    "inverted": (lambda g: 255 - g, "inverted", None),
    "turned by 90": (lambda g: np.rot90(g, 1), "turned", 90),
    "turned by 180": (lambda g: np.rot90(g, 2), "turned", 180),
    "turned by 270": (lambda g: np.rot90(g, 3), "turned", 270),
}
SOURCES = ("kermany", "nih")
FILMS = 40


def chests(source: str) -> list[Greys]:
    found = real_chests(source, FILMS)
    if not found:
        pytest.skip("the chest films are not beside the project")
    return found


def raised(shelf: Shelf, card: ModelCard, greys: Greys) -> tuple[set[str], int | None]:
    scores = shelf.predictor(card.id, card.version).predict(
        to_model_input(greys, side=card.side)[np.newaxis]
    )
    verdict = judge(card, scores)
    return {output.name for output in verdict.raised}, verdict.turned_by


MADE: dict[str, Greys] = {
    "noise": noise(),
    "fine noise": noise(1024, seed=3),
    "one grey": np.full((300, 300), 80.0),
    "a ramp": np.tile(np.linspace(0, 255, 300), (200, 1)),
    "stripes": np.tile(np.sin(np.arange(300) / 5) * 120 + 128, (300, 1)),
    "a disc": np.hypot(*np.mgrid[-1:1:200j, -1:1:200j]) * 100,
    "a page": np.kron(np.random.default_rng(1).integers(0, 2, (40, 30)) * 255.0, np.ones((6, 5))),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_no_film_is_refused(shelf: Shelf, quality_card: ModelCard, name: str) -> None:
    assert raised(shelf, quality_card, MADE[name])[0] == {"chest"}


@pytest.mark.shared
@pytest.mark.parametrize("source", SOURCES)
def test_good_films_are_left_alone(shelf: Shelf, quality_card: ModelCard, source: str) -> None:
    films = chests(source)
    alarms = [found for found in (raised(shelf, quality_card, g)[0] for g in films) if found]
    assert len(alarms) <= len(films) * 0.05, alarms


@pytest.mark.shared
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", HANDLINGS)
def test_mishandled_films_are_found(
    shelf: Shelf, quality_card: ModelCard, source: str, name: str
) -> None:
    handle, finding, angle = HANDLINGS[name]
    films = chests(source)
    found = [raised(shelf, quality_card, handle(greys)) for greys in films]
    hits = sum(finding in names and (angle is None or by == angle) for names, by in found)
    assert hits >= len(films) * 0.97


@pytest.mark.shared
def test_other_pictures_are_refused(shelf: Shelf, quality_card: ModelCard) -> None:
    files = sorted((CHESTS / "ood").glob("*.jpeg"))[::4]
    if not files:
        pytest.skip("the other pictures are not beside the project")
    refused = [raised(shelf, quality_card, picture(path))[0] == {"chest"} for path in files]
    assert sum(refused) >= len(files) * 0.98


SAMPLES = CHESTS.parent / "dicom"
CHEST_OF_A_DEVICE = "pydicom-data/RG1_J2KI.dcm"
NO_CHESTS = ("pydicom-data/RG3_J2KI.dcm", "pylibjpeg-data/JPEGLS__RG2_JLSN.dcm")


def sample(name: str) -> Greys:
    if not (SAMPLES / name).is_file():
        pytest.skip("the real samples are not beside the project")
    return greys_of(read((SAMPLES / name).read_bytes()))


@pytest.mark.shared
def test_a_film_of_a_real_device_is_judged_right_however_it_is_handled(
    shelf: Shelf, quality_card: ModelCard
) -> None:
    greys = sample(CHEST_OF_A_DEVICE)
    assert raised(shelf, quality_card, greys) == (set(), None)
    for handle, finding, angle in HANDLINGS.values():
        handled = handle(greys)
        assert raised(shelf, quality_card, handled) == ({finding}, angle)


@pytest.mark.shared
@pytest.mark.parametrize("name", NO_CHESTS)
def test_radiographs_of_other_regions_are_refused(
    shelf: Shelf, quality_card: ModelCard, name: str
) -> None:
    assert raised(shelf, quality_card, sample(name))[0] == {"chest"}


def test_the_same_film_always_scores_the_same(shelf: Shelf, quality_card: ModelCard) -> None:
    tensor = to_model_input(noise(), side=quality_card.side)[np.newaxis]
    predictor = shelf.predictor(quality_card.id, quality_card.version)
    assert predictor.predict(tensor) == predictor.predict(tensor)
