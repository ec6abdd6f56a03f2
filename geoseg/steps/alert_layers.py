"""Layers of alerts for one block: what products show of its state, and its zones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.alert_store import AlertStore
from geoseg.io.class_raster import NO_CLASS
from geoseg.io.zarr_store import ZarrRaster
from geoseg.ops.alerts.encoding import LEVELS, confidence, duration, stands, to_gfw
from geoseg.ops.alerts.states import Planes, expire
from geoseg.ops.alerts.zones import STANDS, BlockZones, Seen, find_zones

LAYERS: Mapping[str, tuple[str, int]] = {
    "state": ("uint8", 255),
    "level": ("uint8", 0),
    "confidence": ("uint8", 255),
    "gfw": ("uint16", 0),
    "first": ("uint16", 0),
    "before": ("uint16", 0),
    "last": ("uint16", 0),
    "detections": ("uint16", 0),
    "duration": ("uint16", 0),
}
"""Type and fill of what is made of states."""


@dataclass(frozen=True, slots=True)
class BlockLayers:
    """What became of a block.

    Attributes:
        window: Of it.
        zones: Of its alerts.
        states: ``(256,)`` pixels by state.
        days: First and last day of the first detections, 0 and 0 without an alert.
    """

    window: Window
    zones: BlockZones
    states: NDArray[np.int64]
    days: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LayBlock:
    """Makes the layers of blocks, seen from a day; several threads may call it at once."""

    store: AlertStore
    today: int
    targets: Mapping[str, ZarrRaster]

    def __call__(self, block: Window) -> BlockLayers:
        """Make and keep the layers of one block."""
        rule = self.store.rule
        planes = self.store.read_planes(block)
        expire(planes, self.today, rule)
        there = stands(planes.state)
        layers: dict[str, NDArray[Any]] = {
            "state": planes.state,
            "level": LEVELS[planes.state],
            "confidence": confidence(planes, rule),
            "gfw": to_gfw(planes.state, planes.first),
            "duration": duration(planes),
        }
        for name in ("first", "before", "last", "detections"):
            layers[name] = np.where(there, getattr(planes, name), 0).astype(np.uint16)
        for name, target in self.targets.items():
            target.write(block, layers[name], sync=False)
        at = block.y0, block.x0, int(self.store.grid.shape[1])
        days = planes.first[there]
        span = (int(days.min()), int(days.max())) if days.size else (0, 0)
        counts = np.bincount(planes.state.ravel(), minlength=256)
        return BlockLayers(block, find_zones(_seen(planes, there), at), counts, span)


def _seen(planes: Planes, there: NDArray[np.bool_]) -> Seen:
    """Alerts that stand, and what is remembered of those that were dropped."""
    first = np.where(there, planes.first, planes.dropped)
    until = np.where(there, STANDS, planes.until).astype(np.uint16)
    return Seen(
        np.ascontiguousarray(first), until, planes.before, planes.last, planes.state,
        planes.detections,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class AlertMask:
    """1 where there is an alert, no class elsewhere. Implements ``RasterReader``."""

    level: ZarrRaster

    def read(self, window: Window) -> NDArray[np.int16]:
        """The pixels of a window."""
        return np.where(self.level.read(window) > 0, 1, NO_CLASS).astype(np.int16)
