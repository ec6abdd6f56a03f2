"""Which engine computes a run: never one whose map is not torch's, and the same to its end."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from packages import write_package

from geoseg.api.chosen import SMALL, Chosen, EngineRefusedError
from geoseg.api.engines import FILE, Engines
from geoseg.api.holding import STATE
from geoseg.api.planning import plan_workflow
from geoseg.api.trial_chips import trial_chips
from geoseg.errors import ModelError, WorkflowError
from geoseg.grid import blocks
from geoseg.models import converted
from geoseg.models.engine_trial import AGREEMENT, Trial, allowance, fastest, share
from geoseg.models.engines import Runtime, has_bf16, is_installed, memory_of
from geoseg.models.registry import find
from geoseg.run.reporter import Silent
from geoseg.testing import fake_card
from geoseg.workflow.loading import loads

ONNX = pytest.mark.skipif(not is_installed("onnxruntime"), reason="onnxruntime is not installed")
TORCH, BF16 = Runtime(), Runtime("openvino", "bf16")
ORT, INT8 = Runtime("onnxruntime"), Runtime("openvino", "int8")


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.messages, self.warnings = [], []

    def message(self, text):
        self.messages.append(text)

    def warning(self, text):
        self.warnings.append(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(converted.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def planned(tmp_path: Path, model: Path, size: int = 160, cluster="local", **choice):
    """A plan on a small sample whose file is there, and its only scene."""
    text = json.dumps(
        {
            "cluster": cluster,
            "geoseg": 1,
            "name": "test",
            "input": {"kind": "sample", "size": [size, size], "seed": 3},
            "model": {"path": str(model)} | choice,
            "tiling": {"size": 112, "margin": 48},
            "output": {"directory": str(tmp_path / "out")},
        }
    )
    plan = plan_workflow(loads(text))
    (task,) = plan.tasks
    task.found.prepare(Silent())
    return plan, task


def choose(plan, task, **options) -> tuple[Chosen, Notes]:
    notes = Notes()
    return Engines(plan, notes, **options).of(task), notes


def spoil(model: Path, folder: Path) -> None:
    """Put the network of other weights where that of ``model`` is looked for."""
    other = find(write_package(folder, mean=(0.5, 0.01, 0.3, 0.0, 0.6, 0.0)))
    good = find(model)
    import torch

    from geoseg.models.architectures import build
    from geoseg.models.weights_file import save_package

    network = build(good.card, seed=5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    card = save_package(network, good.card, folder / "spoiled")
    wrong = converted.as_onnx(replace(other, card=card, folder=folder / "spoiled"))
    shutil.copyfile(wrong.weights, converted.as_onnx(good).weights)


def test_torch_in_fp32_is_taken_without_a_look(tmp_path, model, cache):
    plan, task = planned(tmp_path, model, engine="torch")
    chosen, notes = choose(plan, task)
    assert (chosen.runtime, chosen.trials, notes.messages) == (TORCH, (), [])
    Engines(plan, notes).keep(task, chosen)
    assert not (task.directory / STATE / FILE).exists()
    assert not cache.exists()


@ONNX
def test_a_forced_engine_is_compared_on_real_chips_once(tmp_path, model, cache):
    plan, task = planned(tmp_path, model, engine="onnxruntime")
    chosen, notes = choose(plan, task)
    assert chosen.runtime == ORT
    assert [trial.runtime for trial in chosen.trials] == [TORCH, ORT]
    assert chosen.trials[1].agreement > 0.999
    assert "engine: onnxruntime fp32" in notes.messages[-1]
    assert "100.000 % agree" in notes.messages[-1]
    again, notes = choose(plan, task)
    assert again.runtime == ORT
    assert "as tried before on this CPU" in notes.messages[0]
    assert again.trials == chosen.trials


@ONNX
def test_an_engine_with_other_weights_is_refused_with_the_numbers(tmp_path, model, cache):
    plan, task = planned(tmp_path, model, engine="onnxruntime")
    spoil(model, tmp_path / "other")
    wanted = (
        r"onnxruntime fp32: .* s a chip, [\d.]+ % agree with torch fp32 on chips of the scene, "
        r"less than the 99.500 % that are asked for; take engine: torch, or allow it with "
        r"model.agreement: 0\.\d+$"
    )
    with pytest.raises(EngineRefusedError, match=wanted) as refused:
        choose(plan, task)
    allowed = float(str(refused.value).rpartition(" ")[2])
    plan, task = planned(tmp_path, model, engine="onnxruntime", agreement=allowed)
    assert choose(plan, task)[0].runtime == ORT


@ONNX
def test_auto_leaves_out_an_engine_with_other_weights(tmp_path, model, cache, monkeypatch):
    monkeypatch.setattr("geoseg.api.engines.WORTH", 1)
    plan, task = planned(tmp_path, model, engine="auto", precision="fp32")
    spoil(model, tmp_path / "other")
    chosen, _ = choose(plan, task)
    assert chosen.runtime == TORCH
    others = chosen.trials[1:]
    assert others
    assert all(trial.agreement < AGREEMENT for trial in others)


def test_small_scenes_are_not_worth_a_trial(tmp_path, model, cache):
    plan, task = planned(tmp_path, model)
    assert not Engines(plan, Notes()).will_measure(task)
    chosen, notes = choose(plan, task)
    assert (chosen.runtime, chosen.why, notes.messages) == (TORCH, SMALL, [])
    Engines(plan, notes).keep(task, chosen)
    assert not (task.directory / STATE / FILE).exists()
    assert not cache.exists()


def test_a_scene_without_data_cannot_be_compared_on(tmp_path, model, cache):
    for engine, taken in (("auto", TORCH), ("torch", TORCH), ("openvino", Runtime("openvino"))):
        plan, task = planned(tmp_path, model, size=64, engine=engine, precision="auto")
        with rasterio.open(task.plan.scene.sources[0], "r+") as file:
            file.write(np.full((file.count, 64, 64), file.nodata, file.dtypes[0]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("geoseg.api.engines.WORTH", 1)
            chosen, notes = choose(plan, task)
        assert chosen.runtime == taken
        assert len(notes.warnings) == (engine == "openvino")


def test_what_began_a_map_goes_on_with_it(tmp_path, model, cache):
    plan, task = planned(tmp_path, model, engine="auto", precision="auto")
    begun = Chosen(BF16, "the fastest that agrees", (Trial(TORCH, 0.5, 1.0),), 0.995)
    Engines(plan, Silent()).keep(task, begun)
    chosen, _ = choose(plan, task)
    assert chosen == replace(begun, why="as before")
    assert choose(plan, task, force=True)[0].runtime == TORCH
    other, task = planned(tmp_path, model, engine="auto", precision="auto", agreement=0.9)
    assert choose(other, task)[0].runtime == TORCH
    (task.directory / STATE / FILE).write_text("{")
    assert choose(plan, task)[0].runtime == TORCH


@ONNX
def test_a_choice_that_was_made_before_is_compared_on_every_scene(
    tmp_path, model, cache, monkeypatch
):
    if not (is_installed("openvino") and has_bf16()):
        pytest.skip("nothing here is compared again")
    monkeypatch.setattr("geoseg.api.engines.WORTH", 1)
    # The first that agrees is taken, however fast it is on chips as small as these.
    monkeypatch.setattr("geoseg.models.engine_trial.ENOUGH", 0.0)
    monkeypatch.setattr("geoseg.models.engine_trial._GAIN", 0.0)
    plan, task = planned(tmp_path, model, agreement=0.5)
    engines = Engines(plan, Silent())
    assert engines.will_measure(task)
    first = engines.of(task)
    assert (first.runtime, len(first.trials), first.here) == (BF16, 2, None)
    # From now on there is nothing to measure, so that workers may start beside the comparison.
    assert not engines.will_measure(task)
    assert not Engines(plan, Silent()).will_measure(task)
    again = engines.of(task)
    assert again == replace(first, here=again.here)
    assert again.here.runtime == BF16
    # The trial is kept, so another run only compares; and where it does not agree, torch computes.
    kept, notes = choose(plan, task)
    assert (kept.why, kept.here.agreement) == ("as tried before on this CPU", again.here.agreement)
    monkeypatch.setattr(Engines, "_compared", stricter(Engines._compared))
    other, notes = choose(plan, task)
    assert (other.runtime, other.here.runtime) == (TORCH, BF16)
    assert re.search(r"torch fp32 instead: openvino bf16: .* % agree", notes.warnings[0])


def stricter(compared):
    """The same comparison, where nothing is good enough."""

    def comparing(self, task, made):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Engines, "_least", 1.1)
            return compared(self, task, made)

    return comparing


@ONNX
def test_a_later_scene_that_the_engine_asked_for_fails_is_computed_by_torch(
    tmp_path, model, cache, monkeypatch
):
    if not (is_installed("openvino") and has_bf16()):
        pytest.skip("needs bf16")
    plan, task = planned(tmp_path, model, engine="openvino", precision="bf16", agreement=0.5)
    notes = Notes()
    engines = Engines(plan, notes)
    assert engines.of(task).runtime == BF16
    monkeypatch.setattr(Engines, "_compared", stricter(Engines._compared))
    later = engines.of(task)
    assert later.runtime == TORCH
    assert "less than the" in later.why
    assert "torch fp32 instead" in notes.warnings[0]
    with pytest.raises(EngineRefusedError):  # the first scene of a run says what to do
        choose(plan, task)


@ONNX
def test_int8_is_the_scenes_own_and_kept_with_its_map(tmp_path, model, cache):
    if not is_installed("openvino"):
        pytest.skip("OpenVINO is not installed")
    plan, task = planned(tmp_path, model, precision="int8", agreement=0.5)
    notes = Notes()
    engines = Engines(plan, notes)
    chosen = engines.of(task)
    assert (chosen.runtime, len(chosen.networks)) == (INT8, 1)
    assert [trial.runtime for trial in chosen.trials] == [TORCH, INT8]
    assert chosen.part["networks"] == list(chosen.networks)
    assert "calibrating int8 on" in notes.messages[0]
    engines.keep(task, chosen)
    committee = engines.committee(task, chosen)
    (member,) = committee.members
    assert member.folder == task.directory / STATE
    committee.open(device="cpu", precision="int8", threads=1, engine="openvino")
    # Whoever goes on with it takes the same network; one that is damaged is made again, alike.
    assert choose(plan, task)[0] == replace(chosen, why="as before")
    member.weights.write_bytes(b"damaged")
    again, _ = choose(plan, task)
    assert (again.networks, again.why) == (chosen.networks, chosen.why)
    Engines(plan, Silent()).keep(task, again)
    assert member.weights.read_bytes() != b"damaged"


@ONNX
def test_int8_that_agrees_too_little_is_refused_and_a_scene_without_data_too(
    tmp_path, model, cache
):
    if not is_installed("openvino"):
        pytest.skip("OpenVINO is not installed")
    plan, task = planned(tmp_path, model, precision="int8", agreement=1.0)
    with pytest.raises(EngineRefusedError, match=r"openvino int8: .* less than the 100.000 %"):
        choose(plan, task)
    with rasterio.open(task.plan.scene.sources[0], "r+") as file:
        file.write(np.full((file.count, 160, 160), file.nodata, file.dtypes[0]))
    with pytest.raises(EngineRefusedError, match="no chip could be read to calibrate int8 on"):
        choose(plan, task)


def test_workers_elsewhere_compute_by_torch_unless_an_engine_is_named(
    tmp_path, model, cache, monkeypatch
):
    monkeypatch.setattr("geoseg.api.engines.WORTH", 1)
    plan, task = planned(tmp_path, model, cluster="tcp://10.0.0.1:8786")
    chosen, notes = choose(plan, task)
    assert (chosen, notes.messages) == (Chosen(TORCH), [])


def test_a_map_whose_engine_is_not_there_any_more_is_chosen_for_anew(
    tmp_path, model, cache, monkeypatch
):
    plan, task = planned(tmp_path, model)
    Engines(plan, Silent()).keep(task, Chosen(BF16, "the fastest that agrees", (), 0.995))
    if is_installed("openvino"):
        assert choose(plan, task)[0].runtime == BF16
    monkeypatch.setattr("geoseg.api.chosen.is_installed", lambda engine: engine == "torch")
    assert choose(plan, task)[0] == Chosen(why=SMALL)


def test_a_processor_without_bf16_is_not_tried_in_it(tmp_path, model, cache, monkeypatch):
    plan, _ = planned(tmp_path, model)
    assert ("bf16" in {one.precision for one in Engines(plan, Silent())._candidates}) == has_bf16()
    for said, able in (
        ("flags : sse avx2", False),
        ("flags : avx512_bf16", True),
        ("Features : asimd bf16", True),
        ("arm64 arm", True),
    ):
        monkeypatch.setattr("geoseg.models.engines.processor", lambda said=said: said)
        assert has_bf16() == able


def test_an_engine_that_cannot_is_refused_with_the_reason(tmp_path, model, cache, monkeypatch):
    import sys

    plan, task = planned(tmp_path, model, engine="openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineRefusedError, match=r"not installed here: pip install 'geoseg\["):
        choose(plan, task)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"engine": "onnxruntime", "precision": "bf16"}, "onnxruntime computes in fp32"),
        ({"engine": "openvino", "precision": "fp16"}, "openvino computes in fp32 or bf16"),
        ({"engine": "openvino", "device": "cuda"}, "openvino runs on CPUs only"),
        ({"precision": "int8", "device": "cuda"}, "openvino runs on CPUs only"),
        ({"engine": "torch", "precision": "int8"}, "torch computes in fp32 or bf16 or fp16"),
        ({"agreement": 1.2}, "agreement"),
        ({"engine": "tensorrt"}, "engine"),
    ],
)
def test_what_does_not_go_together_is_known_before_anything_runs(choice, message, model):
    data = {"geoseg": 1, "name": "t", "input": {"kind": "sample"}, "output": {"directory": "out"}}
    with pytest.raises(WorkflowError, match=message):
        loads(json.dumps(data | {"model": {"path": str(model)} | choice}))


def test_the_fastest_that_agrees_wins_and_torch_where_nothing_is_gained():
    first = Trial(TORCH, 1.0, 1.0)
    wrong, slow = Trial(BF16, 0.1, 0.99), Trial(ORT, 0.98, 1.0)
    assert fastest([first, wrong, slow], 0.995) == first
    assert fastest([first, wrong, slow], 0.99) == wrong
    assert fastest([first, Trial(ORT, fault="missing"), Trial(BF16, 0.5, None)], 0.5) == first


def test_a_trial_ends_with_the_first_that_agrees_and_gains_enough():
    first = Trial(TORCH, 1.0, 1.0)
    assert Trial(BF16, 0.5, 0.999).gains(first, 2.0)
    assert not Trial(BF16, 0.51, 0.999).gains(first, 2.0)
    assert not Trial(BF16, fault="missing").gains(first, 2.0)


def test_other_engines_take_less_memory_than_torch():
    torch, small = memory_of(TORCH), memory_of(BF16)
    assert small.base(2_000_000) < 0.5 * torch.base(2_000_000)
    assert torch.chip(1000, 374) == 598_400  # with what is kept of it for the next
    assert small.chip(1000, 374) < torch.chip(1000, 374)
    assert memory_of(Runtime("torch", "fp16")) == torch  # not measured: the largest


def test_the_strictest_card_decides_unless_the_workflow_does():
    plain, strict = fake_card("plain"), replace(fake_card("own"), about={"agreement": 0.999})
    assert allowance([plain]) == AGREEMENT
    assert allowance([plain, strict]) == 0.999
    assert allowance([plain, strict], 0.9) == 0.9
    for bad in (0, 1.5, "all"):
        with pytest.raises(ModelError, match=r"about: agreement: .*a share above 0, at most 1"):
            allowance([replace(plain, about={"agreement": bad})])


def test_shares_are_never_rounded_up():
    assert (share(0.9949999), share(1.0)) == ("99.499 %", "100.000 %")


def test_trial_chips_do_not_depend_on_how_a_run_is_cut(tmp_path, model):
    _, task = planned(tmp_path, model, size=400)
    batch, counted = trial_chips(task.plan, 3)
    for cut in (64, 160):
        other = replace(task.plan, blocks=tuple(blocks(task.plan.shape, cut)))
        again, same = trial_chips(other, 3)
        np.testing.assert_array_equal(again.values, batch.values)
        np.testing.assert_array_equal(same, counted)
    smaller, _ = trial_chips(task.plan, 3, 104)
    assert smaller.values.shape[2:] == (104, 104)
