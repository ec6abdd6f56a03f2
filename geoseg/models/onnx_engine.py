"""ONNX networks as segmenters, run by onnxruntime on a CPU or on CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from geoseg.errors import BlockError, ModelError
from geoseg.models.base import ModelCard
from geoseg.models.graph_engine import Floats, GraphSegmenter, check_graph
from geoseg.models.intact import read_weights
from geoseg.models.onnx_file import describe, load_runtime, open_session
from geoseg.models.registry import ModelPackage


class OnnxSegmenter(GraphSegmenter):
    """Implements :class:`geoseg.models.base.Segmenter`.

    Args:
        card: What the network needs and gives.
        path: The file, for messages.
        data: What it holds.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        threads: CPU threads for one chip; None: as many as there are cores.

    Raises:
        ModelError: The file is not what the card says, or there is no such device.
    """

    def __init__(
        self,
        card: ModelCard,
        path: Path,
        data: bytes,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        self._device = _device(device)
        self._session = open_session(path, data, threads=threads, device=self._device)
        self._file = describe(path, self._session)
        super().__init__(card, str(path), self._file.sides)
        check_graph(card, str(path), bands=self._file.bands, sides=self._file.sides)
        self._check_chip()

    @classmethod
    def load(
        cls,
        package: ModelPackage,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
    ) -> Self:
        """The model of a package."""
        if package.weights is None:
            raise ModelError(f"model {package.card.name!r} has no weights")
        if precision != "fp32":
            raise ModelError(
                f"model {package.card.name!r}: ONNX has the precision it was exported with; "
                f"precision {precision!r} is for models of torch: use fp32"
            )
        data, _ = read_weights(package.weights, package.card.sha256)
        return cls(package.card, package.weights, data, device=device, threads=threads)

    @property
    def parallel(self) -> bool:
        """On a CPU every thread may compute chips of its own; a GPU has one queue."""
        return self._device == "cpu"

    def _compute(self, x: Floats) -> Floats:
        (y,) = self._session.run(None, {self._file.input: x})
        found: Floats = y
        return found

    def _check_chip(self) -> None:
        """Refuse a network that does not answer a small chip as its card says."""
        side = self._small_side()
        try:
            found = self._run(np.zeros((len(self.card.bands), side, side), np.float32)).shape
        except (BlockError, IndexError) as error:
            raise self._not_taken(side, error) from error
        self._check_answer(found, side)


def _device(name: str) -> str:
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        number and not (kind == "cuda" and number.isdigit())
    ):
        raise ModelError(f"device {name!r}: wanted auto, cpu, cuda or cuda:N")
    if kind == "cpu":
        return "cpu"
    if "CUDAExecutionProvider" in load_runtime().get_available_providers():
        return "cuda" if kind == "auto" else name
    if kind == "auto":
        return "cpu"
    raise ModelError(
        f"device {name!r}: this onnxruntime has no CUDA (pip install onnxruntime-gpu); use auto or "
        f"cpu"
    )
