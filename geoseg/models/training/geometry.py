"""Chips turned, scaled and bent: values by interpolation, labels by their nearest neighbour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.models.training.base import IGNORE, Augmentation

# Control points of an elastic deformation lie about so many pixels apart.
_ELASTIC_STEP = 24


@dataclass(frozen=True, slots=True, eq=False)
class Chips:
    """A batch on the device.

    Attributes:
        values: ``(chip, band, y, x)`` fp32.
        labels: ``(chip, y, x)`` uint8.
        valid: ``(chip, y, x)`` bool.
    """

    values: Tensor
    labels: Tensor
    valid: Tensor


def moved(chips: Chips, settings: Augmentation, random: torch.Generator) -> Chips:
    """The chips as another grid would have seen them; ``random`` is a generator of the CPU.

    A symmetry alone moves pixels and changes none. All else is one interpolation for symmetry,
    scale and elasticity together; what comes from beyond the chip is not valid and not known.
    """
    count = len(chips.values)
    turns = torch.randint(8, (count,), generator=random) if settings.d4 else None
    if settings.scale == (1.0, 1.0) and settings.elastic <= 0:
        return chips if turns is None else turned(chips, turns)
    return _sampled(chips, _grid(chips, turns, settings, random))


def turned(chips: Chips, turns: Tensor) -> Chips:
    """Each chip in one of the eight symmetries of the square, 0 being none; exact.

    Symmetries 4 to 7 swap rows and columns: chips that are not square only get the first four.
    """
    square = chips.valid.shape[1] == chips.valid.shape[2]
    turns = turns if square else turns % 4
    out = Chips(*(torch.empty_like(t) for t in (chips.values, chips.labels, chips.valid)))
    for turn in range(8):
        at = (turns == turn).nonzero().flatten().to(chips.valid.device)
        if len(at):
            for source, target in zip(_parts(chips), _parts(out), strict=True):
                target[at] = _turn(source[at], turn)
    return out


def _parts(chips: Chips) -> tuple[Tensor, Tensor, Tensor]:
    return chips.values, chips.labels, chips.valid


def _turn(values: Tensor, turn: int) -> Tensor:
    flips = [axis for bit, axis in ((1, -1), (2, -2)) if turn & bit]
    values = values.flip(flips) if flips else values
    return values.transpose(-1, -2) if turn & 4 else values


def _grid(
    chips: Chips, turns: Tensor | None, settings: Augmentation, random: torch.Generator
) -> Tensor:
    """Where each pixel comes from ``(chip, y, x, 2)``, in -1..1, x before y as torch has it."""
    count, _, height, width = chips.values.shape
    low, high = settings.scale
    span = torch.tensor([low, high]).log()
    factor = (span[0] + (span[1] - span[0]) * torch.rand(count, generator=random)).exp()
    # Finer chips look at a part of the given one, wherever; coarser ones have all of it within.
    room = (1 - factor).abs()[:, None]
    shift = (2 * torch.rand(count, 2, generator=random) - 1) * room
    matrix = factor[:, None, None] * _symmetries(turns, count, square=height == width)
    theta = torch.cat([matrix, shift[..., None]], dim=2)
    device = chips.values.device
    grid = F.affine_grid(theta.to(device), [count, 1, height, width], align_corners=False)
    if settings.elastic > 0:
        grid = grid + _elastic(count, (height, width), settings.elastic, random).to(device)
    return grid


def _symmetries(turns: Tensor | None, count: int, *, square: bool) -> Tensor:
    """``(chip, 2, 2)`` matrices on (x, y) that do what :func:`_turn` does."""
    if turns is None:
        return torch.eye(2).expand(count, 2, 2)
    turns = turns if square else turns % 4
    flip_x, flip_y, swap = ((turns >> bit & 1).float() for bit in range(3))
    across, down = 1 - 2 * flip_x, 1 - 2 * flip_y
    rows = [across * (1 - swap), across * swap, down * swap, down * (1 - swap)]
    return torch.stack(rows, dim=1).view(count, 2, 2)


def _elastic(count: int, shape: tuple[int, int], most: float, random: torch.Generator) -> Tensor:
    """Smooth displacements ``(chip, y, x, 2)`` of at most ``most`` pixels, in units of the grid."""
    points = [max(4, -(-n // _ELASTIC_STEP) + 1) for n in shape]
    knots = 2 * torch.rand(count, 2, *points, generator=random) - 1
    field = F.interpolate(knots, size=shape, mode="bicubic", align_corners=True).clamp(-1, 1)
    pixels = torch.tensor([2 * most / shape[1], 2 * most / shape[0]])
    return field.movedim(1, -1) * pixels


def _sampled(chips: Chips, grid: Tensor) -> Chips:
    """Values by bilinear interpolation of the valid ones only."""
    weight = chips.valid[:, None].to(chips.values.dtype)
    # Not a product: what is not valid may be NaN.
    stacked = torch.cat([chips.values.masked_fill(~chips.valid[:, None], 0.0), weight], dim=1)
    sampled = F.grid_sample(stacked, grid, mode="bilinear", align_corners=False)
    shares = sampled[:, -1:]
    valid = shares[:, 0] >= 0.5
    values = sampled[:, :-1] / shares.clamp(min=0.5)
    # From beyond the chip come zeros: as the complement of the label, which is 0 for IGNORE.
    known = (IGNORE - chips.labels)[:, None].to(chips.values.dtype)
    nearest = F.grid_sample(known, grid, mode="nearest", align_corners=False)[:, 0]
    labels = IGNORE - nearest.to(torch.uint8)
    return Chips(values, labels.masked_fill(~valid, IGNORE), valid)
