"""Proving a package: its card, its weights, its scores on a fixed chip, its reach, its costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg.errors import BlockError, ModelError
from geoseg.models.architectures import build, steps
from geoseg.models.base import ModelCard, Segmenter
from geoseg.models.card import to_item
from geoseg.models.fields import At, read_json
from geoseg.models.fixed_chip import fixed_chip, positions
from geoseg.models.formats import ONNX, SAFETENSORS, TORCHSCRIPT, by_name
from geoseg.models.intact import check_weights
from geoseg.models.reach import Measured, costs, measure
from geoseg.models.registry import CARD_FILE, ModelPackage, open_segmenter
from geoseg.models.stac_check import faults
from geoseg.models.torch_engine import load_network

CHECK_FILE: Final = "check.json"
"""Beside the card: scores on a fixed chip, as whoever made the package got them."""

TOLERANCE: Final = 1e-3
_SAMPLES: Final = 256
_SEED: Final = 7
_SLACK: Final = 1.25


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at; ``fault`` says what is wrong with it, "" where nothing is."""

    what: str
    found: str
    fault: str = ""


def write_check(package: ModelPackage) -> Path:
    """Keep a few hundred scores of a fixed chip beside the card; the same ones give the same bytes."""
    card = package.card
    shape = _shape(card)
    scores = _scores(open_segmenter(package, device="cpu", threads=1), shape)
    # Six digits are far finer than the tolerance, and hide the last bits of a machine.
    values = [round(float(v), 6) for v in _sampled(scores)]
    content = {
        "geoseg_check": 1,
        "seed": _SEED,
        "shape": list(shape),
        "tolerance": TOLERANCE,
        "scores": values,
    }
    path = package.folder / CHECK_FILE
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")
    return path


def examine(package: ModelPackage) -> list[Line]:
    """Look at all of it; nothing is written.

    Raises:
        ModelError: The package cannot be opened at all.
    """
    card = package.card
    if package.weights is None:
        raise ModelError(f"model {card.name!r} has no weights: it must be trained before use")
    known = check_weights(package.weights, card.sha256)
    pinned = "" if card.sha256 else "the card has no file:checksum: any other file would do"
    lines = [_stac(package)]
    lines.append(
        Line("weights", f"{known.name}, {package.weights.stat().st_size / 1e6:.2f} MB", pinned)
    )
    segmenter = open_segmenter(package, device="cpu", threads=1)
    lines += _forward(package, segmenter)
    lines += _costs(package, segmenter)
    return lines


def _stac(package: ModelPackage) -> Line:
    file = package.folder / CARD_FILE
    # What lies there, where there is a card; a bare file has the one that it carries.
    item = read_json(file) if file.is_file() else to_item(package.card)
    found = faults(item)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Line(
        "card",
        "a STAC item with MLM 1.5.2" if not found else "not valid",
        f"{found[0]}{more}" if found else "",
    )


def _forward(package: ModelPackage, segmenter: Segmenter) -> list[Line]:
    path = package.folder / CHECK_FILE
    scores = _scores(segmenter, _shape(package.card))
    lines = [Line("forward", f"{scores.shape[1]} classes, sums within {_off(scores):.1g} of 1")]
    if not path.is_file():
        missing = f"no {CHECK_FILE}: write one with geoseg models check --write"
        return [*lines, Line("scores", "not compared", missing)]
    stored = At(str(path), "", read_json(path))
    stored.get("geoseg_check").integer(1)
    seed, tolerance = stored.get("seed").integer(0), stored.get("tolerance").number()
    sides = [side.integer(1) for side in stored.get("shape").items("two numbers")]
    wanted = [v.number() for v in stored.get("scores").items("a list of scores")]
    if len(sides) != 2 or max(sides) > 4096:
        raise stored.get("shape").wrong("height and width of a chip")
    found = _sampled(_scores(segmenter, (sides[0], sides[1]), seed), len(wanted), seed)
    worst = float(np.abs(found - np.asarray(wanted)).max())
    fault = "" if worst <= tolerance else f"up to {worst:.2g} off the stored ones: not this model"
    return [
        *lines,
        Line("scores", f"{len(wanted)} of them within {worst:.1g} of those stored", fault),
    ]


def _costs(package: ModelPackage, segmenter: Segmenter) -> list[Line]:
    """Reach, stride, FLOPs and memory: measured, and held against the card."""
    card = package.card
    kind = by_name(package.weights.name) if package.weights else None
    lines = [_stride(package, kind is SAFETENSORS)]
    if kind is SAFETENSORS:
        network = build(card)
        found = measure(network, bands=len(card.bands), stride=card.stride)
        return [*lines, _reach(card, found.reach), *_amounts(card, found)]
    lines.append(_felt(card, segmenter))
    if kind in (ONNX, TORCHSCRIPT) or card.fixed:
        return [*lines, Line("costs", "not measured: only of networks that torch builds")]
    return [*lines, *_amounts(card, _measured_graph(load_network(package), card))]


def _measured_graph(network: nn.Module, card: ModelCard) -> Measured:
    return costs(network, bands=len(card.bands), size=max(256 // card.stride, 2) * card.stride)


def _stride(package: ModelPackage, built: bool) -> Line:  # noqa: FBT001 (one use, two lines away)
    card = package.card
    if card.fixed:
        return Line("stride", f"chips of {card.size} px only")
    halved = steps(build(card)) if built else 1
    fault = f"the network's is {halved}" if card.stride % halved else ""
    return Line("stride", f"{card.stride} px", fault)


def _reach(card: ModelCard, found: int | None) -> Line:
    says = "everywhere" if card.reach is None else f"{card.reach} px"
    text = "everywhere" if found is None else f"{found} px"
    if found != card.reach:
        far = found is None or (card.reach is not None and found > card.reach)
        more = ": tiles would not join as the card promises" if far else ""
        return Line("reach", text, f"the card says {says}{more}")
    if found is not None and card.margin < found:
        return Line("reach", text, f"the margin is {card.margin} px: seams would show")
    return Line("reach", f"{text}; margin {card.margin} px")


def _felt(card: ModelCard, segmenter: Segmenter) -> Line:
    """For graphs, whose weights cannot be made positive: push pixels, and look how far it is felt."""
    if card.reach is None or card.fixed:
        return Line("reach", "everywhere, says the card" if card.reach is None else "not measured")
    side = 2 * (-(-card.reach // card.stride) + 2) * card.stride
    chip = fixed_chip(card, (side, side), seed=_SEED)
    still = segmenter.scores(chip)[0]
    farthest = 0
    for at in range(side // 2, side // 2 + min(card.stride, 8)):
        values = chip.values.copy()
        values[..., at, at] += 50 * np.asarray(card.std, np.float32)
        moved = segmenter.scores(type(chip)(values, chip.scale, chip.offset, chip.valid))[0]
        rows, cols = np.nonzero(np.abs(moved - still).max(axis=0) > 1e-6)
        if len(rows):
            farthest = max(farthest, int(np.abs([rows - at, cols - at]).max()))
    fault = f"the card says {card.reach} px" if farthest > card.reach else ""
    return Line("reach", f"felt {farthest} px away; the card says {card.reach} px", fault)


def _amounts(card: ModelCard, found: Measured) -> list[Line]:
    told = card.about.get("parameters")
    other = f"the card says {told}" if told is not None and told != found.parameters else ""
    more = found.activation_bytes > _SLACK * card.activation_bytes
    fault = f"the card says {card.activation_bytes}: plans would be too small" if more else ""
    return [
        Line("parameters", f"{found.parameters:,}", other),
        Line("FLOPs", f"{found.flops_per_pixel:,} for a pixel"),
        Line("memory", f"{found.activation_bytes:,} bytes of activations for a pixel", fault),
    ]


def _shape(card: ModelCard) -> tuple[int, int]:
    """A small chip that is not square, or the only size that there is."""
    if card.fixed:
        return card.size, card.size
    step = max(1, -(-64 // card.stride)) * card.stride
    return step, step + 2 * card.stride


def _scores(segmenter: Segmenter, shape: tuple[int, int], seed: int = _SEED) -> NDArray[np.float32]:
    try:
        with torch.inference_mode():
            return segmenter.scores(fixed_chip(segmenter.card, shape, seed=seed))
    except BlockError as error:
        raise ModelError(str(error)) from error


def _sampled(
    scores: NDArray[np.float32], count: int = _SAMPLES, seed: int = _SEED
) -> NDArray[np.float32]:
    found: NDArray[np.float32] = scores.reshape(-1)[positions(count, scores.size, seed=seed + 2)]
    return found


def _off(scores: NDArray[np.float32]) -> float:
    return float(np.abs(scores.sum(axis=1) - 1).max())


def as_json(lines: list[Line]) -> list[Mapping[str, Any]]:
    """For programs."""
    return [{"what": n.what, "found": n.found, "fault": n.fault or None} for n in lines]
