"""Dynamic World's weights with random numbers in them, in all the forms they may arrive in."""

import struct
from pathlib import Path

import numpy as np
import torch

from geoseg.models.dynamicworld import DynamicWorld, _names


def random_network(seed=0):
    """The network with random weights, and norms that do something."""
    torch.manual_seed(seed)
    network = DynamicWorld()
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.dtype.is_floating_point:
            low, high = (0.5, 1.5) if "running_var" in name else (-0.3, 0.3)
            state[name] = torch.empty_like(tensor).uniform_(low, high)
    network.load_state_dict(state)
    return network.eval()


def variables_of(network):
    """The network's weights as TensorFlow has them."""
    state = network.state_dict()
    found = {}
    for ours, theirs, axes in _names():
        found[theirs] = np.ascontiguousarray(np.transpose(state[ours].numpy(), np.argsort(axes)))
    return found


def write_saved_model(folder, variables, *, graph=True, prefix_compression=True):
    """The part of a SavedModel that has its variables, as TensorFlow lays it out."""
    where = Path(folder) / "variables"
    where.mkdir(parents=True)
    keys = {name: f"vs/{i}/.ATTRIBUTES/VARIABLE_VALUE" for i, name in enumerate(variables)}
    tensors = {keys[name] if graph else name: v for name, v in variables.items()}
    entries, data = {b"": _field(1, 1)}, b""
    for key in sorted(tensors):
        value = tensors[key]
        kind = {"float32": 1, "int64": 9}[value.dtype.name]
        entries[key.encode()] = _entry(kind, value.shape, len(data), value.nbytes)
        data += value.astype(value.dtype.newbyteorder("<")).tobytes()
    if graph:
        attributes = [
            _field(2, _field(1, b"VARIABLE_VALUE") + _field(2, name) + _field(3, key))
            for name, key in ((n.encode(), k.encode()) for n, k in keys.items())
        ]
        text = b"".join(_field(1, attribute) for attribute in attributes)
        stored = _varint(len(text)) + b"crc!" + text
        entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = _entry(7, (), len(data), len(stored))
        data += stored
    (where / "variables.index").write_bytes(_table(entries, compress=prefix_compression))
    (where / "variables.data-00000-of-00001").write_bytes(data)
    return Path(folder)


def _entry(kind, shape, offset, size):
    sides = b"".join(_field(2, _field(1, side)) for side in shape)
    checksum = bytes([6 << 3 | 5]) + b"crc!"
    return _field(1, kind) + _field(2, sides) + _field(4, offset) + _field(5, size) + checksum


def _field(number, value):
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value) if value else b""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _table(entries, *, compress, in_a_block=20):
    """Blocks of sorted entries, an empty block of metadata, an index of blocks, a footer."""
    out, index, names = b"", {}, sorted(entries)
    for start in range(0, len(names), in_a_block):
        part = names[start : start + in_a_block]
        block = _block({name: entries[name] for name in part}, compress=compress)
        index[part[-1]] = _varint(len(out)) + _varint(len(block))
        out += block + b"\0crc!"
    handles = b""
    for content in ({}, index):
        block = _block(content, compress=False)
        handles += _varint(len(out)) + _varint(len(block))
        out += block + b"\0crc!"
    return out + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _block(entries, *, compress):
    out, before = b"", b""
    for name in sorted(entries):
        shared = 0
        while compress and shared < min(len(name), len(before)) and name[shared] == before[shared]:
            shared += 1
        out += _varint(shared) + _varint(len(name) - shared) + _varint(len(entries[name]))
        out += name[shared:] + entries[name]
        before = name
    return out + struct.pack("<II", 0, 1)
