"""Pictures that are surely not a chest film, made without end: noise, shapes, pages, ruins.

Three hundred real pictures of five kinds would teach the model those five kinds.  What it has to
learn is the chest, so it also meets things that only share the chest's greys: films broken up so
that no chest is left (label true by construction).
"""

from collections.abc import Callable

import torch
from torch.nn.functional import interpolate

Pictures = torch.Tensor  # (pictures, 1, side, side) float32 in [0, 1]


def shapes(count: int, side: int, rng: torch.Generator) -> Pictures:
    """Return `count` made-up pictures, each of a kind drawn by chance."""
    kinds: tuple[Callable[[int, torch.Generator], torch.Tensor], ...] = (
        _white_noise,
        _clouds,
        _gradient,
        _flat,
        _page,
        _ellipses,
        _stripes,
        _bones,
        _boxes,
    )
    drawn = torch.randint(len(kinds), (count,), generator=rng).tolist()
    return torch.stack([kinds[kind](side, rng) for kind in drawn]).unsqueeze(1)


def ruins(films: Pictures, rng: torch.Generator) -> Pictures:
    """Return chest films broken up: tiles shuffled, phases scrambled, or a small detail."""
    ways = (_shuffled, _scrambled, _detail)
    drawn = torch.randint(len(ways), (len(films),), generator=rng).tolist()
    broken = [ways[way](film[0], rng) for way, film in zip(drawn, films, strict=True)]
    return torch.stack(broken).unsqueeze(1)


def _uniform(low: float, high: float, rng: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=rng))


def _whole(low: int, high: int, rng: torch.Generator) -> int:
    return int(torch.randint(low, high, (), generator=rng))


def _scaled(picture: torch.Tensor) -> torch.Tensor:
    low, high = picture.min(), picture.max()
    return (picture - low) / (high - low + 1e-6)


def _grid(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    line = torch.linspace(-1.0, 1.0, side)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return rows, columns


def _white_noise(side: int, rng: torch.Generator) -> torch.Tensor:
    coarse = max(4, side // _whole(1, 9, rng))
    noise = torch.randn((1, 1, coarse, coarse), generator=rng)
    if _uniform(0, 1, rng) < 0.3:
        noise = torch.rand((1, 1, coarse, coarse), generator=rng)
    return _scaled(interpolate(noise, size=(side, side), mode="bilinear")[0, 0])


def _clouds(side: int, rng: torch.Generator) -> torch.Tensor:
    slope = _uniform(0.5, 2.5, rng)
    frequency = torch.fft.fftfreq(side)
    distance = (frequency[:, None] ** 2 + frequency[None, :] ** 2).sqrt().clamp(min=1.0 / side)
    spectrum = torch.fft.fft2(torch.randn((side, side), generator=rng)) / distance**slope
    return _scaled(torch.fft.ifft2(spectrum).real)


def _gradient(side: int, rng: torch.Generator) -> torch.Tensor:
    rows, columns = _grid(side)
    ramp = _uniform(-1, 1, rng) * rows + _uniform(-1, 1, rng) * columns
    ramp = ramp + _uniform(-1, 1, rng) * (rows**2 + columns**2)
    return _scaled(_scaled(ramp) + _uniform(0, 0.1, rng) * torch.randn((side, side), generator=rng))


def _flat(side: int, rng: torch.Generator) -> torch.Tensor:
    grain = _uniform(0, 0.02, rng) if _uniform(0, 1, rng) < 0.5 else 0.0
    level = _uniform(0, 1, rng)
    return (level + grain * torch.randn((side, side), generator=rng)).clamp(0, 1)


def _page(side: int, rng: torch.Generator) -> torch.Tensor:
    picture = torch.ones((side, side))
    height = _whole(2, 6, rng)
    for top in range(_whole(0, 8, rng), side - height, height + _whole(2, 7, rng)):
        left = _whole(0, 10, rng)
        right = _whole(side // 3, side, rng)
        ink = (torch.rand((height, side), generator=rng) > _uniform(0.2, 0.6, rng)).float()
        picture[top : top + height, left:right] = 1.0 - ink[:, left:right]
    return picture if _uniform(0, 1, rng) < 0.6 else 1.0 - picture


def _ellipses(side: int, rng: torch.Generator) -> torch.Tensor:
    rows, columns = _grid(side)
    picture = torch.zeros((side, side))
    for _ in range(_whole(1, 9, rng)):
        y, x = rows - _uniform(-0.7, 0.7, rng), columns - _uniform(-0.7, 0.7, rng)
        turn = torch.tensor(_uniform(0, 3.1416, rng))
        along, across = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
        inside = (along / _uniform(0.1, 0.9, rng)) ** 2 + (across / _uniform(0.1, 0.9, rng)) ** 2
        edge = torch.sigmoid((1.0 - inside) * _uniform(4, 40, rng))
        picture = picture + _uniform(-0.6, 1, rng) * edge
    grain = _uniform(0, 0.08, rng) * torch.randn((side, side), generator=rng)
    return _scaled(_scaled(picture) + grain)


def _stripes(side: int, rng: torch.Generator) -> torch.Tensor:
    rows, columns = _grid(side)
    turn = torch.tensor(_uniform(0, 3.1416, rng))
    waves = torch.sin((rows * turn.cos() + columns * turn.sin()) * _uniform(3, 50, rng))
    if _uniform(0, 1, rng) < 0.4:
        waves = waves * torch.sin((columns * turn.cos() - rows * turn.sin()) * _uniform(3, 50, rng))
    return _scaled(waves if _uniform(0, 1, rng) < 0.5 else waves.sign())


def _bones(side: int, rng: torch.Generator) -> torch.Tensor:
    """Draw long soft limbs, each with a bright shaft: limbs, fingers and joints at a glance."""
    rows, columns = _grid(side)
    picture = torch.zeros((side, side))
    lean = _uniform(-0.6, 0.6, rng)
    for _ in range(_whole(1, 6, rng)):
        turn = torch.tensor(lean + _uniform(-0.3, 0.3, rng))
        x, y = columns - _uniform(-0.8, 0.8, rng), rows - _uniform(-0.6, 0.6, rng)
        across = (x * turn.cos() + y * turn.sin()).abs()
        along = (y * turn.cos() - x * turn.sin()).abs()
        width, length = _uniform(0.05, 0.3, rng), _uniform(0.4, 2.0, rng)
        ends = torch.sigmoid((length - along) * 20)
        flesh = torch.sigmoid((width * _uniform(1.5, 3, rng) - across) * 25) * ends
        shaft = torch.sigmoid((width - across) * 40) * ends
        marrow = torch.sigmoid((width * 0.5 - across) * 40) * ends
        limb = 0.35 * flesh + 0.5 * shaft - _uniform(0, 0.3, rng) * marrow
        picture = torch.maximum(picture, limb)
    return _scaled(picture + _uniform(0, 0.04, rng) * torch.randn((side, side), generator=rng))


def _boxes(side: int, rng: torch.Generator) -> torch.Tensor:
    picture = torch.full((side, side), _uniform(0, 1, rng))
    for _ in range(_whole(1, 12, rng)):
        top, left = _whole(0, side - 4, rng), _whole(0, side - 4, rng)
        picture[top : _whole(top + 2, side + 1, rng), left : _whole(left + 2, side + 1, rng)] = (
            _uniform(0, 1, rng)
        )
    return picture


def _shuffled(film: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    tiles = (3, 4, 6, 8)[_whole(0, 4, rng)]
    size = film.shape[-1] // tiles
    cut = film[: tiles * size, : tiles * size].unfold(0, size, size).unfold(1, size, size)
    loose = cut.reshape(tiles * tiles, size, size)[torch.randperm(tiles * tiles, generator=rng)]
    turned = torch.stack([torch.rot90(tile, _whole(0, 4, rng)) for tile in loose])
    rebuilt = turned.reshape(tiles, tiles, size, size).permute(0, 2, 1, 3)
    return _resized(rebuilt.reshape(tiles * size, tiles * size), film.shape[-1])


def _scrambled(film: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    noise = torch.fft.fft2(torch.randn(film.shape, generator=rng))
    size = torch.fft.fft2(film).abs()
    return _scaled(torch.fft.ifft2(torch.polar(size, noise.angle())).real)


def _detail(film: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Return a window of at most a seventh of the film's area: no longer a film of a chest."""
    side = film.shape[-1]
    height, width = (_whole(side // 6, int(side * 0.38), rng) for _ in range(2))
    top, left = _whole(0, side - height, rng), _whole(0, side - width, rng)
    return _resized(film[top : top + height, left : left + width], side)


def _resized(picture: torch.Tensor, side: int) -> torch.Tensor:
    return interpolate(picture[None, None], size=(side, side), mode="bilinear")[0, 0]
