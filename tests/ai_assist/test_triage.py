"""AI can bring a case forward, never back; and a model of quality can only advise."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_assist.card import Kind, Mode, ModelCard, Output, RegulatoryStatus
from ai_assist.level import Level, highest, not_above
from ai_assist.quality import is_raised, judge
from ai_assist.triage import Hint, conclude, hints_of
from kernel.codes import Coded

LEVELS = st.sampled_from(Level)
SCORES = st.floats(0, 1)
ORDER = list(Level)


def an_output(name: str = "opacity", *, level: Level = Level.CRITICAL, **changes: object) -> Output:
    output = Output(
        name=name,
        finding=Coded("X", "99TELERAD", name),
        threshold=0.5,
        raised_below=False,
        grey_zone=None,
        level=level,
    )
    return replace(output, **changes)  # type: ignore[arg-type]


def a_hint(level: Level) -> Hint:
    return Hint("1.2.3", "opacity", Coded("X", "99TELERAD", "x"), 0.9, level)


def all_scores(card: ModelCard, **given: float) -> dict[str, float]:
    good = {"chest": 1.0}
    return {name: given.get(name, good.get(name, 0.0)) for name in card.scores}


@given(st.lists(LEVELS), LEVELS)
def test_a_further_hint_never_lowers_the_level(levels: list[Level], more: Level) -> None:
    before = conclude([a_hint(level) for level in levels]).level
    after = conclude([a_hint(level) for level in [*levels, more]]).level
    assert ORDER.index(after) >= ORDER.index(before)


@given(st.lists(LEVELS, min_size=1), st.randoms())
def test_the_level_does_not_depend_on_the_order_of_the_hints(
    levels: list[Level], random: object
) -> None:
    shuffled = list(levels)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert highest(levels) == highest(shuffled)


def test_no_hint_is_level_none() -> None:
    assert (conclude([]).level, conclude([]).reason) == (Level.NONE, "nothing_raised")


@given(LEVELS, LEVELS)
def test_a_ceiling_holds(level: Level, ceiling: Level) -> None:
    assert ORDER.index(not_above(level, ceiling)) == min(ORDER.index(level), ORDER.index(ceiling))


@given(scores=st.fixed_dictionaries({}), data=st.data())
def test_a_model_of_quality_never_gives_more_than_advice(
    quality_card: ModelCard, scores: dict[str, float], data: st.DataObject
) -> None:
    drawn = {name: data.draw(SCORES) for name in quality_card.scores}
    for mode in Mode:
        hints = hints_of(replace(quality_card, mode=mode), "1.2.3", drawn)
        assert {hint.level for hint in hints} <= {Level.NONE, Level.ADVISE}


@pytest.mark.parametrize(("status", "mode"), list(product(RegulatoryStatus, Mode)))
def test_a_model_of_findings_that_nobody_cleared_stays_in_shadow(
    quality_card: ModelCard, status: RegulatoryStatus, mode: Mode
) -> None:
    card = replace(
        quality_card,
        kind=Kind.FINDING,
        status=status,
        mode=mode,
        scores=("opacity",),
        outputs=(an_output(),),
    )
    (hint,) = hints_of(card, "1.2.3", {"opacity": 0.9})
    cleared = status in {RegulatoryStatus.CE, RegulatoryStatus.FDA}
    ceilings = {Mode.ADVISE: Level.ADVISE, Mode.ESCALATE: Level.CRITICAL}
    assert hint.level is (ceilings.get(mode, Level.NONE) if cleared else Level.NONE)


def test_what_is_no_chest_is_refused_and_nothing_else_is_said_of_it(
    quality_card: ModelCard,
) -> None:
    verdict = judge(quality_card, all_scores(quality_card, chest=0.01, inverted=1, turned=1))
    assert not verdict.usable
    assert [output.name for output in verdict.raised] == ["chest"]


def test_a_turned_film_is_named_with_its_angle(quality_card: ModelCard) -> None:
    verdict = judge(quality_card, all_scores(quality_card, turned=0.9, turned_270=0.8))
    assert ([o.name for o in verdict.raised], verdict.turned_by) == (["turned"], 270)


def test_a_good_film_raises_nothing(quality_card: ModelCard) -> None:
    assert judge(quality_card, all_scores(quality_card)).usable


@given(SCORES, SCORES, SCORES)
def test_a_score_in_the_grey_zone_raises_nothing(score: float, one: float, other: float) -> None:
    zone = (min(one, other), max(one, other))
    output = an_output(grey_zone=zone)
    if zone[0] <= score <= zone[1]:
        assert not is_raised(output, score)
    else:
        assert is_raised(output, score) == (score >= output.threshold)
