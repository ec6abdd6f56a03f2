"""Files of weights are known by their bytes, pickles are refused by whatever name."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from geoseg.errors import ModelError
from geoseg.models.formats import ONNX, PT2, SAFETENSORS, TORCHSCRIPT, by_content, check_format
from geoseg.models.pt2_archive import check_archive
from geoseg.models.traced import open_graph


class Trap:
    """Loading this pickle would leave a file behind."""

    def __reduce__(self):
        return Path.touch, (Path("sprung"),)


def zipped(*names, compress=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return buffer.getvalue()


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


FILES = {
    "safetensors": (save({"a": np.zeros(3, np.float32)}), SAFETENSORS),
    "header like a pickle": (save({f"a{i:03}": np.zeros(1, np.float32) for i in range(9)}), SAFETENSORS),
    "pickle": (pickle.dumps(Trap()), "a pickle"),
    "old pickle": (pickle.dumps({"a": 1}, protocol=2), "a pickle"),
    "torch.save": (saved({"a": torch.zeros(2)}), "a pickle"),
    "torchscript": (zipped("m/constants.pkl", "m/data.pkl", "m/code/x.py"), TORCHSCRIPT),
    "pt2": (zipped("m/archive_format", "m/models/model.json"), PT2),
    "old pt2": (zipped("m/serialized_exported_program.json"), "torch.export's layout from before"),
    "another archive": (zipped("word/document.xml"), "an archive of something else"),
    "cut off archive": (zipped("m/data.pkl")[:20], "cut off"),
    "onnx": (b"\x08\x08\x12\x07pytorch", ONNX),
    "empty": (b"", "empty"),
    "text": (b"hello, world", "of no known format"),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_by_content(what, tmp_path):
    data, wanted = FILES[what]
    (tmp_path / "file").write_bytes(data)
    found = by_content(tmp_path / "file")
    assert found == wanted or (isinstance(wanted, str) and str(found).startswith(wanted))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt2", ".pt", ".onnx"])
@pytest.mark.parametrize("what", ["pickle", "old pickle", "torch.save"])
def test_a_pickle_in_disguise(what, suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"w{suffix}").write_bytes(FILES[what][0])
    with pytest.raises(ModelError, match=r"but a pickle: .*geoseg models convert") as caught:
        check_format(tmp_path / f"w{suffix}")
    assert "\n" not in str(caught.value)
    assert not Path("sprung").exists()


def test_one_format_called_another(tmp_path):
    (tmp_path / "w.onnx").write_bytes(FILES["safetensors"][0])
    with pytest.raises(ModelError, match="is safetensors, not ONNX as its name says; rename it"):
        check_format(tmp_path / "w.onnx")


@given(data=st.binary(max_size=200))
def test_any_bytes_have_a_kind_or_none(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "w.pt2"
    path.write_bytes(data)
    by_content(path)


def archive(graph=None, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("m/archive_format", "pt2")
        made.writestr("m/models/model.json", json.dumps(graph or {}))
        for name, data in members.items():
            made.writestr(f"m/data/{name.replace('__', '/')}", data)
    return buffer.getvalue()


HOSTILE = {
    "calls out": ({"nodes": [{"target": "torch.hub.load"}]}, {}, "calls 'torch.hub.load'"),
    "calls the system": ({"nodes": [{"target": "_operator.attrgetter"}]}, {}, "calls '_operator"),
    "a size that is code": (
        {"a": [{"expr_str": "__import__('os').system('true')"}]}, {}, "has the size .__import__",
    ),
    "a size that is an attribute": ({"expr_str": "s0.func"}, {}, "has the size 's0.func'"),
    "a node that is code": ({"name": "x):\n  import os"}, {}, "has a node of the name"),
    "a pickled weight": (
        {},
        {"weights__model_weights_config.json": json.dumps({"config": {"a": {"use_pickle": True}}})},
        "asks for a pickle",
    ),
    "a pickled example": ({}, {"sample_inputs__model.pt": saved({"a": Trap()})}, "more than tensors"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_exports_that_would_run_code_are_refused(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph, members, message = HOSTILE[what]
    with pytest.raises(ModelError, match=f"w.pt2: .*{message}"):
        check_archive(Path("w.pt2"), archive(graph, **members))
    assert not Path("sprung").exists()


def test_a_small_archive_of_large_members_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("m/archive_format", "pt2")
        made.writestr("m/models/model.json", b"[" + b" " * 50_000_000 + b"]")
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(ModelError, match="is compressed: torch writes no such file"):
        check_archive(Path("w.pt2"), buffer.getvalue())


def test_harmless_archives_pass():
    graph = {
        "nodes": [{"target": "torch.ops.aten.conv2d.default", "name": "conv_1"}],
        "sizes": [{"expr_str": "Mul(Integer(8), Symbol('s68', positive=True, integer=True))"}],
    }
    check_archive(Path("w.pt2"), archive(graph, sample_inputs__model=saved([torch.zeros(1)])))


@pytest.fixture(scope="module")
def exported():
    """A ``.pt2`` of this torch."""
    program = torch.export.export(torch.nn.Conv2d(2, 3, 1).eval(), (torch.zeros(1, 2, 4, 4),))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def changed(data, change):
    """The archive with ``change`` done to its graph."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("models/model.json"):
                graph = json.loads(content)
                change(graph)
                content = json.dumps(graph).encode()
            new.writestr(name, content)
    return buffer.getvalue()


def test_an_export_of_this_torch_is_opened(exported):
    for data in (exported, changed(exported, lambda _: None)):
        network = open_graph(Path("w.pt2"), data, PT2, allow_code=False)
        assert network(torch.zeros(1, 2, 4, 4)).shape == (1, 3, 4, 4)


def test_an_export_of_a_later_torch_is_refused(exported, capfd):
    """As its schema says: the first number grows where older versions cannot read it."""

    def later(graph):
        graph["schema_version"]["major"] += 1

    message = r"w.pt2: torch .* schema version .* does not match .*of another torch: export it anew"
    with pytest.raises(ModelError, match=message) as caught:
        open_graph(Path("w.pt2"), changed(exported, later), PT2, allow_code=False)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_operator_that_this_torch_lacks_is_refused(exported):
    def lacking(graph):
        for node in graph["graph_module"]["graph"]["nodes"]:
            node["target"] = "torch.ops.aten.conv_of_tomorrow.default"

    with pytest.raises(ModelError, match=r"w.pt2: .*of another torch"):
        open_graph(Path("w.pt2"), changed(exported, lacking), PT2, allow_code=False)


def test_exports_want_a_torch_that_can_read_them(exported, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.7.1+cpu")
    with pytest.raises(ModelError, match=r"pt2 files need torch 2.8 or newer; here is 2.7.1"):
        open_graph(Path("w.pt2"), exported, PT2, allow_code=False)
