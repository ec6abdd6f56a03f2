"""geoseg: land-cover maps and polygons from satellite and drone scenes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__version__ = "0.1.0"

_PUBLIC = {
    "Band": "geoseg.scene",
    "GeosegError": "geoseg.errors",
    "Legend": "geoseg.legend",
    "Mask": "geoseg.scene",
    "ModelCard": "geoseg.models.base",
    "Scene": "geoseg.scene",
    "Window": "geoseg.grid",
    "add_model": "geoseg.api",
    "change": "geoseg.api.change",
    "check_labels": "geoseg.api.label_sets",
    "check_plots": "geoseg.api.plots",
    "compare_labels": "geoseg.api.label_sets",
    "design_sample": "geoseg.api",
    "diff": "geoseg.api.diff",
    "estimate_areas": "geoseg.api",
    "evaluate": "geoseg.api",
    "land_use": "geoseg.api.land_use",
    "open": "geoseg.api.arrays",
    "export_alerts": "geoseg.api.alerting",
    "predict": "geoseg.api",
    "run": "geoseg.api",
    "show_alerts": "geoseg.api.alerting",
    "simulate": "geoseg.api",
    "train": "geoseg.api",
    "update_alerts": "geoseg.api.alerting",
    "vectorize": "geoseg.api",
    "water": "geoseg.api.water",
}
# "open" is not among them: import * should not hide Python's own.
__all__ = [
    "Band",
    "GeosegError",
    "Legend",
    "Mask",
    "ModelCard",
    "Scene",
    "Window",
    "__version__",
    "add_model",
    "change",
    "check_labels",
    "check_plots",
    "compare_labels",
    "design_sample",
    "diff",
    "estimate_areas",
    "evaluate",
    "export_alerts",
    "land_use",
    "predict",
    "run",
    "show_alerts",
    "simulate",
    "train",
    "update_alerts",
    "vectorize",
    "water",
]


def __getattr__(name: str) -> object:
    """Import public names when they are first asked for (PEP 562)."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    """A package whose public names stay what they are when a floor of that name is imported.

    Python makes each submodule an attribute of its package: the first ``geoseg.run(...)`` would
    put the floor ``geoseg.run`` in the function's place.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


class _WhenXarrayComes(MetaPathFinder):
    """Gives xarray its ``.geoseg`` once somebody loads it, whichever of the two is imported first.

    Loading xarray takes half a second, which whoever maps files does not need.
    """

    def find_spec(
        self, name: str, _path: object = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "xarray":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        loader = None if spec is None else spec.loader
        if loader is None:
            return spec
        execute = loader.exec_module

        def execute_and_teach(module: ModuleType) -> None:
            execute(module)
            _teach_xarray()

        loader.exec_module = execute_and_teach  # type: ignore[method-assign]  # of this one module only
        return spec


def _teach_xarray() -> None:
    importlib.import_module("geoseg.api.accessor").register()


if "xarray" in sys.modules:
    _teach_xarray()
else:
    sys.meta_path.insert(0, _WhenXarrayComes())
