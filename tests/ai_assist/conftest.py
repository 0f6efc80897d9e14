"""Fixtures of the AI tests."""

from pathlib import Path

import pytest

from ai_assist.card import ModelCard
from ai_assist.shelf import Shelf, shipped_models
from storage.engine import Database
from tests.ai_assist.room import Room, TestClock


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Room:
    """An empty archive with the shipped models at hand."""
    return Room(database, tmp_path, TestClock())


@pytest.fixture(scope="session")
def shelf() -> Shelf:
    """The models that come with the engine."""
    return Shelf([shipped_models()])


@pytest.fixture(scope="session")
def quality_card(shelf: Shelf) -> ModelCard:
    """The card of the shipped cxr-qc."""
    (card,) = (card for card in shelf.cards if card.id == "cxr-qc")
    return card
