"""Where a training step's time goes: network, loss, augmentation, the rest.

    python benchmarks/training.py [--batch 16] [--side 96] [--steps 15] [--precision fp32]
        [--threads 1] [--device cpu] [--losses cross_entropy=1,dice=0.5] [--all]

The chips are random numbers in six bands, the network is ``geoseg-unet`` of its default widths.
Printed is the median over steps of each part, in CPU time on a CPU (wall time says little on a
busy machine) and in wall time on CUDA, and its share of the step. The network's part is its forward
and its backward pass, measured alone, on the same batch. ``--all`` switches every augmentation on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from geoseg.legend import LANDCOVER
from geoseg.models.architectures import build
from geoseg.models.base import ModelCard
from geoseg.models.training.base import Augmentation, TrainingSettings
from geoseg.models.training.geometry import Chips
from geoseg.models.training.learner import Learner
from geoseg.models.training.losses import NAMES, make_loss

CARD = ModelCard(
    name="benchmark",
    version="1.0.0",
    bands=("blue", "green", "red", "nir", "swir16", "swir22"),
    units="reflectance",
    mean=(0.1,) * 6,
    std=(0.1,) * 6,
    legend=LANDCOVER,
    stride=8,
    architecture={"name": "geoseg-unet"},
)
ALL = Augmentation(
    gamma=0.1, shade=0.4, shade_share=0.3, blur=0.8, band_drop=0.1, elastic=2.0, haze_share=0.3
)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--losses", default="cross_entropy=1,dice=0.5")
    parser.add_argument("--all", action="store_true")
    return parser.parse_args()


def chips(batch: int, side: int, device: torch.device) -> Chips:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 6, (batch, side // 8, side // 8)).astype(np.uint8)
    labels = coarse.repeat(8, 1).repeat(8, 2)
    values = random.normal(0.1, 0.1, (batch, 6, *labels.shape[1:])).astype(np.float32)
    parts = (values, labels, np.ones(labels.shape, np.bool_))
    return Chips(*(torch.from_numpy(a).to(device) for a in parts))


def median(of: Callable[[], object], times: int, device: torch.device) -> float:
    """Milliseconds."""
    cuda = device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    found = []
    for _ in range(times + 2):
        if cuda:
            torch.cuda.synchronize()
        start = clock()
        of()
        if cuda:
            torch.cuda.synchronize()
        found.append(clock() - start)
    # The first ones choose kernels.
    return 1000 * sorted(found[2:])[times // 2]


def main() -> None:
    asked = options()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    losses = {k: float(v) for k, v in (part.split("=") for part in asked.losses.split(","))}
    settings = TrainingSettings(
        losses=losses,  # type: ignore[arg-type]  # checked by what takes it
        precision=asked.precision,
        augmentation=ALL if asked.all else Augmentation(),
    )
    learner = Learner(CARD, build(CARD), settings, device)
    batch = chips(asked.batch, asked.side, device)
    logits = learner.logits(batch).detach().requires_grad_()
    pull = torch.ones_like(logits)
    parts: dict[str, Callable[[], object]] = {
        "whole step": lambda: learner.step(10, batch),
        "network": lambda: learner.logits(batch).backward(pull),
        "augmentation": lambda: learner.strong(batch, 10),
    }
    for name in (asked.losses, *NAMES):
        each = settings if name == asked.losses else TrainingSettings(losses={name: 1.0})  # type: ignore[dict-item]  # of the names
        loss = make_loss(each, 6)
        parts[f"loss {name}"] = lambda loss=loss: loss(logits.float(), batch.labels).backward()  # type: ignore[misc]  # mypy cannot tell
    found = {name: median(part, asked.steps, device) for name, part in parts.items()}
    whole = found["whole step"]
    print(f"torch {torch.__version__}, {asked.device}, {asked.precision}, {asked.threads} threads,")
    print(f"batch {asked.batch} x 6 x {asked.side} x {asked.side}: {1000 / whole:.2f} steps/s")
    for name, spent in found.items():
        print(f"{name:32} {spent:8.1f} ms {100 * spent / whole:6.1f} %")


if __name__ == "__main__":
    main()
