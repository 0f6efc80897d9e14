"""A card that lacks something is refused whole, with the rule it breaks."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ai_assist.card import parse_card
from ai_assist.errors import CardInvalid
from ai_assist.shelf import CARD_FILE, shipped_models

Change = Callable[[dict[str, Any]], object]


def shipped() -> dict[str, Any]:
    (card,) = shipped_models().glob(f"cxr-qc/*/{CARD_FILE}")
    found: dict[str, Any] = json.loads(card.read_bytes())
    return found


def parsed_after(change: Change) -> None:
    raw = shipped()
    change(raw)
    parse_card(json.dumps(raw).encode())


def test_the_shipped_card_is_whole() -> None:
    card = parse_card(json.dumps(shipped()).encode())
    assert (card.id, card.kind, card.mode, card.status) == (
        "cxr-qc",
        "quality",
        "advise",
        "research",
    )


@pytest.mark.parametrize(
    "name",
    sorted(
        set(shipped())
        & {
            "id",
            "version",
            "kind",
            "files",
            "weights",
            "intended_use",
            "not_for",
            "mode",
            "eligibility",
            "input",
            "scores",
            "outputs",
            "resources",
            "regulatory",
            "created",
            "supersedes",
            "title",
        }
    ),
)
def test_a_missing_field_refuses_the_card(name: str) -> None:
    with pytest.raises(CardInvalid):
        parsed_after(lambda raw: raw.pop(name))


CHANGES: dict[str, tuple[Change, str]] = {
    "a louder quality model": (lambda r: r["outputs"][0].update(level="escalate"), "advise"),
    "a threshold above one": (lambda r: r["outputs"][0].update(threshold=1.5), "thresholds"),
    "weights that are no file": (lambda r: r.update(weights="models/x.onnx"), "weights"),
    "a path out of the bundle": (lambda r: r["files"][0].update(path="../x"), "own folder"),
    "an output without a score": (lambda r: r["outputs"][0].update(name="other"), "outputs"),
    "no modality": (lambda r: r["eligibility"].update(modalities=[]), "modality"),
    "an unknown mode": (lambda r: r.update(mode="loud"), "loud"),
    "an unknown preparation": (lambda r: r["input"].update(preprocess="magic"), "magic"),
    "no use": (lambda r: r.update(intended_use=""), "intended use"),
    "a version that is none": (lambda r: r.update(version="one"), "version"),
    "text for a list": (lambda r: r.update(scores="chest"), "list"),
    "too many threads": (lambda r: r["resources"].update(threads=8), "threads"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_contradiction_refuses_the_card_and_names_the_rule(name: str) -> None:
    change, word = CHANGES[name]
    with pytest.raises(CardInvalid, match=word):
        parsed_after(change)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'"text"', b"{}"])
def test_what_is_no_card_is_refused(text: bytes) -> None:
    with pytest.raises(CardInvalid):
        parse_card(text)
