"""Commands that make products of maps, killed at random moments: nothing half-made has a name."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from change_maps import write_pair
from killing import ROOT, Session, hashes, strays
from map_series import lake_maps
from plot_cases import loss_years, on_globe, some_plots, write_plots, write_years
from watching import Watch

pytestmark = pytest.mark.timeout(3600)

SETTINGS = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def two_maps(folder):
    one, two = write_pair(folder)
    return ["change", one, two, folder / "out"]


def a_map(folder):
    one, _ = write_pair(folder)
    return ["vectorize", one, folder / "out" / "polygons.gpkg", "--min-area", "4 px"]


def lakes(folder):
    maps = lake_maps(folder / "maps", ["2020-02-01", "2020-06-01", "2021-03-01"])
    return ["water", *maps, folder / "out"]


def years(folder):
    maps = lake_maps(folder / "maps", ["2020-02-01", "2020-06-01", "2021-03-01"])
    return ["land-use", *maps, folder / "out"]


def plots(folder):
    raster = write_years(folder / "lossyear.tif", loss_years())
    shapes = write_plots(folder / "plots.geojson", [on_globe(shape) for shape in some_plots()])
    return ["plots", shapes, folder / "out", "--loss", raster]


def alerts(folder):
    store, maps = folder / "alerts.zarr", write_pair(folder)
    words = ["alerts", "update", store, *maps, "--forest", "Trees", "--seen-forest", "0", "-q"]
    subprocess.run([sys.executable, "-m", "geoseg", *map(str, words)], env=SETTINGS, check=True)
    return ["alerts", "export", store, folder / "out"]


@pytest.mark.parametrize("prepare", [two_maps, a_map, lakes, years, plots, alerts])
def test_killed_at_any_moment_and_started_again(tmp_path, prepare, chaos):
    kills = max(1, chaos // 6)
    if chaos < 8 and prepare is not two_maps:
        pytest.skip("takes half a minute: with --chaos 8, or more")
    words, out = prepare(tmp_path), tmp_path / "out"
    begun = time.monotonic()
    assert Session(*words, cwd=tmp_path).end() == 0
    took, wanted = time.monotonic() - begun, hashes(out)
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    chance, killed = random.Random(chaos), 0  # noqa: S311 (no secret)
    with Watch(out) as watch:
        while killed < kills:
            since, session = watch.mark(), Session(*words, cwd=tmp_path)
            # Half of them while something is written, half at any time.
            if chance.random() < 0.5:
                watch.wait_for(".", lambda session=session: session.ended, since)
                time.sleep(chance.random() * took / 10)
            else:
                time.sleep(chance.random() * took)
            killed += not session.ended
            session.kill("group")
        assert Session(*words, cwd=tmp_path).end() == 0
    assert not watch.broken, watch.broken
    print(f"\n{words[0]}: {killed} kills, {watch.opened} products opened")  # noqa: T201 (with -s)
    assert watch.opened
    assert hashes(out) == wanted
    assert not strays(out)
    for path in out.rglob("run.json"):
        json.loads(path.read_text())
