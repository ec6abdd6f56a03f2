"""What the plan says a worker takes, beside what it takes: by size of the scene, engine and settings.

    OMP_NUM_THREADS=1 python benchmarks/memory.py                    # scenes of 2745 px
    python benchmarks/memory.py --gpu                                # those of a machine with CUDA
    OMP_NUM_THREADS=1 python benchmarks/memory.py --sizes 2745,5490,10980
    OMP_NUM_THREADS=1 python benchmarks/memory.py --sizes 10980 --case ten

Measured is the peak of resident memory that the system kept of the largest worker (VmHWM, Linux);
libraries that processes share count in each. Of a GPU it is the host's memory. The case ``ten`` is a network of ten classes without
training, whose probabilities are kept as ten arrays of Zarr and written as one COG.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from geoseg.api.planning import plan_workflow
from geoseg.legend import LandClass, Legend
from geoseg.models.architectures import build
from geoseg.models.registry import find
from geoseg.models.weights_file import save_package
from geoseg.workflow.loading import load

WORKFLOW = """
geoseg: 1
name: memory
input: {{kind: sample, size: {size}, seed: 7, directory: {sample}}}
model: {model}
output:
  directory: {out}
  vector: false
  quicklook: false
  project: false
  keep_work: {keep}
  raster: {raster}
tiling: {tiling}
cluster: {cluster}
"""
LAND_COVER = "{name: landcover-s2, engine: torch, precision: fp32}"


@dataclass(frozen=True, slots=True)
class Case:
    """What a workflow says, as YAML."""

    model: str = LAND_COVER
    raster: str = "{confidence: true}"
    tiling: str = "{}"
    cluster: str = "workers: 2"

    def workflow(self, size: int, root: Path) -> str:
        """The whole text."""
        return WORKFLOW.format(
            size=size,
            sample=root / f"sample-{size}",
            out=root / "out",
            model=self.model.replace("TEN", str(root / "ten")).replace(
                "HEAVY", str(root / "heavy")
            ),
            raster=self.raster,
            tiling=self.tiling,
            cluster=f"{{{self.cluster}, dashboard: false}}",
            keep="false",
        )


CASES = {
    "torch": Case(),
    "torch-bf16": Case("{name: landcover-s2, engine: torch, precision: bf16}"),
    "onnxruntime": Case("{name: landcover-s2, engine: onnxruntime, precision: fp32}"),
    "openvino": Case("{name: landcover-s2, engine: openvino, precision: fp32}"),
    "openvino-bf16": Case("{name: landcover-s2, engine: openvino, precision: bf16}"),
    "openvino-int8": Case(
        "{name: landcover-s2, engine: openvino, precision: int8, agreement: 0.9}"
    ),
    "auto": Case("landcover-s2"),
    "one-worker": Case(cluster="workers: 1"),
    "small-chips": Case(tiling="{size: 512}"),
    "large-blocks": Case(tiling="{size: 512, margin: 48, block: 2080}"),
    "blend": Case(tiling="{size: 512, seams: blend}"),
    "probabilities": Case(raster="{confidence: true, probabilities: true, entropy: true}"),
    "ten": Case(
        "{path: TEN, engine: torch, precision: fp32}",
        "{confidence: true, probabilities: true}",
        cluster="workers: 2, memory: 2GB",
    ),
    "ten-blend": Case(
        "{path: TEN, engine: torch, precision: fp32}",
        "{confidence: true, probabilities: true}",
        "{size: 512, seams: blend}",
    ),
}

_CUDA = "{{name: landcover-s2, device: cuda, precision: {0}}}"
GPU = {
    "cuda": Case(_CUDA.format("fp32"), cluster="workers: 1, threads: 8"),
    "cuda-bf16": Case(_CUDA.format("bf16"), cluster="workers: 1, threads: 8"),
    "cuda-fp16": Case(_CUDA.format("fp16"), cluster="workers: 1, threads: 8"),
    "cuda-few-lanes": Case(_CUDA.format("bf16"), cluster="workers: 1, threads: 2"),
    "cuda-small-chips": Case(
        _CUDA.format("bf16"), tiling="{size: 512}", cluster="workers: 1, threads: 8"
    ),
    "cuda-probabilities": Case(
        _CUDA.format("bf16"),
        "{confidence: true, probabilities: true, entropy: true}",
        cluster="workers: 1, threads: 8",
    ),
    "cuda-heavy": Case(
        "{path: HEAVY, device: cuda, precision: bf16}", cluster="workers: 1, threads: 4"
    ),
    "cuda-compiled": Case(
        "{name: landcover-s2, device: cuda, engine: torch-compile, precision: bf16}",
        cluster="workers: 1, threads: 8",
    ),
    "cuda-auto": Case("landcover-s2", cluster="workers: 1, threads: 8"),
}
"""``heavy``: a U-Net over resnet50 without training, whose weights are 130 MB."""


class Peaks(threading.Thread):
    """The peaks of a process and of its workers, asked of the system 10 times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root, self._ended = psutil.Process(pid), threading.Event()
        self.client = self.worker = 0

    def run(self) -> None:
        """Until told to end."""
        while not self._ended.wait(0.1):
            with suppress(psutil.Error):
                self.client = max(self.client, _peak(self._root.pid))
                workers = (_peak(p.pid) for p in self._root.children(recursive=True))
                self.worker = max(self.worker, *workers, 0)

    def end(self) -> None:
        """Stop, and wait for the last sample."""
        self._ended.set()
        self.join()


def _peak(pid: int) -> int:
    """Bytes; 0 of a process that ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Print a row for each case and size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="2745", help="sides in pixels, like 2745,5490")
    every = (*CASES, *GPU)
    parser.add_argument("--case", action="append", choices=every, help="several times")
    parser.add_argument("--gpu", action="store_true", help="all cases with CUDA, not those without")
    parser.add_argument("--keep", type=Path, help="folder for scenes")
    args = parser.parse_args()
    print("| case | size | block | chip | planned | measured | planned / measured | client |")
    print("|" + " --- |" * 8)
    with tempfile.TemporaryDirectory() as scratch:
        root = args.keep or Path(scratch)
        ten_classes(root / "ten")
        heavy(root / "heavy")
        for size in map(int, args.sizes.split(",")):
            for name in args.case or (GPU if args.gpu else CASES):
                one(name, size, root)


def ten_classes(folder: Path) -> None:
    """A network of ten classes without training, as a package."""
    card = find("landcover-s2").card
    classes = tuple(LandClass(k, f"Class {k}", f"#{k * 23:02x}8040") for k in range(1, 11))
    card = replace(card, name="ten", legend=Legend("ten", classes), activation_bytes=450)
    save_package(build(card, seed=5), card, folder)


def heavy(folder: Path) -> None:
    """A network with large weights, without training, as a package."""
    card = find("landcover-s2").card
    unet = {"name": "unet", "encoder": "resnet50"}
    card = replace(
        card, name="heavy", size=1024, stride=32, margin=64, reach=None, architecture=unet
    )
    save_package(build(card, seed=5), card, folder)


def one(name: str, size: int, root: Path) -> None:
    """Run, and compare with what the run planned once it knew what computes."""
    workflow = root / f"{name}-{size}.yaml"
    workflow.write_text((CASES | GPU)[name].workflow(size, root))
    plan = plan_workflow(load(workflow)).tasks[0].plan
    run = [sys.executable, "-m", "geoseg", "run", workflow, "--force", "-q"]
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL)
    peaks = Peaks(process.pid)
    peaks.start()
    code = process.wait()
    peaks.end()
    if code:
        sys.exit(f"the run failed with {code}")
    (said,) = (root / "out").rglob("run.json")
    planned, found = json.loads(said.read_text())["memory"]["planned_per_worker"], peaks.worker
    print(
        f"| {name} | {size} | {plan.block} | {plan.lattice.size} | {planned / 1e9:.2f} GB | "
        f"{found / 1e9:.2f} GB | {planned / found:.2f} | {peaks.client / 1e9:.2f} GB |",
        flush=True,
    )


if __name__ == "__main__":
    main()
