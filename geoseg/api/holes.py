"""Blocks that could not be done where a run goes on without: nodata in the map, and listed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geoseg.api import fingerprint
from geoseg.api.jobs import WorkFolder
from geoseg.api.stages import Stage
from geoseg.errors import ProductError
from geoseg.grid import Window
from geoseg.run.base import Failed


@dataclass(frozen=True, slots=True)
class Holes:
    """The blocks of a scene that failed, in reading order, and of how many."""

    failed: tuple[Failed, ...] = ()
    blocks: int = 0

    def __bool__(self) -> bool:
        return bool(self.failed)

    def __str__(self) -> str:
        return f"{len(self.failed)} of {self.blocks} blocks failed and are nodata"

    def joined(self, failed: Iterable[Failed]) -> Holes:
        """With those of a further stage."""
        both = sorted((*self.failed, *failed), key=_at)
        return replace(self, failed=tuple(both))

    def around(self, stage: Stage) -> Stage:
        """A stage without these blocks; what it makes of their neighbours depends on them."""
        if not self:
            return stage
        holes = {f.block for f in self.failed}
        kept = tuple(block for block in stage.blocks if block not in holes)
        return replace(stage, blocks=kept, parts=self.parts(stage.parts))

    def parts(self, parts: dict[str, str]) -> dict[str, str]:
        """What something depends on that is made of a map with these holes."""
        if not self:
            return parts
        return parts | {"failed blocks": fingerprint.digest(self.windows())}

    def marked(self, of_whole: str) -> str:
        """The fingerprint of products with these holes: not that of whole ones."""
        return of_whole if not self else fingerprint.digest(self.parts({"products": of_whole}))

    def records(self) -> list[dict[str, Any]]:
        """As ``run.json`` lists them: rows and columns in pixels, and why."""
        return [
            {
                "rows": [f.block.y0, f.block.y1],
                "columns": [f.block.x0, f.block.x1],
                "error": f.error,
            }
            for f in self.failed
        ]

    def windows(self) -> list[list[int]]:
        """As products list them: ``[row, column, end row, end column]``, in pixels."""
        return [_at(f) for f in self.failed]

    def empty(self, work: WorkFolder, fills: dict[str, int], stages: Iterable[Stage]) -> None:
        """Take back all that was stored of them, so that all of a block is there or nothing.

        A block may have failed between its classes and its confidence, or in a later stage.

        Raises:
            ProductError: The stores cannot be written.
        """
        windows = [f.block for f in self.failed]
        for name, fill in fills.items():
            store = work.raster(name)
            for window in windows:
                store.write(window, np.full(window.shape, fill, store.dtype))
        for stage in stages:
            with stage.ledger(work) as ledger:
                if ledger.changed:
                    raise ProductError(f"{ledger.path}: was changed while in use")
                ledger.forget(windows)


WHOLE = Holes()
"""Nothing failed."""


def _at(failed: Failed) -> list[int]:
    b: Window = failed.block
    return [b.y0, b.x0, b.y1, b.x1]
