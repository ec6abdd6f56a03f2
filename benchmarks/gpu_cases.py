"""The cases of ``gpu.py``: each makes one row of a table."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from geoseg.grid import Window
from geoseg.io.cog import write_class_cog, write_confidence_cog
from geoseg.io.opening import open_pixels
from geoseg.io.zarr_store import ZarrRaster
from geoseg.models.architectures import build
from geoseg.models.base import Batch, ModelCard
from geoseg.models.measuring import named_card
from geoseg.models.registry import find
from geoseg.models.scaling import linear
from geoseg.models.torch_device import Tuning, device_of
from geoseg.models.torch_engine import TorchSegmenter, load_network
from geoseg.models.torch_pass import OnDevice, Pass
from geoseg.scene import Scene

Row = dict[str, Any]

VARIANTS = {
    "eager": Tuning(graphs=False, channels_last=False),
    "channels_last": Tuning(graphs=False, channels_last=True),
    "graphs": Tuning(channels_last=True),
    "graphs, planes apart": Tuning(channels_last=False),
    "compiled": Tuning(compiled=True, channels_last=True),
}
CHIP = 1024
"""Of runs."""
NETWORKS: dict[str, dict[str, Any]] = {
    "U-Net resnet50": {"name": "unet", "encoder": "resnet50"},
    "U-Net++ resnet50": {"name": "unetplusplus", "encoder": "resnet50"},
    "SegFormer mit_b2": {"name": "segformer", "encoder": "mit_b2"},
}
"""Of the zoo, for chips of the same scene; weights are random."""
_MARGIN = 64


@dataclass(frozen=True)
class Setup:
    """What all cases share. Small and picklable."""

    device: str
    model: str
    scenes: dict[str, Scene]
    folder: Path
    quick: bool

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU to be measured."""
        return device_of(self.device).type == "cuda"

    def best(self, precision: str) -> str:
        """The variant that geoseg takes by itself."""
        if not self.cuda:
            return "channels_last"
        return "graphs, planes apart" if precision == "fp32" else "graphs"

    @property
    def seconds(self) -> float:
        """How long a case repeats what it times, at least."""
        return 0.0 if self.quick else 0.5

    def chip(self, wanted: int) -> int:
        """Side of a chip, in pixels."""
        return 256 if self.quick else wanted

    def card(self, network: str | None = None) -> ModelCard:
        """The model's; or one that describes a network of the zoo, for the same scene."""
        card = find(self.model).card
        if network is None:
            return card
        named = named_card(
            NETWORKS[network], bands=len(card.bands), classes=len(card.legend.classes)
        )
        described = {name: getattr(card, name) for name in ("bands", "units", "mean", "std")}
        return replace(named, **described, margin=_MARGIN)

    def open(
        self, precision: str, tuning: Tuning | None = None, network: str | None = None
    ) -> TorchSegmenter:
        """The segmenter of a precision."""
        built, card = self.network(network), self.card(network)
        return TorchSegmenter(
            card, built, device=self.device, precision=precision, threads=1, tuning=tuning
        )

    def network(self, name: str | None = None) -> nn.Module:
        """Of the model, or of the zoo with random weights."""
        return load_network(find(self.model)) if name is None else build(self.card(name))

    def batch(self, chip: int, count: int) -> Batch:
        """Chips of the scene, from its upper left, read as a run does."""
        scene = next(iter(self.scenes.values()))
        card = find(self.model).card
        side = min(scene.grid.shape)
        with closing(open_pixels(scene)) as pixels:
            starts = [(k * chip // 4) % (side - chip + 1) for k in range(count)]
            patches = [
                pixels.read(card.bands, Window(y, 0, y + chip, min(chip, side))) for y in starts
            ]
        values = np.stack([patch.values for patch in patches])
        valid = np.stack([patch.valid for patch in patches])
        return Batch(values, patches[0].scale, patches[0].offset, valid)


def agreement(setup: Setup, precision: str) -> Row:
    """Classes and scores of chips, beside those of a CPU in fp32."""
    batch = setup.batch(setup.chip(512), 1 if setup.quick else 3)
    on_cpu = TorchSegmenter.load(find(setup.model), device="cpu")
    wanted, scores = on_cpu.classify(batch)[0], on_cpu.scores(batch)
    model = setup.open(precision)
    found = model.classify(batch)[0]
    again = model.classify(batch)[0]  # recorded, where that is possible
    return {
        "precision": precision,
        "classes as on a CPU in fp32, %": round(float((found == wanted).mean()) * 100, 4),
        "largest difference of scores": float(f"{np.abs(model.scores(batch) - scores).max():.2g}"),
        "same when asked again": bool((found == again).all()),
    }


def kernels(
    setup: Setup, precision: str, variant: str, chip: int, count: int, network: str | None = None
) -> Row:
    """Chips that lie on the device already: from stored numbers to classes and confidence.

    ``network``: one of :data:`NETWORKS`, and not the model.
    """
    chip = setup.chip(chip)
    tuning, device, card = VARIANTS[variant], device_of(setup.device), setup.card(network)
    run = Pass(card, setup.network(network), device, precision, tuning)
    batch = setup.batch(chip, count)
    both = np.stack(linear(card, batch.scale, batch.offset)).astype(np.float32)
    arrays = (batch.values.view(np.int16), batch.valid, both)
    stored, valid, on_device = (torch.from_numpy(array).to(device) for array in arrays)
    chips = OnDevice(stored, unsigned=True, valid=valid, linear=on_device)
    start = time.perf_counter()
    with torch.inference_mode(), run.repeatable():
        step = _step(run, chips, recorded=tuning.graphs and setup.cuda)
    ready = time.perf_counter() - start
    seconds = _seconds(step, setup)
    return {
        "network": network or setup.model,
        "chip": chip,
        "at once": count,
        "precision": precision,
        "variant": variant,
        "ms": round(seconds * 1e3, 3),
        "Mpx/s": round(count * chip * chip / seconds / 1e6, 1),
        "GB": round(torch.cuda.max_memory_allocated() / 1e9, 2) if setup.cuda else None,
        "first answer, s": round(ready, 2),
    }


def _step(run: Pass, chips: OnDevice, *, recorded: bool) -> Callable[[], Any]:
    """What computes the chips once more, after it has done so."""
    wanted = ("index", "confidence")

    def start_kernels() -> Any:
        with torch.inference_mode(), run.repeatable():
            return run(chips, wanted)

    if run.device.type == "cpu":
        run(chips, wanted)
        return start_kernels
    torch.cuda.reset_peak_memory_stats()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            run(chips, wanted)
    torch.cuda.synchronize()
    if not recorded:
        return start_kernels
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        kept = run(chips, wanted)
    return lambda: (graph.replay(), kept)


def _seconds(step: Callable[[], Any], setup: Setup) -> float:
    """Seconds of one step, of as many in a row as take a while."""
    _wait(setup)
    start, done = time.perf_counter(), 0
    while True:
        for _ in range(10 if setup.cuda else 1):
            step()
        done += 10 if setup.cuda else 1
        _wait(setup)
        passed = time.perf_counter() - start
        if passed >= setup.seconds:
            return passed / done


def _wait(setup: Setup) -> None:
    if setup.cuda:
        torch.cuda.synchronize()


def calls(setup: Setup, precision: str, lanes: int, chip: int, network: str | None = None) -> Row:
    """From numbers in the host's memory to bytes in the host's memory, by as many callers."""
    chip = setup.chip(chip)
    model = setup.open(precision, Tuning(lanes=lanes), network)
    batch = setup.batch(chip, model.chips_at_once((chip, chip)))
    done = [0] * lanes
    for _ in range(3):
        model.classify(batch)

    def ask(number: int) -> None:
        while time.perf_counter() < end or not done[number]:
            model.classify(batch)
            done[number] += len(batch.values)

    busy = Busy()
    start = time.perf_counter()
    end = start + 2 * setup.seconds
    with busy, ThreadPoolExecutor(lanes) as pool:
        list(pool.map(ask, range(lanes)))
    seconds = time.perf_counter() - start
    return {
        "callers": lanes,
        "chip": chip,
        "precision": precision,
        "Mpx/s": round(sum(done) * chip * chip / seconds / 1e6, 1),
        "GPU busy, %": busy.percent(),
    }


def cogs(setup: Setup) -> Row:
    """The two COGs of a map that a run has left, on one thread."""
    path = min(setup.folder.glob("map-*.zarr"))
    grid = next(iter(setup.scenes.values())).grid
    classes, confidence = (ZarrRaster(path, name) for name in ("classes", "confidence"))
    legend = find(setup.model).card.legend
    start, cpu = time.perf_counter(), time.process_time()
    write_class_cog(classes, grid, legend, setup.folder / "classes.tif", tags={})
    write_confidence_cog(confidence, grid, setup.folder / "confidence.tif", tags={})
    seconds, used = time.perf_counter() - start, time.process_time() - cpu
    area = grid.shape[0] * grid.shape[1] / 1e6
    return {
        "Mpx": round(area, 1),
        "s": round(seconds, 2),
        "Mpx/s": round(area / seconds, 1),
        "CPU s a Mpx": round(used / area, 4),
    }


class Busy(Thread):
    """Samples, through NVML, in which share of the time any kernel ran on the GPU."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended, self._samples = Event(), list[tuple[float, int]]()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Twenty times a second."""
        with suppress(Exception):  # no NVML, no GPU: nothing is said
            import pynvml  # noqa: PLC0415 (on machines with a GPU only)

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            while not self._ended.wait(0.05):
                share = int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
                self._samples.append((time.perf_counter(), share))

    def percent(self, begun: float = 0.0, ended: float = inf) -> int | None:
        """The mean between two times; None where it could not be measured."""
        # NVML looks back.
        kept = [share for when, share in self._samples[2:] if begun + 0.1 <= when <= ended]
        return round(sum(kept) / len(kept)) if kept else None
