"""Networks in int8: what their layers give on chips of a scene, and weights, in 256 steps."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError
from geoseg.models.base import Batch, ModelCard
from geoseg.models.converted import as_onnx, cache_folder, code
from geoseg.models.engines import version_of
from geoseg.models.graph_engine import Floats, first_line, network_inputs
from geoseg.models.registry import ModelPackage

SIDE: Final = 256
"""Of the middle of each chip that is looked at: what all layers give there is held at once."""

_MAKERS: Final = ("onnx", "onnxruntime")


def quantized(package: ModelPackage, chips: Batch, bands: tuple[str, ...]) -> ModelPackage:
    """The package with its network in int8, as ONNX; the same bytes for the same chips.

    Static and per channel: weights in int8, what layers give in uint8, over the range of all but
    0.002 % of what they give on ``chips`` (Jacob et al. 2018, arXiv:1712.05877). The first and the
    last convolution stay as they are: one sees the scene's own numbers, the other decides, and
    both together cost little. Kept by content in the cache.

    Args:
        package: Any model that can be ONNX.
        chips: Real ones, ``(chip, band, y, x)``.
        bands: Their names; the model's own among them.

    Raises:
        ModelError: The network cannot be quantized, or onnx or onnxruntime is missing.
    """
    made = as_onnx(package)
    assert made.weights is not None, "as ONNX without weights"  # noqa: S101 (as_onnx refuses it)
    inputs = list(_inputs(made.card, _own_bands(made.card, chips, bands)))
    file = cache_folder() / "quantized" / f"{_key(made.weights, inputs)}.onnx"
    if not file.is_file():
        _quantize(made, inputs, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    card = replace(made.card, weights=file.name, sha256=digest)
    return ModelPackage(card, file.parent, package.allow_code)


def _own_bands(card: ModelCard, chips: Batch, bands: tuple[str, ...]) -> Batch:
    at = [bands.index(band) for band in card.bands]
    values: NDArray[Any] = chips.values[:, at]
    return replace(chips, values=values, scale=chips.scale[at], offset=chips.offset[at])


def _inputs(card: ModelCard, chips: Batch) -> Iterator[Floats]:
    """What the network sees of each chip: its middle, unless it takes whole ones only."""
    height, width = chips.valid.shape[1:]
    side = SIDE // card.stride * card.stride
    if card.fixed:
        below, right = max(0, card.size - height), max(0, card.size - width)
        for x in network_inputs(card, chips):
            yield np.pad(x, ((0, 0), (0, below), (0, right)))
        return
    rows, cols = (
        slice(max(0, n - side) // 2 // card.stride * card.stride, None) for n in (height, width)
    )
    for x in network_inputs(card, chips):
        yield np.ascontiguousarray(x[:, rows, cols][:, :side, :side])


def _key(weights: Path, inputs: list[Floats]) -> str:
    """Hash of all that decides what comes of it."""
    digest = hashlib.sha256(weights.read_bytes())
    for x in inputs:
        digest.update(repr(x.shape).encode())
        digest.update(x.tobytes())
    versions = {name: version_of(name) for name in _MAKERS}
    digest.update(json.dumps([versions, code()]).encode())
    return digest.hexdigest()[:32]


def _quantize(made: ModelPackage, inputs: list[Floats], file: Path) -> None:
    """Write ``file``; whole, or not at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".making-") as room, _quiet():
            out = Path(room, file.name)
            _calibrate(made, inputs, out)
            out.replace(file)
    except ImportError as error:
        raise ModelError(
            "precision 'int8' needs onnx and onnxruntime: pip install 'geoseg[openvino]'"
        ) from error
    except Exception as error:  # onnxruntime raises many classes of its own
        raise ModelError(
            f"model {made.card.name!r}: cannot be had in int8: {first_line(error)}"
        ) from error


def _calibrate(made: ModelPackage, inputs: list[Floats], out: Path) -> None:
    import onnx  # noqa: PLC0415 (may be missing)
    from onnxruntime import quantization  # noqa: PLC0415 (may be missing)

    weights = str(made.weights)
    graph = onnx.load(weights, load_external_data=False).graph
    name, layers = graph.input[0].name, [n.name for n in graph.node if n.op_type == "Conv"]
    waiting = iter([{name: x[None]} for x in inputs])

    class Chips(quantization.CalibrationDataReader):  # type: ignore[misc]  # it has no types
        def get_next(self) -> dict[str, Floats] | None:
            return next(waiting, None)

    quantization.quantize_static(
        weights,
        str(out),
        Chips(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        calibrate_method=quantization.CalibrationMethod.Percentile,
        nodes_to_exclude=[layers[0], layers[-1]] if layers else [],
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer tells on standard output, and advises on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def keep_beside(folder: Path, networks: tuple[str, ...]) -> None:
    """Copy networks of the cache, by their sha256, to where a map and its workers find them."""
    folder.mkdir(parents=True, exist_ok=True)
    for sha in networks:
        kept = beside(folder, sha)
        if intact(kept, sha):
            continue
        made = next(f for f in (cache_folder() / "quantized").glob("*.onnx") if intact(f, sha))
        with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as room:
            shutil.copyfile(made, Path(room, kept.name)).replace(kept)


def kept_beside(folder: Path, package: ModelPackage, sha: str) -> ModelPackage:
    """The package whose network in int8 lies in ``folder``."""
    card = replace(as_onnx(package).card, weights=beside(folder, sha).name, sha256=sha)
    return ModelPackage(card, folder, package.allow_code)


def beside(folder: Path, sha: str) -> Path:
    """Where :func:`keep_beside` puts a network."""
    return folder / f"{sha[:16]}.int8.onnx"


def intact(file: Path, sha: str) -> bool:
    """Whether a network is there as it was made."""
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha
