"""What reads the pixels of a scene: of one acquisition, or of several that are combined."""

from __future__ import annotations

from geoseg.io.base import Pixels
from geoseg.io.reader import ScenePixels
from geoseg.scene import Scene


def open_pixels(scene: Scene) -> Pixels:
    """A reader of ``scene``; opens no file before the first window is asked for."""
    if scene.combined is None:
        return ScenePixels(scene)
    # Imported here, as numba costs a second, which most scenes do not need.
    from geoseg.io.composite import CombinedPixels  # noqa: PLC0415 (numba, for composites only)

    return CombinedPixels(scene)
