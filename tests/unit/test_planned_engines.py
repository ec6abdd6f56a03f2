"""The memory that a plan says: of the engine that computes, once it is known, else of the largest."""

import json
from dataclasses import replace

import pytest
from packages import write_package

import geoseg
from geoseg.api.chosen import SMALL, Chosen
from geoseg.api.engines import TRIED, Engines
from geoseg.api.known_engines import with_known_engines
from geoseg.api.planning import plan_workflow
from geoseg.models import converted
from geoseg.models.engines import Runtime, is_installed, memory_of
from geoseg.run.reporter import Silent
from geoseg.workflow.loading import loads

TORCH, ORT = Runtime(), Runtime("onnxruntime")
ONNX = pytest.mark.skipif(not is_installed("onnxruntime"), reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """No trial of before, and no GPU."""
    monkeypatch.setenv(converted.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def planned(tmp_path, model):
    def made(cluster="local", **choice):
        text = json.dumps(
            {
                "cluster": cluster,
                "geoseg": 1,
                "name": "test",
                "input": {"kind": "sample", "size": [160, 160], "seed": 3},
                "model": {"path": str(model)} | choice,
                "tiling": {"size": 112, "margin": 48},
                "output": {"directory": str(tmp_path / "out")},
            }
        )
        return plan_workflow(loads(text))

    return made


def alone(plan):
    (task,) = plan.tasks
    return task


def takes(plan, footprint):
    return alone(plan).plan.memory.of(footprint)


def test_until_it_is_known_the_largest_of_all_that_may_be_taken(planned, monkeypatch):
    for able in (False, True):
        monkeypatch.setattr("geoseg.api.candidates.has_bf16", lambda able=able: able)
        plan = planned()
        kinds = ("fp32", "bf16") if able else ("fp32",)
        may = [Runtime(name, kind) for name in ("torch", "openvino") for kind in kinds]
        most = max(takes(plan, memory_of(one)) for one in [*may, ORT])
        assert alone(plan).plan.memory_per_worker == alone(plan).plan.memory_at_most == most
        assert alone(plan).engine is None
    assert alone(planned(engine="openvino")).plan.memory_at_most < most


def test_a_known_engine_changes_the_memory_and_nothing_else(planned):
    plan = planned()
    task = plan.computed_by(alone(plan), Chosen(ORT))
    assert task.plan.memory_per_worker == takes(plan, memory_of(ORT))
    assert task.plan.memory_per_worker < task.plan.memory_at_most
    whole = alone(plan).plan
    assert replace(task.plan, memory_per_worker=whole.memory_per_worker) == whole


@pytest.mark.parametrize(
    ("choice", "known"),
    [
        ({"engine": "torch"}, Chosen(TORCH)),
        ({"engine": "openvino"}, Chosen(Runtime("openvino"))),
        ({"precision": "int8"}, Chosen(Runtime("openvino", "int8"))),
        ({}, Chosen(TORCH, SMALL)),
    ],
)
def test_what_needs_no_trial_is_known(planned, choice, known):
    plan = with_known_engines(planned(**choice))
    task = alone(plan)
    assert task.engine == known
    assert task.plan.memory_per_worker == takes(plan, memory_of(known.runtime))


@ONNX
def test_what_was_tried_before_is_known_and_what_began_a_map(planned, monkeypatch):
    monkeypatch.setattr("geoseg.api.engines.WORTH", 1)
    plan = planned()
    task = alone(plan)
    assert alone(with_known_engines(plan)).engine is None, "nothing was tried yet"
    task.found.prepare(Silent())
    engines = Engines(plan, Silent())
    chosen = engines.of(task)
    known = alone(with_known_engines(planned()))
    assert known.engine == replace(chosen, why=TRIED)
    assert known.plan.memory_per_worker == takes(plan, memory_of(chosen.runtime))
    engines.keep(task, Chosen(ORT, "another", (), 0.995))
    assert alone(with_known_engines(planned())).engine == Chosen(ORT, "as before", (), 0.995)


def test_what_other_machines_will_choose_is_not_known_here(planned, monkeypatch):
    monkeypatch.setattr("geoseg.api.engines.WORTH", 1)
    plan = with_known_engines(planned(cluster="tcp://10.0.0.1:8786"))
    assert alone(plan).engine is None
    assert alone(plan).plan.memory_per_worker == alone(plan).plan.memory_at_most


def test_gpus_take_the_hosts_memory_for_cuda_and_not_for_activations(planned, monkeypatch):
    gpu = memory_of(TORCH, gpu=True)
    cuda = planned(device="cuda", engine="torch")
    assert cuda.gpu
    assert alone(cuda).plan.memory_at_most == takes(cuda, gpu)
    assert alone(planned(cluster={"kind": "cuda"})).plan.memory_at_most >= takes(cuda, gpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("geoseg.api.footprints.version_of", lambda _name: "2.14.1+cu130")
    seen = planned()
    assert seen.gpu
    # It may turn out that torch cannot use it.
    assert alone(seen).plan.memory_at_most == max(takes(seen, gpu), takes(seen, memory_of(TORCH)))
    assert seen.computed_by(alone(seen), Chosen()).plan.memory_per_worker == takes(seen, gpu)
    ort = seen.computed_by(alone(seen), Chosen(ORT)).plan.memory_per_worker
    assert ort == takes(seen, memory_of(ORT))
    assert not planned(device="cpu").gpu
    monkeypatch.setattr("geoseg.api.footprints.version_of", lambda _name: "2.14.1+cpu")
    assert not planned().gpu
    # Workers elsewhere say so when they are asked.
    told = planned(cluster="tcp://10.0.0.1:8786")
    task = told.computed_by(alone(told), Chosen(), gpu=True)
    assert task.plan.memory_per_worker == takes(told, gpu)


def test_the_public_plan_knows_it(planned, tmp_path, model):
    data = planned().workflow
    (task,) = geoseg.api.plan(data).tasks
    assert task.engine == Chosen(TORCH, SMALL)
