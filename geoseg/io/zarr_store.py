"""One-band rasters as Zarr v2 arrays: one chunk a block, so that writers never meet.

Version 2 of the format, since GDAL (and with it QGIS) up to 3.10 cannot read version 3. Arrays lie
in a group together with what CF wants to place them: ``x``, ``y`` and ``spatial_ref``.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import zarr
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.atomic import replace_unsynced, replacing
from geoseg.io.bucket import BucketPath, Place, as_place
from geoseg.io.chunk_objects import ChunkObjects
from geoseg.io.zarr_group import (
    ZATTRS,
    compressor,
    consolidate,
    gathered,
    grid_mapping,
    write_array,
    write_group,
)


class ZarrRaster:
    """A :class:`geoseg.io.base.RasterStore` on disk, or in a store that speaks S3.

    Cheap to pickle, opens when first used.

    Any number of threads and processes may write different blocks at once: a block is one file,
    written beside its place and renamed, or one object. Blocks that hold nothing but the fill value
    take no file.
    """

    def __init__(self, path: str | Place, name: str) -> None:
        self.path, self.name = as_place(path), name
        self._lock = threading.Lock()
        self._opened: zarr.Array[Any] | ChunkObjects | None = None

    @classmethod
    def create(
        cls,
        path: str | Place,
        grid: GeoBox,
        *,
        block: int,
        fill: int,
        name: str = "classes",
        dtype: str = "uint8",
    ) -> ZarrRaster:
        """Make array ``name`` in the group at ``path``, or open the one that is there.

        Args:
            path: The group, a folder called ``*.zarr``; other arrays on the same grid may share it.
            grid: Where the pixels lie.
            block: Side of a square chunk, in pixels.
            fill: What pixels never written read as; also the array's nodata value.
            name: Of the array.
            dtype: Of the numbers: whole numbers.

        Raises:
            ProductError: There is such an array already, of another shape, grid, chunk size or
                dtype, or a damaged one.
        """
        store = cls(path, name)
        try:
            store._create(grid, block=block, fill=fill, dtype=dtype)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProductError(f"{path}: its metadata is damaged: {error!r:.200}") from error
        return store

    def _create(self, grid: GeoBox, *, block: int, fill: int, dtype: str) -> None:
        path, name = self.path, self.name
        if isinstance(path, BucketPath):
            _create_objects(path, name, grid, block=block, fill=fill, dtype=dtype)
            self._check(grid, block, fill, dtype)
            return
        if not path.exists():
            with replacing(path) as made:
                write_group(made, grid)
        elif not (path / ".zgroup").is_file():
            raise ProductError(
                f"{path}: is there, but is no Zarr v2 group; choose another folder or remove it"
            )
        _check_grid(path, grid)
        if not (path / name / ".zarray").is_file():
            with replacing(path / name) as made:
                write_array(made, grid, block=block, fill=fill, name=name, dtype=dtype)
        self._check(grid, block, fill, dtype)
        _check_layout(path / name)
        consolidate(path)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self._array().shape
        return int(height), int(width)

    @property
    def block(self) -> int:
        """Side of a chunk, in pixels."""
        return int(self._array().chunks[0])

    @property
    def fill(self) -> int:
        """What pixels never written read as."""
        return int(self._array().fill_value)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""
        return np.dtype(self._array().dtype)

    def write(self, window: Window, values: NDArray[Any], *, sync: bool = True) -> None:
        """Store one block: exactly one chunk, or what the grid's rim leaves of it.

        Args:
            window: Of the chunk.
            values: ``(y, x)``.
            sync: Wait until it is on the disk. Whoever does not must be able to tell whether a
                chunk is right after a power cut, and make it again.

        Raises:
            ProductError: The window is no whole block, the values do not fit it, or the disk is
                full.
        """
        block, fill = self.block, self.fill
        row, col = window.y0 // block, window.x0 // block
        height, width = self.shape
        whole = Window(row * block, col * block, (row + 1) * block, (col + 1) * block)
        if not window or window != whole & Window(0, 0, height, width):
            raise ProductError(f"{self.path}: {window} is not one whole block of {block} px")
        if values.shape != window.shape or values.dtype != self.dtype:
            raise ProductError(
                f"{self.path}: {window} cannot take {values.dtype} values of shape {values.shape}"
            )
        chunk = self.path / self.name / f"{row}.{col}"
        if (
            isinstance(chunk, Path) and not chunk.parent.is_dir()
        ):  # not made anew: whoever removed it has other plans
            raise ProductError(f"{chunk.parent}: was removed while it was written to")
        if (values == fill).all():
            chunk.unlink(missing_ok=True)
            return
        full = np.full((block, block), fill, self.dtype)
        full[: values.shape[0], : values.shape[1]] = values
        # Not through zarr: whether its stores rename, let alone sync, differs between versions.
        encoded = bytes(compressor(checksum=True).encode(full))
        if sync:
            with replacing(chunk) as made:
                made.write_bytes(encoded)
        else:
            replace_unsynced(chunk, encoded)

    def read(self, window: Window) -> NDArray[Any]:
        """Any window; pixels never written are the fill value.

        Raises:
            ProductError: The window leaves the grid, or a chunk is damaged.
        """
        if window & Window(0, 0, *self.shape) != window:
            raise ProductError(f"{self.path}: {window} leaves the grid of {self.shape} pixels")
        try:
            return np.asarray(self._array()[window.slices], self.dtype)
        except (OSError, RuntimeError, ValueError) as error:
            raise ProductError(f"{self.path}: cannot read {window}: {error}") from error

    def checksum(self, window: Window) -> int:
        """CRC-32 of what is stored in a window, row by row.

        Raises:
            ProductError: As :meth:`read`.
        """
        opened = self._array()
        if isinstance(opened, ChunkObjects):
            opened.forget()
        return crc32(self.read(window).tobytes())

    def __reduce__(self) -> tuple[type[ZarrRaster], tuple[Place, str]]:
        # Locks and open arrays stay where they are; only where to find the files travels.
        return type(self), (self.path, self.name)

    def _array(self) -> zarr.Array[Any] | ChunkObjects:
        with self._lock:
            if self._opened is None:
                path = self.path / self.name
                if isinstance(path, BucketPath):
                    self._opened = ChunkObjects(path)
                else:
                    self._opened = _open_array(path)
            return self._opened

    def _check(self, grid: GeoBox, block: int, fill: int, dtype: str) -> None:
        found = (self.shape, self._array().chunks, self.fill, self._array().dtype)
        wanted = (full_window(grid).shape, (block, block), fill, np.dtype(dtype))
        for what, is_, should in zip(
            ("shape", "chunks", "fill", "dtype"), found, wanted, strict=True
        ):
            if is_ != should:
                raise ProductError(
                    f"{self.path}/{self.name}: is there with {what} {is_}, but {should} is wanted; "
                    f"remove it or choose another folder"
                )


def create_rasters(
    path: str | Place, grid: GeoBox, fills: Mapping[str, int], *, block: int
) -> None:
    """Make arrays by name, with what fills each: as :meth:`ZarrRaster.create`, and quicker.

    A group that is not there yet takes its place with all of them.
    """
    place = as_place(path)
    if isinstance(place, BucketPath) or place.exists():
        for name, fill in fills.items():
            ZarrRaster.create(place, grid, block=block, fill=fill, name=name)
        return
    with replacing(place) as made:
        write_group(made, grid)
        for name, fill in fills.items():
            write_array(made / name, grid, block=block, fill=fill, name=name, dtype="uint8")
        (made / ".zmetadata").write_text(gathered(made), encoding="utf-8")


def read_grid(path: str | Path, shape: tuple[int, int]) -> GeoBox:
    """The grid of the group at ``path``, whose arrays have ``shape``.

    Raises:
        ProductError: Its ``spatial_ref`` cannot be read.
    """
    try:
        found = json.loads((Path(path) / "spatial_ref" / ZATTRS).read_bytes())
        c, a, b, f, d, e = (float(v) for v in found["GeoTransform"].split())
        return GeoBox(shape, Affine(a, b, c, d, e, f), found["spatial_ref"])
    except (OSError, ValueError, KeyError) as error:
        raise ProductError(f"{path}: its spatial_ref cannot be read: {error!r}") from error


def _create_objects(path: BucketPath, name: str, grid: GeoBox, **layout: Any) -> None:
    """An array in a store: made here, then brought there; chunks that are there stay.

    What describes it goes last, with all that describes the others: nothing there is listed.
    """
    described = path / ".zmetadata"
    try:
        there = json.loads(described.read_bytes())["metadata"]
    except FileNotFoundError:
        there = {}
    with tempfile.TemporaryDirectory(prefix="geoseg-") as room:
        made = Path(room, path.name)
        ZarrRaster.create(made, grid, name=name, **layout)
        wanted = json.loads((made / ".zmetadata").read_bytes())
        for key, content in wanted["metadata"].items():
            if there.get(key, content) != content:
                raise ProductError(
                    f"{path}/{key}: is there, of another grid or layout; remove {path} or choose "
                    f"another place"
                )
        new = {key for key in wanted["metadata"] if key not in there}
        for file in sorted(f for f in made.rglob("*") if f.is_file()):
            key = file.relative_to(made).as_posix()
            if key in new or (not there and key != ".zmetadata"):
                (path / key).write_bytes(file.read_bytes())
    if new:
        wanted["metadata"] = there | wanted["metadata"]
        described.write_bytes(json.dumps(wanted, indent=1).encode())


def _open_array(path: Path) -> zarr.Array[Any]:
    try:
        return zarr.open_array(path, mode="r", zarr_format=2)
    except (OSError, ValueError, KeyError) as error:
        raise ProductError(f"{path}: cannot be opened as a Zarr v2 array: {error}") from error


def _check_layout(path: Path) -> None:
    """Refuse an array whose chunks would be read otherwise than they are written here."""
    found = json.loads((path / ".zarray").read_bytes())
    codec = found.get("compressor")
    if (
        found.get("dimension_separator", ".") != "."
        or found.get("order") != "C"
        or found.get("filters")
        or not isinstance(codec, dict)
        or codec.get("id") != "zstd"
    ):
        raise ProductError(
            f"{path}/.zarray: is damaged, or describes chunks that geoseg does not write; remove "
            f"{path}"
        )


def _check_grid(path: Path, grid: GeoBox) -> None:
    try:
        found = json.loads((path / "spatial_ref" / ZATTRS).read_bytes())
    except (OSError, ValueError) as error:
        raise ProductError(f"{path}: its spatial_ref cannot be read: {error}") from error
    for key, should in grid_mapping(grid).items():
        if key in {"spatial_ref", "GeoTransform"} and found.get(key) != should:
            raise ProductError(
                f"{path}: is there on another grid ({key} {found.get(key)!r:.120}, wanted "
                f"{should!r:.120}); remove it or choose another folder"
            )
