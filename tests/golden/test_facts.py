"""The stored form of every fact version is pinned: facts of years ago must still be read.

A new field or another type is a new version with a file of its own; the old file stays.
"""

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kernel.facts import FACTS, Fact, from_parts, to_body

GOLDEN = Path(__file__).parent / "facts"
AT = datetime(2026, 11, 22, 9, 30, 0, 250_000, tzinfo=UTC)
SAMPLES: dict[str, object] = {
    "str": "text",
    "int": 7,
    "bool": True,
    "datetime": AT,
    "list[str]": ["one", "two"],
}


def sample(kind: type[Fact]) -> Fact:
    values = {f.name: SAMPLES[_type_name(f.type)] for f in fields(kind) if f.name not in BASE}
    head = {"subject": "s-1", "at": AT, "actor": "system:test", "cause": "c-1", "id": "f-1"}
    return kind(**head, **values)  # type: ignore[arg-type]


BASE = {"subject", "at", "actor", "cause", "id"}


def _type_name(told: object) -> str:
    name = told.__name__ if isinstance(told, type) else str(told)
    name = str(told) if "[" in str(told) else name
    return name.removesuffix(" | None").removeprefix("datetime.")


def stored(fact: Fact) -> dict[str, object]:
    return {"kind": fact.kind, "version": fact.version, "body": to_body(fact)}


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.kind)
def test_a_fact_is_stored_as_it_always_was(kind: type[Fact]) -> None:
    golden = json.loads((GOLDEN / f"{kind.kind}-{kind.version}.json").read_text())
    assert stored(sample(kind)) == golden


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.json")), ids=lambda file: file.stem)
def test_every_form_that_was_ever_stored_is_still_read(file: Path) -> None:
    golden = json.loads(file.read_text())
    fact = from_parts(
        golden["kind"],
        golden["version"],
        golden["body"],
        id="f-1",
        subject="s-1",
        at=AT,
        actor="system:test",
        cause="c-1",
    )
    assert fact == sample(type(fact))
