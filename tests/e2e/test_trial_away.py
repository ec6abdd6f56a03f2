"""Which engine is taken where the workers are not of this machine: one of them tries."""

import json
import os
import sys
from types import SimpleNamespace

import pytest
from nights import Listener
from test_cluster_processes import site  # noqa: F401 (a fixture)
from test_run import model, workflow  # noqa: F401 (model is a fixture)

import geoseg
from geoseg.api.chosen import EngineRefusedError
from geoseg.api.trial_away import Ask, able, in_another_process, unable
from geoseg.models.engines import Runtime, is_installed

pytestmark = pytest.mark.cluster


def asked(folder, model, site, **more):  # noqa: F811 (the fixtures' values)
    path = workflow(folder, model)
    data = json.loads(path.read_text())
    data["model"] |= more
    data["cluster"] = {"kind": "address", "address": site.address}
    path.write_text(json.dumps(data))
    return path


def test_a_worker_tries_for_all(site, tmp_path, model, monkeypatch):  # noqa: F811 (fixtures)
    monkeypatch.setattr("geoseg.api.engines.WORTH", 0)
    theirs, ours = tmp_path / "cache-of-worker", tmp_path / "cache-of-client"
    monkeypatch.setenv("GEOSEG_CACHE", str(theirs))
    site.worker("--no-nanny")
    monkeypatch.setenv("GEOSEG_CACHE", str(ours))
    path, told = asked(tmp_path, model, site), Listener()
    result = geoseg.run(path, reporter=told)
    record = json.loads((tmp_path / "out" / "run.json").read_text())["engine"]
    tried = [trial["runtime"] for trial in record["trials"]]
    assert tried[0] == {"engine": "torch", "precision": "fp32"}
    assert record["runtime"] in tried
    assert len(tried) > 1
    assert not result.failed
    assert any("trying " in line for line in told.lines)
    assert any(line.startswith(f"engine: {record['runtime']['engine']} ") for line in told.lines)
    assert len(list((theirs / "trials").glob("*.json"))) == 1, "the worker keeps what came of it"
    assert not (ours / "trials").exists()
    # A finished map needs no cluster to know its engine.
    site.close()
    assert not geoseg.run(path).scenes[0].fresh


def test_small_scenes_are_not_tried(site, tmp_path, model):  # noqa: F811 (fixtures)
    site.worker("--no-nanny")
    geoseg.run(asked(tmp_path, model, site))
    record = json.loads((tmp_path / "out" / "run.json").read_text())["engine"]
    assert record["why"] == "too small to gain by another"
    assert not record["trials"]


def test_what_does_not_agree_there_is_refused_before_anything_is_written(
    site, tmp_path, model  # noqa: F811 (fixtures)
):  # fmt: skip
    site.worker("--no-nanny")
    path = asked(tmp_path, model, site, engine="torch", precision="bf16", agreement=1.0)
    with pytest.raises(EngineRefusedError, match=r"model.engine: torch bf16: .* agree"):
        geoseg.run(path)
    assert not (tmp_path / "out" / "classes.tif").exists()


def test_only_what_all_workers_have_is_tried():
    torch, bf16 = Runtime(), Runtime("torch", "bf16")
    vino, fast = Runtime("openvino"), Runtime("openvino", "bf16")
    client = {torch: {}, vino: vino.versions}
    all_of_it = {torch: {}, bf16: {}, vino: vino.versions, fast: fast.versions}
    found = unable([all_of_it, all_of_it], client)
    assert not found & {torch, bf16, vino, fast}, "the client's own processor does not matter"
    plain = {torch: {}, vino: vino.versions}
    assert {bf16, fast} <= unable([all_of_it, plain], client)
    assert vino not in unable([all_of_it, plain], client)
    older = all_of_it | {vino: {"openvino": "2023.1"}}
    assert vino in unable([all_of_it, older], client)
    assert fast not in unable([all_of_it, older], client)
    assert {vino, fast} <= unable([all_of_it], {torch: {}}), "the client could not say its version"
    assert torch not in unable([], {torch: {}}), "workers may come later"


def test_this_machine_says_what_it_can():
    found = able()
    assert found[Runtime()] == {}
    assert (Runtime("openvino") in found) == is_installed("openvino")


class Deadly:
    """A plan that kills who reads it."""

    def __init__(self, engine):
        self.workflow = SimpleNamespace(model=SimpleNamespace(engine=engine))

    def __reduce__(self):
        return os._exit, (9,)


def test_an_engine_that_kills_its_process_kills_no_worker():
    answer = in_another_process(Ask(Deadly("auto")))
    assert answer.run.runtime == Runtime()
    assert answer.warnings == ("engine: torch fp32: a trial ended with 9",)
    with pytest.raises(EngineRefusedError, match=r"model.engine: a trial ended with 9"):
        in_another_process(Ask(Deadly("openvino")))


def test_what_the_process_says_last_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\necho first >&2; echo no such engine >&2; exit 3\n")
    (tmp_path / "python").chmod(0o755)
    answer = in_another_process(Ask(Deadly("auto")))
    assert answer.run.why == "a trial ended with 3 no such engine"
