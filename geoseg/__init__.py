"""geoseg: land-cover maps and polygons from satellite and drone scenes."""

from __future__ import annotations

import importlib
import sys
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
