"""Runs in this process that break off after some blocks, on a small scene with every kind of store."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
from packages import BANDS
from rasters import write

from geoseg.api.crew import Crew
from geoseg.api.pipeline import run_plan
from geoseg.api.planning import plan_workflow
from geoseg.run.reporter import Silent
from geoseg.run.serial import Serial
from geoseg.workflow.loading import from_data

SIZE = 150


class Cut(BaseException):
    """The end of a run, as if its process had been killed."""


class CutOff:
    """Blocks in this process, up to some number of one stage; ``meanwhile`` is called after each."""

    def __init__(self, stage="", after=0, meanwhile=None):
        self.stage, self.after, self.meanwhile = stage, after, meanwhile

    def run(self, job, blocks, *, stop=None):
        outcomes = Serial(1, retries=0).run(job, blocks, stop=stop)
        for done, outcome in enumerate(outcomes, 1):
            yield outcome
            if done == self.after and job.key.startswith(self.stage):
                if self.meanwhile is None:
                    raise Cut
                self.meanwhile()


class Heard(Silent):
    """All that was said, and how many blocks of each stage were done before."""

    def __init__(self):
        self.said, self.before = [], {}

    def message(self, text):
        self.said.append(text)

    warning = message

    def stage(self, name, *, blocks, pixels, done_blocks=0, done_pixels=0, unit="blocks"):
        self.before[name] = done_blocks

    @property
    def text(self):
        return "\n".join(self.said)


class Case:
    """A scene, a model and a workflow in a folder, to be changed between runs."""

    def __init__(self, folder: Path, model: Path):
        self.folder, self.out, self.model = folder, folder / "out", model
        self.scene = folder / "scene.tif"
        self.write_scene()
        self.data = {
            "geoseg": 1,
            "name": "case",
            "input": {
                "kind": "files",
                "path": str(self.scene),
                "bands": list(BANDS),
                "units": "reflectance",
            },
            "model": {"path": str(self.model)},
            "tiling": {"size": 128, "margin": 32, "block": 64},
            "postprocess": [{"step": "majority", "size": 3}],
            "output": {
                "directory": str(self.out),
                "vector": {"formats": ["gpkg"], "min_area": "1000 m2"},
                "quicklook": False,
                "project": False,
            },
        }

    def write_scene(self, seed=0, path=None, **options):
        # Smooth noise: regions that are neither all of one class nor single pixels.
        random = np.random.default_rng(seed)
        coarse = random.integers(200, 4000, (6, SIZE // 10 + 1, SIZE // 10 + 1))
        values = coarse.repeat(10, 1).repeat(10, 2)[:, :SIZE, :SIZE].astype(np.uint16)
        settings = {"scales": (1e-4,) * 6, "offsets": (0.0,) * 6} | options
        write(path or self.scene, values, **settings)

    def run(self, executor=None, *, directory=None):
        """What was said in a run, which may be :class:`Cut`."""
        heard = Heard()
        if directory is not None:
            output = self.data["output"] | {"directory": str(directory)}
            plan = plan_workflow(from_data(self.data | {"output": output}))
        else:
            plan = plan_workflow(from_data(self.data))
        before = Crew.executor
        Crew.executor = lambda *_, **__: executor or CutOff()
        try:
            run_plan(plan, heard)
        except Cut:
            pass
        finally:
            Crew.executor = before
        return heard

    def map(self, out=None):
        """What the products say: pixels and polygons."""
        folder = out or self.out
        found = []
        for name in ("classes.tif", "confidence.tif"):
            with rasterio.open(folder / name) as made:
                found.append(made.read(1))
        polygons = pyogrio.read_dataframe(folder / "polygons.gpkg", layer="land_use")
        found.append(np.array([p.wkb for p in polygons.geometry]))
        return found

    def fresh(self):
        """The map that a run from nothing makes."""
        folder = self.folder / "fresh"
        self.run(directory=folder)
        return self.map(folder)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def card(package: Path, change) -> None:
    """Rewrite a model's card."""
    path = package / "card.json"
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
