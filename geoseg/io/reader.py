"""Windows of a scene's pixels, all bands on one grid, with what may be used of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geoseg.errors import RemoteError, SceneError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.base import Patch
from geoseg.io.environment import gdal_path, is_remote
from geoseg.io.grids import covers, shift_between, shift_in_pixels, turned, turns_between
from geoseg.io.handles import Handles
from geoseg.io.remote import LostError, http_status, said, tried
from geoseg.io.vrt import Warp
from geoseg.ops.inside import edges_of, inside
from geoseg.ops.validity import dilated, fitting_nodata, hidden, usable
from geoseg.scene import Band, Mask, Scene

T = TypeVar("T")

_AT_ONCE = 16
"""Files of a scene that a worker asks servers for at the same time."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Bands that are read in one call, and where they go among those asked for."""

    positions: tuple[int, ...]
    bands: tuple[Band, ...]


class ScenePixels:
    """Reads windows of a scene. Implements :class:`geoseg.io.base.Pixels`.

    Bands and masks on another grid are resampled to the scene's, unless its pixels are pixels of
    theirs, which are copied; a pixel never depends on the
    window it is read with. A pixel is valid where all bands that were asked for have a finite
    number that is not nodata, no mask hides it, and its centre lies in the scene's area. Of
    resampled bands, the source pixel below its centre decides, and pixels without data have no
    weight in the values of their neighbours. Outside of a mask's file nothing is valid.

    May be called from several threads.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._handles = Handles()
        # Its threads start when they are needed, which is for files on servers.
        self._readers = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="geoseg-read")
        self._checked: set[tuple[str, GeoBox]] = set()
        self._area = None if scene.area is None else area_edges(scene.area, scene.grid)

    @property
    def grid(self) -> GeoBox:
        """The grid that windows refer to."""
        return self._scene.grid

    def read(self, bands: Sequence[str], window: Window) -> Patch:
        """The pixels of ``window``, bands in the order asked for.

        Numbers keep the dtype of the files; where they differ, one that holds all of them.
        Pixels that are not valid are 0.

        Raises:
            SceneError: The scene lacks a band, or a file cannot be read there.
            ValueError: The window does not lie inside the grid, or is empty.
        """
        if not window or window & full_window(self.grid) != window:
            raise ValueError(f"{window} is not inside {tuple(self.grid.shape)} pixels")
        chosen = self._scene.select(bands)
        dtype = np.result_type(*(np.dtype(band.dtype) for band in chosen))
        values = np.zeros((len(chosen), *window.shape), dtype)
        valid = self._unmasked(window)
        if valid.any():
            for group, numbers, good in self._each(_groups(chosen, self.grid), window):
                values[list(group.positions)] = numbers
                valid &= good
                if not valid.any():
                    break
        values[:, ~valid] = 0
        return Patch(
            values,
            np.array([band.scale for band in chosen], np.float32),
            np.array([band.offset for band in chosen], np.float32),
            valid,
        )

    def close(self) -> None:
        """Let go of open files."""
        self._readers.shutdown()
        self._handles.close()

    def _each(
        self, groups: Sequence[_Group], window: Window
    ) -> Iterator[tuple[_Group, NDArray[Any], NDArray[np.bool_]]]:
        """Numbers of all groups, and where they are data."""
        if len(groups) == 1 or not is_remote(groups[0].bands[0].uri):
            for group in groups:
                yield group, *self._numbers(group, window)
            return
        # A server is asked for all files at once: the time that it takes to answer counts once.
        with ExitStack() as stack:
            asked = [self._readers.submit(self._numbers, group, window) for group in groups]
            for future in asked:
                stack.callback(future.cancel)
            for group, future in zip(groups, asked, strict=True):
                yield group, *future.result()

    def _unmasked(self, window: Window) -> NDArray[np.bool_]:
        """Pixels inside the area that no mask hides."""
        if self._area is None:
            valid = np.ones(window.shape, np.bool_)
        else:
            valid = inside(self._area, window)
        for mask in self._scene.masks:
            if not valid.any():
                break
            valid &= ~self._hidden(mask, window)
        return valid

    def _hidden(self, mask: Mask, window: Window) -> NDArray[np.bool_]:
        r = mask.dilate
        wide = Window(window.y0 - r, window.x0 - r, window.y1 + r, window.x1 + r)
        wide &= full_window(self.grid)
        numbers, there = self._mask_numbers(mask, wide)
        found = hidden(numbers, mask.kind, mask.values)
        # Where the mask's file ends nothing is known: hidden, but no reason to grow.
        if there is not None:
            found &= there
        found = dilated(found, r)
        if there is not None:
            found |= ~there
        return found[window.within(wide).slices]

    def _mask_numbers(
        self, mask: Mask, window: Window
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """A mask's numbers on the scene's grid, and where its file has any (None: everywhere)."""
        shift = shift_between(mask.grid, self.grid)
        if shift is not None:
            numbers, there = self._copied(mask.uri, (mask.index,), mask.grid, window, shift)
            return numbers[0], there
        partial = not covers(mask.grid, self.grid)
        warp = Warp(
            mask.uri,
            (mask.index,),
            self._mask_dtype(mask, window),
            mask.grid,
            self.grid,
            "nearest",
            coverage=partial,
        )
        numbers = self._warped(warp, window)
        return numbers[0], numbers[1] > 0 if partial else None

    def _copied(
        self,
        uri: str,
        indexes: tuple[int, ...],
        grid: GeoBox,
        window: Window,
        shift: tuple[int, int],
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Numbers of a file ``shift`` pixels away, and where it has any (None: everywhere)."""
        dy, dx = shift
        moved = Window(window.y0 + dy, window.x0 + dx, window.y1 + dy, window.x1 + dx)
        part = moved & full_window(grid)
        numbers = self._asked(uri, grid, window, lambda dataset: _stored(dataset, indexes, part))
        if part == moved:
            return numbers, None
        whole = np.zeros((len(indexes), *window.shape), numbers.dtype)
        there = np.zeros(window.shape, np.bool_)
        if part:
            slices = part.within(moved).slices
            whole[:, *slices], there[slices] = numbers, True
        return whole, there

    def _mask_dtype(self, mask: Mask, window: Window) -> str:
        if mask.index == 0:
            return "uint8"
        return self._asked(
            mask.uri, mask.grid, window, lambda dataset: str(dataset.dtypes[mask.index - 1])
        )

    def _numbers(self, group: _Group, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers ``(band, y, x)`` of a group, and where all of them are data."""
        first = group.bands[0]
        shift = shift_between(first.grid, self.grid)
        if shift is None:
            return self._resampled(group, window)
        indexes = tuple(band.index for band in group.bands)
        numbers, there = self._copied(first.uri, indexes, first.grid, window, shift)
        nodata = [band.nodata for band in group.bands]
        good = [usable(plane, no) for plane, no in zip(numbers, nodata, strict=True)]
        return numbers, np.logical_and.reduce(good if there is None else [*good, there])

    def _resampled(self, group: _Group, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        band = group.bands[0]
        warp = self._warp(group, _gaps(band))
        numbers = self._warped(warp, window)
        good: NDArray[np.bool_] = np.isfinite(numbers).all(axis=0)
        if warp.nodata is not None:
            below = self._warped(self._nearest(warp), window)
            good &= usable(below, warp.nodata).all(axis=0)
        elif not covers(band.grid, self.grid):
            good &= self._warped(self._nearest(warp), window)[-1] > 0
        return numbers, good

    def _warp(self, group: _Group, nodata: float | None) -> Warp:
        band = group.bands[0]
        return Warp(
            band.uri,
            tuple(b.index for b in group.bands),
            band.dtype,
            band.grid,
            self.grid,
            band.resampling,
            nodata,
            self._alpha_of(band) if nodata is None else None,
        )

    def _nearest(self, warp: Warp) -> Warp:
        """The same without interpolation: which source pixel lies below each pixel's centre."""
        return Warp(
            warp.uri,
            warp.indexes,
            warp.dtype,
            warp.grid,
            warp.target,
            "nearest",
            warp.nodata,
            coverage=warp.nodata is None,
        )

    def _alpha_of(self, band: Band) -> int | None:
        """The mask in the band's own file: what it hides must not get into the neighbours."""
        for mask in self._scene.masks:
            if mask.kind == "alpha" and mask.uri == band.uri and mask.grid == band.grid:
                return mask.index
        return None

    def _warped(self, warp: Warp, window: Window) -> NDArray[Any]:
        def read(_: DatasetReader) -> NDArray[Any]:
            # The file is seen to be the one that was planned for; the VRT would take any.
            with self._handles.borrow(warp.xml()) as warped:
                return warped.read(window=_to_rasterio(window))  # type: ignore[no-any-return]  # rasterio is untyped

        return self._asked(warp.uri, warp.grid, window, read)

    def _asked(
        self, uri: str, grid: GeoBox, window: Window, read: Callable[[DatasetReader], T]
    ) -> T:
        """What ``read`` gives of an open file, once it is seen to be the one planned for."""

        def opened() -> T:
            with self._handles.borrow(gdal_path(uri)) as dataset:
                if (uri, grid) not in self._checked:
                    _check_unchanged(uri, grid, dataset)
                    self._checked.add((uri, grid))
                return read(dataset)

        place = f"rows {window.y0}-{window.y1}, columns {window.x0}-{window.x1}"
        try:
            return tried(uri, opened)
        except LostError as error:
            raise RemoteError(
                f"scene {self._scene.id}: {uri} was not delivered at {place} ({error}); what is "
                f"done is kept, run again to go on"
            ) from error
        except (RasterioError, IndexError) as error:
            # rasterio says "see previous exception"; a VRT that does not open says all its XML.
            told = str(error.__cause__ or error)
            status = http_status(error)
            reason = "" if "<VRT" in told else f" ({said(status) if status else told})"
            raise SceneError(
                f"scene {self._scene.id}: {uri} cannot be read at {place}{reason}; if it is "
                f"damaged, get it again"
            ) from error


def _stored(dataset: DatasetReader, indexes: tuple[int, ...], part: Window) -> NDArray[Any]:
    """Numbers ``(band, y, x)`` as they are in a file; none where ``part`` is empty."""
    if not part:
        dtype = dataset.dtypes[max(indexes[0], 1) - 1]
        return np.zeros((len(indexes), 0, 0), dtype)
    if indexes == (0,):
        return dataset.read_masks(1, window=_to_rasterio(part))[None]  # type: ignore[no-any-return]  # rasterio is untyped
    if len({dataset.dtypes[index - 1] for index in indexes}) > 1:  # as a VRT may have them
        return np.stack([dataset.read(index, window=_to_rasterio(part)) for index in indexes])
    return dataset.read(list(indexes), window=_to_rasterio(part))  # type: ignore[no-any-return]  # rasterio is untyped


def _groups(bands: Sequence[Band], grid: GeoBox) -> list[_Group]:
    """Bands by file; those that are resampled also by how."""
    found: dict[tuple[object, ...], list[int]] = {}
    for position, band in enumerate(bands):
        key: tuple[object, ...] = (band.uri,)
        if shift_between(band.grid, grid) is None:
            key = (band.uri, band.grid, band.dtype, band.resampling, repr(_gaps(band)))
        found.setdefault(key, []).append(position)
    return [_Group(tuple(at), tuple(bands[i] for i in at)) for at in found.values()]


def _gaps(band: Band) -> float | None:
    """What GDAL is told to leave out of a weighted mean."""
    dtype = np.dtype(band.dtype)
    nodata = fitting_nodata(dtype, band.nodata)
    if nodata is None and np.issubdtype(dtype, np.floating):
        return float("nan")
    return nodata


def _check_unchanged(uri: str, grid: GeoBox, dataset: DatasetReader) -> None:
    """Refuse files that are not what their header or their catalog entry said."""
    if dataset.shape != tuple(grid.shape):
        raise SceneError(
            f"{uri}: has {dataset.height} x {dataset.width} pixels, {grid.shape[0]} x "
            f"{grid.shape[1]} were planned; it was changed, or its catalog entry is wrong"
        )
    if dataset.transform.is_identity:
        return
    lies = GeoBox(dataset.shape, dataset.transform, grid.crs)
    # In degrees, the file may have been planned for on the other side of the antimeridian.
    lies = turned(lies, turns_between(lies, grid))
    shift = shift_in_pixels(grid.affine, lies.affine, dataset.shape)
    if shift > 0.5:
        raise SceneError(
            f"{uri}: lies {shift:.1f} pixels from where it was planned; it was changed, or its "
            f"catalog entry is wrong"
        )


def area_edges(area: bytes, grid: GeoBox) -> NDArray[np.float64]:
    """The edges of ``area`` (WKB in the grid's CRS) in pixels."""
    back = ~grid.affine
    rings = shapely.get_rings(shapely.get_parts(shapely.from_wkb(area)))
    points = (shapely.get_coordinates(ring) for ring in rings)
    return edges_of(np.column_stack(back @ (ring[:, 0], ring[:, 1])) for ring in points)


def _to_rasterio(window: Window) -> tuple[tuple[int, int], tuple[int, int]]:
    return (window.y0, window.y1), (window.x0, window.x1)
