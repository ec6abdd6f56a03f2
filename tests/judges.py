"""Judges of files that are not ours: GDAL's validators, published schemas; where they can be had."""

import json
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

from geoseg.io.read_provenance import read_provenance

ROOT = Path(__file__).parent.parent
SCHEMAS = ROOT / "geoseg" / "models" / "stac_schemas"
GEOPARQUET = ROOT / "tests" / "data" / "geoparquet-1.1.schema.json"
_SAMPLES = Path("/usr/lib/python3/dist-packages/osgeo_utils/samples")
_SYSTEM = "/usr/bin/python3"
GDALS_OWN = _SAMPLES.is_dir()
"""Whether Debian's GDAL is there with its validators."""
_KINDS = {0: "Point", 3: "Polygon", 6: "MultiPolygon"}  # by shapely's numbers


_JUDGE = """
import json, sys
from osgeo_utils.samples.validate_cloud_optimized_geotiff import validate
from osgeo_utils.samples.validate_gpkg import check
found = {}
for path in sys.argv[1:]:
    if path.endswith(".gpkg"):
        found[path] = [
            message for _, message in
            check(path, abort_at_first_error=False, extra_checks=True, warning_as_error=True) or []
        ]
    else:
        warnings, errors, _ = validate(path, full_check=True)
        found[path] = warnings + errors
print(json.dumps(found))
"""


def check_by_gdal(*paths):
    """GeoTIFFs and GeoPackages by Debian's GDAL, where it is there: each tile, each table."""
    if not GDALS_OWN or not paths:
        return
    done = subprocess.run(
        [_SYSTEM, "-c", _JUDGE, *map(str, paths)],
        capture_output=True, text=True, check=False, env={"LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {path: faults for path, faults in found.items() if faults} == {}


def check_cogs(*paths):
    """By rio-cogeo at its strictest, and by GDAL."""
    for path in paths:
        valid, errors, warnings = cog_validate(str(path), strict=True, quiet=True)
        assert valid, (path, errors, warnings)
    check_by_gdal(*paths)


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


def check_products(folder, product, *, beside=()):
    """All that stands in a folder of products: valid by all judges, and of one origin.

    ``beside`` are files that say nothing of it: what others have written there.

    Returns:
        What they say of their origin.
    """
    files = [path for path in sorted(folder.rglob("*")) if ".geoseg" not in path.parts]
    rasters, packed, tables = (
        [path for path in files if path.suffix == suffix and path.name not in beside]
        for suffix in (".tif", ".gpkg", ".parquet")
    )
    check_cogs(*rasters)
    check_by_gdal(*packed)
    for path in tables:
        if b"geo" in pq.read_metadata(path).metadata:
            check_geoparquet(path)
    for path in files:
        if path.name in ("item.json", "collection.json"):
            check_stac(json.loads(path.read_text("utf-8")))
    told = [read_provenance(path) for path in (*rasters, *packed, *tables)]
    assert told
    for one in told:
        assert one["product"] == product
        assert one["inputs"] == told[0]["inputs"]
        assert one["settings"] == told[0]["settings"]
        assert one["software"]["geoseg"] == one["geoseg"]
    for one in told[0]["inputs"]:
        assert one.keys() & {"sha256", "content"}, one
    return told[0]
