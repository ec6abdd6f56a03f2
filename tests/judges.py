"""Judges of files that are not ours: GDAL's validators, published schemas; where they can be had."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pystac
import shapely
from pystac.validation import validate_dict
from rio_cogeo.cogeo import cog_validate

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "geoseg" / "models" / "stac_schemas"
GEOPARQUET = ROOT / "tests" / "data" / "geoparquet-1.1.schema.json"
_SAMPLES = Path("/usr/lib/python3/dist-packages/osgeo_utils/samples")
_SYSTEM = "/usr/bin/python3"
GDALS_OWN = _SAMPLES.is_dir()
"""Whether Debian's GDAL is there with its validators."""
_KINDS = {0: "Point", 3: "Polygon", 6: "MultiPolygon"}  # by shapely's numbers


def _gdal(script, *arguments):
    """What one of GDAL's validators says, without a word of it if all is well."""
    done = subprocess.run(
        [_SYSTEM, _SAMPLES / script, *map(str, arguments)],
        capture_output=True, text=True, check=False, env={"LANG": "C.UTF-8"},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def check_cog(path):
    """By rio-cogeo at its strictest and, where it is there, by GDAL, which looks at each tile."""
    valid, errors, warnings = cog_validate(str(path), strict=True, quiet=True)
    assert valid, (path, errors, warnings)
    if GDALS_OWN:
        code, told = _gdal("validate_cloud_optimized_geotiff.py", "--full-check=yes", path)
        assert (code, "is a valid cloud optimized GeoTIFF" in told) == (0, True), told
        assert "warnings" not in told, told


def check_geopackage(path):
    """By GDAL, where it is there."""
    if GDALS_OWN:
        code, told = _gdal("validate_gpkg.py", path)
        assert code == 0, told
        assert not re.search("error|warning", told, re.IGNORECASE), told


def check_stac(content):
    """An item or collection, by the core schemas that pystac brings and those of its extensions."""
    kind = pystac.STACObjectType(content["type"])
    validate_dict(content, stac_object_type=kind, stac_version="1.1.0", extensions=[])
    for uri in content["stac_extensions"]:
        name, version = uri.removeprefix("https://stac-extensions.github.io/").split("/")[:2]
        schema = json.loads((SCHEMAS / name / version / "schema.json").read_text("utf-8"))
        jsonschema.Draft7Validator(schema).validate(content)


def check_geoparquet(path):
    """By the schema of its metadata, and that all they say of the geometries is so."""
    file = pq.ParquetFile(path)
    geo = json.loads(file.metadata.metadata[b"geo"])
    jsonschema.Draft7Validator(json.loads(GEOPARQUET.read_text("utf-8"))).validate(geo)
    column = geo["columns"][geo["primary_column"]]
    crs = pyproj.CRS.from_json_dict(column["crs"])
    table = file.read()
    shapes = shapely.from_wkb(table[geo["primary_column"]].to_numpy())
    sides = [shapely.bounds(shapes)[:, n] for n in range(4)]
    told = column["covering"]["bbox"]
    for side, wanted in zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True):
        name, inner = told[side]
        found = table[name].combine_chunks().field(inner).to_numpy()
        np.testing.assert_array_equal(found, wanted)
    if len(shapes):
        np.testing.assert_array_equal(column["bbox"], shapely.total_bounds(shapes))
        kinds = {_KINDS[int(n)] for n in np.unique(shapely.get_type_id(shapes))}
        assert set(column["geometry_types"]) == kinds
    if column.get("orientation") == "counterclockwise":
        rings = shapely.get_exterior_ring(shapely.get_parts(shapes))
        assert shapely.is_ccw(rings).all()
    return crs, len(shapes)
