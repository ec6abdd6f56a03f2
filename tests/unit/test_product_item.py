import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import jsonschema
import pystac
import pytest
import shapely
from affine import Affine
from products import GRIDS, LEGEND
from pystac.validation import validate_dict
from rasters import NORTH_UP

from geoseg.errors import ProductError
from geoseg.grid import GeoBox
from geoseg.io.product_collection import write_collection
from geoseg.io.product_item import (
    EXTENSIONS,
    VERSION,
    ItemAsset,
    Processing,
    class_asset,
    confidence_asset,
    write_item,
)

SCHEMAS = Path(__file__).parents[2] / "geoseg" / "models" / "stac_schemas"
MADE_BY = Processing(
    {"geoseg": "0.1.0", "gdal": "3.10"}, "Segmented with m 1", version="0123456789abcdef"
)
TIME = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture
def products(tmp_path):
    for name in ("classes.tif", "confidence.tif", "polygons.gpkg", "q.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def write(folder, grid, name="item.json", **changes):
    settings = {
        "item_id": name.removesuffix(".json"),
        "grid": grid,
        "assets": {
            "classes": class_asset(folder / "classes.tif", grid, LEGEND),
            "confidence": confidence_asset(folder / "confidence.tif", grid),
            "polygons": ItemAsset(folder / "polygons.gpkg", "Polygons"),
            "quicklook": ItemAsset(folder / "q.png", "Quicklook", ("thumbnail",)),
        },
        "acquired": TIME,
        "processing": MADE_BY,
    }
    write_item(folder / name, **(settings | changes))
    return json.loads((folder / name).read_text("utf-8"))


def validate(content):
    """Against the core schemas that pystac brings, and the extensions' schemas kept here."""
    kind = pystac.STACObjectType(content["type"])
    validate_dict(content, stac_object_type=kind, stac_version="1.1.0", extensions=[])
    for uri in content.get("stac_extensions", ()):
        name, version = uri.removeprefix("https://stac-extensions.github.io/").split("/")[:2]
        schema = json.loads((SCHEMAS / name / version / "schema.json").read_text("utf-8"))
        jsonschema.Draft7Validator(schema).validate(content)


@pytest.mark.parametrize("name", GRIDS)
def test_item_is_valid(products, name):
    content = write(products, GRIDS[name], sources=["s3://b/a.tif"], collection=("c", "c.json"))
    assert tuple(content["stac_extensions"]) == (*EXTENSIONS, VERSION)
    assert content["properties"]["version"] == "0123456789ab"
    validate(content)
    assert shapely.geometry.shape(content["geometry"]).is_valid


def test_schemas_do_refuse(products):
    content = write(products, GRIDS["south-up"])
    content["assets"]["classes"]["classification:classes"][0]["value"] = "ten"
    with pytest.raises(jsonschema.ValidationError):
        validate(content)


def test_assets_say_what_they_are(products):
    assets = write(products, GRIDS["south-up"])["assets"]
    classes = assets["classes"]
    assert classes["href"] == "./classes.tif"
    assert classes["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert classes["roles"] == ["data", "classification"]
    assert [
        (c["value"], c["description"], c["color_hint"]) for c in classes["classification:classes"]
    ] == [(c.value, c.name, c.color[1:].upper()) for c in LEGEND.classes]
    assert classes["classification:classes"][1]["name"] == "shrub-co"
    assert classes["bands"][0]["nodata"] == LEGEND.nodata
    assert classes["bands"][0]["raster:spatial_resolution"] == 10
    assert assets["confidence"]["bands"][0]["nodata"] == 255
    digest = hashlib.sha256(b"classes.tif").hexdigest()
    assert (classes["file:checksum"], classes["file:size"]) == ("1220" + digest, 11)


def test_projection_is_that_of_the_rasters(products):
    properties = write(products, GRIDS["rotated"])["properties"]
    assert properties["proj:code"] == "EPSG:32629"
    assert properties["proj:shape"] == [600, 700]
    assert properties["proj:transform"] == list(GRIDS["rotated"].affine[:6])
    assert write(products, GRIDS["no-code"])["properties"]["proj:code"] is None


def test_times(products):
    grid = GRIDS["south-up"]
    assert write(products, grid)["properties"]["datetime"] == "2024-05-06T07:08:09Z"
    naive = write(products, grid, acquired=datetime(2024, 5, 6))  # noqa: DTZ001 (that is the case)
    assert naive["properties"]["datetime"] == "2024-05-06T00:00:00Z"
    east = datetime(2024, 5, 6, 1, tzinfo=timezone(timedelta(hours=2)))
    assert write(products, grid, acquired=east)["properties"]["datetime"] == "2024-05-05T23:00:00Z"
    two = write(products, grid, acquired=(TIME, TIME + timedelta(days=1)))
    assert two["properties"]["datetime"] is None
    assert two["properties"]["end_datetime"] == "2024-05-07T07:08:09Z"
    validate(two)
    validate(write(products, grid, acquired=None))


def test_same_bytes_and_no_path_of_this_machine(products):
    write(products, GRIDS["south-up"], sources=[str(products / "classes.tif")])
    first = (products / "item.json").read_bytes()
    write(products, GRIDS["south-up"], sources=[str(products / "classes.tif")])
    assert (products / "item.json").read_bytes() == first
    assert str(products).encode() not in first


def test_missing_product_is_named_and_there_is_no_item(products):
    (products / "q.png").unlink()
    with pytest.raises(ProductError, match=r"q\.png"):
        write(products, GRIDS["south-up"])
    assert not (products / "item.json").exists()


def test_collection_spans_its_items(products):
    names = ("a.json", "b.json")
    for name, acquired in zip(names, (TIME, TIME + timedelta(days=9)), strict=True):
        write(products, GRIDS["south-up"], name, acquired=acquired)
    write_collection(
        products / "c.json", collection_id="c", title="C", description="All of them",
        items=[products / n for n in names],
    )  # fmt: skip
    content = json.loads((products / "c.json").read_text())
    validate(content)
    assert content["extent"]["temporal"]["interval"] == [
        ["2024-05-06T07:08:09Z", "2024-05-15T07:08:09Z"]
    ]
    hrefs = [link["href"] for link in content["links"] if link["rel"] == "item"]
    assert hrefs == ["./a.json", "./b.json"]
    read = pystac.Collection.from_file(str(products / "c.json"))
    assert {item.id for item in read.get_items()} == {"a", "b"}


@pytest.mark.parametrize("text", ["", "[]", '{"id": "x"}'])
def test_collection_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ProductError, match=r"a\.json"):
        write_collection(
            tmp_path / "c.json", collection_id="c", title="", description="d",
            items=[tmp_path / "a.json"],
        )  # fmt: skip


def test_item_needs_a_crs(products):
    grid = GeoBox((1, 1), NORTH_UP, None)
    with pytest.raises(ProductError, match="CRS"):
        write(products, grid, assets={})


def test_item_across_the_antimeridian(products):
    content = write(products, GeoBox((100, 100), Affine(0.1, 0, 175, 0, -0.1, -10), "EPSG:4326"))
    validate(content)
    assert content["bbox"] == [175, -20, -175, -10]
    assert content["geometry"]["type"] == "MultiPolygon"
