"""What a run says when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from geoseg.io.staging import address


@dataclass(frozen=True, slots=True)
class SceneResult:
    """What came of one scene.

    ``products`` are paths by role. ``fresh`` is False where all of them were there already, made
    from the same inputs, model, settings and code. ``error`` is why there are none.
    ``failed_blocks`` are holes in them, which the next run tries to fill.
    """

    scene: str
    directory: Path
    products: dict[str, Path] = field(default_factory=dict)
    fresh: bool = True
    error: str | None = None
    record: dict[str, Any] = field(default_factory=dict)
    failed_blocks: int = 0

    @property
    def addresses(self) -> dict[str, str]:
        """Where the products are, by role: paths, or ``s3://`` addresses of an output in a store."""
        return {role: address(path) for role, path in self.products.items()}


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of a workflow."""

    name: str
    scenes: tuple[SceneResult, ...]
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[SceneResult, ...]:
        """Scenes without products."""
        return tuple(scene for scene in self.scenes if scene.error is not None)

    @property
    def with_holes(self) -> tuple[SceneResult, ...]:
        """Scenes whose products lack blocks."""
        return tuple(scene for scene in self.scenes if scene.failed_blocks)

    @property
    def exit_code(self) -> int:
        """0: done. 4: some scenes, or blocks of them, failed and were skipped. 1: all failed."""
        if self.failed and len(self.failed) == len(self.scenes):
            return 1
        return 4 if self.failed or self.with_holes else 0


class Told(NamedTuple):
    """What whoever is notified should hear of, once for each ``event`` and ``key``."""

    event: str
    key: str
    text: str
    details: Mapping[str, Any]
