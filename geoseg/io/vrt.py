"""Bands of a file laid onto another grid by GDAL, described as a VRT.

The transformation is computed for every pixel: rasterio's WarpedVRT interpolates it along lines
of the request, so that a pixel may depend on the window it is read with. Source: GDAL's "VRT
Tutorial", warped VRT.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import hypot
from xml.etree import ElementTree as ET

from odc.geo.crs import CRS
from pyproj import Transformer

from geoseg.grid import GeoBox
from geoseg.io.environment import gdal_path
from geoseg.scene import Resampling

_TYPES = {
    "int8": "Int8",
    "uint8": "Byte",
    "int16": "Int16",
    "uint16": "UInt16",
    "int32": "Int32",
    "uint32": "UInt32",
    "int64": "Int64",
    "uint64": "UInt64",
    "float32": "Float32",
    "float64": "Float64",
}
_RESAMPLING = {
    "nearest": "NearestNeighbour",
    "bilinear": "Bilinear",
    "cubic": "Cubic",
    "average": "Average",
}
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Warp:
    """Bands ``indexes`` of a file on ``grid``, as they lie on ``target``.

    Index 0 is the file's mask band. ``resampling`` is ``"auto"`` by the rule of
    :data:`geoseg.scene.Resampling`. Source pixels that are ``nodata``, or where band ``alpha`` (0:
    the mask band) is 0, have no weight. ``coverage`` adds a last band that is 0 where the file
    ends.
    """

    uri: str
    indexes: tuple[int, ...]
    dtype: str
    grid: GeoBox
    target: GeoBox
    resampling: Resampling
    nodata: float | None = None
    alpha: int | None = None
    coverage: bool = False

    def xml(self) -> str:
        """What GDAL opens."""
        # A file that was fetched whole meanwhile is read from its copy.
        return _xml(self, gdal_path(self.uri))

    def _written(self) -> str:
        height, width = self.target.shape
        root = ET.Element(
            "VRTDataset",
            rasterXSize=str(width),
            rasterYSize=str(height),
            subClass="VRTWarpedDataset",
        )
        _add(root, "SRS", _srs(self.target.crs))
        _add(root, "GeoTransform", _numbers(self.target.affine.to_gdal()))
        bands = len(self.indexes) + self.coverage
        for number in range(1, bands + 1):
            band = _add(root, "VRTRasterBand", dataType=_TYPES[self.dtype], band=str(number))
            band.set("subClass", "VRTWarpedRasterBand")
            if self.coverage and number == bands:
                _add(band, "ColorInterp", "Alpha")
            elif self.nodata is not None:
                _add(band, "NoDataValue", repr(float(self.nodata)))
        _add(root, "BlockXSize", str(min(_BLOCK, width)))
        _add(root, "BlockYSize", str(min(_BLOCK, height)))
        self._add_options(_add(root, "GDALWarpOptions"))
        return ET.tostring(root, encoding="unicode")

    def _add_options(self, options: ET.Element) -> None:
        scales = _scales(self)
        _add(options, "ResampleAlg", _RESAMPLING[_kernel(self.resampling, scales)])
        _add(options, "WorkingDataType", _TYPES[self.dtype])
        init = "0" if self.nodata is None else "NO_DATA"
        for name, value in {
            "INIT_DEST": init,
            "UNIFIED_SRC_NODATA": "NO",
            # GDAL would estimate them for each request anew, and kernels depend on them.
            **dict(zip(("YSCALE", "XSCALE"), map(repr, scales), strict=True)),
        }.items():
            _add(options, "Option", value, name=name)
        _add(options, "SourceDataset", self._source(), relativeToVRT="0")
        self._add_transformer(_add(options, "Transformer"))
        listed = _add(options, "BandList")
        for number in range(1, len(self.indexes) + 1):
            mapping = _add(listed, "BandMapping", src=str(number), dst=str(number))
            if self.nodata is not None:
                for side in ("Src", "Dst"):
                    _add(mapping, f"{side}NoDataReal", repr(float(self.nodata)))
                    _add(mapping, f"{side}NoDataImag", "0")
        if self.coverage:
            _add(options, "DstAlphaBand", str(len(self.indexes) + 1))

    def _add_transformer(self, parent: ET.Element) -> None:
        images = _add(parent, "GenImgProjTransformer")
        source, target = self.grid.affine, self.target.affine
        _add(images, "SrcGeoTransform", _numbers(source.to_gdal()))
        _add(images, "SrcInvGeoTransform", _numbers((~source).to_gdal()))
        if self.grid.crs != self.target.crs:
            between = _add(_add(images, "ReprojectTransformer"), "ReprojectionTransformer")
            _add(between, "SourceSRS", _srs(self.grid.crs))
            _add(between, "TargetSRS", _srs(self.target.crs))
            self._add_turn(between)
        _add(images, "DstGeoTransform", _numbers(target.to_gdal()))
        _add(images, "DstInvGeoTransform", _numbers((~target).to_gdal()))

    def _add_turn(self, parent: ET.Element) -> None:
        """PROJ says longitudes within ±180°; files go on beyond, or count from 0 to 360."""
        if self.grid.crs is None or not self.grid.crs.geographic:
            return
        height, width = self.grid.shape
        corners = ((0, 0), (width, 0), (0, height), (width, height))
        longitudes = [(self.grid.affine @ corner)[0] for corner in corners]
        west, east = min(longitudes), max(longitudes)
        if west < -180 or east > 180:
            options = _add(parent, "Options")
            _add(options, "Option", repr((west + east) / 2), key="CENTER_LONG")

    def _source(self) -> str:
        """The wanted bands alone: GDAL would warp all, and take what looks like alpha for it."""
        height, width = self.grid.shape
        root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
        for number, index in enumerate(self.indexes, 1):
            self._add_band(root, number, index, _TYPES[self.dtype])
        if self.alpha is not None:
            self._add_band(_add(root, "MaskBand"), None, self.alpha, "Byte")
        return ET.tostring(root, encoding="unicode")

    def _add_band(self, parent: ET.Element, number: int | None, index: int, dtype: str) -> None:
        band = _add(parent, "VRTRasterBand", dataType=dtype)
        if number is not None:
            band.set("band", str(number))
        source = _add(band, "SimpleSource")
        # shared: GDAL would use one dataset in several threads.
        path = gdal_path(self.uri)
        _add(source, "SourceFilename", path, relativeToVRT="0", shared="0")
        _add(source, "SourceBand", "mask,1" if index == 0 else str(index))
        height, width = (str(n) for n in self.grid.shape)
        for name in ("SrcRect", "DstRect"):
            _add(source, name, xOff="0", yOff="0", xSize=width, ySize=height)


@lru_cache(maxsize=256)
def _xml(warp: Warp, _path: str) -> str:
    return warp._written()  # noqa: SLF001 (its own class)


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(repr(float(value)) for value in values)


def _srs(crs: CRS | None) -> str:
    if crs is None:
        raise ValueError("a grid without CRS cannot be warped")
    return str(crs) if crs.epsg is not None else crs.to_wkt()


def _kernel(resampling: Resampling, scales: tuple[float, float]) -> Resampling:
    """What ``"auto"`` is where there are ``scales`` target pixels per source pixel."""
    if resampling != "auto":
        return resampling
    # Equals to a hundredth: metres of two projections differ a little.
    return "average" if max(scales) <= 0.5 * 1.01 else "bilinear"


def _scales(warp: Warp) -> tuple[float, float]:
    """Target pixels per source pixel along the source's rows and columns ``(y, x)``."""
    height, width = warp.target.shape
    points = [(width / 2, height / 2), (width / 2 + 1, height / 2), (width / 2, height / 2 + 1)]
    xs, ys = zip(*(warp.target.affine @ point for point in points), strict=True)
    if warp.grid.crs != warp.target.crs:
        change = Transformer.from_crs(_srs(warp.target.crs), _srs(warp.grid.crs), always_xy=True)
        xs, ys = change.transform(xs, ys)
        if warp.grid.crs is not None and warp.grid.crs.geographic:
            # Neighbours across the antimeridian are neighbours.
            xs = tuple(xs[0] + (x - xs[0] + 180) % 360 - 180 for x in xs)
    back = ~warp.grid.affine
    middle, right, below = (back @ (x, y) for x, y in zip(xs, ys, strict=True))
    x = hypot(right[0] - middle[0], below[0] - middle[0])
    y = hypot(right[1] - middle[1], below[1] - middle[1])
    # Outside of what a projection covers there is no scale.
    return tuple(1 / n if 0 < n < float("inf") else 1.0 for n in (y, x))  # type: ignore[return-value]  # two of them
