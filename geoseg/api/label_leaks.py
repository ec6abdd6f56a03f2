"""Whether parts of a split share ground: by place, by pixels, by name of a group."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import shape

from geoseg.api.label_items import LabelItem
from geoseg.errors import InputError, ProductError
from geoseg.grid import GeoBox, Window, blocks, crop, full_window
from geoseg.io.footprint import footprint
from geoseg.io.label_files import RasterLabels
from geoseg.io.label_images import PlainImage
from geoseg.ops.findings import Finding
from geoseg.ops.patches import SIDE, Pieces, choose_pieces, find_shared, thumbnail_likeness
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_block

BLOCK = 1024
_SHARE = 16  # one piece in so many, of small sets
_MOST_PIECES = 2_000_000
_LIKE = 0.98
_THUMBNAIL = 24
_OVERLAP = 1e-3  # of the smaller one: neighbours touch, and headers round
_LIVELY = {True: 24, False: 8}  # of 56 pairs of neighbours: images, labels


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """What is compared: an image, or labels where there is none."""

    name: str
    part: str
    source: PlainImage | RasterLabels
    grid: GeoBox | None

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.source.grid.shape
        return int(height), int(width)


def find_leaks(
    items: Sequence[LabelItem],
    *,
    margin: int,
    groups: dict[str, str],
    reporter: Reporter,
    workers: int | None,
) -> list[Finding]:
    """All that parts of a split have in common.

    Args:
        items: Of at least two parts.
        margin: Pixels around each that are seen, too.
        groups: Of what belongs together, by stem of the label file; empty if nobody says.
        reporter: Told of progress.
        workers: Threads.
    """
    pictures = list(_pictures(items))
    found = list(_by_group(items, groups))
    if len({picture.part for picture in pictures}) < 2:
        text = "ground and pixels were not compared: polygons need the images of both parts"
        return [*found, Finding("note", "leakage", "not-checked", text)]
    found += _by_place(pictures, margin)
    shared, images = _by_pixels(pictures, reporter, workers)
    found += images
    found += _by_look(pictures, shared)
    return found


def read_groups(path: Path, column: str | None) -> dict[str, str]:
    """Groups by stem, from the first column of a table and the one that is called ``column``.

    Raises:
        InputError: It cannot be read, or has no such column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"groups {path}: cannot be read: {error}") from error
    names = list(rows[0]) if rows else []
    usual = [name for name in names if name.casefold() in ("group", "location", "place", "scene")]
    chosen = column or (usual[0] if usual else "")
    if chosen not in names or chosen == names[0]:
        raise InputError(
            f"groups {path}: no column {chosen or 'group'!r} beside the first; it has "
            f"{', '.join(names) or 'none'}"
        )
    return {Path(row[names[0]]).stem: row[chosen] for row in rows}


def _pictures(items: Sequence[LabelItem]) -> Iterator[_Picture]:
    for item in items:
        for image in item.images:
            grid = image.grid if image.placed else None
            yield _Picture(str(image.path), item.part, image, grid)
        if not item.images and isinstance(item.labels, RasterLabels):
            grid = item.labels.grid if item.labels.placed else None
            yield _Picture(item.name, item.part, item.labels, grid)


def _by_group(items: Sequence[LabelItem], groups: dict[str, str]) -> Iterator[Finding]:
    parts: dict[str, set[str]] = defaultdict(set)
    for item in items:
        stem = item.file.path.stem
        if stem in groups:
            parts[groups[stem]].add(item.part)
    torn = {group: sorted(some) for group, some in parts.items() if len(some) > 1}
    if torn:
        shown = ", ".join(f"{group} ({' and '.join(some)})" for group, some in [*torn.items()][:5])
        text = f"{len(torn)} groups are in more than one part: {shown}{_more(len(torn) - 5)}"
        yield Finding("fault", "leakage", "group-torn", text, count=len(torn))


def _by_place(pictures: Sequence[_Picture], margin: int) -> Iterator[Finding]:
    placed = [p for p in pictures if p.grid is not None]
    shapes = np.array([_outline(p, margin) for p in placed], dtype=np.object_)
    pairs = []
    for one, other in shapely.STRtree(shapes).query(shapes, predicate="intersects").T:
        if one < other and placed[one].part != placed[other].part:
            smaller = min(shapes[one].area, shapes[other].area)
            share = shapely.intersection(shapes[one], shapes[other]).area / smaller
            if share > _OVERLAP:
                pairs.append((share, placed[one], placed[other]))
    if pairs:
        share, one_, other_ = max(pairs, key=lambda pair: pair[0])
        seen = f" (with {margin} px around them)" if margin else ""
        text = (
            f"{len(pairs)} pairs of different parts lie on the same ground{seen}; most: "
            f"{_pair(one_, other_)} share {share:.0%} of the smaller one"
        )
        yield Finding("fault", "leakage", "same-ground", text, count=len(pairs))


def _outline(picture: _Picture, margin: int) -> Any:
    grid = picture.grid
    if grid is None:
        raise TypeError("what lies nowhere has no outline")
    height, width = picture.shape
    try:
        wide = crop(grid, Window(-margin, -margin, height + margin, width + margin))
        return shape(footprint(wide)[0])
    except ProductError:
        return shapely.Polygon()


def _by_pixels(
    pictures: Sequence[_Picture], reporter: Reporter, workers: int | None
) -> tuple[set[tuple[int, int]], list[Finding]]:
    """Pairs that hold the same pixels, and what there is to say of them."""
    total = sum(p.shape[0] * p.shape[1] for p in pictures)
    share = _SHARE
    while total / share > _MOST_PIECES:
        share *= 2
    pieces = [_pieces(p, share, reporter, workers) for p in pictures]
    number = {part: i for i, part in enumerate(dict.fromkeys(p.part for p in pictures))}
    shared = find_shared(pieces, [number[p.part] for p in pictures])
    if not shared:
        return set(), []
    most = max(shared, key=lambda pair: pair.pieces)
    one, other = pictures[most.one], pictures[most.other]
    dy, dx = most.displacement
    if one.shape == other.shape and not (dy or dx):
        how = "lie on one another"
    else:
        how = f"the second lies {dy} rows and {dx} columns from the first"
    text = (
        f"{len(shared)} pairs of different parts hold the same pixels; most: {_pair(one, other)} "
        f"({most.pieces} pieces alike, {how})"
    )
    pairs = {(pair.one, pair.other) for pair in shared}
    return pairs, [Finding("fault", "leakage", "same-pixels", text, count=len(shared))]


def _pieces(picture: _Picture, share: int, reporter: Reporter, workers: int | None) -> Pieces:
    whole = full_window(picture.source.grid)

    def work(core: Window) -> Pieces:
        rim = SIDE - 1
        wide = Window(core.y0, core.x0, core.y1 + rim, core.x1 + rim) & whole
        values, valid = picture.source.read(wide)
        return choose_pieces(
            values if values.ndim == 3 else values[None],
            valid,
            (wide.y0, wide.x0),
            share=share,
            least_changes=_LIVELY[isinstance(picture.source, PlainImage)],
        )

    windows = tuple(blocks(picture.shape, BLOCK))
    return Pieces.joined(
        each_block(work, windows, name="compare", reporter=reporter, workers=workers)
    )


def _by_look(pictures: Sequence[_Picture], known: set[tuple[int, int]]) -> Iterator[Finding]:
    """Images that look alike as a whole, though not to the last bit."""
    images = [(i, p) for i, p in enumerate(pictures) if isinstance(p.source, PlainImage)]
    looks: dict[int, NDArray[np.float64]] = {
        i: p.source.thumbnail(_THUMBNAIL) for i, p in images if isinstance(p.source, PlainImage)
    }
    pairs = []
    for k, (i, one) in enumerate(images):
        for j, other in images[k + 1 :]:
            if one.part != other.part and (i, j) not in known:
                like = thumbnail_likeness(looks[i], looks[j])
                if like >= _LIKE:
                    pairs.append((like, one, other))
    if pairs:
        like, one, other = max(pairs, key=lambda pair: pair[0])
        text = (
            f"{len(pairs)} pairs of different parts look alike; most: {_pair(one, other)} "
            f"(correlation {like:.3f})"
        )
        yield Finding("warning", "leakage", "look-alike", text, count=len(pairs))


def _pair(one: _Picture, other: _Picture) -> str:
    return f"{one.name} ({one.part}) and {other.name} ({other.part})"


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
