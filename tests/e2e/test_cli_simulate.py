"""``geoseg plan --simulate``: from a trial, from a finished run, and what is refused."""

import json

import pytest
from packages import write_package
from test_run import geoseg, workflow

from geoseg.api.simulating import Wanted, simulate_plan
from geoseg.cli import run
from geoseg.errors import InputError
from geoseg.workflow import load

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model):
    """A workflow that has run, and its output."""
    folder = tmp_path_factory.mktemp("finished")
    path = workflow(folder, model, tiling={"size": 192, "margin": 48, "block": 96})
    geoseg("run", path, check=0)
    return path, folder / "out"


@pytest.fixture
def call(capsys):
    def called(*args):
        capsys.readouterr()
        code = run([str(a) for a in args])
        told = capsys.readouterr()
        return code, told.out, told.err

    return called


def test_a_finished_run_says_what_tasks_take(call, finished):
    path, out = finished
    record = json.loads((out / "run.json").read_text())
    assert record["machine"]["workers"] >= 1
    assert record["seconds"]["products"]["wall"] > 0
    code, told, _ = call("plan", path, "--simulate", "--measured", out, "--json")
    found = json.loads(told)
    assert code == 0
    assert list(found["forecast"]["stages"]) == ["segment", "trace"]
    assert found["seconds"] > found["forecast"]["stages"]["segment"] > 0
    pixels = 420 * 530 / 1e6
    assert found["times"]["after"] * pixels <= record["seconds"]["products"]["wall"] * 1.01
    assert found["megapixels_per_second"] == pytest.approx(pixels / found["seconds"])
    code, told, _ = call("plan", path, "--simulate", "--measured", out)
    assert code == 0
    assert "bottleneck" in told
    assert str(out / "run.json") in told


def test_twenty_thousand_scenes_on_64_gpus(call, finished):
    path, out = finished
    options = ("--gpus", 64, "--gpu-speed", 100, "--cores", 8, "--scenes", 20_000, "--latency", 40)
    walls = {}
    for runs in (1, 64):
        code, told, _ = call(
            "plan", path, "--simulate", "--measured", out, "--json", "--runs", runs, *options
        )
        assert code == 0
        found = json.loads(told)
        walls[runs] = found["seconds"]
        assert found["pool"]["gpu"]
        assert found["pool"]["workers"] == 64 // runs
        assert found["forecast"]["scenes"] == -(-20_000 // runs)
        assert found["forecast"]["simulated"] < 1000
        assert found["feeding_cores_per_model"] > 0
    # What clients do alone is done side by side.
    assert walls[64] < walls[1]


def test_failures_and_few_cores_cost_time(finished):
    path, out = finished
    read = load(path)

    def wall(**wanted):
        return simulate_plan(read, Wanted(**wanted), measured=out).forecast.wall

    alone = wall(workers=1, cores=1)
    assert wall(workers=1, cores=1, failures=0.2) > alone
    assert wall(workers=4, cores=1) < alone
    assert wall(workers=1, cores=1, latency=0.5) > alone
    assert wall(workers=1, cores=1, scenes=3) > 2 * alone


def test_a_trial_says_it_too(call, tmp_path, model):
    path = workflow(tmp_path, model)
    code, told, _ = call("plan", path, "--simulate", "--workers", 2, "--json")
    found = json.loads(told)
    assert code == 0
    assert found["times"]["infer"] > 0
    assert found["times"]["source"].startswith("a trial of ")
    # The synthetic scene is there, as it was tried on; nothing of a run is.
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sample"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "2"], "add --simulate"),
        (["--simulate", "--gpus", "4"], "add --gpu-speed"),
        (["--simulate", "--gpu-speed", "4"], "say how many with --gpus"),
        (["--simulate", "--workers", "0"], "--workers: found 0"),
        (["--simulate", "--failures", "1"], "--failures: found 1"),
        (["--simulate", "--latency", "-1"], "--latency: found -1"),
        (["--simulate", "--workers", "2", "--runs", "3"], "share fewer workers"),
        (["--simulate", "--measured", "nowhere"], "output folder of a finished run"),
    ],
)
def test_what_does_not_go_together_is_refused(call, finished, options, said):
    code, _, err = call("plan", finished[0], *options)
    assert code == 2
    assert said in " ".join(err.replace("│", " ").split())


def test_records_that_say_nothing_of_tasks_are_refused(finished, tmp_path):
    path, out = finished
    record = json.loads((out / "run.json").read_text())
    other = {**record, "model": {**record["model"], "name": "other"}}
    old = {key: value for key, value in record.items() if key != "machine"}
    empty = json.loads(json.dumps(record))
    empty["seconds"]["segment"]["blocks"] = 0
    for wrong, said in (
        (other, "was made by model other"),
        (old, "does not say what its tasks took"),
        (empty, "no block was predicted"),
        ([], "does not say"),
    ):
        (tmp_path / "run.json").write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=said):
            simulate_plan(load(path), measured=tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(InputError, match="is not the record of a run"):
        simulate_plan(load(path), measured=tmp_path)


def test_many_scenes_say_what_each_takes_on_average(finished, tmp_path):
    path, out = finished
    record = json.loads((out / "run.json").read_text())
    for name, times in (("a", 1), ("b", 3)):
        (tmp_path / name).mkdir()
        other = json.loads(json.dumps(record))
        other["seconds"]["segment"]["write"] *= times
        (tmp_path / name / "run.json").write_text(json.dumps(other))
    one, many = (simulate_plan(load(path), measured=folder).times for folder in (out, tmp_path))
    assert many.write == pytest.approx(2 * one.write)
    assert many.infer == pytest.approx(one.infer)
    assert many.others["trace"] == pytest.approx(one.others["trace"])
    assert many.before == many.look == pytest.approx(one.look)
    assert many.source == f"{tmp_path}: 2 scenes"
    (tmp_path / "b" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"b.run.json: is not the record of a run"):
        simulate_plan(load(path), measured=tmp_path)
