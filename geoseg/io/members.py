"""The scenes that one is combined of, each opened when a window touches it, few at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock

from geoseg.grid import Window
from geoseg.io.base import Patch
from geoseg.io.reader import ScenePixels
from geoseg.scene import Scene

KEPT_OPEN = 24
"""Scenes whose files stay open between reads: a process may have about a thousand open files."""


class Members:
    """The scenes of ``scene.combined`` on its grid; may be asked from several threads.

    They are read without the scene's area: how far a pixel is from what is hidden must not depend
    on where the analyst's interest ends.
    """

    def __init__(self, scene: Scene) -> None:
        combined = scene.combined
        if combined is None:
            raise ValueError(f"scene {scene.id} is not combined of others")
        self._windows = combined.windows
        self._scenes = [replace(one, grid=scene.grid, area=None) for one in combined.scenes]
        self._lock = Lock()
        self._idle: OrderedDict[int, ScenePixels] = OrderedDict()
        self._users: dict[int, tuple[ScenePixels, int]] = {}
        self._closed = False

    def touching(self, window: Window) -> list[int]:
        """Which of them may have a valid pixel in ``window``, oldest first."""
        return [k for k, at in enumerate(self._windows) if at & window]

    def read(self, member: int, bands: Sequence[str], window: Window) -> Patch:
        """The pixels of one of them; see :meth:`geoseg.io.base.Pixels.read`."""
        with self._borrowed(member) as pixels:
            return pixels.read(bands, window)

    def close(self) -> None:
        """Let go of open files."""
        with self._lock:
            self._closed = True
            idle = list(self._idle.values())
            self._idle.clear()
        for pixels in idle:
            pixels.close()

    @contextmanager
    def _borrowed(self, member: int) -> Iterator[ScenePixels]:
        with self._lock:
            if self._closed:
                raise ValueError("read from a scene that is closed")
            pixels, users = self._users.get(member, (None, 0))
            if pixels is None:
                pixels = self._idle.pop(member, None) or ScenePixels(self._scenes[member])
            self._users[member] = pixels, users + 1
        try:
            yield pixels
        finally:
            for old in self._given_back(member):
                old.close()

    def _given_back(self, member: int) -> list[ScenePixels]:
        """Note that a reader is done with a scene; what has to be closed for it."""
        with self._lock:
            pixels, users = self._users.pop(member)
            if users > 1:
                self._users[member] = pixels, users - 1
                return []
            if self._closed:
                return [pixels]
            self._idle[member] = pixels
            over = len(self._idle) - KEPT_OPEN
            return [self._idle.popitem(last=False)[1] for _ in range(over)]
