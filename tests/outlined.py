"""What the outlines of a class raster should be, and what a file says they are."""

import sqlite3
from xml.etree import ElementTree as ET

import pyogrio
import rasterio
import rasterio.features
import rasterio.shutil
import shapely
from polygon_reference import as_set

from geoseg.cli import run


def shapes(path, connectivity=4, keep=lambda code: True, nodata=None):
    """What GDAL makes of the whole raster."""
    with rasterio.open(path) as file:
        values, mask = file.read(1), file.read_masks(1) > 0
        if nodata is not None:
            mask &= values != nodata
        found = rasterio.features.shapes(values.astype("i4"), mask, connectivity, file.transform)
        pairs = [(shapely.geometry.shape(g), int(v)) for g, v in found if keep(int(v))]
    return as_set([g for g, _ in pairs], [v for _, v in pairs])


def polygons(path):
    frame = pyogrio.read_dataframe(path, layer="land_use")
    return as_set(frame.geometry.values, frame.class_code.tolist())


def style(path):
    """Code, name and colour of each category that the file brings."""
    with sqlite3.connect(path) as file:
        ((text, default),) = file.execute("SELECT styleQML, useAsDefault FROM layer_styles")
    assert default == 1
    return categories(ET.fromstring(text))  # noqa: S314 (our own)


def categories(root):
    fills = {
        symbol.get("name"): symbol.find(".//Option[@name='color']").get("value")
        for symbol in root.iter("symbol")
    }
    rgb = {name: tuple(map(int, fill.split(",")[:3])) for name, fill in fills.items()}
    return {
        int(c.get("value")): (c.get("label"), rgb[c.get("symbol")]) for c in root.iter("category")
    }


def vectorize(raster, out, *options):
    assert run(["vectorize", str(raster), str(out), "-q", *options]) == 0
    assert [p for p in out.parent.iterdir() if p.suffix == ".part"] == []
    return out
