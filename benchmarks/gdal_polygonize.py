"""What gdal_polygonize does, by the GDAL inside a wheel: its C functions, no Python between.

    python benchmarks/gdal_polygonize.py LIBGDAL RASTER OUT.gpkg

All within one transaction: without it takes ten times as long. Imports nothing that costs time.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_P, _S, _I = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_POLYGON, _INTEGER = 3, 0  # OGRwkbGeometryType, OGRFieldType


def version(library: str) -> str:
    """Of a libgdal, as ``3.12.1``."""
    return str(_function(ctypes.CDLL(library), "GDALVersionInfo", _S, _S)(b"RELEASE_NAME").decode())


def polygonize(library: str, raster: str, out: str) -> None:
    """The first band of a raster as polygons in a GeoPackage."""
    gdal = ctypes.CDLL(library)
    _function(gdal, "GDALAllRegister", None)()
    source = _function(gdal, "GDALOpen", _P, _S, _I)(raster.encode(), 0)
    band = _function(gdal, "GDALGetRasterBand", _P, _P, _I)(source, 1)
    mask = _function(gdal, "GDALGetMaskBand", _P, _P)(band)
    crs = _function(gdal, "GDALGetSpatialRef", _P, _P)(source)
    driver = _function(gdal, "GDALGetDriverByName", _P, _S)(b"GPKG")
    create = _function(gdal, "GDALCreate", _P, _P, _S, _I, _I, _I, _I, _P)
    made = create(driver, out.encode(), 0, 0, 0, 0, None)
    layer = _function(gdal, "GDALDatasetCreateLayer", _P, _P, _S, _P, _I, _P)(
        made, b"land_use", crs, _POLYGON, None
    )
    code = _function(gdal, "OGR_Fld_Create", _P, _S, _I)(b"class_code", _INTEGER)
    _succeed(_function(gdal, "OGR_L_CreateField", _I, _P, _P, _I)(layer, code, 1))
    _succeed(_function(gdal, "GDALDatasetStartTransaction", _I, _P, _I)(made, 0))
    trace = _function(gdal, "GDALPolygonize", _I, _P, _P, _P, _I, _P, _P, _P)
    _succeed(trace(band, mask, layer, 0, None, None, None))
    _succeed(_function(gdal, "GDALDatasetCommitTransaction", _I, _P)(made))
    _succeed(_function(gdal, "GDALClose", _I, _P)(made))


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    found = library[name]
    found.restype, found.argtypes = result, arguments
    return found


def _succeed(error: int) -> None:
    if error:
        raise SystemExit(f"GDAL failed with {error}")


if __name__ == "__main__":
    polygonize(*sys.argv[1:])
