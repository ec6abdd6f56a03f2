"""Models made to break or to mislead a loader: one clear error each, before anything is written."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packages import write_package
from refusals import Cases, Desk, check_refused
from safetensors.numpy import load_file, save_file

from geoseg.errors import ModelError
from geoseg.models.registry import find, open_segmenter

case = Cases()
PICKLE = pickle.dumps({"weight": [1.0]})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture
def desk(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, model)


def _package(desk: Desk) -> Path:
    return Path(shutil.copytree(desk.model, desk.folder / "models/tiny"))


def _request(desk: Desk) -> list[str]:
    return desk.workflow(model={"path": "models/tiny"})


def _changed(desk: Desk, change) -> list[str]:
    card = _package(desk) / "card.json"
    data = json.loads(card.read_text())
    change(data)
    card.write_text(json.dumps(data))
    return _request(desk)


def _property(name: str, key: str, value: object, *said: str) -> None:
    def make(desk: Desk) -> list[str]:
        return _changed(desk, lambda data: data["properties"].update({key: value}))

    make.__name__ = name
    case("card.json" if "architecture" not in key else "tiny", *said)(make)


_property("a_negative_stride", "geoseg:stride", -8, "geoseg:stride", "-8", "a whole number from 1")
_property("a_stride_as_wide_as_a_country", "geoseg:stride", 10**9, "stride", "at most 1024")
_property("a_negative_margin", "geoseg:margin", -1, "geoseg:margin", "a whole number from 0")
_property("memory_of_a_petabyte", "geoseg:activation_bytes", 10**15, "at most 1073741824")
_property("half_a_pixel_of_reach", "geoseg:reach", 1.5, "geoseg:reach", "a whole number")
_property("units_that_are_unknown", "geoseg:units", "percent", "'reflectance' or 'dn'")
_property("a_name_that_is_a_path", "mlm:name", "../../etc/x", "name", "beginning with a letter")
_property("pixels_of_minus_a_metre", "geoseg:gsd", [10, -1], "gsd", "metres [from, to]")
_property("an_output_that_is_unknown", "geoseg:output", "sigmoid", "'logits'")
_property("another_task", "mlm:tasks", ["classification"], "semantic-segmentation")
_property("a_python_path_as_network", "mlm:architecture", "os.system", "'os.system'", "geoseg-unet")
_property(
    "a_layer_of_a_thousand_million", "mlm:hyperparameters", {"widths": [10**9] * 4},
    "architecture.widths", "numbers up to 65536",
)  # fmt: skip


@case("card.json", "size", "100000000", "at most 32768")
def chips_as_large_as_the_earth(desk):
    def change(data):
        data["properties"]["mlm:input"][0]["input"]["shape"] = [-1, 6, 10**8, 10**8]

    return _changed(desk, change)


def _weights_called(name: str, href: str, *said: str) -> None:
    def make(desk: Desk) -> list[str]:
        return _changed(desk, lambda data: data["assets"]["weights"].update({"href": href}))

    make.__name__ = name
    case("weights", *said)(make)


_weights_called("weights_elsewhere", "/etc/passwd", "a file name in the card's own folder")
_weights_called("weights_above", "../../x.safetensors", "a file name in the card's own folder")
_weights_called("weights_on_a_server", "http://127.0.0.1/w", "a file name in the card's own folder")
_weights_called("weights_of_a_long_name", "x" * 500, "a file name in the card's own folder")
_weights_called("weights_that_are_not_there", "weights.pkl", "its weights are missing")


def _card(name: str, content: bytes | str, *said: str) -> None:
    def make(desk: Desk) -> list[str]:
        card = _package(desk) / "card.json"
        card.write_bytes(content.encode() if isinstance(content, str) else content)
        return _request(desk)

    make.__name__ = name
    case("card.json", *said)(make)


_card("a_card_of_nan", '{"type": NaN}', "NaN is not a number that JSON knows")
_card("a_card_nested_too_deep", "[" * 100_000, "not JSON that can be read")
_card("a_card_of_one_long_number", "1" * 5001, "not JSON that can be read")
_card("a_card_that_is_a_list", "[]", "wanted a mapping")
_card("a_card_without_text", "", "not JSON")
_card("a_card_that_is_no_text", b"\xff\xfe\0\0", "not a text file in UTF-8")
_card("a_card_that_says_a_thing_twice", '{"type": "Feature", "type": 1}', "'type' stands twice")
_card("a_card_of_ten_megabytes", " " * 10_000_001, "larger than 10 MB")


def _weights(name: str, make_bytes, *said: str) -> None:
    def make(desk: Desk) -> list[str]:
        request = _changed(desk, lambda data: data["assets"]["weights"].pop("file:checksum"))
        weights = desk.folder / "models/tiny/weights.safetensors"
        weights.write_bytes(make_bytes(weights.read_bytes()))
        return request

    make.__name__ = name
    case("weights.safetensors", *said)(make)


HUGE = b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}'
_weights("a_header_of_exabytes", lambda w: struct.pack("<Q", 2**62) + w[8:], "damaged")
_weights(
    "a_header_longer_than_its_file", lambda w: struct.pack("<Q", len(w) + 2) + w[8:], "damaged"
)
_weights("weights_cut_short", lambda w: w[:3000], "damaged")
_weights("weights_without_bytes", lambda _: b"", "empty")
_weights("a_tensor_of_exabytes", lambda _: struct.pack("<Q", len(HUGE)) + HUGE + bytes(8),
         "not a safetensors file", "overflow")  # fmt: skip


def _bare(name: str, file: str, content: bytes, *said: str) -> None:
    def make(desk: Desk) -> list[str]:
        desk.write(f"models/{file}", content)
        return desk.workflow(model={"path": f"models/{file}"})

    make.__name__ = name
    case(file, *said)(make)


def _zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


for _suffix in ("pt", "pth", "bin", "onnx", "pt2", "safetensors", "ckpt", "h5", "pkl", "json"):
    _bare(f"a_pickle_called_{_suffix}", f"m.{_suffix}", PICKLE, "is a pickle", "never loaded")
_bare("a_pickle_in_a_zip", "m.pt", _zipped(**{"m/data.pkl": PICKLE}), "is a pickle")
_bare("onnx_of_noise", "m.onnx", b"\x08\x07" + np.random.default_rng(3).bytes(3000), "not ONNX")
_bare("half_an_archive", "m.pt2", _zipped(**{"m/archive_format": b"x" * 1000})[:40], "cut off")


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, capfd, make, said):
    check_refused(desk, make(desk), said, capfd)


def test_a_bomb_in_an_archive_is_not_unpacked(desk):
    """It has a card, so that only its members speak against it."""
    bomb = _zipped(**{"m/archive_format": b"pt2", "m/models/model.json": b" " * 50_000_000})
    assert len(bomb) < 100_000
    package = _package(desk)
    data = json.loads((package / "card.json").read_text())
    data["assets"]["weights"] |= {"href": "./m.pt2", "mlm:artifact_type": "torch.export.save"}
    del data["assets"]["weights"]["file:checksum"]
    (package / "card.json").write_text(json.dumps(data))
    (package / "m.pt2").write_bytes(bomb)
    with pytest.raises(ModelError, match=r"m\.pt2: .* is compressed: torch writes no such file"):
        open_segmenter(find(package))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"widths": [65536] * 4}, r"make .* weights; wanted at most 1e\+09"),
        ({"depths": [-1, 2, 2]}, r"depths \[-1, 2, 2\]; wanted 3 whole numbers"),
        ({"widths": "big"}, r"widths 'big'; wanted 4 whole numbers"),
        ({"hooks": 1}, r"has no parameter 'hooks'"),
    ],
)
def test_networks_that_are_too_large_are_not_built(desk, change, said):
    package = _package(desk)
    data = json.loads((package / "card.json").read_text())
    data["properties"]["mlm:hyperparameters"] = change
    (package / "card.json").write_text(json.dumps(data))
    with pytest.raises(ModelError, match=said):
        open_segmenter(find(package))


def test_weights_of_nan_are_told(desk):
    package = _package(desk)
    data = json.loads((package / "card.json").read_text())
    del data["assets"]["weights"]["file:checksum"]
    (package / "card.json").write_text(json.dumps(data))
    weights = package / "weights.safetensors"
    tensors = load_file(weights)
    name = next(key for key, tensor in tensors.items() if tensor.dtype == np.float32)
    save_file(tensors | {name: np.full_like(tensors[name], np.nan)}, weights)
    with pytest.raises(ModelError, match=r"weights\.safetensors: .* holds NaN or infinity"):
        open_segmenter(find(package))


def test_a_pipe_for_weights_is_not_waited_for(desk):
    package = _package(desk)
    (package / "weights.safetensors").unlink()
    os.mkfifo(package / "weights.safetensors")
    with pytest.raises(ModelError, match="its weights are missing"):
        find(package)
