"""Whole runs by another engine than torch: torch's map, said in the record, or refused."""

import json

import numpy as np
import pytest
import rasterio
from packages import BANDS
from test_run import geoseg, model, untiled, workflow  # noqa: F401 (model is a fixture)

from geoseg.api.chosen import Chosen
from geoseg.api.engines import Engines
from geoseg.api.planning import plan_workflow
from geoseg.models.engines import Runtime, is_installed, memory_of
from geoseg.run.reporter import Silent
from geoseg.workflow.loading import load

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not is_installed("openvino"), reason="OpenVINO is not installed"),
]


def asked(folder, model, **more):  # noqa: F811 (the fixture's value)
    path = workflow(folder, model)
    data = json.loads(path.read_text())
    data["model"] |= {"engine": "openvino", **more}
    path.write_text(json.dumps(data))
    return path


def test_a_map_by_openvino_is_torchs_and_stays(tmp_path, model):  # noqa: F811
    from geoseg.io.sample import SampleSource, SampleSpec

    path = asked(tmp_path, model)
    done = geoseg("run", path, check=0)
    assert "engine: openvino fp32, as asked, and it agrees" in done.stdout + done.stderr
    out = tmp_path / "out"
    record = json.loads((out / "run.json").read_text())["engine"]
    assert record["runtime"] == {"engine": "openvino", "precision": "fp32"}
    assert record["trials"][1]["agreement"] > 0.999
    assert record["versions"]["openvino"]
    source = SampleSource(SampleSpec(size=(420, 530), seed=3), out / "sample")
    scores, valid = untiled(source.scenes(BANDS)[0], model)
    with rasterio.open(out / "classes.tif") as file:
        found = file.read(1)
    best = np.sort(scores, axis=0)
    sure = valid & (best[-1] - best[-2] > 1e-4)
    assert sure.sum() > 0.99 * valid.sum()
    np.testing.assert_array_equal(found[sure], (scores.argmax(axis=0) + 1)[sure])
    again = geoseg("run", path, check=0)
    assert "up to date" in again.stdout + again.stderr


def test_memory_is_planned_again_once_the_engine_is_known(tmp_path, model):  # noqa: F811 (the fixture's value)
    path = workflow(tmp_path, model)
    plan = plan_workflow(load(path))
    (task,) = plan.tasks
    # As a trial on a scene that is large enough for one would have it.
    Engines(plan, Silent()).keep(task, Chosen(Runtime("openvino"), "the fastest", (), 0.995))
    geoseg("run", path, check=0)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["engine"]["runtime"]["engine"] == "openvino"
    planned = record["memory"]["planned_per_worker"]
    assert planned == task.plan.memory.of(memory_of(Runtime("openvino")))
    assert planned < task.plan.memory_at_most
    (log,) = (tmp_path / "out" / ".geoseg").rglob("events*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    (begun,) = (one for one in events if one["event"] == "scene_started")
    assert begun["memory_planned"] == planned
    said = json.loads(geoseg("plan", path, "--json", check=0).stdout)["scenes"][0]
    assert (said["engine"], said["memory_per_worker"]) == ("openvino fp32", planned)
    assert said["memory_at_most"] == task.plan.memory_at_most
    # The same where products are there, and something else is asked of them.
    geoseg("run", path, "--set", "output.raster.entropy=true", check=0)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["engine"]["runtime"]["engine"] == "openvino"
    assert planned < record["memory"]["planned_per_worker"] < task.plan.memory_at_most


def test_an_engine_that_agrees_too_little_writes_nothing(tmp_path, model):  # noqa: F811
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")
    path = asked(tmp_path, model, precision="bf16", agreement=1.0)
    done = geoseg("run", path, check=2)
    assert "less than the 100.000 % that are asked for" in done.stderr
    assert "model.agreement: 0." in done.stderr
    assert not (tmp_path / "out" / "classes.tif").exists()


@pytest.mark.long
def test_a_map_in_int8_goes_on_with_its_own_network(tmp_path, model):  # noqa: F811
    path = asked(tmp_path, model, precision="int8", agreement=0.5)
    done = geoseg("run", path, check=0)
    assert "openvino int8, as asked, and it agrees" in done.stdout + done.stderr
    out = tmp_path / "out"
    record = json.loads((out / "run.json").read_text())["engine"]
    (network,) = record["networks"]
    assert (out / ".geoseg" / f"{network[:16]}.int8.onnx").is_file()
    again = geoseg("run", path, check=0)
    assert "up to date" in again.stdout + again.stderr
    # Made anew by one worker instead of two, from a calibration of its own: the same bits.
    data = json.loads(path.read_text())
    data["output"]["directory"] += "-anew"
    data["cluster"] = {"kind": "local", "workers": 1}
    path.write_text(json.dumps(data))
    geoseg("run", path, check=0)
    anew = json.loads((tmp_path / "out-anew" / "run.json").read_text())["engine"]
    assert anew["networks"] == [network]
    for name in ("classes.tif", "confidence.tif"):
        with rasterio.open(out / name) as one, rasterio.open(tmp_path / "out-anew" / name) as two:
            np.testing.assert_array_equal(one.read(1), two.read(1))
