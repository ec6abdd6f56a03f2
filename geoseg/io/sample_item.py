"""The STAC catalog that lies beside a synthetic scene, and what its bands are called."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Final

import pystac
from odc.geo.geobox import GeoBox
from pystac.extensions.eo import Band as EoBand
from pystac.extensions.eo import EOExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.extensions.raster import DataType, RasterBand, RasterExtension
from rasterio.crs import CRS
from rasterio.io import DatasetWriter
from rasterio.warp import transform

from geoseg.io.atomic import write_bytes
from geoseg.ops.synthetic.spectra import BANDS

# Name of the Sentinel-2 band, centre wavelength and width in micrometres.
_SPECTRA: Final = {
    "blue": ("B02", 0.490, 0.098),
    "green": ("B03", 0.560, 0.045),
    "red": ("B04", 0.665, 0.038),
    "nir": ("B08", 0.842, 0.145),
    "swir16": ("B11", 1.610, 0.143),
    "swir22": ("B12", 2.190, 0.242),
}
CATALOG_FILE, ITEM_FILE = "catalog.json", "item.json"


def describe_bands(scene: DatasetWriter) -> None:
    """Name the bands of the scene's file and say what they measure."""
    for k, name in enumerate(BANDS, start=1):
        label, centre, width = _SPECTRA[name]
        scene.set_band_description(k, name)
        scene.update_tags(k, NAME=label, CENTRAL_WAVELENGTH_UM=f"{centre:g}", FWHM_UM=f"{width:g}")


def write_catalog(
    name: str, grid: GeoBox, mask_grid: GeoBox, acquired: datetime, folder: Path
) -> Path:
    """Write ``item.json`` and, last, the ``catalog.json`` that leads to it.

    Args:
        name: Id of the item.
        grid: Of scene and true classes.
        mask_grid: Of the scene classification.
        acquired: Time of the scene.
        folder: Where the files lie; links are relative to it.
    """
    item = _item(name, grid, acquired)
    _add_scene(item, grid)
    _add_codes(item, "scl", "scl.tif", "Scene classification", mask_grid, 0)
    _add_codes(item, "truth", "truth.tif", "True land cover", grid, 255)
    catalog = pystac.Catalog(
        "geoseg-sample", "A synthetic scene made by geoseg; no place on Earth.", "Synthetic scene"
    )
    item.links = [
        pystac.Link(rel, f"./{CATALOG_FILE}", "application/json") for rel in ("root", "parent")
    ]
    catalog.links = [
        pystac.Link("root", f"./{CATALOG_FILE}", "application/json"),
        pystac.Link("item", f"./{ITEM_FILE}", "application/geo+json"),
    ]
    _write_json(folder / ITEM_FILE, item.to_dict(include_self_link=False, transform_hrefs=False))
    _write_json(
        folder / CATALOG_FILE, catalog.to_dict(include_self_link=False, transform_hrefs=False)
    )
    return folder / CATALOG_FILE


def _item(name: str, grid: GeoBox, acquired: datetime) -> pystac.Item:
    rows, cols = (int(n) for n in grid.shape)
    to = grid.affine
    xs = [to.c + to.a * col for col in (0, 0, cols, cols, 0)]
    ys = [to.f + to.e * row for row in (0, rows, rows, 0, 0)]
    lons, lats = transform(CRS.from_user_input(str(grid.crs)), CRS.from_epsg(4326), xs, ys)
    ring = [[round(lon, 7), round(lat, 7)] for lon, lat in zip(lons, lats, strict=True)]
    west, south, east, north = (f(axis) for f in (min, max) for axis in zip(*ring, strict=True))
    item = pystac.Item(
        name,
        {"type": "Polygon", "coordinates": [ring]},
        [west, south, east, north],
        acquired,
        {"platform": "synthetic", "constellation": "sentinel-2", "gsd": 10},
    )
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    projection.code = f"EPSG:{grid.crs.epsg}" if grid.crs else None
    return item


def _add_scene(item: pystac.Item, grid: GeoBox) -> None:
    asset = pystac.Asset(
        "./scene.tif", "Reflectance, six bands", media_type=pystac.MediaType.GEOTIFF, roles=["data"]
    )
    item.add_asset("scene", asset)
    EOExtension.ext(asset, add_if_missing=True).bands = [
        EoBand.create(
            _SPECTRA[name][0],
            common_name=name,
            center_wavelength=_SPECTRA[name][1],
            full_width_half_max=_SPECTRA[name][2],
        )
        for name in BANDS
    ]
    RasterExtension.ext(asset, add_if_missing=True).bands = [
        RasterBand.create(
            data_type=DataType.UINT16, scale=0.0001, offset=-0.1, nodata=0, spatial_resolution=10
        )
        for _ in BANDS
    ]
    _place(asset, grid)


def _add_codes(
    item: pystac.Item, key: str, file: str, title: str, grid: GeoBox, nodata: int
) -> None:
    asset = pystac.Asset(
        f"./{file}", title, media_type=pystac.MediaType.GEOTIFF, roles=["data", "mask"]
    )
    item.add_asset(key, asset)
    RasterExtension.ext(asset, add_if_missing=True).bands = [
        RasterBand.create(
            data_type=DataType.UINT8, nodata=nodata, spatial_resolution=abs(grid.affine.a)
        )
    ]
    _place(asset, grid)


def _place(asset: pystac.Asset, grid: GeoBox) -> None:
    projection = ProjectionExtension.ext(asset, add_if_missing=True)
    projection.shape = [int(n) for n in grid.shape]
    projection.transform = list(grid.affine)[:6]


def _write_json(path: Path, content: dict[str, object]) -> None:
    write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())
