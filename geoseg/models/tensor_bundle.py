"""The variables of a TensorFlow SavedModel, read without TensorFlow.

``variables.index`` is a table in LevelDB's format: sorted names, and for each the type, shape and
place of a tensor in ``variables.data-…``, as protocol buffers. Names are those of the program that
saved them where the checkpoint keeps its object graph, else those of the table. Checksums of single
tensors are not looked at: whoever reads weights here compares all of them with a pinned digest.

Sources: tensorflow/core/util/tensor_bundle/tensor_bundle.h, core/lib/io/table_format.txt,
core/protobuf/{tensor_bundle,trackable_object_graph}.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ModelError

INDEX: Final = Path("variables", "variables.index")
"""Where a SavedModel's folder has the table."""

_MAGIC: Final = 0xDB4775248B80FB57
_FOOTER_BYTES: Final = 48
_GRAPH: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
_FLOAT32, _STRING = 1, 7

Variables = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lies: data type, shape, number of the data file, offset and bytes in it."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def read_variables(folder: Path) -> Variables:
    """All fp32 variables of the SavedModel in ``folder``, by name.

    Raises:
        ModelError: It is no SavedModel, or is damaged.
    """
    index = folder / INDEX
    try:
        return _read(index)
    except OSError as error:
        raise ModelError(
            f"{error.filename or index}: cannot be read: {error.strerror or error}"
        ) from error
    except (ValueError, IndexError, struct.error, OverflowError) as error:
        raise ModelError(f"{index}: not a TensorFlow checkpoint, or damaged ({error})") from error


def _read(index: Path) -> Variables:
    places, shards = {}, 1
    for key, value in _table(index.read_bytes()):
        if key:
            places[key.decode()] = _place(value)
        else:
            shards = _number(value, 1)
            if _number(value, 2):
                raise ValueError("big-endian")
    data: dict[int, bytes] = {}

    def fetch(place: _Place) -> bytes:
        if place.shard not in data:
            name = f"{index.stem}.data-{place.shard:05d}-of-{shards:05d}"
            data[place.shard] = index.with_name(name).read_bytes()
        found = data[place.shard][place.offset : place.offset + place.size]
        if len(found) < place.size:
            raise ValueError(f"data file {place.shard} is too short")
        return found

    names = _full_names(fetch(places[_GRAPH])) if _GRAPH in places else {}
    return {
        names.get(key, key): np.frombuffer(fetch(place), "<f4").reshape(place.shape)
        for key, place in places.items()
        if place.dtype == _FLOAT32
    }


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table: the last block but one points to all others."""
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise ValueError("it does not end as a table does")
    at = 0
    for _ in range(2):  # the place of the block of metadata, which nobody needs
        _, at = _varint(footer, at)
    for _, handle in _block(data, footer[at:]):
        yield from _block(data, handle)


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key says how much of it is as in the key before."""
    start, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    block = data[start : start + size]
    if len(block) < size or data[start + size] != 0:
        raise ValueError("a block is cut off or compressed")
    (restarts,) = struct.unpack_from("<I", block, size - 4)
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + fresh + length > end:
            raise ValueError("an entry is longer than its block")
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _place(entry: bytes) -> _Place:
    """A BundleEntryProto."""
    shape = [
        _number(value, 1)
        for message in _messages(entry, 2)
        for value in _messages(message, 2)
    ]  # fmt: skip
    numbers = (_number(entry, field) for field in (3, 4, 5))
    return _Place(_number(entry, 1), tuple(shape), *numbers)


def _full_names(data: bytes) -> dict[str, str]:
    """Key in the table to name in the program, from a TrackableObjectGraph in a string tensor."""
    size, at = _varint(data, 0)
    graph = data[at + 4 : at + 4 + size]  # behind the checksum of the size
    names = {}
    for node in _messages(graph, 1):
        for attribute in _messages(node, 2):
            full_name, key = (b"".join(_messages(attribute, field)) for field in (2, 3))
            if full_name:
                names[key.decode()] = full_name.decode()
    return names


def _messages(data: bytes, field: int) -> list[bytes]:
    """All texts, bytes and messages of a field."""
    return [value for number, value in _fields(data) if number == field and type(value) is bytes]


def _number(data: bytes, field: int) -> int:
    """The number of a field, 0 where it is left out."""
    found = [value for number, value in _fields(data) if number == field and type(value) is int]
    return found[-1] if found else 0


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer: their numbers and what is in them."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"a field of kind {kind}")
        length, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + length > len(data):
            raise ValueError("a field is cut off")
        yield tag >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next begins."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
