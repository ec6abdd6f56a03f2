"""What the training scripts share: one loop, honest scores, and a model package at the end.

Plain torch, deterministic by seed on one machine. To be replaced by ``geoseg train``.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.models.architectures import build
from geoseg.models.base import ModelCard
from geoseg.models.card import dump_card
from geoseg.models.reach import measure

IGNORE = 255
ROOT = Path(__file__).parents[1] / "geoseg" / "models" / "weights"

Batch = Callable[[np.random.Generator, int], tuple[Tensor, Tensor]]
"""So many chips in physical units ``(n, band, y, x)``, augmented, and class indices."""


@dataclass(frozen=True)
class HeldOut:
    """Scenes that were never trained on: ``images`` ``(n, band, y, x)``, ``labels`` indices."""

    name: str
    images: NDArray[np.float32]
    labels: NDArray[np.uint8]


def options(steps: int) -> argparse.Namespace:
    """What every script takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/visible"))
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT)
    return parser.parse_args()


def train(
    card: ModelCard, batch: Batch, held_out: list[HeldOut], weights: list[float], args: Any
) -> None:
    """Train the card's network, score it on what was held out, and write its package."""
    torch.manual_seed(args.seed)
    random = np.random.default_rng(args.seed)
    network = build(card, seed=args.seed).train().to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=args.steps)
    balance, started = torch.tensor(weights), time.monotonic()
    for step in range(args.steps):
        images, labels = batch(random, 16)
        loss = _loss(network(_standardised(images, card)), labels, balance)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        _follow(average, network, min(0.995, (1 + step) / (10 + step)))
        if step % 100 == 0:
            seconds = time.monotonic() - started
            print(f"step {step}: loss {loss.item():.3f}, {seconds:.0f} s", flush=True)  # noqa: T201
    temperature = _temperature(average, card, held_out)
    scores = {part.name: score(average, card, part) for part in held_out}
    for name, result in scores.items():
        print(name, result, flush=True)  # noqa: T201
    about = dict(card.about) | {
        "temperature": temperature,
        "held_out": scores,
        "training": {"steps": args.steps, "seed": args.seed},
    }
    write_package(replace(card, about=about), average, args.out)


def score(network: nn.Module, card: ModelCard, part: HeldOut) -> dict[str, Any]:
    """Overall accuracy, IoU of each class and their mean, over all labelled pixels."""
    count = len(card.legend.classes)
    confusion = np.zeros((count, count), np.int64)
    for image, labels in zip(part.images, part.labels, strict=True):
        found = _logits(network, card, image).argmax(dim=0).numpy()
        known = labels != IGNORE
        pairs = labels[known].astype(np.int64) * count + found[known]
        confusion += np.bincount(pairs, minlength=count * count).reshape(count, count)
    right = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - right
    there = confusion.sum(1) > 0
    iou = right / np.maximum(1, union)
    return {
        "overall_accuracy": round(float(right.sum() / max(1, confusion.sum())), 4),
        "mean_iou": round(float(iou[there].mean()), 4),
        "iou": {
            name: round(float(v), 4)
            for name, v, seen in zip(card.legend.names, iou, there, strict=True)
            if seen
        },
        "pixels": int(confusion.sum()),
    }


def write_package(card: ModelCard, network: nn.Module, out: Path) -> None:
    """Write weights and card, with what is measured of the network."""
    folder = out / card.name
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
    weights.chmod(0o644)
    found = measure(network, bands=len(card.bands), stride=card.stride)
    if found.reach is None:
        raise SystemExit(f"{card.name}: its reach has no end, and no margin would be wide enough")
    card = replace(
        card,
        reach=found.reach,
        margin=-(-found.reach // card.stride) * card.stride,
        activation_bytes=found.activation_bytes,
        weights=weights.name,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        about=dict(card.about)
        | {"parameters": found.parameters, "flops_per_pixel": found.flops_per_pixel},
    )
    dump_card(card, folder / "card.json")
    print(folder, found, flush=True)  # noqa: T201


def turned(images: Tensor, labels: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One of the eight symmetries of the square."""
    if random.random() < 0.5:
        images, labels = images.flip(-1), labels.flip(-1)
    quarter = int(random.integers(4))
    return images.rot90(quarter, (-2, -1)), labels.rot90(quarter, (-2, -1))


def scaled_crop(
    image: Tensor, labels: Tensor, random: np.random.Generator, *, side: int, factor: float
) -> tuple[Tensor, Tensor]:
    """A random square of ``side * factor`` pixels, brought to ``side``, turned at random."""
    wanted = min(round(side * factor), *labels.shape)
    y, x = (int(random.integers(n - wanted + 1)) for n in labels.shape)
    image, labels = image[:, y : y + wanted, x : x + wanted], labels[y : y + wanted, x : x + wanted]
    if wanted != side:
        mode = "area" if wanted > side else "bilinear"
        image = F.interpolate(image[None], size=(side, side), mode=mode)[0]
        nearest = torch.arange(side) * wanted // side
        labels = labels[nearest][:, nearest]
    return turned(image, labels, random)


def _standardised(images: Tensor, card: ModelCard) -> Tensor:
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (card.mean, card.std))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def _loss(logits: Tensor, labels: Tensor, balance: Tensor) -> Tensor:
    """Cross-entropy with class weights, and half of the mean Dice loss."""
    entropy = F.cross_entropy(
        logits, labels, weight=balance, ignore_index=IGNORE, label_smoothing=0.05
    )
    count = logits.shape[1]
    known = (labels != IGNORE)[:, None]
    scores = logits.softmax(dim=1) * known
    truth = F.one_hot(labels.clamp(max=count - 1), count).permute(0, 3, 1, 2) * known
    both = 2 * (scores * truth).sum((0, 2, 3)) + 1
    dice = 1 - (both / ((scores + truth).sum((0, 2, 3)) + 1)).mean()
    return entropy + 0.5 * dice


def _follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """The exponential moving average of all weights, which is what is shipped."""
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    for ours, theirs in pairs:
        if ours.dtype.is_floating_point:
            ours.mul_(keep).add_(theirs, alpha=1 - keep)
        else:
            ours.copy_(theirs)


@torch.inference_mode()
def _logits(network: nn.Module, card: ModelCard, image: NDArray[np.float32]) -> Tensor:
    """Of a whole image, whose sides are padded to the stride."""
    h, w = image.shape[1:]
    x = _standardised(torch.from_numpy(image[None]), card)
    x = F.pad(x, (0, -w % card.stride, 0, -h % card.stride))
    logits: Tensor = network(x)[0, :, :h, :w]
    return logits


def _temperature(network: nn.Module, card: ModelCard, held_out: list[HeldOut]) -> float:
    """What the logits are divided by so that confidence is right on average (Guo et al. 2017)."""
    logits, labels = [], []
    for part in held_out:
        for image, truth in zip(part.images[::2], part.labels[::2], strict=True):
            known = torch.from_numpy(truth != IGNORE)
            logits.append(_logits(network, card, image)[:, known][:, ::7])
            labels.append(torch.from_numpy(truth).long()[known][::7])
    scores, truth_ = torch.cat(logits, dim=1).T, torch.cat(labels)
    grid = [round(0.5 + 0.05 * i, 2) for i in range(51)]
    return min(grid, key=lambda t: float(F.cross_entropy(scores / t, truth_)))
