"""The rows of the table: which programs, and one turn of one of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from peer_table.ground import HERE, MODEL, Chips, Classes, job, read, seam_index
from peer_table.measure import Felt, felt

WORKFLOW: Final = """\
geoseg: 1
name: peers
input: {{kind: files, path: {scene}, units: reflectance, scale: 0.0001, offset: -0.1}}
model: {model}
{tiling}
output:
  directory: {out}
  raster: {{confidence: false}}
  vector: false
  quicklook: false
  project: false
"""
_SEAMS: Final = re.compile(r"^seams: (\d+)(?: (\d+))?(?: / (\d+))?$", re.MULTILINE)
_VERSIONS: Final = re.compile(r"^versions: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A program that maps the scene.

    Attributes:
        name: In the table.
        adapter: File in ``peer_adapters``; without one it is geoseg.
        packages: What pip installs; none: it runs in this environment.
        settings: Of geoseg's ``model`` section.
        own_tiling: geoseg chooses chips itself.
        traced: Wants the network as TorchScript.
    """

    name: str
    adapter: str = ""
    packages: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    own_tiling: bool = True
    traced: bool = False


PEERS: Final = (
    Row("plain-loop", "with_plain_loop.py"),
    Row("crop-loop", "with_crop_loop.py"),
    Row("dask", "with_dask.py"),
    Row("monai", "with_monai.py", ("monai",)),
    Row("toolbelt", "with_toolbelt.py", ("pytorch-toolbelt",)),
    Row("torchgeo", "with_torchgeo.py", ("torchgeo",)),
    Row("geoai", "with_geoai.py", ("geoai-py",)),
    Row("terratorch", "with_terratorch.py", ("terratorch",)),
    Row("raster-vision", "with_raster_vision.py", ("rastervision",)),
    Row("geo-inference", "with_geo_inference.py", ("geo-inference",), traced=True),
)
OURS: Final = (
    Row("geoseg"),
    Row("geoseg-auto", settings={"engine": "auto", "precision": "auto"}),
    Row("geoseg-fp32", settings={"engine": "auto", "precision": "fp32"}),
    Row("geoseg-torch", settings={"engine": "torch", "precision": "fp32"}),
    Row(
        "geoseg-torch-same-chips",
        settings={"engine": "torch", "precision": "fp32"},
        own_tiling=False,
    ),
)


@dataclass(frozen=True)
class Turn:
    """What one run of a row came to.

    Attributes:
        felt: From outside.
        differ: Share of pixels whose class is not the untiled answer's.
        inside: The same, without a rim of two margins around the scene.
        seams: Seam index.
        plain: That of the untiled answer at the same borders.
        note: What did the work.
    """

    felt: Felt
    differ: float
    inside: float
    seams: float
    plain: float
    note: str

    @property
    def numbers(self) -> dict[str, float]:
        """For the log."""
        return {
            "wall_s": round(self.felt.wall, 2),
            "cpu_s": round(self.felt.cpu, 2),
            "memory_gb": round(self.felt.memory / 1e9, 3),
            "differ": self.differ,
            "inside": self.inside,
            "seam_index": round(self.seams, 4),
            "of_untiled": round(self.plain, 4),
        }


@dataclass
class Bench:
    """What all rows are given, and the answer that they are compared with."""

    work: Path
    scene: Path
    chips: Chips
    cores: int
    answer: Classes = field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    @property
    def environment(self) -> dict[str, str]:
        """All cores for all, and Python's caches as for any user."""
        odd = {"OMP_NUM_THREADS", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "VIRTUAL_ENV"}
        return {key: value for key, value in os.environ.items() if key not in odd}

    def job(self, out: Path) -> dict[str, Any]:
        """For an adapter."""
        return job(self.scene, self.work, out, self.chips, self.cores)

    def run(
        self, row: Row, python: Path, timeout: float, *, first: bool = False, keep: bool = False
    ) -> Turn:
        """One turn; the ``first`` finds no caches, and with ``keep`` what was begun stays.

        Raises:
            CommandError: It failed.
        """
        folder = self.work / row.name
        if not keep:
            shutil.rmtree(folder if first else folder / "out", ignore_errors=True)
        (folder / "out").mkdir(parents=True, exist_ok=True)
        ask = self._adapter if row.adapter else self._geoseg
        command, out, more = ask(row, python, folder)
        took = felt(
            command, log=folder / "log.txt", environment={**self.environment, **more},
            timeout=timeout,
        )  # fmt: skip
        classes = read(out)
        note, stride, offset = self._about(row, took, out)
        wrong = classes != self.answer
        rim = 2 * self.chips.margin
        inside = wrong[rim:-rim, rim:-rim]
        seams = (seam_index(found, stride, offset) for found in (classes, self.answer))
        return Turn(took, float(wrong.mean()), float(inside.mean()), *seams, note)

    def _adapter(
        self, row: Row, python: Path, folder: Path
    ) -> tuple[list[str], Path, dict[str, str]]:
        out = folder / "out" / "classes.tif"
        file = folder / "job.json"
        file.write_text(json.dumps(self.job(out)))
        return [str(python), str(HERE / row.adapter), str(file)], out, {}

    def _geoseg(
        self, row: Row, python: Path, folder: Path
    ) -> tuple[list[str], Path, dict[str, str]]:
        out, file = folder / "out", folder / "workflow.yaml"
        chips = f"{{size: {self.chips.size}, margin: {self.chips.margin}}}"
        text = WORKFLOW.format(
            scene=self.scene,
            model=json.dumps({"name": MODEL, **row.settings}),
            tiling="" if row.own_tiling else f"tiling: {chips}",
            out=out,
        )
        file.write_text(text)
        caches = {
            "GEOSEG_CACHE": str(folder / "cache"),
            "NUMBA_CACHE_DIR": str(folder / "numba"),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        return [str(python), "-m", "geoseg", "run", str(file), "-q"], out / "classes.tif", caches

    def _about(self, row: Row, took: Felt, out: Path) -> tuple[str, int, tuple[int, int]]:
        """Who did it, the stride of its chips, and where the first seam is, ``(y, x)``."""
        if not row.adapter:
            said = json.loads((out.parent / "run.json").read_text("utf-8"))
            tiling, runtime = said["tiling"], (said.get("engine") or {}).get("runtime", {})
            kind = f"{runtime.get('engine', 'torch')} {runtime.get('precision', 'fp32')}"
            note = f"geoseg {said['geoseg']}, {kind}, chips of {tiling['size']} px"
            return note, tiling["size"] - 2 * tiling["margin"], (0, 0)
        stride = self.chips.size - 2 * self.chips.margin
        note = _VERSIONS.findall(took.said)[-1]
        seams = _SEAMS.search(took.said)
        if seams is None:
            return note, stride, (self.chips.margin, self.chips.margin)
        y, x, other = seams.groups()
        return note, int(other or stride), (int(y), int(x or y))
