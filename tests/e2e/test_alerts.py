"""Alerts by the command line: maps in, products out, whatever happens in between."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import xarray as xr
from alert_maps import AFFINE, LEGEND, series, write_map
from judges import check_products
from rasterio.features import geometry_mask
from scipy import ndimage

import geoseg
from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.io.rat import write_rat
from geoseg.ops.alerts.encoding import from_gfw, to_gfw
from geoseg.ops.alerts.rules import to_day

SHAPE = (60, 70)
DAYS = [date(2020, 1, 3) + timedelta(days=12 * n) for n in range(8)]


def files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def read(path, band=1):
    with rasterio.open(path) as file:
        return file.read(band)


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """Folders of products, named by their dates."""
    found = series(tmp_path_factory.mktemp("maps"), DAYS, shape=SHAPE)
    for dated in found:
        write_rat(dated.classes, LEGEND)
    return [str(dated.classes.parent) for dated in found]


@pytest.fixture(scope="module")
def exported(maps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    store, out = folder / "alerts.zarr", folder / "out"
    assert run(["alerts", "update", str(store), *maps, "--forest", "trees", "--ignore", "cloud",
                "--chi", "0.9", "--seen-forest", "0", "-q"]) == 0  # fmt: skip
    assert run(["alerts", "export", str(store), str(out), "-q"]) == 0
    return store, out


def test_rasters_say_the_same_in_everyones_numbers(exported):
    _, out = exported
    state, first = read(out / "state.tif"), read(out / "dates.tif")
    assert set(np.unique(state)) >= {0, 1, 5, 6}
    there = (state > 0) & (state < 255)
    assert np.array_equal(first > 0, there)
    gfw = read(out / "alerts.tif")
    assert np.array_equal(gfw, to_gfw(state, first))
    row, col = np.argwhere(state == 6)[0]
    level, day = from_gfw(int(gfw[row, col]))
    assert (level, to_day(day)) == (4, first[row, col])
    assert day in DAYS
    before, last = read(out / "dates.tif", 2), read(out / "dates.tif", 3)
    assert (before[there] < first[there]).all()
    assert (last[there] >= first[there]).all()
    assert np.array_equal(read(out / "counts.tif", 2)[there], last[there] - first[there] + 1)
    assert np.array_equal(read(out / "confidence.tif") <= 100, there)
    with rasterio.open(out / "state.tif") as file:
        assert file.tags(ns="rio_overview") is not None
        assert file.colormap(1)[6][:3] == (0xB0, 0x10, 0x4A)


def test_polygons_are_the_regions_of_alerts(exported):
    _, out = exported
    state = read(out / "state.tif")
    there = (state > 0) & (state < 255)
    labels, count = ndimage.label(there, np.ones((3, 3)))
    frame = pyogrio.read_dataframe(out / "alerts.gpkg", layer="alerts")
    assert len(frame) == count
    assert frame.alert_id.is_unique
    first = read(out / "dates.tif")
    for row in frame.itertuples():
        inside = ~geometry_mask([row.geometry], SHAPE, AFFINE)
        assert len(np.unique(labels[inside])) == 1
        assert inside.sum() == row.pixels == (labels == labels[inside][0]).sum()
        assert to_day(date.fromisoformat(str(row.start)[:10])) == first[inside].min()
        assert row.state == state[inside].max()
        assert row.area_ha == pytest.approx(row.pixels * 0.04, rel=2e-3)
        day = row.alert_id.split("-")[0]
        assert date.fromisoformat(day) <= date.fromisoformat(str(row.start)[:10])
    with sqlite3.connect(out / "alerts.gpkg") as connection:
        (qml,) = connection.execute("SELECT styleQML FROM layer_styles").fetchone()
    assert 'startField="start"' in qml
    assert 'endField="end"' in qml


def test_the_smallest_alerts_are_left_out(exported, tmp_path, capsys):
    store, out = exported
    assert (
        run(
            [
                "alerts",
                "export",
                str(store),
                str(tmp_path / "o"),
                "--min-area",
                "radd",
                "--json",
                "-q",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    frame = pyogrio.read_dataframe(tmp_path / "o" / "alerts.gpkg", layer="alerts")
    assert frame.area_ha.min() >= 0.2
    assert len(frame) == told["polygons"]
    assert told["polygons"] + told["left_out"] == len(
        pyogrio.read_dataframe(out / "alerts.gpkg", layer="alerts")
    )


def test_the_same_store_gives_the_same_bytes(exported):
    store, out = exported
    before = files(out)
    assert run(["alerts", "export", str(store), str(out), "-q"]) == 0
    assert files(out) == before
    assert not [name for name in before if ".part" in name]


def test_show_counts_what_rasters_show(exported, capsys):
    store, out = exported
    assert run(["alerts", "show", str(store), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    state = read(out / "state.tif")
    assert {row["state"]: row["pixels"] for row in told["rows"]} == {
        int(n): int((state == n).sum()) for n in np.unique(state)
    }
    assert [scene["date"] for scene in told["scenes"]] == [str(day) for day in DAYS]
    assert told["behind"] == 0
    assert sum(row["ha"] for row in told["rows"]) == pytest.approx(state.size * 0.04, rel=2e-3)
    assert run(["alerts", "show", str(store)]) == 0
    assert "Bayesian updating, confirmed at a probability of 0.9" in capsys.readouterr().out


def test_xarray_reads_the_store(exported):
    store = exported[0]
    with xr.open_zarr(store, consolidated=True) as data:
        assert {"state", "first", "last", "detections"} <= set(data.variables)
        assert data["state"].dims == ("y", "x")


def test_python_does_what_the_commands_do(maps, exported, tmp_path):
    store, out = exported
    done = geoseg.update_alerts(
        tmp_path / "alerts.zarr", maps[::-1], forest="Trees", ignore=["Cloud"],
        rule=geoseg.ops.alerts.rules.Bayes(chi=0.9),
    )  # fmt: skip
    assert len(done.added) == len(maps)
    assert files(tmp_path / "alerts.zarr") == files(store)
    result = geoseg.export_alerts(tmp_path / "alerts.zarr", tmp_path / "out")
    assert files(tmp_path / "out") == files(out)
    assert result.polygons == len(pyogrio.read_dataframe(out / "alerts.gpkg", layer="alerts"))
    assert geoseg.show_alerts(store).forest == ("trees",)


def test_alerts_before_2015_have_no_gfw_numbers(tmp_path, capsys):
    days = [date(1985, 6, 1) + timedelta(days=365 * n) for n in range(4)]
    lost, clear = np.zeros((20, 20), bool), np.ones((20, 20), bool)
    store, out = tmp_path / "a.zarr", tmp_path / "out"
    for step, day in enumerate(days):
        lost[:, 15 - 2 * step :] = step > 0
        dated = write_map(tmp_path, day, lost, clear, np.full(lost.shape, 95))
        write_rat(dated.classes, LEGEND)
        assert run(["alerts", "update", str(store), str(dated.classes.parent), "--forest", "trees",
                    "--confirm-within", "3650 d", "--seen-forest", "1", "-q"]) == 0  # fmt: skip
    out.mkdir()
    (out / "alerts.tif").write_bytes(b"of an older export")
    assert run(["alerts", "export", str(store), str(out)]) == 0
    assert "alerts begin on 1986-06-01" in capsys.readouterr().err
    assert not (out / "alerts.tif").exists()
    assert read(out / "dates.tif").max() == to_day(days[-1])


_KILLED = """
import os, signal, sys
from geoseg.io import atomic, zarr_store, alert_store
left = [int(sys.argv.pop(1))]
def after(function):
    def called(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return called
for module in (zarr_store, alert_store):
    for name in ("replace_unsynced", "write_bytes", "replacing"):
        if hasattr(module, name):
            setattr(module, name, after(getattr(module, name)))
from geoseg.cli import run
run(sys.argv[1:])
print(left[0])
"""


@pytest.fixture(scope="module")
def steps(maps, tmp_path_factory):
    """How often an update writes something."""
    store = tmp_path_factory.mktemp("counted") / "alerts.zarr"
    words = [sys.executable, "-c", _KILLED, "100000", "alerts", "update", str(store), *maps,
             "--forest", "trees", "--seen-forest", "0", "-q"]  # fmt: skip
    told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return 100_000 - int(told.split()[-1])


@pytest.mark.parametrize("share", [0.05, 0.5, 0.75, 0.85, 0.92, 0.98])
def test_a_killed_update_ends_the_same_when_it_is_run_again(maps, exported, tmp_path, steps, share):
    store, writes = tmp_path / "alerts.zarr", int(share * steps)
    words = ["alerts", "update", str(store), *maps, "--forest", "trees", "--ignore", "cloud",
             "--chi", "0.9", "--seen-forest", "0", "-q"]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", _KILLED, str(writes), *words], check=False)
    assert done.returncode == -signal.SIGKILL
    assert run(words) == 0
    assert files(store) == files(exported[0])
    assert [p.name for p in tmp_path.iterdir()] == ["alerts.zarr"]


def test_a_store_with_a_baseline_keeps_watching_all_of_it(maps, tmp_path):
    store = tmp_path / "alerts.zarr"
    words = ["alerts", "update", str(store), "-q"]
    assert (
        run([*words, maps[0], "--forest", "trees", "--baseline", maps[0], "--preset", "radd"]) == 0
    )
    told = json.loads((store / "alerts.json").read_text())["rule"]
    assert told["settled"] == 0
    assert run([*words, maps[1], "--chi", "0.9"]) == 0
    assert json.loads((store / "alerts.json").read_text())["rule"] == told | {"chi": 0.9}
    assert run([*words, maps[2], "--seen-forest", "2"]) == 0
    assert json.loads((store / "alerts.json").read_text())["rule"]["settled"] == 2


def test_a_store_that_is_held_is_left_alone(maps, exported, tmp_path):
    store = exported[0]
    code = f"from geoseg.run.lock import hold\nimport time\nwith hold({str(store.parent / '.alerts.zarr.lock')!r}):\n    print('held', flush=True)\n    time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        try:
            assert run(["alerts", "update", str(store), maps[0], "-q"]) == 75
            assert run(["alerts", "export", str(store), str(tmp_path / "out"), "-q"]) == 75
        finally:
            os.kill(holder.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert not (tmp_path / "out").exists()
    assert run(["alerts", "update", str(store), maps[0], "-q"]) == 0


@pytest.mark.cluster
def test_a_workflow_adds_its_scenes_run_by_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["run", str(Path(__file__).parents[2] / "workflows" / "alerts.yaml"), "-q",
             "--set", "input.size=256", "--set", "cluster.workers=1",
             "--set", "alerts.seen_forest=1", "--set", "output.quicklook=false"]  # fmt: skip
    dated = [["--set", f"input.date={n}", "--set", f"input.directory=s{n}"] for n in (1, 2)]
    store, out = Path("products/alerts/forest.zarr"), Path("products/alerts/alerts")
    for settings in dated:
        assert run([*words, *settings]) == 0
    lost = (read("s1/truth.tif") == 2) & (read("s2/truth.tif") != 2)
    alert = np.isin(read(out / "state.tif"), (1, 4))
    assert lost.any()
    assert alert[lost].mean() > 0.5
    assert alert[~lost].mean() < 0.15
    before = files(store), files(out)
    assert run([*words, *dated[0]]) == 0  # the older scene once more: nothing is new
    assert (files(store), files(out)) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "no.zarr", "out"], "no.zarr: is no store of alerts"),
        (["show", "no.zarr"], "is no store of alerts"),
        (["update", "no.zarr"], "no map to make it of"),
        (["update", "no.zarr", "MAP"], "say which class is forest"),
        (["update", "no.zarr", "MAP", "--forest", "palms"], "has no class 'palms'; its classes are Trees"),
        (["update", "no.zarr", "MAP", "--forest", "trees", "--rule", "4/3"], "rule.k: expected at most n, which is 3, found 4"),
        (["update", "no.zarr", "MAP", "--forest", "trees", "--rule", "magic"], "rule.kind"),
        (["update", "no.zarr", "MAP", "--forest", "trees", "--confirm-within", "1.5 d"], "whole days"),
        (["update", "no.zarr", "MAP", "--forest", "trees", "--rule", "2/3", "--chi", "0.9"], "chi: only used"),
        (["update", "no.zarr", "nothing"], "nothing: no such file"),
        (["export", "STORE", "STORE/out"], "lies in the store"),
        (["export", "STORE", "out", "--min-area", "much"], "min_area: expected an area"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused_and_nothing_is_written(
    words, said, maps, exported, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = [w.replace("MAP", maps[0]).replace("STORE", str(exported[0])) for w in words]
    assert run(["alerts", *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_map_without_a_date_is_refused(maps, tmp_path, capsys):
    dated = write_map(
        tmp_path / "m", DAYS[0], np.zeros((4, 4), bool), np.ones((4, 4), bool), np.full((4, 4), 90)
    )
    path = dated.classes.rename(tmp_path / "map.tif")
    write_rat(path, LEGEND)
    assert run(["alerts", "update", str(tmp_path / "a.zarr"), str(path), "--forest", "trees"]) == 2
    assert "has no date" in capsys.readouterr().err
    with pytest.raises(InputError, match="has no date"):
        geoseg.update_alerts(tmp_path / "a.zarr", [path], forest="trees")
    assert not (tmp_path / "a.zarr").exists()


def test_all_of_it_is_standard_and_says_what_it_is_made_of(exported):
    _, out = exported
    told = check_products(out, "alerts")
    assert [one["date"] for one in told["inputs"]] == [str(day) for day in DAYS]
    assert told["settings"]["watch"]["forest"] == ["trees"]
