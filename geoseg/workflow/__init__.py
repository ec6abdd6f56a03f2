"""Workflow files: what an analyst writes, read, checked and frozen."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.workflow.loading import (
        from_data,
        load,
        load_any,
        load_training,
        loads,
        training_from_data,
    )
    from geoseg.workflow.schema import Workflow
    from geoseg.workflow.schema_file import json_schema
    from geoseg.workflow.template import expand_directory
    from geoseg.workflow.training import TrainingWorkflow

__all__ = [
    "TrainingWorkflow",
    "Workflow",
    "expand_directory",
    "from_data",
    "json_schema",
    "load",
    "load_any",
    "load_training",
    "loads",
    "training_from_data",
]
_HOMES = {
    "TrainingWorkflow": "training",
    "Workflow": "schema",
    "expand_directory": "template",
    "json_schema": "schema_file",
}


def __getattr__(name: str) -> object:
    """Import public names when first asked for: who outlines a raster needs no whole workflow."""
    if name in __all__:
        home = importlib.import_module(f"{__name__}.{_HOMES.get(name, 'loading')}")
        return getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
