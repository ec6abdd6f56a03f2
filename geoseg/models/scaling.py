"""How physical values become what a network was trained on: by the name that its card says.

``standardise``
    ``(x - mean) / std``, band by band: a z-score in the card's STAC item.
``dynamicworld``
    ``1 / (1 + exp(1 - 5 * (log(50 * x + 1) - mean) / std))`` of reflectance ``x`` (0..1), where
    negative reflectance counts as 0, which is the least that its Sentinel-2 archive can hold. With
    ``DN = 10000 * x`` this is the published ``x = log(0.005 * DN + 1); x = (x - mean) / std;
    x = exp(5 * x - 1); x / (x + 1)`` (Brown et al. 2022, doi:10.1038/s41597-022-01307-4). In the
    card's STAC item it is a ``gdal-calc`` expression for each band.

With either, pixels that are not valid are 0 afterwards, as is what lies beyond a chip: networks pad
with zeros. After ``standardise`` that is the mean of a band; after ``dynamicworld`` it is what no
reflectance reaches, just below reflectance 0 (0.004 to 0.015).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.fields import At

if TYPE_CHECKING:
    import torch

STANDARDISE: Final = "standardise"
DYNAMICWORLD: Final = "dynamicworld"
SCALINGS: Final = (STANDARDISE, DYNAMICWORLD)

# 0.005 of the DN, which are 10000 times the reflectance.
_DN_FACTOR: Final = 50.0
_FORMAT: Final = "gdal-calc"
_EXPRESSION = re.compile(
    r"1/\(1\+exp\(1-5\*\(log\(50\*maximum\(A,0\)\+1\)-\((?P<mean>[^()]+)\)\)/(?P<std>[^()]+)\)\)"
)

Floats = NDArray[np.float64]


def linear(card: ModelCard, scale: NDArray[Any], offset: NDArray[Any]) -> tuple[Floats, Floats]:
    """One gain and bias per band: from stored numbers to what :func:`curve` takes.

    Args:
        card: Says which scaling.
        scale: ``(band,)``; physical values are ``stored * scale + offset``.
        offset: ``(band,)``.
    """
    scale, offset = np.asarray(scale, np.float64), np.asarray(offset, np.float64)
    if card.scaling == DYNAMICWORLD:
        return scale * _DN_FACTOR, offset * _DN_FACTOR
    mean, std = np.asarray(card.mean), np.asarray(card.std)
    return scale / std, (offset - mean) / std


def physical_norms(card: ModelCard) -> list[tuple[float, float]]:
    """About the mean and standard deviation of each band in physical values, in the training."""
    norms = zip(card.mean, card.std, strict=True)
    if card.scaling != DYNAMICWORLD:
        return list(norms)
    found = []
    for mean, std in norms:
        low, middle, high = (float(np.expm1(mean + k * std)) / _DN_FACTOR for k in (-1, 0, 1))
        found.append((middle, (high - low) / 2))
    return found


def standardised(card: ModelCard, band: str, physical: NDArray[Any]) -> NDArray[np.float32]:
    """Physical values of one band with about mean 0 and variance 1, as the model was trained."""
    at = card.bands.index(band)
    if card.scaling == DYNAMICWORLD:
        physical = np.log1p(np.maximum(physical, 0) * _DN_FACTOR)
    return ((physical - card.mean[at]) / card.std[at]).astype(np.float32)


def curve(card: ModelCard, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """What follows on ``(…, band, y, x)``, in place: nothing, where the scaling is linear.

    In fp32 the steps are within 1e-6 of the formula in float64, and garbage (infinities) becomes
    NaN, which the engine reports, and not a plausible number.
    """
    if card.scaling == STANDARDISE:
        return lambda x: x
    import torch  # noqa: PLC0415 (cards are read without it)

    mean, std = np.asarray(card.mean), np.asarray(card.std)
    steep, shift = (
        torch.from_numpy(v.astype(np.float32).reshape(-1, 1, 1)).to(device)
        for v in (5 / std, -5 * mean / std - 1)
    )

    def bend(x: torch.Tensor) -> torch.Tensor:
        odds = x.clamp_(min=0).log1p_().mul_(steep).add_(shift).exp_()
        return odds.div_(odds + 1)

    return bend


def bent(card: ModelCard, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What :func:`curve` does, of an array ``(…, band, y, x)``, and to float32's last bits."""
    if card.scaling == STANDARDISE:
        return x
    mean, std = np.asarray(card.mean), np.asarray(card.std)
    steep, shift = (v.astype(np.float32).reshape(-1, 1, 1) for v in (5 / std, -5 * mean / std - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        odds = np.exp(np.log1p(np.maximum(x, np.float32(0))) * steep + shift)
        shares: NDArray[np.float32] = odds / (odds + 1)
    return shares


def temperature(card: ModelCard) -> float:
    """What logits are divided by, as the card says; 1 where it says nothing.

    Raises:
        ModelError: It is no such number.
    """
    found = card.about.get("temperature", 1.0)
    if not isinstance(found, int | float) or not 0 < found < float("inf"):
        raise ModelError(f"model {card.name!r}: about.temperature: {found!r}; wanted a number > 0")
    return float(found)


def to_entries(card: ModelCard) -> list[dict[str, Any]]:
    """``value_scaling`` of an MLM input, one entry for each band."""
    pairs = [(float(mean), float(std)) for mean, std in zip(card.mean, card.std, strict=True)]
    if card.scaling == STANDARDISE:
        return [{"type": "z-score", "mean": mean, "stddev": std} for mean, std in pairs]
    return [
        {"type": "processing", "format": _FORMAT, "expression": _expression(mean, std)}
        for mean, std in pairs
    ]


def from_entries(entries: list[At]) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    """Scaling, mean and std; the way back of :func:`to_entries`, exact to the last bit.

    Raises:
        ModelError: An entry is of another kind than the first, or holds an unknown expression.
    """
    kind = entries[0].get("type").one_of("z-score", "processing")
    for entry in entries:
        entry.get("type").one_of(kind)
    if kind == "z-score":
        mean = tuple(entry.get("mean").number() for entry in entries)
        return STANDARDISE, mean, tuple(entry.get("stddev").number() for entry in entries)
    pairs = [_parse(entry) for entry in entries]
    return DYNAMICWORLD, tuple(mean for mean, _ in pairs), tuple(std for _, std in pairs)


def _expression(mean: float, std: float) -> str:
    """Of a band ``A`` in reflectance; Python's shortest digits bring back the same float."""
    return f"1/(1+exp(1-5*(log(50*maximum(A,0)+1)-({mean!r}))/{std!r}))"


def _parse(entry: At) -> tuple[float, float]:
    entry.get("format").one_of(_FORMAT)
    expression = entry.get("expression")
    match = _EXPRESSION.fullmatch(expression.text())
    try:
        if match is not None:
            return float(match["mean"]), float(match["std"])
    except ValueError:
        pass
    raise expression.wrong(
        f"{_expression(0.0, 1.0)!r} with the band's mean and std for 0.0 and 1.0"
    )
