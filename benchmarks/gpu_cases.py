"""The cases of ``gpu.py``: each makes one row of a table."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import numpy as np
import torch

from geoseg.grid import Window, blocks, full_window
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
from geoseg.ops.tiling import Lattice
from geoseg.run.base import BlockWork, Done
from geoseg.run.serial import Serial
from geoseg.scene import Scene
from geoseg.steps.segment import SegmentBlocks, Tiling

Row = dict[str, Any]

VARIANTS = {
    "eager": Tuning(graphs=False, channels_last=False),
    "channels_last": Tuning(graphs=False),
    "graphs": Tuning(),
    "compiled": Tuning(compiled=True),
}
CHIP = 1024
"""Of runs."""
_STRIDES = 2
"""Chips along a side of a block."""


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

    @property
    def best(self) -> str:
        """The variant that geoseg takes by itself."""
        return "graphs" if self.cuda else "channels_last"

    @property
    def seconds(self) -> float:
        """How long a case repeats what it times, at least."""
        return 0.0 if self.quick else 0.5

    def chip(self, wanted: int) -> int:
        """Side of a chip, in pixels."""
        return 256 if self.quick else wanted

    def open(self, precision: str, tuning: Tuning | None = None) -> TorchSegmenter:
        """The segmenter of a precision."""
        return TorchSegmenter.load(
            find(self.model), device=self.device, precision=precision, threads=1, tuning=tuning
        )

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

    ``network``: an encoder, for a U-Net of the zoo with random weights, and not the model.
    """
    chip = setup.chip(chip)
    tuning, package, device = VARIANTS[variant], find(setup.model), device_of(setup.device)
    card = package.card
    if network is not None:
        named = {"name": "unet", "encoder": network}
        card = named_card(named, bands=len(card.bands), classes=len(card.legend.classes))
    built = load_network(package) if network is None else build(card)
    run = Pass(card, built, device, precision, tuning)
    batch = setup.batch(chip, count)
    both = np.stack(linear(package.card, batch.scale, batch.offset)).astype(np.float32)
    arrays = (batch.values.view(np.int16), batch.valid, both)
    stored, valid, on_device = (torch.from_numpy(array).to(device) for array in arrays)
    chips = OnDevice(stored, unsigned=True, valid=valid, linear=on_device)
    start = time.perf_counter()
    with torch.inference_mode(), run.repeatable():
        step = _step(run, chips, recorded=tuning.graphs and setup.cuda)
    ready = time.perf_counter() - start
    seconds = _seconds(step, setup)
    return {
        "network": f"U-Net {network}" if network else setup.model,
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


def calls(setup: Setup, precision: str, lanes: int, chip: int) -> Row:
    """From numbers in the host's memory to bytes in the host's memory, by as many callers."""
    chip = setup.chip(chip)
    model = setup.open(precision, Tuning(lanes=lanes))
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
        "GPU busy, %": busy.percent,
    }


@dataclass(frozen=True)
class MapJob:
    """A scene and a model. Implements :class:`geoseg.run.base.Job`."""

    key: str
    scene: Scene
    segmenter: Any
    tiling: Tiling
    folder: Path
    model_threads: int

    def open(self) -> BlockWork:
        """Open the files."""
        stores = (ZarrRaster(self.folder, name) for name in ("classes", "confidence"))
        return SegmentBlocks(
            open_pixels(self.scene),
            self.segmenter,
            *stores,
            self.tiling,
            model_threads=self.model_threads,
        )


def runs(setup: Setup, precision: str, codec: str, threads: int, *, processes: int = 1) -> Row:
    """Blocks of a scene: read, mapped, written, on threads of one process or of several.

    Precision ``"none"``: by what only looks at thresholds, to see what all but the network costs.
    """
    scene, chip = setup.scenes[codec], setup.chip(CHIP)
    lattice = Lattice(chip, find(setup.model).card.margin, find(setup.model).card.stride)
    block = _STRIDES * lattice.stride
    out = setup.folder / f"map-{codec}.zarr"
    for name in ("classes", "confidence"):
        ZarrRaster.create(out, scene.grid, block=block, fill=255, name=name)
    whole = full_window(scene.grid).shape
    some = list(islice(cycle(blocks(whole, block)), 6 * threads * processes))
    with Busy() as busy:
        if processes == 1:
            parts = [_part(setup, precision, codec, lattice, some, threads, None)]
        else:
            parts = _side_by_side(setup, precision, codec, lattice, some, threads, processes)
    begun, ended = min(part[0] for part in parts), max(part[1] for part in parts)
    area = sum(b.shape[0] * b.shape[1] for b in some) / 1e6
    cpu = sum(part[2] for part in parts)
    return {
        "codec": codec,
        "precision": precision,
        "processes x threads": f"{processes} x {threads}",
        "Mpx": round(area, 1),
        "s": round(ended - begun, 2),
        "Mpx/s": round(area / (ended - begun), 1),
        "CPU s a Mpx": round(cpu / area, 4),
        "cores used": round(cpu / (ended - begun), 1),
        "GPU busy, %": busy.percent,
    }


def _side_by_side(
    setup: Setup, precision: str, codec: str, lattice: Lattice, some: list[Window], threads: int,
    processes: int,
) -> list[tuple[float, float, float]]:  # fmt: skip
    context = multiprocessing.get_context("spawn")
    gate, answers = context.Barrier(processes), context.Queue()
    members = [
        context.Process(
            target=_answer,
            args=(answers, setup, precision, codec, lattice, some[k::processes], threads, gate),
        )
        for k in range(processes)
    ]
    for member in members:
        member.start()
    try:
        parts = [answers.get(timeout=90) for _ in members]
    finally:
        for member in members:
            member.terminate()
            member.join()
    wrong = [part for part in parts if isinstance(part, str)]
    if wrong:
        raise RuntimeError(wrong[0])
    return parts


def _answer(answers: Any, *asked: Any) -> None:
    try:
        answers.put(_part(*asked))
    except Exception as error:  # noqa: BLE001 - said where it is waited for
        answers.put(f"{type(error).__name__}: {error}")


def _part(
    setup: Setup, precision: str, codec: str, lattice: Lattice, some: list[Window], threads: int,
    gate: Any,
) -> tuple[float, float, float]:  # fmt: skip
    """When it began and ended, and the CPU seconds between, without what opening takes."""
    scene, package = setup.scenes[codec], find(setup.model)
    if precision == "none":
        segmenter: Any = Threshold(package.card)
    else:
        segmenter = setup.open(precision)
        for _ in range(2):
            segmenter.classify(setup.batch(lattice.size, 1))
    batch = 1 if precision == "none" else segmenter.chips_at_once((lattice.size, lattice.size))
    out = setup.folder / f"map-{codec}.zarr"
    models = min(threads, 4 if setup.cuda else threads)
    tiling = Tiling(lattice, batch=batch)
    job = MapJob(codec, scene, segmenter, tiling, out, models)
    list(Serial(1).run(job, some[:1]))  # what is compiled on the way is not measured
    if gate is not None:
        gate.wait(60)
    begun, cpu = time.perf_counter(), time.process_time()
    outcomes = list(Serial(threads, retries=0).run(job, some))
    ended, used = time.perf_counter(), time.process_time() - cpu
    failed = [outcome for outcome in outcomes if not isinstance(outcome, Done)]
    if failed:
        raise RuntimeError(failed[0].error)
    return begun, ended, used


def cogs(setup: Setup) -> Row:
    """The two COGs of the map that the last run left, on one thread."""
    path = next(setup.folder.glob("map-*.zarr"))
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


class Threshold:
    """A segmenter that costs next to nothing, for what a run costs without a network."""

    parallel = True

    def __init__(self, card: ModelCard) -> None:
        self.card = card

    def classify(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Two classes by the first band."""
        index = (batch.values[:, 0] > 1500).astype(np.uint8)
        return index, index * np.uint8(40) + np.uint8(50)


class Busy(Thread):
    """Samples, through NVML, in which share of the time any kernel ran on the GPU."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended, self._samples = Event(), list[int]()

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
                self._samples.append(int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))

    @property
    def percent(self) -> int | None:
        """The mean; None where it could not be measured."""
        kept = self._samples[2:]  # NVML looks back
        return round(sum(kept) / len(kept)) if kept else None
