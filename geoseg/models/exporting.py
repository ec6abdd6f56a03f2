"""Models for others to run: safetensors, ``torch.export``, ONNX, and ONNX for QGIS Deepness."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.card import dump_card, to_item
from geoseg.models.deepness import BYTE, to_keys
from geoseg.models.fixed_chip import fixed_chip
from geoseg.models.light import PartMeans
from geoseg.models.onnx_file import CARD_KEY
from geoseg.models.pt2_archive import CARD_NAME
from geoseg.models.registry import CARD_FILE, ModelPackage, find, open_segmenter
from geoseg.models.scaling import STANDARDISE, curve, linear, temperature
from geoseg.models.torch_engine import load_network
from geoseg.models.traced import as_logits
from geoseg.models.weights_file import save_package

Kind = Literal["safetensors", "pt2", "onnx", "deepness"]
KINDS: Final[tuple[Kind, ...]] = ("safetensors", "pt2", "onnx", "deepness")

LARGEST_DIFFERENCE: Final = 1e-3
"""Probabilities of an export may be this far from the original's; it is refused beyond."""

_NOISE: Final = 2e-5
_MOST: Final = 4096
_OPSET: Final = 17


@dataclass(frozen=True, slots=True)
class Wish:
    """What an export should be like.

    Attributes:
        kind: The format.
        softmax: Give probabilities, with the card's temperature in them, instead of logits.
        size: Chips of this size only; None: of any multiple of the stride.
        scale: For Deepness: ``physical = stored * scale + offset`` of the layer in QGIS.
        offset: Likewise.
    """

    kind: Kind = "safetensors"
    softmax: bool = False
    size: int | None = None
    scale: float | None = None
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how far its scores are from the original's on a fixed chip."""

    path: Path
    difference: float
    bytes: int


def write_export(package: ModelPackage, out: Path, wish: Wish) -> Exported:
    """Write a model as ``out``: a folder that is a package, or one file that knows its card.

    The export is opened again and compared with the original before anybody gets to see it;
    ``out`` should be a place that is given up where this raises.

    Raises:
        ModelError: The network cannot be written so, or does not give the same scores then.
    """
    card = _card(package.card, wish)
    network = as_logits(load_network(package), package.card)
    file = out if out.suffix else out / f"weights{_suffix(wish.kind)}"
    file.parent.mkdir(parents=True, exist_ok=True)
    if wish.kind == "safetensors":
        if card.architecture.get("name") is None or package.weights is None:
            raise ModelError(f"model {card.name!r}: its card names no network to build")
        save_package(load_network(package), replace(card), file.parent)
    else:
        card = replace(card, weights=file.name)
        graph = _prepared(network, package.card, card, wish)
        _WRITERS[wish.kind](graph, card, file)
        if not out.suffix:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            dump_card(replace(card, sha256=digest), out / CARD_FILE)
    return Exported(out, _difference(package, out, wish), file.stat().st_size)


def _card(card: ModelCard, wish: Wish) -> ModelCard:
    """The card of the export."""
    about = dict(card.about)
    output = "logits"
    if wish.kind == "deepness" or wish.softmax:
        output = "probabilities"
        about.pop("temperature", None)  # it is in the network from now on
    if wish.kind == "safetensors":
        if wish.softmax or wish.size:
            raise ModelError("safetensors hold weights only: no softmax and no size can be in them")
        return card
    card = replace(card, about=about, output=output, sha256=None)
    size = wish.size or (card.size if wish.kind == "deepness" else None)
    if size is None:
        return replace(card, fixed=False) if not card.fixed else card
    if size % card.stride or size <= 2 * card.margin:
        raise ModelError(
            f"model {card.name!r}: size {size}; wanted a multiple of its stride {card.stride} that "
            f"is more than twice its margin {card.margin}"
        )
    card = replace(card, size=size, fixed=True, reach=card.reach)
    if wish.kind != "deepness":
        return card
    scale = _scale(card, wish)
    # The network takes stored / 255: in physical terms (x - offset) / (255 * scale).
    count = len(card.bands)
    return replace(
        card,
        mean=(wish.offset,) * count,
        std=(BYTE * scale,) * count,
        scaling=STANDARDISE,
    )


def _scale(card: ModelCard, wish: Wish) -> float:
    if wish.scale is not None:
        if not 0 < wish.scale < float("inf"):
            raise ModelError(f"scale {wish.scale}: wanted a number above 0")
        return wish.scale
    return 1.0 if card.units == "dn" else 1e-4


class _Prepared(nn.Module):
    """What stands before and after a network in an export."""

    gain: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        *,
        gain: Tensor | None,
        bias: Tensor | None,
        bend: Any,
        temperature: float | None,
    ) -> None:
        super().__init__()
        self.network, self._bend, self._temperature = network, bend, temperature
        self.register_buffer("gain", gain)
        self.register_buffer("bias", bias)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels
        if self.gain is not None and self.bias is not None:
            x = self._bend(x * self.gain + self.bias)
        y: Tensor = self.network(x)
        if self._temperature is not None:
            y = torch.softmax(y / self._temperature, dim=1)
        return y


def _prepared(network: nn.Module, was: ModelCard, card: ModelCard, wish: Wish) -> nn.Module:
    gain = bias = None
    bend: Any = None
    if wish.kind == "deepness":
        count, scale = len(was.bands), _scale(was, wish)
        scales = np.full(count, BYTE * scale), np.full(count, wish.offset)
        gain, bias = (
            torch.from_numpy(v.astype(np.float32).reshape(1, -1, 1, 1))
            for v in linear(was, *scales)
        )
        bend = curve(was, torch.device("cpu"))
    soft = temperature(was) if card.output == "probabilities" else None
    return _Prepared(network, gain=gain, bias=bias, bend=bend, temperature=soft).eval()


@contextlib.contextmanager
def _pooling_by_products() -> Iterator[None]:
    """Means over parts of a chip by :class:`PartMeans`: the same numbers, and ONNX knows the way."""
    pool = F.adaptive_avg_pool2d

    def by_products(x: Tensor, output_size: Any) -> Tensor:
        sides = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
        if sides[0] != sides[1] or sides[0] in (None, 1):
            found: Tensor = pool(x, output_size)
            return found
        means: Tensor = PartMeans(int(sides[0]))(x)
        return means

    F.adaptive_avg_pool2d = by_products  # type: ignore[assignment]  # for as long as it is traced
    try:
        yield
    finally:
        F.adaptive_avg_pool2d = pool


def _write_pt2(graph: nn.Module, card: ModelCard, file: Path) -> None:
    side = card.size if card.fixed else 3 * card.stride
    example = torch.zeros(2, len(card.bands), side, side if card.fixed else side + card.stride)
    axes: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=_MOST)}
    if not card.fixed:
        rows, cols = (torch.export.Dim(name, min=1, max=_MOST) for name in ("rows", "cols"))
        axes |= {2: card.stride * rows, 3: card.stride * cols}
    try:
        with _quiet():
            program = torch.export.export(graph, (example,), dynamic_shapes=(axes,))
            text = json.dumps(to_item(card, str(file)))
            torch.export.save(program, file, extra_files={CARD_NAME: text})
    except Exception as error:  # it fails in every way
        raise _cannot(card, "torch.export", error) from error


def _write_onnx(graph: nn.Module, card: ModelCard, file: Path) -> None:
    """By way of tracing: seconds where torch's newer exporter takes minutes, and the same bytes."""
    onnx = load_onnx()
    side = card.size if card.fixed else 3 * card.stride
    example = torch.zeros(1, len(card.bands), side, side)
    free = {} if card.fixed else {0: "batch", 2: "rows", 3: "cols"}
    buffer = io.BytesIO()
    export: Any = torch.onnx.export  # it takes buffers too, which its types leave out
    try:
        with _quiet(), torch.inference_mode():
            export(
                graph,
                (example,),
                buffer,
                dynamo=False,
                input_names=["pixels"],
                output_names=["scores"],
                dynamic_axes={"pixels": free, "scores": free} if free else None,
                opset_version=_OPSET,
            )
    except Exception as error:  # it fails in every way
        raise _cannot(card, "ONNX", error) from error
    model = onnx.load_model_from_string(buffer.getvalue())
    for key, value in _metadata(card, file).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    file.write_bytes(model.SerializeToString(deterministic=True))


def _metadata(card: ModelCard, file: Path) -> Mapping[str, str]:
    return {**to_keys(card), CARD_KEY: json.dumps(to_item(card, str(file)))}


_WRITERS: Final = {"pt2": _write_pt2, "onnx": _write_onnx, "deepness": _write_onnx}


def load_onnx() -> Any:
    """The package, if it is there.

    Raises:
        ModelError: It is not.
    """
    try:
        import onnx  # noqa: PLC0415 (may be missing)
    except ImportError as error:
        raise ModelError(
            "ONNX is written with the package onnx, which is not installed: "
            "pip install 'geoseg[onnx]'"
        ) from error
    return onnx


def _difference(package: ModelPackage, out: Path, wish: Wish) -> float:
    """The largest of all probabilities on two chips; refuses what is too large."""
    original = open_segmenter(package, device="cpu", threads=1)
    made = open_segmenter(find(out), device="cpu", threads=1)
    step = package.card.stride
    free = not made.card.fixed
    shapes = ((4 * step, 7 * step), (3 * step, 2 * step)) if free else ((made.card.size,) * 2,)
    largest = spread = 0.0
    for shape in shapes:
        chip = fixed_chip(package.card, shape)
        wanted = original.scores(chip)
        largest = max(largest, float(np.abs(wanted - made.scores(chip)).max()))
        spread = max(spread, float(np.ptp(wanted, axis=(0, 2, 3)).max()))
    # A network that says nearly the same everywhere must be met more closely.
    allowed = min(LARGEST_DIFFERENCE, max(_NOISE, spread / 50))
    if not largest <= allowed:
        raise ModelError(
            f"model {package.card.name!r}: as {wish.kind} its scores are up to {largest:.2g} off on "
            f"a fixed chip; no more than {allowed:.2g} is let out{'' if made.card.fixed else _way(package.card)}"
        )
    return largest


def _way(card: ModelCard) -> str:
    return f"; chips of one size may work: --size {card.size}"


def _cannot(card: ModelCard, what: str, error: Exception) -> ModelError:
    line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    way = "" if card.fixed else _way(card)
    name = card.architecture.get("name")
    return ModelError(f"model {card.name!r}: {name} cannot be written as {what}: {line}{way}")


def _suffix(kind: Kind) -> str:
    return {"safetensors": ".safetensors", "pt2": ".pt2"}.get(kind, ".onnx")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of their own future, and of constants that are right for us."""
    loggers = [logging.getLogger(name) for name in ("torch.export", "torch.onnx", "torch._dynamo")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), _no_output(), _pooling_by_products():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Where tracing fails, torch's C++ prints the whole graph: nothing that Python could catch."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
