"""Other suns, sensors, seasons and atmospheres for chips on the device, drawn chip by chip.

All numbers are physical (reflectance, or digital numbers), and the order is that of the light:
shadow on the ground, illumination and calibration, path radiance, optics, noise of the sensor.

Sources: Chavez 1988, doi:10.1016/0034-4257(88)90019-3 (scattering falls with a power of the
wavelength between about 4 in very clear and 0.5 in hazy air); Simard et al. 2003,
doi:10.1109/ICDAR.2003.1227801 (elastic deformation).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.models.base import ModelCard
from geoseg.models.scaling import STANDARDISE
from geoseg.models.training.base import IGNORE, Augmentation
from geoseg.models.training.geometry import Chips, moved
from geoseg.models.training.wavelengths import relative

# Largest digital numbers of 8, 10, 11, 12, 14 and 16 bits.
_SPANS: Final = (255, 1023, 2047, 4095, 16383, 65535)
# Exponents of scattering, from hazy to very clear air.
_HAZY, _CLEAR = 1.0, 4.0
# A shadow's field has about so many swings along a chip; its edge is soft over some pixels.
_SHADE_POINTS, _SHADE_EDGE = 4, 6.0


def augment(
    values: Tensor,
    labels: Tensor,
    valid: Tensor,
    *,
    card: ModelCard,
    settings: Augmentation,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Chips under other conditions; the same state of the generator gives the same bits.

    Args:
        values: ``(chip, band, y, x)`` fp32 in the units of the card; not changed.
        labels: ``(chip, y, x)`` uint8.
        valid: ``(chip, y, x)`` bool; values elsewhere may be anything, and do not spread.
        card: Says bands and units.
        settings: What to draw.
        generator: Of the CPU, whatever the device of the chips.

    Returns:
        The same three, of the same shapes. Labels are of the classes that were there, or
        :data:`IGNORE`, which they are wherever a pixel is not valid.
    """
    chips = moved(Chips(values, labels, valid), settings, generator)
    light = _Light(card, settings, generator, values.device)
    out = light.seen(chips.values, chips.valid)
    return out, chips.labels.masked_fill(~chips.valid, IGNORE), chips.valid


def span(card: ModelCard) -> float:
    """The largest number there is: 1 for reflectance; for ``dn`` by the card's mean and std."""
    if card.units == "reflectance":
        return 1.0
    usual = max(mean + std for mean, std in zip(card.mean, card.std, strict=True))
    return float(next((s for s in _SPANS if s >= usual), _SPANS[-1]))


class _Light:
    """What happens to the numbers, between the ground and the network."""

    def __init__(
        self,
        card: ModelCard,
        settings: Augmentation,
        random: torch.Generator,
        device: torch.device,
    ) -> None:
        self._card, self._settings, self._random = card, settings, random
        self._device, self._span = device, span(card)

    def seen(self, values: Tensor, valid: Tensor) -> Tensor:
        """``(chip, band, y, x)`` as the sensor tells it."""
        asked = self._settings
        given = values
        if asked.shade > 0 and asked.shade_share > 0:
            values = self._shaded(values)
        if asked.gamma > 0:
            values = self._bent(values)
        values = self._lit(values)
        if asked.blur > 0:
            values = self._blurred(values, valid)
        if asked.noise > 0:
            values = values + self._noise(values.shape)
        if self._card.units == "dn" and values is not given:
            values = values.clamp(0, self._span)
        return self._dropped(values) if asked.band_drop > 0 else values

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._random)

    def _to(self, drawn: Tensor) -> Tensor:
        return drawn.to(self._device)

    def _lit(self, values: Tensor) -> Tensor:
        """Gains, offsets and haze, which together are one factor and one term for each band."""
        asked, (chips, bands) = self._settings, values.shape[:2]
        factor, term = torch.ones(chips, bands, 1, 1), torch.zeros(chips, bands, 1, 1)
        if asked.gain > 0:
            factor = factor * (asked.gain * self._normal(chips, 1, 1, 1)).exp()
        if asked.band_gain > 0:
            factor = factor * (asked.band_gain * self._normal(chips, bands, 1, 1)).exp()
        if asked.haze > 0 and asked.haze_share > 0:
            haze = self._haze(chips)
            # As much light as is scattered in is about lost on the way.
            factor, term = factor * (1 - haze), term + haze
        if asked.offset > 0:
            term = term + asked.offset * self._normal(chips, bands, 1, 1)
        if not (factor != 1).any() and not term.any():
            return values
        return torch.addcmul(self._to(term * self._span), values, self._to(factor))

    def _haze(self, chips: int) -> Tensor:
        """Path radiance ``(chip, band, 1, 1)``: most in the bluest band, none in unknown ones."""
        asked = self._settings
        hazy = self._uniform(chips, 1) < asked.haze_share
        most = asked.haze * self._uniform(chips, 1) * hazy
        power = _HAZY + (_CLEAR - _HAZY) * self._uniform(chips, 1)
        lengths = torch.tensor([math.inf if r is None else r for r in relative(self._card.bands)])
        return (most * lengths[None] ** -power)[..., None, None]

    def _shaded(self, values: Tensor) -> Tensor:
        asked, (chips, _, *shape) = self._settings, values.shape
        dark = asked.shade * self._uniform(chips) * (self._uniform(chips) < asked.shade_share)
        knots = self._normal(chips, 1, _SHADE_POINTS, _SHADE_POINTS)
        at = dark.nonzero().flatten()
        if not len(at):
            return values
        field = F.interpolate(
            self._to(knots[at]), size=list(shape), mode="bicubic", align_corners=True
        )
        # How steep the field is decides how many pixels its zero crossing is wide.
        steep = max(shape) / (_SHADE_POINTS - 1) / _SHADE_EDGE
        light = 1 - self._to(dark[at]).view(-1, 1, 1, 1) * torch.sigmoid(4 * steep * field)
        out = values.clone()
        out[self._to(at)] *= light
        return out

    def _bent(self, values: Tensor) -> Tensor:
        power = self._to((self._settings.gamma * self._normal(len(values), 1, 1, 1)).exp())
        # Numbers below 0 have no power; they are noise about 0 and stay.
        bent = self._span * (values.clamp(min=0) / self._span) ** power
        return torch.where(values > 0, bent, values)

    def _blurred(self, values: Tensor, valid: Tensor) -> Tensor:
        """By a Gaussian of its own for each chip, over its valid pixels."""
        chips, bands = values.shape[:2]
        radius = max(1, math.ceil(2.5 * self._settings.blur))
        sigma = (self._settings.blur * self._uniform(chips, 1)).clamp(min=1e-3)
        kernel = (-(torch.arange(-radius, radius + 1) ** 2) / (2 * sigma**2)).exp()
        kernel = self._to(kernel / kernel.sum(dim=1, keepdim=True))
        kernel = kernel.repeat_interleave(bands + 1, dim=0)
        known = valid[:, None]
        stacked = torch.cat([values.masked_fill(~known, 0.0), known.to(values.dtype)], dim=1)
        flat, groups = stacked.flatten(0, 1)[None], chips * (bands + 1)
        for rows, cols in ((-1, 1), (1, -1)):
            weights = kernel.view(groups, 1, rows, cols)
            padding = (radius if rows < 0 else 0, radius if cols < 0 else 0)
            flat = F.conv2d(flat, weights, padding=padding, groups=groups)
        mixed = flat.view(chips, bands + 1, *values.shape[2:])
        return torch.where(known, mixed[:, :-1] / mixed[:, -1:].clamp(min=1e-6), values)

    def _noise(self, shape: torch.Size) -> Tensor:
        random = self._random
        if self._device.type != "cpu":
            seed = int(torch.randint(2**62, (), generator=random))
            random = torch.Generator(self._device).manual_seed(seed)
        noise = torch.randn(shape, generator=random, device=self._device)
        return noise.mul_(self._settings.noise * self._span)

    def _dropped(self, values: Tensor) -> Tensor:
        """One band at what enters the network as 0 (or next to it, where nothing does)."""
        chips, bands = values.shape[:2]
        lost = self._uniform(chips) < self._settings.band_drop
        which = torch.randint(bands, (chips,), generator=self._random)
        mean = self._card.mean if self._card.scaling == STANDARDISE else (0.0,) * bands
        mask = (torch.arange(bands) == which[:, None]) & lost[:, None]
        if not mask.any():
            return values
        fill = self._to(torch.tensor(mean, dtype=values.dtype)).view(1, -1, 1, 1)
        return torch.where(self._to(mask)[..., None, None], fill, values)
