"""One run of training: films in, weights out; the same seed gives the same weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ai_assist.training.augment import (
    CHEST_REACH,
    OTHER_REACH,
    Handling,
    draw_handling,
    handle,
    standardise,
    vary,
)
from ai_assist.training.counterfeits import ruins, shapes
from ai_assist.training.films import STORED_SIDE, LabelledFilm, stack
from ai_assist.training.network import SIDE, build

Progress = Callable[[str], None]

SMOOTHING = 0.02
MIRROR_WEIGHT = 0.5  # a warning only, and the hardest: it must not lead the others
PROGRESS_EVERY = 50


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how fast to train, and the shares of one batch."""

    steps: int = 2600
    seed: int = 20_261_122
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    chests_per_source: int = 28
    others: int = 20
    made_up: int = 16
    ruined: int = 10
    average_decay: float = 0.995
    made_up_pool: int = 3000
    made_up_measured: int = 600


@dataclass(frozen=True, slots=True)
class _Pictures:
    chests: tuple[torch.Tensor, ...]  # one tensor a source, so that each is drawn from evenly
    others: tuple[torch.Tensor, ...]  # one tensor a kind
    made_up: torch.Tensor


def teach(films: Sequence[LabelledFilm], course: Course, progress: Progress) -> nn.Module:
    """Train on the films of the split 'train' and return the averaged network, ready to use."""
    torch.manual_seed(course.seed)
    rng = torch.Generator().manual_seed(course.seed)
    pictures = _load([film for film in films if film.split == "train"], course, rng)
    network = build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    keeping = get_ema_multi_avg_fn(course.average_decay)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=keeping, use_buffers=True)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=course.peak_rate, weight_decay=course.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=course.peak_rate, total_steps=course.steps, pct_start=0.15
    )
    network.train()
    for step in range(1, course.steps + 1):
        inputs, is_chest, handling = _batch(pictures, course, rng)
        loss = _loss(network(inputs * 2.0 - 1.0), is_chest, handling)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        if step % PROGRESS_EVERY == 0 or step == course.steps:
            progress(f"step {step} of {course.steps}, loss {float(loss.detach()):.3f}")
    trained: nn.Module = average.module
    return trained.eval()


def _load(films: Sequence[LabelledFilm], course: Course, rng: torch.Generator) -> _Pictures:
    sources = sorted({film.source for film in films if film.is_chest})
    kinds = sorted({film.kind for film in films if not film.is_chest})
    chests = [[f for f in films if f.is_chest and f.source == source] for source in sources]
    others = [[f for f in films if not f.is_chest and f.kind == kind] for kind in kinds]
    return _Pictures(
        chests=tuple(stack(members) for members in chests),
        others=tuple(stack(members) for members in others),
        made_up=(shapes(course.made_up_pool, STORED_SIDE, rng) * 255).to(torch.uint8),
    )


def _drawn(pool: torch.Tensor, count: int, rng: torch.Generator) -> torch.Tensor:
    return pool[torch.randint(len(pool), (count,), generator=rng)].float() / 255.0


def _batch(
    pictures: _Pictures, course: Course, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, Handling]:
    chests = torch.cat(
        [_drawn(source, course.chests_per_source, rng) for source in pictures.chests]
    )
    per_kind = max(1, course.others // max(1, len(pictures.others)))
    others = [_drawn(kind, per_kind, rng) for kind in pictures.others]
    others.append(_drawn(pictures.made_up, course.made_up, rng))
    broken = torch.cat([_drawn(s, course.ruined // 2, rng) for s in pictures.chests])
    varied = torch.cat(
        [
            vary(chests, CHEST_REACH, side=SIDE, rng=rng),
            vary(torch.cat(others), OTHER_REACH, side=SIDE, rng=rng),
            vary(ruins(broken, rng), CHEST_REACH, side=SIDE, rng=rng),
        ]
    )
    handling = draw_handling(len(varied), rng)
    inputs = standardise(handle(varied, handling))
    is_chest = torch.arange(len(varied)) < len(chests)
    return inputs.contiguous(memory_format=torch.channels_last), is_chest, handling


def _loss(logits: torch.Tensor, is_chest: torch.Tensor, handling: Handling) -> torch.Tensor:
    chest = _binary(logits[:, 0], is_chest.float())
    seen = logits[is_chest]
    inverted = _binary(seen[:, 1], handling.inverted[is_chest].float())
    turned = cross_entropy(
        seen[:, 2:6], handling.quarter_turns[is_chest], label_smoothing=SMOOTHING
    )
    mirrored = _binary(seen[:, 6], handling.mirrored[is_chest].float())
    return chest + inverted + turned + MIRROR_WEIGHT * mirrored


def _binary(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, truth * (1 - SMOOTHING) + SMOOTHING / 2)
