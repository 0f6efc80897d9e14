"""The card of a model: what it is, what it may be given, what it may say and how loudly.

A card is the frozen form of the ``registry.json`` in the model's bundle.  Nothing is guessed: a
field that is missing or out of its range refuses the whole card.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeVar

from ai_assist.errors import CardInvalid
from ai_assist.level import Level
from kernel.codes import Coded

_SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[a-z][a-z0-9-]{1,47}")
_MAX_VERSION_LENGTH = 32
T = TypeVar("T")


class Kind(StrEnum):
    """What the answers of a model are about."""

    QUALITY = "quality"  # the image itself: is it one that may be judged?
    FINDING = "finding"  # the patient


class Mode(StrEnum):
    """How far a model may make itself heard."""

    OFF = "off"
    SHADOW = "shadow"  # scored and stored, shown to nobody
    ADVISE = "advise"  # a badge; the queue is not touched
    ESCALATE = "escalate"  # the due time may move forward


class RegulatoryStatus(StrEnum):
    """What an authority has said about the model."""

    RESEARCH = "research"
    CE = "CE"
    FDA = "FDA 892.2080"
    NONE = "none"


CLEARED = frozenset({RegulatoryStatus.CE, RegulatoryStatus.FDA})


class Preprocess(StrEnum):
    """The ways of preparing an image that this version of the engine knows."""

    FILM_GREY_1 = "film-grey/1"


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of the bundle as it must be found."""

    path: str
    sha256: str
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """Which instances the model may be given; an empty text in a tuple allows 'not stated'."""

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    views: tuple[str, ...]
    presentation_intents: tuple[str, ...]
    min_matrix: int
    age_years: tuple[int, int] | None
    max_lossy_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One score of the model; it raises its finding from `threshold` on (both in [0, 1]).

    With `raised_below` the finding is raised *below* the threshold: a film that does not look
    like a chest.  A score in the grey zone is shown as uncertain and raises nothing.
    """

    name: str
    finding: Coded
    threshold: float
    raised_below: bool
    grey_zone: tuple[float, float] | None
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One version of one model; (id, version) never changes its content."""

    id: str
    version: str
    title: str
    created: date
    supersedes: str | None
    kind: Kind
    intended_use: str
    not_for: str
    status: RegulatoryStatus
    mode: Mode
    files: tuple[BundleFile, ...]
    weights: str
    preprocess: Preprocess
    side: int
    scores: tuple[str, ...]
    outputs: tuple[Output, ...]
    eligibility: Eligibility
    threads: int
    timeout_s: float

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights; every result cites it."""
        return next(file.sha256 for file in self.files if file.path == self.weights)

    @property
    def effective_mode(self) -> Mode:
        """How loud the model may really be.

        A model that says something about the patient and was cleared by nobody stays in shadow.
        One that only judges the image may give advice, as it can neither move nor hold a case.
        """
        if self.kind is Kind.QUALITY:
            return Mode.ADVISE if self.mode is Mode.ESCALATE else self.mode
        if self.status not in CLEARED and self.mode is not Mode.OFF:
            return Mode.SHADOW
        return self.mode


def parse_card(text: bytes) -> ModelCard:
    """Read the card from the bytes of ``registry.json``.

    Raises
    ------
    CardInvalid
        It is not JSON, a field is missing or of another type, or fields contradict each other.
    """
    try:
        raw = json.loads(text)
        card = _card(raw)
    except CardInvalid:
        raise
    except KeyError as error:
        raise CardInvalid(f"the card lacks the field {error.args[0]!r}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CardInvalid(f"the card cannot be read: {error}") from error
    _check(card)
    return card


def _card(raw: Mapping[str, Any]) -> ModelCard:
    source, limits = raw["input"], raw["resources"]
    return ModelCard(
        id=_text(raw["id"]),
        version=_text(raw["version"]),
        title=_text(raw["title"]),
        created=date.fromisoformat(raw["created"]),
        supersedes=raw["supersedes"],
        kind=Kind(raw["kind"]),
        intended_use=_text(raw["intended_use"]),
        not_for=_text(raw["not_for"]),
        status=RegulatoryStatus(raw["regulatory"]["status"]),
        mode=Mode(raw["mode"]),
        files=_each(raw["files"], lambda f: BundleFile(f["path"], f["sha256"], int(f["bytes"]))),
        weights=_text(raw["weights"]),
        preprocess=Preprocess(f"{source['preprocess']}/{source['preprocess_version']}"),
        side=int(source["shape"][-1]),
        scores=_each(raw["scores"], _text),
        outputs=_each(raw["outputs"], _output),
        eligibility=_eligibility(raw["eligibility"]),
        threads=int(limits["threads"]),
        timeout_s=float(limits["timeout_s"]),
    )


def _output(raw: Mapping[str, Any]) -> Output:
    zone = raw["grey_zone"]
    return Output(
        name=_text(raw["name"]),
        finding=Coded(*(_text(raw["finding"][part]) for part in ("value", "scheme", "meaning"))),
        threshold=float(raw["threshold"]),
        raised_below=bool(raw["raised_below"]),
        grey_zone=None if zone is None else (float(zone[0]), float(zone[1])),
        level=Level(raw["level"]),
    )


def _eligibility(raw: Mapping[str, Any]) -> Eligibility:
    age = raw["age_years"]
    return Eligibility(
        modalities=_each(raw["modalities"], _text),
        body_parts=_each(raw["body_parts"], _text),
        views=_each(raw["views"], _text),
        presentation_intents=_each(raw["presentation_intents"], _text),
        min_matrix=int(raw["min_matrix"]),
        age_years=None if age is None else (int(age[0]), int(age[1])),
        max_lossy_ratio=float(raw["max_lossy_ratio"]),
    )


def _each(values: object, of: Callable[[Any], T]) -> tuple[T, ...]:
    if not isinstance(values, list):
        raise CardInvalid("the card holds one value where a list must stand")
    return tuple(of(value) for value in values)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise CardInvalid("the card holds another value where text must stand")
    return value


def _check(card: ModelCard) -> None:
    names = {file.path for file in card.files}
    rules: tuple[tuple[bool, str], ...] = (
        (_ID.fullmatch(card.id) is not None, "an id of small letters, digits and dashes"),
        (_SEMVER.fullmatch(card.version) is not None, "a version as of semver.org"),
        (len(card.version) <= _MAX_VERSION_LENGTH, "a version of at most 32 characters"),
        (bool(card.intended_use and card.not_for), "an intended use and what it is not for"),
        (card.weights in names, "its weights among its files"),
        (all(_SHA256.fullmatch(f.sha256) for f in card.files), "a SHA-256 for each file"),
        (
            not any(f.path.startswith("/") or ".." in f.path.split("/") for f in card.files),
            "files inside its own folder only",
        ),
        (bool(card.eligibility.modalities), "at least one modality"),
        (len(set(card.scores)) == len(card.scores) > 0, "scores of different names"),
        (
            bool(card.outputs) and {o.name for o in card.outputs} <= set(card.scores),
            "outputs that are among its scores",
        ),
        (all(0 <= o.threshold <= 1 for o in card.outputs), "thresholds from 0 to 1"),
        (
            all(
                low <= high
                for o in card.outputs
                if o.grey_zone
                for low, high in pairwise((0.0, *o.grey_zone, 1.0))
            ),
            "grey zones inside 0 to 1",
        ),
        (1 <= card.threads <= 2, "one or two threads"),
        (0 < card.timeout_s <= 600, "a timeout of at most 600 s"),
        (16 <= card.side <= 1024, "an input side of 16 to 1024 pixels"),
        (
            card.kind is Kind.FINDING
            or all(o.level in {Level.NONE, Level.ADVISE} for o in card.outputs),
            "no output above 'advise', as it judges the image and not the patient",
        ),
    )
    for holds, rule in rules:
        if not holds:
            raise CardInvalid(f"a card must have {rule}", model=card.id, version=card.version)
