"""One model, every engine and precision that is here: the same contract, and torch's map."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from geoseg.errors import BlockError, ModelError
from geoseg.models import converted
from geoseg.models.architectures import build
from geoseg.models.base import ask
from geoseg.models.committee import Committee
from geoseg.models.engines import (
    ENGINES,
    ONLY_ASKED,
    PRECISIONS,
    Runtime,
    check_versions,
    is_installed,
)
from geoseg.models.exporting import Wish, write_export
from geoseg.models.quantizing import quantized
from geoseg.models.registry import ModelPackage, find, open_segmenter
from geoseg.models.weights_file import save_package
from geoseg.testing import SegmenterContract, fake_card, random_batch

CARD = replace(
    fake_card("small-unet", bands=("red", "green", "blue", "nir"), reach=48),
    mean=(0.06, 0.09, 0.08, 0.3),
    std=(0.03, 0.04, 0.05, 0.1),
    stride=8,
    size=128,
    margin=48,
    about={"temperature": 1.3},
    architecture={"name": "geoseg-unet", "widths": [4, 6, 8, 8], "depths": [1, 2, 2]},
)
ORT = Runtime("onnxruntime")
# Compiling takes a minute for each shape of chip, and is asked for: GEOSEG_TEST_COMPILE=1.
COMPILED = "torch-compile"
HERE = [e for e in ENGINES if e != COMPILED or os.environ.get("GEOSEG_TEST_COMPILE")]
# What can take networks of others.
CONVERTING = [e for e in ENGINES[1:] if e != COMPILED]
# fp16 is for CUDA: see test_cuda_agrees_with_the_cpu.
ALL = [Runtime(engine, kind) for engine in HERE for kind in PRECISIONS[engine] if kind != "fp16"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(converted.CACHE, str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _leave_threads_alone():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "small-unet"
    return ModelPackage(save_package(build(CARD, seed=2), CARD, folder), folder)


def has_bf16():
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def need(runtime):
    if not is_installed(runtime.engine):
        pytest.skip(f"{runtime.engine} is not installed")
    if runtime == Runtime("openvino", "bf16") and not has_bf16():
        pytest.skip("this CPU has no bf16")


def opened(package, runtime, **options):
    need(runtime)
    if runtime.precision == "int8":
        chips = random_batch(CARD, (128, 128), chips=4, seed=9)
        package = quantized(package, chips, CARD.bands)
    return open_segmenter(
        package, device="cpu", engine=runtime.engine, precision=runtime.precision, **options
    )


class TestEveryEngine(SegmenterContract):
    @pytest.fixture(autouse=True, params=ALL, ids=str)
    def _choice(self, request, package):
        need(request.param)
        self.runtime, self.package = request.param, package

    def open(self, *, threads):
        return opened(self.package, self.runtime, threads=threads, callers=3)

    def test_scale_and_offset_are_applied(self):
        if self.runtime.precision != "fp32":
            pytest.skip("8 bits: rounding of the input shows")
        super().test_scale_and_offset_are_applied()


@pytest.mark.parametrize("runtime", ALL[1:], ids=str)
def test_the_scores_are_torchs(package, runtime):
    batch = random_batch(CARD, (64, 96), chips=2)
    wanted = opened(package, Runtime(), threads=1).scores(batch)
    found = opened(package, runtime, threads=1).scores(batch)
    limit = {"fp32": 1e-5, "bf16": 3e-2, "int8": 6e-2}[runtime.precision]
    np.testing.assert_allclose(found, wanted, atol=limit)
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.97


def test_int8_is_the_same_bytes_for_the_same_chips_and_the_bands_that_are_the_models(
    package, cache
):
    need(Runtime("openvino"))
    chips = random_batch(CARD, (128, 128), chips=2, seed=1)
    first = quantized(package, chips, CARD.bands)
    before = first.weights.read_bytes()
    assert quantized(package, chips, CARD.bands) == first
    first.weights.unlink()
    turned = replace(
        chips,
        values=chips.values[:, ::-1],
        scale=chips.scale[::-1].copy(),
        offset=chips.offset[::-1].copy(),
    )
    assert quantized(package, turned, CARD.bands[::-1]) == first
    assert first.weights.read_bytes() == before

    other = quantized(package, random_batch(CARD, (128, 128), chips=2, seed=2), CARD.bands)
    assert other.card.sha256 != first.card.sha256
    assert not list((cache / "quantized").glob(".making-*"))


def test_int8_is_for_networks_that_were_quantized(package):
    need(Runtime("openvino"))
    with pytest.raises(ModelError, match="that were quantized on chips of the scene"):
        open_segmenter(package, device="cpu", engine="openvino", precision="int8")


@pytest.mark.parametrize("engine", CONVERTING)
def test_callers_and_their_number_do_not_change_bits(package, engine):
    batches = [random_batch(CARD, (64, 96), seed=seed) for seed in range(4)]
    one = opened(package, Runtime(engine), threads=1, callers=1)
    wanted = [one.scores(batch) for batch in batches]
    many = opened(package, Runtime(engine), threads=1, callers=2)
    found = [None] * 4

    def call(number):
        found[number] = many.scores(batches[number])

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("engine", CONVERTING)
def test_models_that_are_onnx_are_run_as_they_are(package, engine, tmp_path):
    write_export(package, tmp_path / "fixed.onnx", Wish("onnx", size=128, softmax=True))
    fixed = find(tmp_path / "fixed.onnx")
    model = opened(fixed, Runtime(engine), threads=1)
    assert (model.card.fixed, model.card.output) == (True, "probabilities")
    for shape in ((128, 128), (40, 72)):
        batch = random_batch(CARD, shape)
        wanted = opened(fixed, Runtime(), threads=1).scores(batch)
        np.testing.assert_allclose(model.scores(batch), wanted, atol=1e-5)
    with pytest.raises(BlockError, match="takes chips of 128 x 128 px, not of 136 x 128"):
        model.scores(random_batch(CARD, (136, 128)))


@pytest.mark.parametrize("engine", CONVERTING)
def test_a_graph_that_is_not_the_cards_is_refused(package, engine):
    need(Runtime(engine))
    made = converted.as_onnx(package)
    fewer = replace(made.card, bands=CARD.bands[:3], mean=CARD.mean[:3], std=CARD.std[:3])
    with pytest.raises(ModelError, match="takes 4 bands, the card names 3"):
        opened(replace(made, card=fewer), Runtime(engine))
    with pytest.raises(ModelError, match="takes chips of any size, the card says 128 x 128"):
        opened(replace(made, card=replace(made.card, fixed=True)), Runtime(engine))


@pytest.mark.parametrize("engine", CONVERTING)
def test_several_models_and_views_by_any_engine(package, engine):
    need(Runtime(engine))
    committee = Committee((package, package), "flips")
    batch = random_batch(CARD, (64, 96))
    wanted = committee.open(device="cpu", threads=1)
    found = committee.open(device="cpu", threads=1, engine=engine)
    np.testing.assert_allclose(found.scores(batch), wanted.scores(batch), atol=1e-5)
    assert ask(found, batch, ("disagreement",)).index.shape == (1, 64, 96)


def test_networks_are_converted_once_for_all_engines(package, cache):
    first = converted.as_onnx(package)
    before = first.weights.stat().st_mtime_ns
    again = converted.as_onnx(package)
    assert again == first
    assert again.weights.stat().st_mtime_ns == before
    assert first.weights.is_relative_to(cache)
    assert not list(first.folder.glob(".making-*"))


def test_other_weights_are_converted_anew(package, tmp_path):
    other = save_package(build(CARD, seed=3), CARD, tmp_path / "small-unet")
    made = converted.as_onnx(ModelPackage(other, tmp_path / "small-unet"))
    assert made.folder != converted.as_onnx(package).folder
    assert made.weights.read_bytes() != converted.as_onnx(package).weights.read_bytes()


def test_a_cache_that_cannot_be_written_is_named(package, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(converted.CACHE, str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written: .*set GEOSEG_CACHE to a folder"):
        converted.as_onnx(package)


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("tensorrt", {}, "engine 'tensorrt': wanted torch, onnxruntime, openvino, torch-compile"),
        ("onnxruntime", {"precision": "bf16"}, "does not compute in 'bf16': wanted fp32"),
        (
            "openvino",
            {"precision": "fp16"},
            "does not compute in 'fp16': wanted fp32 or bf16 or int8",
        ),
    ],
)
def test_what_engines_cannot_do_is_refused(package, engine, options, message):
    with pytest.raises(ModelError, match=message):
        open_segmenter(package, engine=engine, **options)


def test_openvino_is_for_cpus(package):
    need(Runtime("openvino"))
    with pytest.raises(ModelError, match="OpenVINO is used on CPUs only: wanted auto or cpu"):
        open_segmenter(package, engine="openvino", device="cuda")


@pytest.mark.parametrize("engine", CONVERTING)
def test_an_engine_that_is_not_there_says_how_to_get_it(package, engine, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, engine, None)
    with pytest.raises(ModelError, match=r"not installed.*pip install 'geoseg\[(onnx|openvino)\]'"):
        open_segmenter(package, device="cpu", engine=engine)


def test_compiling_without_a_compiler_says_what_to_install(package, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CXX", raising=False)  # which names one by its path
    with pytest.raises(ModelError, match=r"'torch-compile' needs a C\+\+ compiler: install g\+\+"):
        open_segmenter(package, device="cpu", engine=COMPILED)


def test_compiling_is_for_networks_of_torch(package):
    fixed = converted.as_onnx(package)
    with pytest.raises(ModelError, match=r"is ONNX: wanted torch, onnxruntime or openvino"):
        open_segmenter(fixed, device="cpu", engine=COMPILED)


def test_nothing_compiles_of_itself():
    assert COMPILED in ONLY_ASKED


def test_another_version_than_the_runs_is_refused():
    need(ORT)
    check_versions(ORT, ORT.versions)
    check_versions(Runtime(), {"torch": "0.1"})  # builds for CPUs and GPUs differ
    with pytest.raises(
        ModelError, match=r"onnxruntime [\d.]+ is here, .* begun with 0\.1: install"
    ):
        check_versions(ORT, {"onnxruntime": "0.1"})


def test_numbers_that_break_a_network_are_named(package):
    model = opened(package, Runtime("openvino"), threads=1)
    batch = random_batch(CARD, (24, 24))
    values = batch.values.astype(np.float32)
    values[0, 0, 4, 4] = np.inf
    broken = replace(batch, values=values, valid=np.ones_like(batch.valid))
    with pytest.raises(BlockError, match=r"the network gave NaN for chip 0 .* to inf"):
        model.classify(broken)


SIGNALLED = """
import gc, os, signal, sys
from pathlib import Path
from geoseg.models.registry import find, open_segmenter
from geoseg.testing import random_batch

package = find(Path(sys.argv[1]))
held = [open_segmenter(package, device="cpu", engine="openvino", threads=1) for _ in range(3)]
for one in held:
    one.scores(random_batch(package.card, (64, 96)))
signal.signal(signal.SIGINT, lambda *_: print("in good order"))
del one
while held:
    held.pop(0)  # the first that was made goes first
    gc.collect()
fill = [bytearray(20_000) for _ in range(200)]
os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_process_that_has_let_networks_go_still_heeds_ctrl_c(package):
    need(Runtime("openvino"))
    words = [sys.executable, "-c", SIGNALLED, str(package.folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "in good order"), done.stderr
