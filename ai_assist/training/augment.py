"""What may happen to a film before anyone sees it, drawn by chance; labels stay true."""

from dataclasses import dataclass

import torch
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from ai_assist.grey import FLATTEST_RANGE, HIGH_PERCENTILE, LOW_PERCENTILE

Pictures = torch.Tensor  # (pictures, 1, side, side) float32 in [0, 1]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the geometry may be moved; angles in degrees, the rest as shares."""

    angle: float
    zoom_out: float
    zoom_in: float
    aspect: float
    shift: float


CHEST_REACH = Reach(angle=15.0, zoom_out=0.72, zoom_in=1.33, aspect=0.24, shift=0.11)
OTHER_REACH = Reach(angle=180.0, zoom_out=0.6, zoom_in=1.7, aspect=0.3, shift=0.15)


@dataclass(frozen=True, slots=True)
class Handling:
    """What was done to each film: the labels of orientation and polarity.

    `quarter_turns` counts counter-clockwise turns of 90 degrees, done after the mirroring.
    """

    mirrored: torch.Tensor
    quarter_turns: torch.Tensor
    inverted: torch.Tensor


def draw_handling(count: int, rng: torch.Generator) -> Handling:
    """Draw mirroring, turns and inversion of `count` films, each evenly."""
    return Handling(
        mirrored=torch.randint(2, (count,), generator=rng),
        quarter_turns=torch.randint(4, (count,), generator=rng),
        inverted=torch.randint(2, (count,), generator=rng),
    )


def handle(pictures: Pictures, handling: Handling) -> Pictures:
    """Mirror, turn and invert each picture as `handling` says."""
    mirrored = torch.where(_each(handling.mirrored) == 1, pictures.flip(-1), pictures)
    turned = mirrored.clone()
    for turns in (1, 2, 3):
        chosen = handling.quarter_turns == turns
        turned[chosen] = torch.rot90(mirrored[chosen], turns, dims=(-2, -1))
    return torch.where(_each(handling.inverted) == 1, 1.0 - turned, turned)


def vary(pictures: Pictures, reach: Reach, *, side: int, rng: torch.Generator) -> Pictures:
    """Vary geometry, exposure, sharpness, borders and noise; result (pictures, 1, side, side)."""
    moved = _moved(pictures, reach, side, rng)
    toned = _toned(moved, rng)
    shaded = _wired(_shaded(toned, rng), rng)
    framed = _marked(_framed(shaded, rng), rng)
    return _grained(_softened(framed, rng), rng).clamp(0.0, 1.0)


def standardise(pictures: Pictures) -> Pictures:
    """Clip and scale as `ai_assist.grey.clip_and_scale` does, for a batch."""
    flat = pictures.flatten(1)
    shares = torch.tensor([LOW_PERCENTILE / 100, HIGH_PERCENTILE / 100])
    low, high = torch.quantile(flat, shares, dim=1)
    spread = high - low
    scaled = (pictures - _each(low)) / _each(spread.clamp(min=FLATTEST_RANGE))
    return torch.where(_each(spread) <= FLATTEST_RANGE, 0.0, scaled.clamp(0.0, 1.0))


def _each(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, 1, 1, 1)


def _between(count: int, low: float, high: float, rng: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, generator=rng)


def _chance(count: int, share: float, rng: torch.Generator) -> torch.Tensor:
    return torch.rand(count, generator=rng) < share


def _moved(pictures: Pictures, reach: Reach, side: int, rng: torch.Generator) -> Pictures:
    count = len(pictures)
    turn = torch.deg2rad(_between(count, -reach.angle, reach.angle, rng))
    zoom = torch.exp(
        _between(
            count,
            float(torch.tensor(reach.zoom_out).log()),
            float(torch.tensor(reach.zoom_in).log()),
            rng,
        )
    )
    stretch = torch.exp(_between(count, -reach.aspect, reach.aspect, rng) / 2)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = turn.cos() / zoom * stretch, -turn.sin() / zoom
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin() / zoom, turn.cos() / zoom / stretch
    theta[:, :, 2] = _between(count * 2, -2 * reach.shift, 2 * reach.shift, rng).reshape(-1, 2)
    grid = affine_grid(theta, [count, 1, side, side], align_corners=False)
    inside = grid_sample(torch.ones_like(pictures), grid, align_corners=False)
    black = grid_sample(pictures, grid, align_corners=False)
    edge = grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    filled = black + (1.0 - inside) * _each(_between(count, 0, 1, rng) * _chance(count, 0.3, rng))
    return torch.where(_each(_chance(count, 0.35, rng)), edge, filled)


def _toned(pictures: Pictures, rng: torch.Generator) -> Pictures:
    count = len(pictures)
    scaled = standardise(pictures)
    gamma = torch.exp(_between(count, -0.85, 0.85, rng))
    toned = scaled.clamp(min=1e-4) ** _each(gamma)
    steep = _each(_between(count, 2.0, 9.0, rng))
    curve = torch.sigmoid((toned - _each(_between(count, 0.35, 0.65, rng))) * steep)
    toned = torch.where(_each(_chance(count, 0.4, rng)), curve, toned)
    local = toned - interpolate(avg_pool2d(toned, 16), size=toned.shape[-2:], mode="bilinear")
    sharpened = toned + _each(_between(count, 0.0, 1.5, rng)) * local
    return torch.where(_each(_chance(count, 0.25, rng)), standardise(sharpened), toned)


def _shaded(pictures: Pictures, rng: torch.Generator) -> Pictures:
    """Lay soft light and shade over half of the films: white lungs, breasts, uneven exposure."""
    count, side = len(pictures), pictures.shape[-1]
    coarse = torch.rand((count, 1, 4, 4), generator=rng) - 0.5
    shade = interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)
    depth = _between(count, 0.0, 1.1, rng) * _chance(count, 0.5, rng)
    return standardise(pictures + _each(depth) * shade)


def _wired(pictures: Pictures, rng: torch.Generator) -> Pictures:
    """Draw thin bright lines over a quarter of the films: leads, tubes, catheters."""
    side = pictures.shape[-1]
    line = torch.linspace(-1.0, 1.0, side)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    wired = pictures.clone()
    for place in torch.nonzero(_chance(len(pictures), 0.25, rng)).flatten().tolist():
        for _ in range(int(torch.randint(1, 4, (), generator=rng))):
            lean, bend, offset = (torch.rand(3, generator=rng) * 2.0 - 1.0).tolist()
            across = columns if torch.rand((), generator=rng) < 0.7 else rows
            along = rows if across is columns else columns
            distance = (across - offset - lean * along - bend * along**2).abs()
            brightness = 0.3 + 0.7 * torch.rand((), generator=rng)
            wired[place, 0] = torch.maximum(wired[place, 0], brightness * (distance < 0.03))
    return wired


def _framed(pictures: Pictures, rng: torch.Generator) -> Pictures:
    """Cover some edges, as collimation and letter boxes do."""
    count, side = len(pictures), pictures.shape[-1]
    line = torch.linspace(0, 1, side)
    cover = torch.zeros_like(pictures, dtype=torch.bool)
    for axis in (-2, -1):
        shape = (1, 1, side, 1) if axis == -2 else (1, 1, 1, side)
        for position in (line, 1 - line):
            depth = _between(count, 0.0, 0.16, rng) * _chance(count, 0.2, rng)
            cover |= position.reshape(shape) < _each(depth)
    level = torch.where(_chance(count, 0.75, rng), 0.0, _between(count, 0, 1, rng))
    return torch.where(cover, _each(level), pictures)


def _marked(pictures: Pictures, rng: torch.Generator) -> Pictures:
    """Lay a bright or dark patch over a third of the films: markers, labels, devices."""
    side = pictures.shape[-1]
    marked = pictures.clone()
    for place in torch.nonzero(_chance(len(pictures), 0.35, rng)).flatten().tolist():
        largest = 26 if torch.rand((), generator=rng) < 0.25 else 13
        height, width = (int(torch.randint(2, largest, (), generator=rng)) for _ in range(2))
        top = int(torch.randint(0, side - height, (), generator=rng))
        left = int(torch.randint(0, side - width, (), generator=rng))
        marked[place, :, top : top + height, left : left + width] = torch.rand((), generator=rng)
    return marked


def _softened(pictures: Pictures, rng: torch.Generator) -> Pictures:
    """Take detail from a third of the films, so that resolution tells nothing about a source."""
    side = pictures.shape[-1]
    small = int(torch.randint(side // 3, side, (), generator=rng))
    there = interpolate(pictures, size=(small, small), mode="bilinear", antialias=True)
    back = interpolate(there, size=(side, side), mode="bilinear")
    return torch.where(_each(_chance(len(pictures), 0.35, rng)), back, pictures)


def _grained(pictures: Pictures, rng: torch.Generator) -> Pictures:
    strength = _between(len(pictures), 0.0, 0.06, rng) * _chance(len(pictures), 0.5, rng)
    return pictures + _each(strength) * torch.randn(pictures.shape, generator=rng)
