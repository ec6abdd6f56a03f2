"""Windows of a scene's pixels, all bands on one grid, with what may be used of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geoseg.errors import RemoteError, SceneError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.band_groups import Group, gaps, groups_of
from geoseg.io.base import Patch
from geoseg.io.environment import gdal_path, is_remote
from geoseg.io.grids import (
    Nested,
    covers,
    nested_in,
    shift_between,
    shift_in_pixels,
    turned,
    turns_between,
)
from geoseg.io.handles import Handles
from geoseg.io.remote import LostError, http_status, said, tried
from geoseg.io.tiles import TILES, stored
from geoseg.io.vrt import Warp
from geoseg.ops.enlarge import enlarged
from geoseg.ops.inside import edges_of, inside
from geoseg.ops.validity import dilated, hidden, usable
from geoseg.scene import Band, Mask, Scene

T = TypeVar("T")

_AT_ONCE = 16
"""Files of a scene that a worker asks servers for at the same time."""


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
        values = np.empty((len(chosen), *window.shape), dtype)
        valid = self._unmasked(window)
        if valid.any():
            for good in self._each(groups_of(chosen, self.grid), window, values):
                valid &= good
                if not valid.any():
                    break
        if not valid.all():
            np.copyto(values, dtype.type(0), where=~valid)
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
        TILES.forget(self._handles)

    def _each(
        self, groups: Sequence[Group], window: Window, values: NDArray[Any]
    ) -> Iterator[NDArray[np.bool_]]:
        """Fill ``values`` group by group; where the numbers of each are data."""
        if len(groups) == 1 or not is_remote(groups[0].bands[0].uri):
            for group in groups:
                yield self._filled(group, window, values)
            return
        # A server is asked for all files at once: the time that it takes to answer counts once.
        with ExitStack() as stack:
            asked = [self._readers.submit(self._filled, g, window, values) for g in groups]
            for future in asked:
                stack.callback(future.cancel)
            for future in asked:
                yield future.result()

    def _filled(self, group: Group, window: Window, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Put a group's numbers where they go among ``values``; where all of them are data."""
        first, last = group.positions[0], group.positions[-1]
        beside = group.positions == tuple(range(first, last + 1))
        out = values[first : last + 1] if beside else None
        numbers, good = self._numbers(group, window, out)
        if numbers is not out:
            values[list(group.positions)] = numbers
        return good

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
        found, there = self._found(mask, wide)
        # Where the mask's file ends nothing is known: hidden, but no reason to grow.
        if there is not None:
            found &= there
        found = dilated(found, r)
        if there is not None:
            found |= ~there
        return found[window.within(wide).slices]

    def _found(
        self, mask: Mask, window: Window
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """What a mask hides on the scene's grid, and where its file has any (None: everywhere)."""

        def judged(numbers: NDArray[Any]) -> NDArray[np.bool_]:
            return hidden(numbers[0], mask.kind, mask.values)

        nested = nested_in(mask.grid, self.grid)
        if nested is not None:
            source = mask.uri, (mask.index,), mask.grid
            return self._enlarged(source, nested, window, judged)
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
        return judged(numbers), numbers[1] > 0 if partial else None

    def _enlarged(
        self,
        source: tuple[str, tuple[int, ...], GeoBox],
        nested: Nested,
        window: Window,
        judged: Callable[[NDArray[Any]], NDArray[np.bool_]],
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """What ``judged`` says of a file's own pixels, each for all of the scene's that lie in it.

        And where the file has any (None: everywhere).
        """
        around, at = nested.around(window)
        numbers, there = self._lying(*source, around, window=window)
        found = enlarged(judged(numbers), nested.factors, at)
        return found, None if there is None else enlarged(there, nested.factors, at)

    def _lying(
        self,
        uri: str,
        indexes: tuple[int, ...],
        grid: GeoBox,
        at: Window,
        *,
        window: Window,
        out: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Numbers of a file at ``at``, its own pixels, and where it has any (None: everywhere).

        In ``out``, where it has room for all and is of the file's dtype; ``window`` is the scene's.
        """
        part = at & full_window(grid)
        room = out if part == at else None
        key = self._handles, uri, indexes

        def read(dataset: DatasetReader) -> NDArray[Any]:
            return stored(dataset, indexes, part, None if is_remote(uri) else key, room)

        numbers = self._asked(uri, grid, window, read)
        if part == at:
            return numbers, None
        whole = np.zeros((len(indexes), *at.shape), numbers.dtype)
        there = np.zeros(at.shape, np.bool_)
        if part:
            slices = part.within(at).slices
            whole[:, *slices], there[slices] = numbers, True
        return whole, there

    def _mask_dtype(self, mask: Mask, window: Window) -> str:
        if mask.index == 0:
            return "uint8"
        return self._asked(
            mask.uri, mask.grid, window, lambda dataset: str(dataset.dtypes[mask.index - 1])
        )

    def _numbers(
        self, group: Group, window: Window, out: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Numbers ``(band, y, x)`` of a group, in ``out`` if they fit, and where all are data."""
        first = group.bands[0]
        shift = shift_between(first.grid, self.grid)
        if shift is None:
            return self._resampled(group, window)
        dy, dx = shift
        at = Window(window.y0 + dy, window.x0 + dx, window.y1 + dy, window.x1 + dx)
        numbers, there = self._lying(
            first.uri, group.indexes, first.grid, at, window=window, out=out
        )
        good = usable(numbers[0], first.nodata)
        for plane, band in zip(numbers[1:], group.bands[1:], strict=True):
            good &= usable(plane, band.nodata)
        return numbers, good if there is None else good & there

    def _resampled(self, group: Group, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        band = group.bands[0]
        warp = self._warp(group, gaps(band))
        numbers = self._warped(warp, window)
        good: NDArray[np.bool_] = np.isfinite(numbers).all(axis=0)
        if warp.nodata is not None:
            good &= self._below(warp, warp.nodata, window)
        elif not covers(band.grid, self.grid):
            good &= self._warped(self._nearest(warp), window)[-1] > 0
        return numbers, good

    def _below(self, warp: Warp, nodata: float, window: Window) -> NDArray[np.bool_]:
        """Where the source pixels below the centres of the scene's are data."""
        nested = nested_in(warp.grid, self.grid)
        if nested is None:
            below = self._warped(self._nearest(warp), window)
            return _all_usable(below, nodata)
        source = warp.uri, warp.indexes, warp.grid
        good, there = self._enlarged(
            source, nested, window, lambda numbers: _all_usable(numbers, nodata)
        )
        return good if there is None else good & there

    def _warp(self, group: Group, nodata: float | None) -> Warp:
        band = group.bands[0]
        return Warp(
            band.uri,
            group.indexes,
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


def _all_usable(numbers: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Pixels ``(y, x)`` that are data in all planes."""
    good: NDArray[np.bool_] = np.logical_and.reduce(usable(numbers, nodata), axis=0)
    return good


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
