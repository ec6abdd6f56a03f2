"""Variables of a SavedModel, without TensorFlow; damage is told, never guessed over."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import write_saved_model

from geoseg.errors import ModelError
from geoseg.models.tensor_bundle import INDEX, read_variables

ARRAYS = {
    "conv2d/kernel": np.arange(36, dtype=np.float32).reshape(3, 3, 2, 2),
    "conv2d/bias": np.float32([1.5, -2]),
    "conv2d_1/bias": np.float32([7]),
    "scalar": np.float32(4).reshape(()),
    "step": np.int64([3]),
    **{f"more_{i}/gamma": np.full(i, i, np.float32) for i in range(1, 60)},
}


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_reads_what_was_saved(tmp_path, graph, compressed):
    write_saved_model(tmp_path, ARRAYS, graph=graph, prefix_compression=compressed)
    found = read_variables(tmp_path)
    assert set(found) == set(ARRAYS) - {"step"}
    for name, value in found.items():
        assert value.dtype == np.float32
        assert value.shape == ARRAYS[name].shape
        np.testing.assert_array_equal(value, ARRAYS[name])


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"variables.index: cannot be read: No such file"):
        read_variables(tmp_path)
    write_saved_model(tmp_path, ARRAYS)
    (tmp_path / "variables" / "variables.data-00000-of-00001").unlink()
    with pytest.raises(ModelError, match=r"data-00000-of-00001: cannot be read"):
        read_variables(tmp_path)


def test_compressed_blocks_are_told(tmp_path):
    write_saved_model(tmp_path, {"a": np.float32([1])}, graph=False)
    path = tmp_path / INDEX
    data = bytearray(path.read_bytes())
    data[data.index(b"\0crc!", 20)] = 1  # the type of the block: snappy
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not a TensorFlow checkpoint, or damaged"):
        read_variables(tmp_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return write_saved_model(tmp_path_factory.mktemp("saved"), ARRAYS)


@given(data=st.data())
def test_damage_is_an_error_or_harmless(saved, data):
    path = saved / INDEX
    whole = path.read_bytes()
    damaged = bytearray(whole)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        read_variables(saved)
    except ModelError as error:
        assert str(path.parent) in str(error)  # noqa: PT017 (either way is right)
    finally:
        path.write_bytes(whole)
