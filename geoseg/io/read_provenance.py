"""Reads from a file where it comes from: whatever its format, the document that geoseg wrote."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.io.provenance import KEY, STANDARD, TAG

_READABLE = 2**24  # bytes of a document: none of ours comes near


def read_provenance(path: Path) -> dict[str, Any]:
    """What a product says of where it comes from; see :class:`geoseg.io.provenance.Provenance`.

    Args:
        path: A GeoTIFF, GeoPackage, Parquet, FlatGeobuf, PMTiles or Zarr of geoseg.

    Raises:
        InputError: It is not there, is damaged, of another format, or says nothing.
    """
    if not path.exists():
        raise InputError(f"{path}: is not there")
    read = _READERS.get(path.suffix.lower())
    if read is None or path.is_dir() != (path.suffix.lower() == ".zarr"):
        kinds = ", ".join(_READERS)
        raise InputError(f"{path}: is no product that can say where it comes from ({kinds})")
    try:
        text = read(path)
        found = None if text is None else json.loads(text)
    except InputError:
        raise
    except Exception as error:  # each format has its own ways of being damaged
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: does not say where it comes from; geoseg has not written it")
    return found


def _of_geotiff(path: Path) -> str | None:
    from geoseg.io.limits import open_raster  # noqa: PLC0415 (GDAL, where a raster is asked for)

    with open_raster(str(path)) as source:
        found: str | None = source.tags().get(TAG)
        return found


def _of_geopackage(path: Path) -> str | None:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        there = "SELECT count(*) FROM sqlite_master WHERE name = 'gpkg_metadata'"
        if not connection.execute(there).fetchone()[0]:
            return None
        row = connection.execute(
            "SELECT metadata FROM gpkg_metadata WHERE md_standard_uri = ? ORDER BY id LIMIT 1",
            (STANDARD,),
        ).fetchone()
    return None if row is None else str(row[0])


def _of_parquet(path: Path) -> str | None:
    import pyarrow.parquet as pq  # noqa: PLC0415 (the same, for tables)

    found = (pq.read_metadata(path).metadata or {}).get(KEY.encode())
    return None if found is None else found.decode()


def _of_flatgeobuf(path: Path) -> str | None:
    import pyogrio  # noqa: PLC0415 (the same, for vectors)

    told: Mapping[str, str] = pyogrio.read_info(path).get("layer_metadata") or {}
    return told.get(KEY)


def _of_pmtiles(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(127)
        if head[:8] != b"PMTiles\x03":
            raise InputError(f"{path}: is no PMTiles archive of version 3")
        begin, size = (int.from_bytes(head[at : at + 8], "little") for at in (24, 32))
        if size > _READABLE:
            raise InputError(f"{path}: its metadata take {size:,} bytes, more than any of geoseg's")
        file.seek(begin)
        told = json.loads(gzip.decompress(file.read(size)))
    found = told.get(KEY)
    return None if found is None else json.dumps(found)


def _of_zarr(path: Path) -> str | None:
    found: str | None = json.loads((path / ".zattrs").read_bytes()).get(KEY)
    return found


_READERS: Mapping[str, Callable[[Path], str | None]] = {
    ".tif": _of_geotiff,
    ".gpkg": _of_geopackage,
    ".parquet": _of_parquet,
    ".fgb": _of_flatgeobuf,
    ".pmtiles": _of_pmtiles,
    ".zarr": _of_zarr,
}
