"""What a set of labels is, as one number: the same from any file format, in any order.

Scheme 1. A layer is one raster or one vector layer; its digest is the SHA-256 of a line of JSON
(kind, place, names) followed by the SHA-256 of its content:

* raster: the codes in row-major order as little-endian int16, -1 where there is no label; its place
  is the CRS, the shape and three corners in thousandths of a pixel, or, where nothing says where it
  lies, the name of the file without its suffix; names are those of the codes that occur;
* vector: one record for each part of each labelled feature, sorted; the label, the kind of shape,
  and its rings with coordinates in whole 0.1 mm (1e-9 degrees), without repeated points, each ring
  begun at its smallest point and walked the way that gives the smaller list.

The set is the SHA-256 of the sorted digests of its layers. Names count without regard to case and
spaces, as everywhere in geoseg. Compression, tiling, palettes, other columns, the order of features
and files, and whether polygons are parts of one feature, do not count; where polygons of different
classes overlap, which of them is on top does not either.
"""

from __future__ import annotations

import json
import unicodedata
import warnings
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.grid import GeoBox

SCHEME = 1

_QUANTUM = {True: 1e-9, False: 1e-4}  # degrees, and units of projected CRSs
_SUBPIXEL = 1000


class RasterContent:
    """The digest of a raster, fed with its rows from top to bottom."""

    def __init__(self) -> None:
        self._hash = sha256()
        self._seen = np.zeros(1 << 16, np.bool_)

    def add(self, codes: NDArray[np.int16]) -> None:
        """The next rows ``(y, x)``, of full width; -1 where there is no label."""
        rows = np.ascontiguousarray(codes, "<i2")
        self._hash.update(rows.data)
        self._seen[rows.view(np.uint16).ravel()] = True

    def digest(self, grid: GeoBox | None, place: str, names: Mapping[int, str]) -> bytes:
        """The layer's digest.

        Args:
            grid: Where it lies; None if nothing says so.
            place: What it is called then.
            names: By code; those that do not occur do not count.
        """
        where = ["name", place] if grid is None else ["grid", *_grid_key(grid)]
        said = {str(c): tidy(n) for c, n in names.items() if 0 <= c < 256 and self._seen[c]}
        return _layer("raster", where, said, self._hash.digest())


def features_digest(
    crs: CRS, labels: Sequence[int | str], shapes: NDArray[np.object_], names: Mapping[int, str]
) -> bytes:
    """The digest of a vector layer.

    Args:
        crs: Of the shapes.
        labels: ``(feature,)`` codes, or names.
        shapes: ``(feature,)`` geometries of any kind, none of them missing.
        names: Of codes, as far as they have one.
    """
    quantum = _QUANTUM[bool(crs.is_geographic)]
    records = sorted(
        sha256(_record(label, part, quantum)).digest()
        for label, shape in zip(labels, shapes, strict=True)
        for part in _parts(shape)
    )
    used = {label for label in labels if isinstance(label, int)}
    said = {str(code): tidy(name) for code, name in names.items() if code in used}
    return _layer("vector", crs_key(crs), said, sha256(b"".join(records)).digest())


def set_hash(layers: Iterable[bytes]) -> str:
    """The hash of a set from the digests of its layers: ``sha256:v1:`` and 64 hex digits."""
    total = sha256(b"".join(sorted(layers)))
    return f"sha256:v{SCHEME}:{total.hexdigest()}"


def tidy(name: str) -> str:
    """A name without what makes no difference: case, and spaces around and in rows."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def crs_key(crs: CRS | None) -> Any:
    """What stands for a CRS: its EPSG code, or its parameters where it has none."""
    if crs is None:
        return None
    code = crs.to_epsg()
    if code is not None:
        return f"EPSG:{code}"
    with warnings.catch_warnings():
        # What is lost are names, which differ from format to format.
        warnings.simplefilter("ignore", UserWarning)
        return sorted((key, str(value)) for key, value in crs.to_dict().items())


def _grid_key(grid: GeoBox) -> list[Any]:
    """CRS, shape, pixel size and corners, so coarsely that rounding in headers does not matter."""
    height, width = (int(n) for n in grid.shape)
    size = abs(grid.affine.determinant) ** 0.5
    corners = [grid.affine @ corner for corner in ((0, 0), (width, 0), (0, height))]
    whole = [round(value / size * _SUBPIXEL) for corner in corners for value in corner]
    crs = None if grid.crs is None else grid.crs.proj
    return [crs_key(crs), [height, width], f"{size:.6e}", whole]


def _layer(kind: str, place: Any, names: Mapping[str, str], content: bytes) -> bytes:
    head = {"kind": kind, "names": dict(names), "place": place, "scheme": SCHEME}
    return sha256(json.dumps(head, sort_keys=True).encode() + b"\n" + content).digest()


def _parts(shape: Any) -> Iterable[Any]:
    parts = shapely.get_parts(shape)
    for part in parts:
        if shapely.get_num_geometries(part) > 1:  # a collection within a collection
            yield from _parts(part)
        else:
            yield part


def _record(label: int | str, part: Any, quantum: float) -> bytes:
    """Label, kind and coordinates of one part."""
    head = ["code", int(label)] if not isinstance(label, str) else ["name", tidy(label)]
    kind = part.geom_type
    rings = shapely.get_rings(part) if kind == "Polygon" else [part]
    lists = [_whole(ring, quantum, closed=kind == "Polygon") for ring in rings]
    # The first ring is the outer one; the order of holes says nothing.
    ordered = [*lists[:1], *sorted(lists[1:])]
    counts = [len(ring) for ring in ordered]
    text = json.dumps([*head, kind, counts])
    return text.encode() + b"\n" + b"".join(ordered)


def _whole(line: Any, quantum: float, *, closed: bool) -> bytes:
    """Coordinates in whole quanta as bytes; rings begin and turn as they must."""
    points = np.rint(shapely.get_coordinates(line) / quantum).astype("<i8")
    if not closed:
        return bytes(points.tobytes())
    # The first comes once more at the end; nor does any other point count twice in a row.
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    turns = (walk for way in (points, points[::-1]) for walk in _from_smallest(way))
    return min(turns, default=b"")


def _from_smallest(points: NDArray[np.int64]) -> Iterable[bytes]:
    """A ring's points from its smallest one on; several times if it comes there several times."""
    if len(points):
        first = points[np.lexsort((points[:, 1], points[:, 0]))[0]]
        for at in np.flatnonzero((points == first).all(axis=1)):
            yield np.roll(points, -int(at), axis=0).tobytes()
