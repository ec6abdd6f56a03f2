"""STAC items in a table: stac-geoparquet, read with filters pushed down to the file.

Source: stac-geoparquet specification 1.0 and 1.1.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pystac
import shapely
from pystac.errors import STACError, STACTypeError

from geoseg.errors import CatalogError
from geoseg.io.refs import in_utc
from geoseg.io.stac_http import PatientIO, is_http
from geoseg.io.stac_query import StacQuery
from geoseg.io.stac_walk import flaw

_TOP = {"id", "type", "stac_version", "stac_extensions", "collection", "links", "assets"}
_NEEDED = {"id", "geometry", "assets"}


def is_parquet(catalog: str) -> bool:
    """Whether ``catalog`` is a table of items."""
    return catalog.partition("?")[0].lower().rstrip("/").endswith((".parquet", ".geoparquet"))


def parquet_items(catalog: str, query: StacQuery, files: PatientIO) -> Iterator[pystac.Item]:
    """The items of a table; what the file itself can tell apart is not read.

    Args:
        catalog: A path (a file, or a folder of them), or an address, whose file is fetched whole.
        query: What is wanted; the filters that the table can apply are applied.
        files: Fetches addresses.

    Raises:
        CatalogError: It cannot be read, or holds no STAC items.
    """
    try:
        table = _open(catalog, files)
        lacks = _NEEDED - set(table.schema.names)
        if lacks:
            raise CatalogError(
                f"{catalog}: not stac-geoparquet (no column {', '.join(sorted(lacks))})"
            )
        for batch in table.to_batches(filter=_filter(query, table.schema)):
            for row in batch.to_pylist():
                yield _item(row, catalog)
    except (pa.ArrowException, OSError) as error:
        said = str(error).partition("\n")[0]
        raise CatalogError(f"{catalog}: cannot be read as Parquet ({said})") from error
    except (STACError, STACTypeError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise CatalogError(f"{catalog}: a row is no STAC item ({flaw(error)})") from error


def _open(catalog: str, files: PatientIO) -> ds.Dataset:
    if is_http(catalog):
        import pyarrow.parquet as pq  # noqa: PLC0415 (only fetched files are read whole)

        return ds.dataset(pq.read_table(io.BytesIO(files.read_bytes(catalog))))
    if "://" in catalog:
        raise CatalogError(f"{catalog}: give a path or an http address; download the table first")
    path = Path(catalog).expanduser()
    if not path.exists():
        raise CatalogError(f"{catalog}: cannot be read (No such file or directory)")
    return ds.dataset(path, format="parquet")


def _filter(query: StacQuery, schema: pa.Schema) -> pc.Expression | None:
    """What of ``query`` the columns of a table can tell."""
    tests = []
    for column, wanted in (("collection", query.collections), ("id", query.ids)):
        if wanted and column in schema.names:
            tests.append(pc.field(column).isin(list(wanted)))
    if query.max_cloud is not None and "eo:cloud_cover" in schema.names:
        cloud = pc.field("eo:cloud_cover")
        tests.append((cloud <= query.max_cloud) | cloud.is_null())
    # Items that have a first and last instant instead of one are told apart later.
    if query.time is not None and _is_time(schema, "datetime"):
        first, last = (None if t is None else in_utc(t) for t in query.time)
        moment = pc.field("datetime")
        if first is not None:
            tests.append((moment >= _scalar(first, schema)) | _spans(schema))
        if last is not None:
            tests.append((moment <= _scalar(last, schema)) | _spans(schema))
    combined = None
    for test in tests:
        combined = test if combined is None else combined & test
    return combined


def _spans(schema: pa.Schema) -> pc.Expression:
    """Whether an item has an interval, as a product of several days has."""
    unknown = pc.field("datetime").is_null()
    has = [n for n in ("start_datetime", "end_datetime") if n in schema.names]
    for name in has:
        unknown = unknown | pc.field(name).is_valid()
    return unknown


def _is_time(schema: pa.Schema, name: str) -> bool:
    return name in schema.names and pa.types.is_timestamp(schema.field(name).type)


def _scalar(when: datetime, schema: pa.Schema) -> pa.Scalar:
    return pa.scalar(when, pa.timestamp("us", "UTC")).cast(schema.field("datetime").type)


def _item(row: Mapping[str, Any], catalog: str) -> pystac.Item:
    """One row; properties lie beside the other fields, and what is null is not there."""
    shape = shapely.from_wkb(row["geometry"]) if row.get("geometry") else None
    box = row.get("bbox")
    content = {
        "type": "Feature",
        "stac_version": row.get("stac_version") or "1.0.0",
        "stac_extensions": row.get("stac_extensions") or [],
        "id": row["id"],
        "geometry": None if shape is None else json.loads(shapely.to_geojson(shape)),
        "bbox": None if box is None else _box(box),
        "links": [_plain(link) for link in row.get("links") or ()],
        "assets": {k: _plain(a) for k, a in row["assets"].items() if a is not None},
        "collection": row.get("collection"),
        # STAC wants to hear that there is no single moment.
        "properties": {"datetime": None}
        | {
            key: _plain(value)
            for key, value in row.items()
            if value is not None and key not in {*_TOP, "geometry", "bbox"}
        },
    }
    item = pystac.Item.from_dict(
        {k: v for k, v in content.items() if v is not None or k == "geometry"}
    )
    if item.get_self_href() is None:
        item.set_self_href(catalog if is_http(catalog) else str(Path(catalog).absolute()))
    return item


def _box(box: Any) -> list[float]:
    """West, south, (bottom,) east, north, (top,) from a struct or a list."""
    if not isinstance(box, Mapping):
        return [float(v) for v in box]
    names = ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")
    return [float(box[n]) for n in names if box.get(n) is not None]


def _plain(value: Any) -> Any:
    """``value`` as JSON has it: without nulls within structs, times as text."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, datetime):
        return in_utc(value).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
