"""Opened models that several scenes of one process share, kept for a while for the next one."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock, Timer

from geoseg.models.base import Segmenter

KEPT_SECONDS = 60.0
"""How long a model that nobody uses stays open: the next scene comes sooner, or not at all."""


@dataclass(slots=True)
class _Model:
    """One model, once it is open."""

    opening: Lock = field(default_factory=Lock)
    segmenter: Segmenter | None = None
    pool: ThreadPoolExecutor | None = None
    users: int = 0
    uses: int = 0


class Shared:
    """The models that are open in a process; may be asked by any thread.

    All who use a model take turns in its ``threads``, as memory and cores were planned for so many
    chips at once, however many scenes they come from. Where nobody uses a model, it is let go when
    another one is opened, or after ``kept`` seconds.
    """

    def __init__(self, *, kept: float = KEPT_SECONDS) -> None:
        self._kept, self._lock = kept, Lock()
        self._models: dict[Hashable, _Model] = {}

    def borrow(self, key: Hashable, opened: Callable[[], Segmenter], *, threads: int) -> Borrowed:
        """The model of ``key``, opened if it is not; give it back when you are done.

        Args:
            key: Stands for the model, and for how it is opened.
            opened: Opens it; what it raises is raised here.
            threads: That may be in the model at once, where it bears more than one.
        """
        with self._lock:
            for other in [k for k, one in self._models.items() if k != key and not one.users]:
                self._drop(other)
            model = self._models.setdefault(key, _Model())
            model.users += 1
            model.uses += 1
        try:
            with model.opening:
                if model.segmenter is None:
                    model.segmenter = opened()
                    count = threads if model.segmenter.parallel else 1
                    model.pool = ThreadPoolExecutor(count, thread_name_prefix="geoseg-model")
            assert model.pool is not None, "it was made with the model"  # noqa: S101 (for mypy)
            return Borrowed(model.segmenter, model.pool, lambda: self._give_back(key, model))
        except BaseException:
            self._give_back(key, model)
            raise

    def _give_back(self, key: Hashable, model: _Model) -> None:
        with self._lock:
            model.users -= 1
            if model.users:
                return
            if model.segmenter is None or self._kept <= 0:
                self._drop(key)
                return
            timer = Timer(self._kept, self._forget, (key, model, model.uses))
        timer.daemon = True
        timer.start()

    def _forget(self, key: Hashable, model: _Model, uses: int) -> None:
        with self._lock:
            if self._models.get(key) is model and not model.users and model.uses == uses:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        model = self._models.pop(key, None)
        if model is not None and model.pool is not None:
            model.pool.shutdown(wait=False)


@dataclass(slots=True)
class Borrowed:
    """A model, and the threads that calls to it are made in.

    Implements what :class:`geoseg.steps.segment.SegmentBlocks` asks of one.
    """

    segmenter: Segmenter
    pool: ThreadPoolExecutor
    _give_back: Callable[[], None] | None

    def give_back(self) -> None:
        """Let others, or nobody, have it; may be called twice."""
        let_go, self._give_back = self._give_back, None
        if let_go is not None:
            let_go()


SHARED = Shared()
"""Of this process."""
