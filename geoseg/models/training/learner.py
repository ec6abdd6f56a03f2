"""One network that learns: a step is a function of weights, batch, seed and the step's number."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.errors import ModelError, TrainingError
from geoseg.models.base import ModelCard
from geoseg.models.training.augment import augment
from geoseg.models.training.base import IGNORE, TrainingSettings
from geoseg.models.training.ema import Average
from geoseg.models.training.geometry import Chips
from geoseg.models.training.losses import make_loss
from geoseg.models.training.network_input import Scaler, padded
from geoseg.models.training.schedule import learning_rate
from geoseg.models.training.self_training import MeanTeacher

_TYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Streams of random numbers of a step.
_LABELLED, _UNLABELLED, _INSIDE = 0, 1, 2


class Learner:
    """A network, its moving average, and what is needed to make both better.

    Args:
        card: How values enter the network.
        network: Becomes this object's own.
        settings: How to learn.
        device: Where.
    """

    def __init__(
        self, card: ModelCard, network: nn.Module, settings: TrainingSettings, device: torch.device
    ) -> None:
        self._card, self._settings, self._device = card, settings, device
        self._loss = make_loss(settings, len(card.legend.classes))
        self._scale = Scaler(card, device)
        network = network.float().requires_grad_(requires_grad=True)
        self.network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]  # missing in torch's stubs
        self.average = Average(self.network, settings.ema)
        self._weights = [p for p in self.network.parameters() if p.requires_grad]
        self._optimizer = _optimizer(self.network, settings)
        self._scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self._teacher = self._make_teacher()

    def step(self, step: int, chips: Chips, unlabelled: Chips | None = None) -> float:
        """Learn from a batch; gives its loss.

        Raises:
            TrainingError: Loss or gradient are no numbers any more.
        """
        settings = self._settings
        torch.manual_seed(_seed(settings.seed, step, _INSIDE))  # for dropout and the like
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._learn(step, self.strong(self._to(chips), step), 1.0)
        if self._teacher is not None and unlabelled is not None:
            loss += self._learn_from_teacher(step, self._to(unlabelled), self._teacher)
        self._update(step, loss)
        self.average.follow(step)
        return loss

    def strong(self, chips: Chips, step: int, stream: int = _LABELLED) -> Chips:
        """Chips on the device as the network is shown them in a step: augmented."""
        settings = self._settings
        if settings.augmentation is None:
            return chips
        random = torch.Generator().manual_seed(_seed(settings.seed, step, stream))
        parts = augment(
            chips.values,
            chips.labels,
            chips.valid,
            card=self._card,
            settings=settings.augmentation,
            generator=random,
        )
        return Chips(*parts)

    def logits(self, chips: Chips, network: nn.Module | None = None) -> Tensor:
        """What the network that learns, or another, says of chips on the device, padded."""
        values, valid = padded(chips.values, chips.valid, self._card.stride)
        precision = self._settings.precision
        with torch.autocast(self._device.type, _TYPES[precision], enabled=precision != "fp32"):
            asked = self.network if network is None else network
            logits: Tensor = asked(self._scale(values, valid))
        return logits

    def state(self) -> dict[str, Any]:
        """All that the next steps follow from."""
        kept = {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        if self.average.network is not self.network:
            kept["average"] = self.average.network.state_dict()
        return kept

    def restore(self, state: dict[str, Any]) -> None:
        """Be as :meth:`state` was."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if "average" in state:
            self.average.network.load_state_dict(state["average"])

    def _make_teacher(self) -> MeanTeacher | None:
        asked = self._settings.self_training
        if asked is None:
            return None
        if self.average.network is self.network:
            raise ModelError(
                "ema: found 0; self-training needs a moving average, which is its teacher: "
                "wanted a number below 1, like 0.995"
            )
        return MeanTeacher(asked, self._settings.steps, self.average.network)

    def _to(self, chips: Chips) -> Chips:
        parts = (chips.values, chips.labels, chips.valid)
        return Chips(*(t.to(self._device, non_blocking=True) for t in parts))

    def _learn(self, step: int, chips: Chips, weight: float) -> float:
        """Add the gradient of the loss times ``weight``."""
        labels = chips.labels
        below, right = (-n % self._card.stride for n in labels.shape[-2:])
        if below or right:
            labels = F.pad(labels, (0, right, 0, below), value=IGNORE)
        logits = self.logits(chips)
        loss = weight * self._loss(logits.float(), labels)
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(self._broken(step, f"the loss is {value}", chips))
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's is untyped
        return value

    def _learn_from_teacher(self, step: int, chips: Chips, teacher: MeanTeacher) -> float:
        weight = teacher.weight(step)
        if weight == 0:
            return 0.0
        with torch.no_grad():
            logits = self.logits(chips, teacher.network)
        height, width = chips.valid.shape[-2:]
        labels, share = teacher.labels(logits[..., :height, :width], chips.valid)
        if share == 0:
            return 0.0
        taught = Chips(chips.values, labels, chips.valid)
        return self._learn(step, self.strong(taught, step, _UNLABELLED), weight * share)

    def _update(self, step: int, loss: float) -> None:
        self._scaler.unscale_(self._optimizer)
        clip = self._settings.clip if self._settings.clip > 0 else math.inf
        norm = float(nn.utils.clip_grad_norm_(self._weights, clip))
        # In fp16 a scale that was too high makes infinities; the scaler leaves such a step out.
        if not math.isfinite(norm) and not self._scaler.is_enabled():
            raise TrainingError(
                self._broken(step, f"the loss is {loss:.4g}, the norm of its gradient {norm}", None)
            )
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def _broken(self, step: int, what: str, chips: Chips | None) -> str:
        head = f"training broke off in step {step + 1}: {what}"
        if (
            chips is not None
            and not torch.isfinite(chips.values.masked_select(chips.valid[:, None])).all()
        ):
            return f"{head}: valid pixels of its batch are not finite; mask them in the scenes"
        low = "" if self._settings.precision == "fp32" else ", or precision fp32"
        return (
            f"{head}; try a learning_rate below {self._settings.learning_rate:g}, a longer warmup, "
            f"or a clip below {self._settings.clip:g}{low}"
        )


def _optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW; what is added or scales a channel is not drawn to 0."""
    plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    drawn = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    groups = [
        {"params": drawn, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=settings.learning_rate, fused=True
    )


def _seed(seed: int, step: int, stream: int) -> int:
    """Of one stream of random numbers of one step, unlike all others."""
    state = np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
