"""Minimum mapping units of class rasters: survey each block, settle all, then rewrite each block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import GeoBox, Window, blocks
from geoseg.io.atomic import described
from geoseg.io.base import RasterReader
from geoseg.io.bucket import Place
from geoseg.io.mmu_files import CodeBlocks, load_changes, load_surveys, save_changes, save_survey
from geoseg.ops.metric import Metric, measure_grid
from geoseg.ops.mmu.balance import Balance
from geoseg.ops.mmu.rules import LOWEST, MinimumUnit, Stage, stages
from geoseg.ops.mmu.settling import Settling
from geoseg.ops.mmu.survey import Survey, apply_changes, as_values, survey_block
from geoseg.ops.regions import as_codes

_BLOCK = 1024


class LayerReader(Protocol):
    """Numbers in several layers."""

    def read(self, window: Window) -> NDArray[Any]:
        """The numbers of a window ``(layer, y, x)``."""
        ...


@dataclass(frozen=True, slots=True)
class Probabilities:
    """How probable classes are, pixel by pixel.

    Attributes:
        source: Whole numbers of any scale, the same for all layers, or floats.
        codes: The class of each layer. A class without a layer counts as 0.
    """

    source: LayerReader
    codes: tuple[int, ...]


def stage_count(unit: MinimumUnit) -> int:
    """How many stages a minimum mapping unit takes: one, and one more for each class with holes.

    In each of them every block is surveyed, then :func:`settle_blocks` is called, then every block
    is rewritten; the next stage reads what was written.
    """
    return 1 + len(unit.fill_holes)


@dataclass(frozen=True, slots=True)
class _Block:
    """What surveying and rewriting share.

    Attributes:
        classes: Class codes, those that the stage before has written.
        grid: The grid of the whole raster.
        folder: Where files go; one folder for each stage.
        unit: The rules.
        stage: Number of the stage, from 0.
        probabilities: Where they decide.
        nodata: The code of pixels without a class; None if all have one.
    """

    classes: RasterReader
    grid: GeoBox
    folder: Place
    unit: MinimumUnit
    stage: int = 0
    probabilities: Probabilities | None = None
    nodata: int | None = LOWEST
    _metric: Metric = field(init=False, repr=False)
    _stage: Stage = field(init=False, repr=False)

    def __post_init__(self) -> None:
        metric = measure_grid(self.grid)
        object.__setattr__(self, "_metric", metric)
        object.__setattr__(
            self, "_stage", _stages(self.unit, metric, self.probabilities)[self.stage]
        )

    def close(self) -> None:
        """Nothing is held open."""


@dataclass(frozen=True, slots=True)
class SurveyBlock(_Block):
    """Finds what is small in a block and what it touches. Fulfils ``run.base.BlockWork``."""

    def __call__(self, block: Window) -> dict[str, Any]:
        """Survey one block and save what was found; says how much that is."""
        codes = as_codes(self.classes.read(block), self.nodata)
        found = _survey(codes, block, self._metric, self._stage, self.probabilities)
        path = save_survey(self.folder, found)
        return {
            "undecided": len(found.regions),
            "changes": len(found.changes),
            **described(path),
        }


@dataclass(frozen=True, slots=True)
class RewriteBlock(_Block):
    """Writes the new classes of a block. Fulfils ``run.base.BlockWork``.

    Attributes:
        out: Where they go; the blocks are the same.
    """

    out: CodeBlocks | None = None

    def __call__(self, block: Window) -> dict[str, Any]:
        """Rewrite one block; says how many of its regions changed."""
        if self.out is None:
            raise InputError("minimum unit: nowhere to write to; name CodeBlocks as out")
        codes = as_codes(self.classes.read(block), self.nodata)
        changes = load_changes(self.folder, block, self._metric.shape)
        path = self.out.write(block, apply_changes(codes, changes, self._stage))
        return {"changes": len(changes), **described(path)}


def settle_blocks(
    folder: str | Place,
    grid: GeoBox,
    windows: Iterable[Window],
    unit: MinimumUnit,
    *,
    stage: int = 0,
    layers: tuple[int, ...] = (),
) -> Balance:
    """Decide about all small regions of a raster whose blocks have been surveyed.

    Leaves a file of changes for each block in ``folder``.

    Args:
        folder: Where :class:`SurveyBlock` put its files.
        grid: The grid of the raster.
        windows: All blocks in row-major order, as from :func:`geoseg.grid.blocks`.
        unit: The rules.
        stage: Number of the stage, from 0.
        layers: Classes of the layers of probabilities, where they decide.

    Raises:
        BlockError: A file is missing, damaged, or of another raster.
        ProductError: The folder cannot be written to.
    """
    metric = measure_grid(grid)
    surveys = load_surveys(folder, windows, metric.shape)
    settling = Settling(surveys, stages(unit, metric, layers)[stage], metric)
    for window, changes in settling:
        save_changes(folder, window, metric.shape, changes)
    return settling.balance


def reassign_array(
    array: NDArray[Any],
    grid: GeoBox,
    unit: MinimumUnit,
    *,
    nodata: int | None = None,
    probabilities: tuple[NDArray[Any], tuple[int, ...]] | None = None,
    block: int = _BLOCK,
) -> tuple[NDArray[Any], Balance]:
    """Give small regions of an array to their neighbours and fill holes, without any file.

    Args:
        array: ``(y, x)`` whole numbers or booleans within -32767..32767; masked pixels of a
            masked array have no class.
        grid: Where it lies.
        unit: The rules.
        nodata: The code of pixels without a class; None if all have one.
        probabilities: ``(layer, y, x)`` and the class of each layer, where they decide.
        block: Rows and columns of a block; no result depends on it.

    Returns:
        A new array of the same kind, and what moved from class to class.

    Raises:
        InputError: The array is not one of classes, or does not fit the grid or the rules.
    """
    array = np.asanyarray(array)
    _check(array, grid, unit, block)
    metric = measure_grid(grid)
    layers = (
        None
        if probabilities is None
        else Probabilities(_InMemory(probabilities[0]), probabilities[1])
    )
    before = codes = as_codes(array, nodata)
    balance: Balance | None = None
    for stage in _stages(unit, metric, layers):
        settling = Settling(_surveys(codes, metric, stage, layers, block), stage, metric)
        new = np.empty_like(codes)
        for window, changes in settling:
            new[window.slices] = apply_changes(codes[window.slices], changes, stage)
        codes = new
        balance = settling.balance if balance is None else balance.then(settling.balance)
    assert balance is not None  # noqa: S101 - there is one stage at least
    out = array.copy()
    changed = codes != before
    out[changed] = codes[changed]  # shows masked pixels, too
    return out, balance


@dataclass(frozen=True, slots=True)
class _InMemory:
    layers: NDArray[Any]

    def read(self, window: Window) -> NDArray[Any]:
        return self.layers[(slice(None), *window.slices)]


def _surveys(
    codes: NDArray[np.int16],
    metric: Metric,
    stage: Stage,
    probabilities: Probabilities | None,
    block: int,
) -> Iterator[Survey]:
    for window in blocks(metric.shape, block):
        yield _survey(codes[window.slices], window, metric, stage, probabilities)


def _survey(
    codes: NDArray[np.int16],
    window: Window,
    metric: Metric,
    stage: Stage,
    probabilities: Probabilities | None,
) -> Survey:
    values = None
    if stage.layers and probabilities is not None:
        values = as_values(probabilities.source.read(window))
    return survey_block(codes, window, metric, stage, values)


def _stages(
    unit: MinimumUnit, metric: Metric, probabilities: Probabilities | None
) -> tuple[Stage, ...]:
    return stages(unit, metric, () if probabilities is None else probabilities.codes)


def _check(array: NDArray[Any], grid: GeoBox, unit: MinimumUnit, block: int) -> None:
    shape = tuple(int(n) for n in grid.shape)
    if array.shape != shape:
        raise InputError(f"array of shape {array.shape} does not fit a grid of {shape}")
    if array.dtype.kind not in "biu":
        raise InputError(f"array of {array.dtype}: wanted are whole numbers")
    if block < 1:
        raise InputError(f"block: found {block}, expected at least 1")
    for code in unit.fill_holes:
        if (
            array.dtype.kind != "b"
            and not np.iinfo(array.dtype).min <= code <= np.iinfo(array.dtype).max
        ):
            raise InputError(f"fill_holes: class {code} does not fit into {array.dtype}")
