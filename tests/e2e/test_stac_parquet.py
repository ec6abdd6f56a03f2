"""stac-geoparquet, as rustac writes it, says what the same items say as JSON."""

import functools
import http.server
import json
import threading
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rustac

from geoseg.errors import CatalogError
from geoseg.io.stac import StacSource, read_items
from geoseg.io.stac_query import StacQuery

FIRST = datetime(2024, 6, 1, 10, tzinfo=UTC)
COUNT = 12


def made(number):
    """Item ``number``; some lack cloud cover, some are of an interval, assets differ."""
    when = FIRST + timedelta(days=number)
    time = {"datetime": when.isoformat().replace("+00:00", "Z")}
    if number % 5 == 4:
        end = (when + timedelta(days=1)).isoformat().replace("+00:00", "Z")
        time = {"datetime": None, "start_datetime": time["datetime"], "end_datetime": end}
    cloud = {} if number % 4 == 3 else {"eo:cloud_cover": number * 8.0}
    asset = {"href": f"https://example.org/{number}.tif", "type": "image/tiff", "roles": ["data"]}
    named = asset | {"eo:bands": [{"name": "B04", "common_name": "red"}], "proj:shape": [4, 5]}
    box = [float(number), 50.0, number + 0.9, 51.0]
    corners = [(0, 1), (2, 1), (2, 3), (0, 3), (0, 1)]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": ["https://stac-extensions.github.io/eo/v1.1.0/schema.json"],
        "id": f"item{number:02d}",
        "collection": "early" if number < 7 else "late",
        "geometry": {"type": "Polygon", "coordinates": [[[box[x], box[y]] for x, y in corners]]},
        "bbox": box,
        "properties": time | cloud | {"proj:epsg": 32629, "platform": "sentinel-2a"},
        "links": [],
        "assets": {"red": named} if number % 2 else {"red": named, "scl": asset},
    }


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parquet")
    items = [made(number) for number in range(COUNT)]
    rustac.write_sync(str(folder / "items.parquet"), items)
    listed = {"type": "FeatureCollection", "features": items}
    (folder / "items.json").write_text(json.dumps(listed))
    return folder


def plain(item):
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    return content | {"links": []}


def test_items_are_the_same_as_in_json(tables):
    ours = [plain(i) for i in StacSource(str(tables / "items.parquet")).items()]
    theirs = [plain(i) for i in StacSource(str(tables / "items.json")).items()]
    assert len(ours) == COUNT
    assert ours == theirs


@pytest.mark.parametrize(
    "wish",
    [
        {"collections": ("late",)},
        {"ids": ("item03", "item10")},
        {"time": (FIRST + timedelta(days=3), FIRST + timedelta(days=5))},
        {"time": (None, FIRST + timedelta(days=4, hours=12))},
        {"max_cloud": 30.0},
        {"bbox": (3.2, 50.2, 5.5, 50.4)},
        {"collections": ("early",), "max_cloud": 17.0},
    ],
)
def test_filters_find_what_they_find_in_json(tables, wish):
    expected = [i.id for i in StacSource(str(tables / "items.json"), **wish).items()]
    assert [i.id for i in StacSource(str(tables / "items.parquet"), **wish).items()] == expected
    assert 0 < len(expected) < COUNT


def test_what_the_table_can_tell_apart_is_not_read(tables):
    def read(**wish):
        return [i.id for i in read_items(str(tables / "items.parquet"), StacQuery(**wish))]

    assert read(ids=("item03",)) == ["item03"]
    first = (FIRST + timedelta(days=3), FIRST + timedelta(days=3))
    assert read(time=first) == ["item03", "item04", "item09"]  # and those of intervals


def test_nothing_is_told_with_its_reason(tables):
    source = StacSource(str(tables / "items.parquet"), collections=("none",), max_cloud=5.0)
    with pytest.raises(CatalogError, match=r"none of 12 items matches; left out: 12 by coll.*late"):
        source.items()


def test_a_table_on_a_server(tables):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tables))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            found = StacSource(f"{address}/items.parquet", max_cloud=0.0).items()
            with pytest.raises(CatalogError, match=r"no\.parquet: cannot be read \(HTTP 404\)"):
                StacSource(f"{address}/no.parquet").items()
        finally:
            server.shutdown()
            thread.join()
    assert [item.id for item in found] == ["item00", "item03", "item07", "item11"]


def test_what_is_no_table_of_items(tmp_path):
    with pytest.raises(CatalogError, match=r"x\.parquet: cannot be read \(No such file"):
        StacSource(str(tmp_path / "x.parquet")).items()
    (tmp_path / "x.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(CatalogError, match=r"x\.parquet: cannot be read as Parquet"):
        StacSource(str(tmp_path / "x.parquet")).items()
    pq.write_table(pa.table({"id": ["a"], "value": [1]}), tmp_path / "x.parquet")
    with pytest.raises(CatalogError, match=r"not stac-geoparquet \(no column assets, geometry\)"):
        StacSource(str(tmp_path / "x.parquet")).items()
    with pytest.raises(CatalogError, match="give a path or an http address"):
        StacSource("s3://bucket/x.parquet").items()
