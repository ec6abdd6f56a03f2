"""Where products come from: told without secrets, kept in every format, read again or refused."""

import json

import geopandas
import numpy as np
import pyarrow as pa
import pyogrio
import pytest
from products import LEGEND, ArrayStore, class_map
from rasters import NORTH_UP, UTM, write
from vector_files import SHOWN, squares

from geoseg.errors import InputError
from geoseg.grid import GeoBox
from geoseg.io.cog import write_class_cog
from geoseg.io.pmtiles import add_metadata
from geoseg.io.provenance import TAG, Provenance, with_document
from geoseg.io.read_provenance import read_provenance
from geoseg.io.tables import write_parquet
from geoseg.io.vector import write_vector
from geoseg.workflow import loads

ORIGIN = Provenance(
    "map",
    [{"href": "s3://ä/scene.tif?X-Amz-Signature=0123", "bytes": 3, "sha256": "ab"}],
    {"min_area": "400 m2", "classes": ["Wässer", '"x" & <y>']},
    {"geoseg": "0.1.0", "gdal": "3.10"},
    "feedbeef",
    {"name": "m", "version": "1.0.0", "sha256": "cd"},
    {"scene": "S2_é", "failed_blocks": [[0, 0, 1, 1]]},
)


def test_the_document_is_plain_and_has_no_secret():
    told = ORIGIN.document()
    assert json.loads(json.dumps(told)) == told
    assert "0123" not in json.dumps(told)
    assert told["settings"] == ORIGIN.settings
    assert told["failed_blocks"] == [[0, 0, 1, 1]]
    tags = ORIGIN.tags()
    assert (tags["GEOSEG_MODEL"], tags["GEOSEG_SCENE"]) == ("m 1.0.0", "S2_é")
    assert json.loads(tags[TAG]) == told
    assert "0123" not in json.dumps(tags)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".fgb", ".pmtiles"])
@pytest.mark.parametrize("count", [0, 40])
def test_vectors_keep_it_whole(tmp_path, suffix, count):
    path = tmp_path / f"a{suffix}"
    write_vector(path, squares(count), **{**SHOWN, "tags": ORIGIN.document()})
    assert read_provenance(path) == ORIGIN.document()


def test_rasters_and_tables_keep_it_whole(tmp_path):
    store, path = ArrayStore(class_map((20, 30))), tmp_path / "a.tif"
    write_class_cog(store, GeoBox((20, 30), NORTH_UP, UTM), LEGEND, path, tags=ORIGIN.tags())
    assert read_provenance(path) == ORIGIN.document()
    table = pa.table({"a": [1, 2]}).replace_schema_metadata({"kept": "too"})
    write_parquet(tmp_path / "a.parquet", table, ORIGIN.document())
    assert read_provenance(tmp_path / "a.parquet") == ORIGIN.document()
    assert with_document(table.schema, {}).metadata[b"kept"] == b"too"


def test_more_metadata_moves_no_tile(tmp_path):
    path = tmp_path / "a.pmtiles"
    write_vector(path, squares(40), **SHOWN)
    before, info = geopandas.read_file(path), pyogrio.read_info(path)["dataset_metadata"]
    add_metadata(path, {"geoseg": {"more": "x" * 100_000}, "attribution": "me"})
    assert read_provenance(path) == {"more": "x" * 100_000}
    after = pyogrio.read_info(path)["dataset_metadata"]
    assert {name: after[name] for name in info} == info
    assert geopandas.read_file(path).equals(before)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pmtiles"]


def test_what_says_nothing_is_refused(tmp_path):
    write(tmp_path / "other.tif", np.ones((1, 3, 4), np.uint8))
    frame = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy([0], [0]), crs="EPSG:4326")
    frame.to_file(tmp_path / "other.gpkg")
    frame.to_file(tmp_path / "other.fgb")
    frame.to_parquet(tmp_path / "other.parquet")
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "other.zarr/.zattrs").write_text("{}")
    for suffix in ("tif", "gpkg", "fgb", "parquet", "zarr"):
        with pytest.raises(InputError, match=f"other.{suffix}: does not say where it comes from"):
            read_provenance(tmp_path / f"other.{suffix}")


@pytest.mark.parametrize("name", ["a.tif", "a.gpkg", "a.fgb", "a.parquet", "a.pmtiles"])
def test_what_is_damaged_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"PMTiles\x03" + bytes(40))
    with pytest.raises(InputError, match=f"{name}: (cannot be read|does not say)"):
        read_provenance(tmp_path / name)


def test_what_is_not_there_or_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.tif: is not there"):
        read_provenance(tmp_path / "a.tif")
    (tmp_path / "a.zarr").write_text("")
    (tmp_path / "a.csv").write_text("")
    for name in ("a.zarr", "a.csv", "."):
        with pytest.raises(InputError, match="no product that can say where it comes from"):
            read_provenance(tmp_path / name)


def test_settings_are_those_that_change_results_and_tell_no_secret():
    text = """{geoseg: 1, name: n, input: {kind: files, path: "${PLACE}/*.tif", bands: [red]},
        model: "${MODEL}", output: {directory: "out/{scene}"}, cluster: {workers: WORKERS}}"""
    environ = {"PLACE": "/secret/place", "MODEL": "landcover-s2"}
    one, other = (loads(text.replace("WORKERS", n), environ=environ) for n in "12")
    told = one.results_settings()
    assert told == other.results_settings()
    assert told["segment"]["model"] == "${MODEL}"
    assert told["segment"]["input"]["path"] == "${PLACE}/*.tif"
    assert "/secret" not in json.dumps(told)
    assert told.keys() == one.results_key_fields().keys()
    assert one.results_key_fields()["segment"]["model"]["name"] == "landcover-s2"
