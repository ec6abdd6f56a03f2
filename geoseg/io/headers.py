"""What a raster file says of itself; reads no pixel, and refuses what cannot be mapped."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Final, TypeVar

from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from geoseg.errors import RemoteError, SceneError
from geoseg.io.environment import is_remote
from geoseg.io.limits import check_file, check_header, open_raster
from geoseg.io.names import common_names, sensor_of
from geoseg.io.refs import BandRef
from geoseg.io.remote import LostError, http_status, said, tried
from geoseg.io.truncation import missing_bytes
from geoseg.scene import Band, Mask

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Header:
    """A raster file: its grid, and for each band its dtype, name, scale, offset and nodata.

    ``alpha`` is the index of the alpha band; ``masked`` says whether there is a mask band inside
    or beside the file; ``palette`` whether the numbers of its only band stand for colours.
    """

    uri: str
    grid: GeoBox
    dtypes: tuple[str, ...]
    names: tuple[str | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: tuple[float | None, ...]
    tags: Mapping[str, str]
    alpha: int | None
    masked: bool
    palette: bool = False

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self.dtypes)

    @property
    def named(self) -> dict[str, int]:
        """Index of every band that has a common name; the first of equals."""
        found: dict[str, int] = {}
        for index, name in enumerate(self.names, 1):
            if name is not None:
                found.setdefault(name, index)
        return found

    def check_index(self, index: int, what: str) -> None:
        """Refuse band numbers that the file does not have.

        Raises:
            SceneError: There is no such band.
        """
        if not 1 <= index <= self.count:
            bands = "band 1" if self.count == 1 else f"bands 1 to {self.count}"
            raise SceneError(f"{self.uri}: no band {index} for {what}; the file has {bands}")

    def band(self, name: str, ref: BandRef) -> Band:
        """Band ``ref.index`` of this file, by the rules of ``ref`` (complete with overrides).

        Raises:
            SceneError: There is no such band, or its numbers are complex.
        """
        self.check_index(ref.index, name)
        at = ref.index - 1
        dtype = self.dtypes[at]
        if dtype.startswith("complex"):
            raise SceneError(
                f"{self.uri}: band {ref.index} ({name}) holds {dtype} numbers; "
                f"make its magnitude a file and use that"
            )
        return Band(
            self.uri,
            ref.index,
            self.grid,
            dtype,
            self.scales[at] if ref.scale is None else ref.scale,
            self.offsets[at] if ref.offset is None else ref.offset,
            _nodata(ref, self.nodata[at]),
            ref.resampling or "auto",
        )

    def own_mask(self) -> Mask | None:
        """The alpha band or the internal mask as a mask; None where there is neither."""
        if self.alpha is None and not self.masked:
            return None
        return Mask(self.uri, self.alpha or 0, self.grid, "alpha")


def _nodata(ref: BandRef, own: float | None) -> float | None:
    if ref.nodata is None:
        return own
    return None if isinstance(ref.nodata, str) else ref.nodata


def read_header(uri: str, *, crs: str | None = None, placeless: bool = False) -> Header:
    """Open ``uri`` and read what it says of itself.

    Args:
        uri: A file.
        crs: For files without one.
        placeless: Take files that do not say where they lie: their grid counts pixels, without a
            CRS.

    Raises:
        SceneError: There is no such file, it is not a raster, it is truncated, or nothing says
            where it lies.
        RemoteError: A server does not deliver it now.
    """
    check_file(uri)
    try:
        return _opened(uri, lambda file: _header(uri, file, crs, placeless=placeless))
    except RasterioError as error:
        raise SceneError(
            f"{uri}: not a raster that can be read ({_unreadable(uri, error)})"
        ) from error


def _opened(uri: str, read: Callable[[DatasetReader], T]) -> T:
    """What ``read`` gives of the open file.

    Raises:
        RemoteError: A server does not deliver it now.
        RasterioError: It cannot be opened.
    """

    def opened() -> T:
        with open_raster(uri) as dataset:
            check_header(uri, dataset)
            return read(dataset)

    with warnings.catch_warnings():
        # Missing georeferences become errors of ours.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            return tried(uri, opened)
        except LostError as error:
            raise RemoteError(f"{uri}: cannot be read now ({error}); try again later") from error


def _unreadable(uri: str, error: RasterioError) -> str:
    """What is wrong with a file that GDAL does not open, as far as can be told."""
    path, status = Path(uri), http_status(error)
    if status is not None:
        return said(status)
    told = str(error).replace(f"'{uri}' ", "").removeprefix(f"{path.name}: ").rstrip(".")
    if path.is_file() and not path.stat().st_size:
        return "the file is empty; get it again"
    if "not recognized" in told and is_remote(uri) and path.suffix.lower() == ".vrt":
        return "a VRT on a server may point anywhere: download it, or name its files"
    if "not recognized" in told:
        return "neither GeoTIFF nor JPEG 2000, nor any other format of GDAL"
    if told.startswith("TIFF"):
        return f"a GeoTIFF that is cut short or damaged; get the file again; GDAL says: {told}"
    return told


def stored_scales(uri: str) -> list[tuple[float, float]]:
    """Scale and offset of every band as the file itself tells them, whatever else it lacks.

    Raises:
        SceneError: It cannot be opened.
        RemoteError: A server does not deliver it now.
    """
    try:
        return _opened(uri, lambda file: list(zip(file.scales, file.offsets, strict=True)))
    except RasterioError as error:
        raise SceneError(f"{uri}: cannot be opened: {error}") from error


def check_whole(uri: str, dataset: DatasetReader) -> None:
    """Refuse a file that is shorter than it says itself.

    Raises:
        SceneError: Bytes are missing.
    """
    lost = missing_bytes(uri, dataset)
    if lost:
        raise SceneError(f"{uri}: truncated, at least {lost} bytes are missing; get the file again")


def _header(uri: str, dataset: DatasetReader, crs: str | None, *, placeless: bool) -> Header:
    if dataset.count == 0:
        inner = f"; it contains {', '.join(dataset.subdatasets[:3])}" if dataset.subdatasets else ""
        raise SceneError(f"{uri}: has no bands of its own{inner}")
    check_whole(uri, dataset)
    nowhere = placeless and dataset.transform.is_identity
    shape = (dataset.height, dataset.width)
    grid = GeoBox(shape, Affine.identity(), None) if nowhere else _grid(uri, dataset, crs)
    colors = dataset.colorinterp
    alpha = colors.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colors else None
    return Header(
        uri,
        grid,
        tuple(dataset.dtypes),
        _band_names(uri, dataset),
        tuple(float(scale) for scale in dataset.scales),
        tuple(float(offset) for offset in dataset.offsets),
        tuple(dataset.nodatavals),
        {**dataset.tags(ns="IMAGERY"), **dataset.tags()},
        alpha,
        alpha is None and MaskFlags.per_dataset in dataset.mask_flag_enums[0],
        colors == (ColorInterp.palette,),
    )


_TURNS: Final = 900
"""Degrees of longitude that are understood, in either direction."""
_FARTHEST: Final = 1e9
"""Metres or feet from the origin that no projection of the Earth reaches."""

_COLORS = ("red", "green", "blue", "nir", "coastal", "pan")


def _band_names(uri: str, dataset: DatasetReader) -> tuple[str | None, ...]:
    """Common names by description, or by colour where there are no descriptions."""
    described = common_names(dataset.descriptions, sensor_of(Path(uri).name))
    colors = (color.name for color in dataset.colorinterp)
    return tuple(
        name or (color if color in _COLORS else None)
        for name, color in zip(described, colors, strict=True)
    )


def _grid(uri: str, dataset: DatasetReader, crs: str | None) -> GeoBox:
    transform = dataset.transform
    if transform.is_identity:
        raise SceneError(f"{uri}: {_not_mapped(dataset)}")
    if not _maps(transform, dataset.shape):
        raise SceneError(f"{uri}: its geotransform {tuple(transform[:6])} has pixels without area")
    grid = GeoBox((dataset.height, dataset.width), transform, _crs(uri, dataset, crs))
    _check_place(uri, grid)
    return grid


def _check_place(uri: str, grid: GeoBox) -> None:
    """Refuse what is nowhere on the Earth, like metres that are said to be degrees."""
    box, crs = grid.boundingbox, grid.crs
    if crs is None:
        return
    if crs.geographic:
        # Longitudes may be counted from anywhere.
        there = box.bottom < 90 and box.top > -90 and box.left < _TURNS and box.right > -_TURNS
    else:
        there = min(abs(side) for side in (box.left, box.bottom, box.right, box.top)) < _FARTHEST
    if not there:
        unit = "degrees" if crs.geographic else crs.units[0]
        raise SceneError(
            f"{uri}: reaches over [{', '.join(f'{side:.9g}' for side in box)}] in {str(crs)[:60]}, "
            f"which counts in {unit}: that is nowhere on the Earth; correct its CRS "
            f"(gdal_edit.py -a_srs EPSG:... in.tif) or its place"
        )


def _maps(transform: Affine, shape: tuple[int, int]) -> bool:
    """Whether pixels have places, and places pixels: damaged files have numbers beyond all."""
    if transform.is_degenerate or not all(isfinite(number) for number in transform[:6]):
        return False
    back = ~transform
    there = back @ (transform @ (shape[1], shape[0]))
    return all(isfinite(number) for number in (*back[:6], *there))


def _not_mapped(dataset: DatasetReader) -> str:
    if dataset.gcps[0]:
        return (
            "has ground control points but no geotransform; rectify it first "
            "(gdalwarp -tps in.tif out.tif)"
        )
    if dataset.rpcs is not None:
        return "has RPCs but no geotransform; rectify it first (gdalwarp -rpc in.tif out.tif)"
    return (
        "has no geotransform, so nothing says where it lies; georeference it first "
        "(gdal_translate -a_srs EPSG:... -a_ullr west north east south in.tif out.tif)"
    )


def _crs(uri: str, dataset: DatasetReader, given: str | None) -> CRS:
    own = dataset.crs
    usable = bool(own) and (own.is_geographic or own.is_projected)
    if given is None and not usable:
        found = f"a CRS that maps nothing ({own.to_string()[:60]})" if own else "no CRS"
        raise SceneError(f"{uri}: {found}; say which it is with input.crs: EPSG:...")
    try:
        # pyproj's errors are RuntimeErrors, odc-geo's are ValueErrors.
        stated = CRS(given) if given is not None else None
        if stated is not None and not usable:
            return stated
        read = CRS(own.to_string())
    except (CRSError, ValueError, RuntimeError) as error:
        what = given if given is not None else own.to_string()[:60]
        raise SceneError(
            f"{uri}: the CRS {what} is not understood; write a known code like EPSG:32629, or WKT"
        ) from error
    if stated is not None and stated != read:
        raise SceneError(
            f"{uri}: its CRS is {own.to_string()[:60]}, input.crs says {given}; "
            f"leave input.crs out, or correct the file"
        )
    _check_earth(uri, read)
    return read


def _check_earth(uri: str, crs: CRS) -> None:
    """Refuse other planets: areas are taken on the Earth, and items want longitude and latitude."""
    body = crs.proj.ellipsoid
    if body is not None and not 6.3e6 < body.semi_major_metre < 6.4e6:
        raise SceneError(
            f"{uri}: its CRS is of another body than the Earth ({body.name}, radius "
            f"{body.semi_major_metre / 1e3:.0f} km); geoseg maps the Earth only"
        )
