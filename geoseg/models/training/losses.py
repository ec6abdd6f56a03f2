"""Losses of semantic segmentation and their sums; pixels that nobody knows do not count.

All take logits ``(chip, class, y, x)`` and labels ``(chip, y, x)`` of uint8, are computed in fp32,
and are 0 with a gradient of 0 where no pixel is known. Nothing depends on what the logits are where
the label is :data:`~geoseg.models.training.base.IGNORE`.

Sources: Lin et al. 2017, arXiv:1708.02002 (focal); Milletari et al. 2016, arXiv:1606.04797 (Dice);
Rahman & Wang 2016, doi:10.1007/978-3-319-50835-1_22 (soft IoU); Berman et al. 2018,
arXiv:1705.08790 (Lovász-Softmax); Bokhovkin & Burnaev 2019, arXiv:1905.07852 (boundary loss).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.errors import ModelError
from geoseg.models.fields import closest
from geoseg.models.training.base import IGNORE, LossName, TrainingSettings

Loss = Callable[[Tensor, Tensor], Tensor]

# Sides of the windows of the boundary loss: what is a boundary, and how far off it may be.
_BOUNDARY, _NEAR = 3, 5
_TINY: Final = 1e-12
# Below it the focal factor has no gradient: a power less than 1 has an infinite one at 0.
_SURE: Final = 1e-7


def make_loss(settings: TrainingSettings, classes: int) -> Loss:
    """The weighted sum of the losses that ``settings`` name.

    Raises:
        ModelError: No such loss, a weight that is negative or no number, no loss at all, or
            class weights that are not one for each of the ``classes``.
    """
    _check(settings, classes)
    weights = {name: float(weight) for name, weight in settings.losses.items() if weight > 0}

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        seen = Pixels(logits, labels)
        per_class = None
        if settings.class_weights is not None:
            per_class = logits.new_tensor(settings.class_weights, dtype=torch.float32)
        total = seen.nothing
        for name, weight in weights.items():
            total = total + weight * _one(name, seen, per_class, settings)
        return total

    return loss


@dataclass(frozen=True, eq=False)
class Pixels:
    """What several losses need of the same logits and labels, computed once.

    Attributes:
        given: Logits ``(chip, class, y, x)`` of any precision.
        labels: ``(chip, y, x)`` of any integer dtype.
    """

    given: Tensor
    labels: Tensor

    @cached_property
    def logits(self) -> Tensor:
        """In fp32 (or fp64), 0 where nothing is known, so that nothing comes from there."""
        exact = self.given if self.given.dtype == torch.float64 else self.given.float()
        return exact.masked_fill(~self.known[:, None], 0.0)

    @cached_property
    def known(self) -> Tensor:
        """``(chip, y, x)`` bool."""
        return self.labels != IGNORE

    @cached_property
    def truth(self) -> Tensor:
        """``(chip, y, x)`` int64; 0 where nothing is known."""
        return self.labels.masked_fill(~self.known, 0).long()

    @cached_property
    def logarithms(self) -> Tensor:
        """Of the probabilities, ``(chip, class, y, x)``."""
        return self.logits.log_softmax(dim=1)

    @cached_property
    def scores(self) -> Tensor:
        """Probabilities ``(chip, class, y, x)``; 0 where nothing is known."""
        return self.logarithms.exp() * self.known[:, None]

    @cached_property
    def ones(self) -> Tensor:
        """1 for the true class, ``(chip, class, y, x)``; 0 where nothing is known."""
        count = self.given.shape[1]
        order = torch.arange(count, device=self.labels.device, dtype=torch.int64)
        same = self.truth[:, None] == order.view(1, -1, 1, 1)
        return (same & self.known[:, None]).to(self.logits.dtype)

    @cached_property
    def of_truth(self) -> Tensor:
        """Logarithm of the true class' probability ``(chip, y, x)``."""
        return (self.logarithms * self.ones).sum(dim=1)

    @cached_property
    def present(self) -> Tensor:
        """``(class,)`` 1 for the classes that are there."""
        return self.ones.amax(dim=(0, 2, 3))

    @cached_property
    def nothing(self) -> Tensor:
        """0 with a gradient of 0."""
        return self.logits.sum() * 0.0

    def weights(self, per_class: Tensor | None) -> Tensor:
        """What each pixel counts ``(chip, y, x)``; 0 where nothing is known."""
        if per_class is None:
            return self.known.to(self.logits.dtype)
        return per_class.to(self.logits)[self.truth] * self.known


def cross_entropy(
    seen: Pixels, per_class: Tensor | None = None, *, smoothing: float = 0.0
) -> Tensor:
    """Mean over known pixels, as ``torch.nn.functional.cross_entropy`` has it."""
    weights = seen.weights(per_class)
    total = -(1 - smoothing) * (seen.of_truth * weights).sum()
    if smoothing:
        each = seen.logarithms * seen.known[:, None]
        if per_class is not None:
            each = each * per_class.to(each).view(1, -1, 1, 1)
        total = total - smoothing / each.shape[1] * each.sum()
    return total / weights.sum().clamp(min=_TINY)


def focal(seen: Pixels, per_class: Tensor | None = None, *, gamma: float = 2.0) -> Tensor:
    """Cross-entropy in which pixels count the less the surer they are right: ``(1 - p) ** gamma``."""
    weights = seen.weights(per_class)
    doubt = (-torch.expm1(seen.of_truth)).clamp(min=_SURE)
    return -(doubt**gamma * seen.of_truth * weights).sum() / weights.sum().clamp(min=_TINY)


def dice(seen: Pixels) -> Tensor:
    """1 minus the soft Dice coefficient of the whole batch, mean over the classes that are there."""
    both = (seen.scores * seen.ones).sum(dim=(0, 2, 3))
    sizes = seen.scores.sum(dim=(0, 2, 3)) + seen.ones.sum(dim=(0, 2, 3))
    return _mean(1 - 2 * both / sizes.clamp(min=_TINY), seen.present)


def soft_iou(seen: Pixels) -> Tensor:
    """1 minus the soft IoU of the whole batch, mean over the classes that are there."""
    both = (seen.scores * seen.ones).sum(dim=(0, 2, 3))
    sizes = seen.scores.sum(dim=(0, 2, 3)) + seen.ones.sum(dim=(0, 2, 3))
    return _mean(1 - both / (sizes - both).clamp(min=_TINY), seen.present)


def lovasz(seen: Pixels) -> Tensor:
    """Lovász-Softmax: the convex hull of the IoU loss, over all pixels of the batch together."""
    known = seen.known.flatten()
    ones, scores = (
        t.movedim(1, 0).flatten(1)[:, known] for t in (seen.ones, seen.logarithms.exp())
    )
    if ones.shape[1] == 0:
        return seen.nothing
    present = seen.present.nonzero().flatten()
    ones, scores = ones[present], scores[present]
    errors, order = (ones - scores).abs().sort(dim=1, descending=True)
    return (errors * _jaccard_slopes(ones.gather(1, order))).sum(dim=1).mean()


def _jaccard_slopes(ones: Tensor) -> Tensor:
    """How much each error adds to 1 - IoU, ``(class, pixel)``, the largest errors first."""
    whole = ones.sum(dim=1, keepdim=True)
    # Counts of more than 2^24 pixels have no place in fp32.
    hits = ones.cumsum(dim=1, dtype=torch.float64)
    places = torch.arange(1, ones.shape[1] + 1, device=ones.device, dtype=torch.float64)
    jaccard = 1 - (whole - hits) / (whole + places - hits)
    return torch.diff(jaccard, dim=1, prepend=torch.zeros_like(jaccard[:, :1])).to(ones.dtype)


def boundary(seen: Pixels) -> Tensor:
    """1 minus a soft boundary F1, mean over the classes that have one.

    A boundary is where the largest of a class' complement within 3 x 3 pixels is more than that of
    the pixel; it is right where the other map has one within 5 x 5 pixels. What is within these
    distances of a pixel that nobody knows is not judged.
    """
    known = _shrunk(seen.known.to(seen.logits.dtype)[:, None], _BOUNDARY)
    judged = _shrunk(known, _NEAR)
    true, found = _outline(seen.ones) * known, _outline(seen.scores) * known
    precise = _share(found * judged, _most(true, _NEAR))
    complete = _share(true * judged, _most(found, _NEAR))
    f1 = 2 * precise * complete / (precise + complete).clamp(min=_TINY)
    there = ((true * judged).sum(dim=(0, 2, 3)) > 0).to(f1.dtype)
    return _mean(1 - f1, there)


def _outline(shares: Tensor) -> Tensor:
    inverse = 1 - shares
    return _most(inverse, _BOUNDARY) - inverse


def _most(values: Tensor, side: int) -> Tensor:
    """The largest within ``side x side`` pixels, along rows and then along columns."""
    reach = side // 2
    if values.requires_grad:
        rows = F.max_pool2d(values, (1, side), stride=1, padding=(0, reach))
        return F.max_pool2d(rows, (side, 1), stride=1, padding=(reach, 0))
    # Pooling also remembers where the largest was: without that it is several times faster.
    for axis in (-1, -2):
        length = values.shape[axis]
        wide = F.pad(values, (reach, reach, 0, 0) if axis == -1 else (0, 0, reach, reach))
        values = wide.narrow(axis, 0, length)
        for shift in range(1, side):
            values = torch.maximum(values, wide.narrow(axis, shift, length))
    return values


def _shrunk(known: Tensor, side: int) -> Tensor:
    """1 where all within the window is known; the chip's rim hides nothing."""
    return 1 - _most(1 - known, side)


def _share(part: Tensor, near: Tensor) -> Tensor:
    """``(class,)`` share of ``part`` that lies in ``near``."""
    return (part * near).sum(dim=(0, 2, 3)) / part.sum(dim=(0, 2, 3)).clamp(min=_TINY)


def _mean(values: Tensor, present: Tensor) -> Tensor:
    return (values * present).sum() / present.sum().clamp(min=1.0)


def _one(
    name: LossName, seen: Pixels, per_class: Tensor | None, settings: TrainingSettings
) -> Tensor:
    if name == "cross_entropy":
        return cross_entropy(seen, per_class, smoothing=settings.label_smoothing)
    if name == "focal":
        return focal(seen, per_class, gamma=settings.focal_gamma)
    return _PLAIN[name](seen)


_PLAIN: Final[Mapping[str, Callable[[Pixels], Tensor]]] = {
    "dice": dice,
    "soft_iou": soft_iou,
    "lovasz": lovasz,
    "boundary": boundary,
}
NAMES: Final = ("cross_entropy", "focal", *_PLAIN)


def _check(settings: TrainingSettings, classes: int) -> None:
    for name, weight in settings.losses.items():
        if name not in NAMES:
            raise ModelError(
                f"losses: no loss {name!r}{closest(name, NAMES) or ';'} known: {', '.join(NAMES)}"
            )
        if not 0 <= weight < float("inf"):
            raise ModelError(f"losses: {name}: found {weight!r}; wanted a weight from 0")
    if not any(weight > 0 for weight in settings.losses.values()):
        raise ModelError("losses: found none with a weight above 0; there is nothing to learn by")
    found = settings.class_weights
    if found is not None and len(found) != classes:
        raise ModelError(
            f"class_weights: found {len(found)} numbers; wanted {classes}, one for each class"
        )
    if found is not None and not (all(0 <= w < float("inf") for w in found) and any(found)):
        raise ModelError(f"class_weights: found {found}; wanted numbers from 0, not all 0")
    if not 0 <= settings.label_smoothing < 1:
        raise ModelError(
            f"label_smoothing: found {settings.label_smoothing}; wanted a share below 1"
        )
    if not 0 <= settings.focal_gamma < float("inf"):
        raise ModelError(f"focal_gamma: found {settings.focal_gamma}; wanted a number from 0")
