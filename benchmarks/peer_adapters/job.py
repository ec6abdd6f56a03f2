"""What all adapters share: the job as a file, the scene in, the network, the map out.

An adapter is ``python with_PEER.py JOB.json``, run by the Python of the peer's own environment: it
needs numpy, rasterio and torch beside the peer, and never geoseg.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Job:
    """A scene to map, and with what.

    Attributes:
        scene: GeoTIFF of uint16, bands in the model's order, every pixel valid.
        out: Where the map of classes goes.
        source: Python file that defines the class ``GeosegUNet``.
        weights: Its state dict; ``traced``: the same network as TorchScript, scaling included.
        gain, bias: One a band: ``stored * gain + bias`` is what the network was trained on.
        codes: Code of each class in the map.
        chip, margin: Pixels; neighbouring chips overlap by ``2 * margin``.
        batch: Chips at once, where a peer wants a number.
        cores: To use.
    """

    scene: str
    out: str
    source: str
    weights: str
    traced: str
    gain: tuple[float, ...]
    bias: tuple[float, ...]
    codes: tuple[int, ...]
    chip: int
    margin: int
    batch: int
    cores: int

    @classmethod
    def given(cls) -> Job:
        """From the file on the command line."""
        return cls(**json.loads(Path(sys.argv[1]).read_text("utf-8")))

    @property
    def stride(self) -> int:
        """Pixels from chip to chip."""
        return self.chip - 2 * self.margin

    def network(self, *, scaled: bool = False) -> nn.Module:
        """In eval mode; with ``scaled`` it takes numbers as they are stored."""
        spec = importlib.util.spec_from_file_location("network", self.source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        network: nn.Module = module.GeosegUNet(len(self.gain), len(self.codes))
        network.load_state_dict(torch.load(self.weights, weights_only=True))
        network.eval()
        return nn.Sequential(Scaling(self), network).eval() if scaled else network

    def pixels(self) -> NDArray[np.uint16]:
        """All of the scene, ``(band, y, x)``, as stored."""
        with rasterio.open(self.scene) as file:
            return file.read()  # type: ignore[no-any-return]  # rasterio has no types

    def scaled(self) -> NDArray[np.float32]:
        """All of the scene, ``(band, y, x)``, as the network wants it."""
        gain, bias = (np.array(v, np.float32)[:, None, None] for v in (self.gain, self.bias))
        x = self.pixels().astype(np.float32)
        x *= gain
        x += bias
        return x

    def write(self, index: NDArray[Any]) -> None:
        """The map, from the index of each pixel's class ``(y, x)``: tiled, deflated GeoTIFF."""
        codes = np.asarray(self.codes, np.uint8)
        with rasterio.open(self.scene) as file:
            where = {"crs": file.crs, "transform": file.transform}
        height, width = index.shape
        with rasterio.open(
            self.out, "w", driver="GTiff", dtype="uint8", count=1, height=height, width=width,
            nodata=255, tiled=True, blockxsize=512, blockysize=512, compress="deflate", **where,
        ) as file:  # fmt: skip
            file.write(codes[index], 1)


class Scaling(nn.Module):
    """Stored numbers ``(chip, band, y, x)`` to what the network wants.

    Nodata (0), with which peers fill what lies beyond the scene, becomes 0, the mean of each band,
    as geoseg has it.
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, job: Job) -> None:
        super().__init__()
        for name, numbers in (("gain", job.gain), ("bias", job.bias)):
            self.register_buffer(name, torch.tensor(numbers)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, fp32."""
        x = x.float()
        return torch.where(x == 0, 0.0, x * self.gain + self.bias)


def starts(length: int, job: Job) -> list[int]:
    """Where chips start along an axis: every stride, the last one slid back into the scene."""
    last = length - job.chip
    return sorted({min(at, last) for at in range(0, last + job.stride, job.stride)})


def say(*packages: str) -> None:
    """Print the versions of the packages that did the work; the benchmark keeps this line."""
    print("versions: " + ", ".join(f"{name} {version(name)}" for name in packages))
