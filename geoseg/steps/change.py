"""Two maps to transitions: compare each block, then let go of patches that are too small."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import SceneError
from geoseg.grid import GeoBox, Window, full_window
from geoseg.io.base import RasterStore
from geoseg.io.dated_map import MapReader
from geoseg.io.mmu_files import CodeBlocks
from geoseg.io.patch_files import load_rim, load_small, save_rim, save_small
from geoseg.ops.arcs import pad
from geoseg.ops.change import EDGE, UNSEEN, UNSURE, ChangeRule, find_changes
from geoseg.ops.layers import NO_PERCENT
from geoseg.ops.metric import Metric, measure_grid
from geoseg.ops.patch_areas import rim_patches, settle_patches, small_pixels
from geoseg.ops.regions import NODATA, find_runs
from geoseg.ops.transitions import OUTSIDE, UNKNOWN, CommonClasses

Inside = Callable[[Window], NDArray[np.bool_]]
"""Which pixels of a window are looked at."""

AS_SEEN, TOO_UNSURE, AT_EDGES, FINAL = "as_seen", "unsure", "edges", "final"
"""What is counted: all pairs; changes that were not sure enough; edges; what is left in the end."""

Counts = Mapping[int, tuple[int, int]]
"""Pixels, and counts of :attr:`geoseg.ops.metric.Metric.unit`, by the number of a pair."""


@dataclass(frozen=True, slots=True)
class Patches:
    """Which patches are too small.

    Attributes:
        groups: By the number of a pair plus one; see :meth:`Transitions.group_table`.
        limit: Pixels, or counts of :attr:`geoseg.ops.metric.Metric.unit`.
        in_pixels: Which.
    """

    groups: NDArray[np.int16]
    limit: int
    in_pixels: bool


@dataclass(frozen=True, slots=True)
class CompareBlock:
    """Compares two maps. Fulfils :class:`geoseg.run.base.BlockWork`.

    Attributes:
        before: The earlier map, on the grid of the comparison.
        after: The later map.
        common: Their classes.
        rule: When classes that differ are a change.
        grid: Of the comparison.
        pairs: Where numbers of pairs go.
        sure: Where the lower of both confidences goes; None where nobody has said any.
        inside: Which pixels are looked at; all if None.
        patches: Where small ones will be let go of.
        folder: Where what is known of patches goes.
    """

    before: MapReader
    after: MapReader
    common: CommonClasses
    rule: ChangeRule
    grid: GeoBox
    pairs: CodeBlocks
    folder: Path
    sure: RasterStore | None = None
    inside: Inside | None = None
    patches: Patches | None = None
    _metric: Metric = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_metric", measure_grid(self.grid))

    def __call__(self, block: Window) -> dict[str, Any]:
        """Compare one block; says what was seen, and what was not taken for change."""
        seen = self._around(block)
        inner = block.within(seen).slices
        before, after = self._classes(self.before, seen), self._classes(self.after, seen)
        sure = self.before.confidence(seen), self.after.confidence(seen)
        state = find_changes(before, after, self.rule, sure_before=sure[0], sure_after=sure[1])
        before, after, state = before[inner], after[inner], state[inner]
        pairs = self._pairs(before, after)
        if self.inside is not None:
            pairs[~self.inside(block)] = OUTSIDE
        unsure = np.where((state == UNSURE) & (pairs != OUTSIDE), pairs, NODATA)
        edges = np.where((state == EDGE) & (pairs != OUTSIDE), pairs, NODATA)
        dropped = (state == UNSURE) | (state == EDGE)
        final = np.where(dropped & (pairs != OUTSIDE), self._pairs(before, before), pairs)
        self.pairs.write(block, final)
        self._write_sure(block, [None if s is None else s[inner] for s in sure], state)
        if self.patches is not None:
            groups = self.patches.groups[final + 1]
            in_pixels = self.patches.in_pixels
            save_rim(
                self.folder,
                self._metric.shape,
                rim_patches(groups, block, self._metric, in_pixels=in_pixels),
            )
        layers = {AS_SEEN: pairs, TOO_UNSURE: unsure, AT_EDGES: edges, FINAL: final}
        return {name: count_pairs(part, block, self._metric) for name, part in layers.items()}

    def close(self) -> None:
        """Close the maps."""
        self.before.close()
        self.after.close()

    def _around(self, block: Window) -> Window:
        h = self.rule.halo
        wide = Window(block.y0 - h, block.x0 - h, block.y1 + h, block.x1 + h)
        return wide & full_window(self.grid)

    def _classes(self, reader: MapReader, window: Window) -> NDArray[np.int16]:
        table = self.common.before if reader is self.before else self.common.after
        codes = reader.classes(window)
        indices: NDArray[np.int16] = table[codes]
        if (indices == UNKNOWN).any():
            code = int(codes[indices == UNKNOWN].min())
            raise SceneError(
                f"{reader.dated.classes}: holds the code {code}, which it does not name; leave it "
                f"out with ignore: [{code}], or give the file names"
            )
        return indices

    def _pairs(self, before: NDArray[np.int16], after: NDArray[np.int16]) -> NDArray[np.int16]:
        none = self.common.none
        one, two = np.where(before < 0, none, before), np.where(after < 0, none, after)
        pairs: NDArray[np.int16] = (one * (none + 1) + two).astype(np.int16)
        return pairs

    def _write_sure(
        self, block: Window, sure: list[NDArray[np.uint8] | None], state: NDArray[np.uint8]
    ) -> None:
        said = [s for s in sure if s is not None]
        if self.sure is None or not said:
            return
        known = np.all([s != NO_PERCENT for s in said], axis=0) & (state != UNSEEN)
        least = np.min(said, axis=0)
        self.sure.write(block, np.where(known, least, NO_PERCENT).astype(np.uint8))


@dataclass(frozen=True, slots=True)
class SettleBlock:
    """Writes the pairs of a block without small patches. Fulfils ``run.base.BlockWork``.

    Attributes:
        pairs: What :class:`CompareBlock` wrote.
        out: Where the result goes; the blocks are the same.
        common: The classes.
        patches: Which are too small.
        grid: Of the comparison.
        folder: Where :func:`settle` left what was decided.
    """

    pairs: CodeBlocks
    out: CodeBlocks
    common: CommonClasses
    patches: Patches
    grid: GeoBox
    folder: Path
    _metric: Metric = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_metric", measure_grid(self.grid))

    def __call__(self, block: Window) -> dict[str, Any]:
        """Rewrite one block; says what is left."""
        pairs = self.pairs.read(block)
        groups = self.patches.groups[pairs + 1]
        small = small_pixels(
            groups,
            block,
            self._metric,
            limit=self.patches.limit,
            in_pixels=self.patches.in_pixels,
            small_rim=load_small(self.folder, block, self._metric.shape),
        )
        side = self.common.none + 1
        before = pairs // side
        pairs = np.where(small, before * side + before, pairs)
        self.out.write(block, pairs)
        return {FINAL: count_pairs(pairs, block, self._metric)}

    def close(self) -> None:
        """Nothing is held open."""


def settle(
    folder: Path, windows: Iterable[Window], shape: tuple[int, int], patches: Patches
) -> None:
    """Decide which patches are too small, once all blocks are compared.

    Raises:
        BlockError: What is known of a block is missing or damaged.
        ProductError: The folder cannot be written to.
    """
    surveys: Iterator[Any] = (load_rim(folder, window, shape) for window in windows)
    for window, small in settle_patches(surveys, shape, patches.limit):
        save_small(folder, window, shape, small)


def count_pairs(
    pairs: NDArray[np.int16], window: Window, metric: Metric
) -> list[tuple[int, int, int]]:
    """Number, pixels and counts of area of each pair in a block; NODATA is not counted."""
    density = metric.row_density(window.y0, window.y1)
    padded = pad(np.ascontiguousarray(pairs, np.int16), window, window)
    _, regions = find_runs(padded, None, density, (window.y0, window.x0, *metric.shape))
    codes, index = np.unique(regions["code"], return_inverse=True)
    sums = np.zeros((len(codes), 2), np.int64)
    np.add.at(sums, index, np.stack([regions["pixels"], regions["area"]], axis=-1))
    return [
        (int(code), int(pixels), int(area))
        for code, (pixels, area) in zip(codes, sums.tolist(), strict=True)
    ]


def add_counts(reports: Iterable[Mapping[str, Any]], name: str) -> dict[int, tuple[int, int]]:
    """The counts called ``name`` of all blocks, added up: whole numbers, in any order the same."""
    total: dict[int, tuple[int, int]] = {}
    for report in reports:
        for code, pixels, area in report.get(name, ()):
            before = total.get(code, (0, 0))
            total[code] = before[0] + pixels, before[1] + area
    return dict(sorted(total.items()))


_ALL: Final = (AS_SEEN, TOO_UNSURE, AT_EDGES, FINAL)


def add_reports(
    compared: Iterable[Mapping[str, Any]], settled: Iterable[Mapping[str, Any]] | None
) -> dict[str, dict[int, tuple[int, int]]]:
    """All counts of a comparison; what is final is what settled blocks say, where there are some."""
    first = list(compared)
    found = {name: add_counts(first, name) for name in _ALL}
    if settled is not None:
        found[FINAL] = add_counts(settled, FINAL)
    return found
