"""Maps as one Zarr v2 group that follows the CF conventions, for xarray and GDAL.

Source: https://cfconventions.org/cf-conventions/cf-conventions.html (3.5 flags, 5.6 grid mappings)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zarr

from geoseg.errors import ProductError
from geoseg.grid import GeoBox, blocks
from geoseg.io.atomic import replacing
from geoseg.io.provenance import KEY, text_of
from geoseg.io.zarr_group import consolidate
from geoseg.io.zarr_store import ZarrRaster
from geoseg.legend import Legend


@dataclass(frozen=True, slots=True)
class ZarrLayer:
    """An array of the group: its name, the store that its pixels come from, what CF says of it."""

    name: str
    store: ZarrRaster
    attributes: Mapping[str, Any] = field(default_factory=dict)


def class_attributes(legend: Legend) -> dict[str, Any]:
    """Codes and names of classes as CF's flags; ``flag_colors`` are their colours."""
    return {
        "long_name": legend.name,
        "flag_values": list(legend.values),
        "flag_meanings": " ".join(_word(name) for name in legend.names),
        "flag_colors": " ".join(c.color for c in legend.classes),
    }


def percent_attributes(name: str) -> dict[str, Any]:
    """Of whole percents."""
    return {"long_name": name, "units": "percent", "valid_range": [0, 100]}


def write_zarr(
    path: str | Path,
    layers: Sequence[ZarrLayer],
    *,
    grid: GeoBox,
    title: str,
    origin: Mapping[str, object],
    acquired: datetime | None = None,
) -> None:
    """Write rasters of one grid as arrays ``(y, x)``, a chunk at a time.

    Args:
        path: The ``.zarr``; replaced only when the new one is complete.
        layers: Its arrays. Chunks are those of their stores.
        grid: Where their pixels lie.
        title: Of the group.
        origin: Provenance, JSON-able; the attribute ``geoseg`` of the group, as text: CF knows no
            others but numbers.
        acquired: Becomes the coordinate ``time`` of all arrays. Naive times are taken as UTC.

    Raises:
        ProductError: It cannot be written, or a store cannot be read.
    """
    with replacing(path) as made:
        try:
            for layer in layers:
                _copy(made, layer, grid, timed=acquired is not None)
            if acquired is not None:
                _add_time(made, acquired)
            _tell(made, {"title": title, "source": _source(origin), KEY: text_of(origin)})
            consolidate(made)
        except (OSError, ValueError) as error:
            raise ProductError(f"{path}: cannot be written: {error}") from error


def _copy(made: Path, layer: ZarrLayer, grid: GeoBox, *, timed: bool) -> None:
    store = layer.store
    target = ZarrRaster.create(
        made, grid, block=store.block, fill=store.fill, name=layer.name, dtype=store.dtype.name
    )
    for window in blocks(store.shape, store.block):
        target.write(window, store.read(window), sync=False)  # all is synced in the end
    coordinates = {"coordinates": "time"} if timed else {}
    _tell(made / layer.name, {**layer.attributes, **coordinates})


def _add_time(made: Path, acquired: datetime) -> None:
    moment = acquired.replace(tzinfo=UTC) if acquired.tzinfo is None else acquired
    time = zarr.open_group(made, mode="a", zarr_format=2).create_array(
        "time",
        shape=(),
        dtype="int64",
        fill_value=-1,
        compressors=None,
        attributes={
            "_ARRAY_DIMENSIONS": [],
            "standard_name": "time",
            "units": "seconds since 1970-01-01 00:00:00",
            "calendar": "standard",
        },
    )
    time[...] = round(moment.timestamp())


def _tell(place: Path, attributes: Mapping[str, Any]) -> None:
    """Add attributes to a group or an array."""
    path = place / ".zattrs"
    known = json.loads(path.read_bytes())
    path.write_text(json.dumps({**known, **attributes}, indent=1), encoding="utf-8")


def _source(origin: Mapping[str, object]) -> str:
    model, version = origin.get("model"), f"geoseg {origin.get('geoseg')}"
    if not isinstance(model, Mapping):
        return version
    return f"{model.get('name')} {model.get('version')}, {version}"


def _word(name: str) -> str:
    """A name as one word, as CF wants meanings to be."""
    return re.sub(r"[^\w.@+-]+", "_", name).strip("_") or "_"
