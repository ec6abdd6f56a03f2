"""Workflow files: what an analyst writes, read, checked and frozen."""

from __future__ import annotations

from geoseg.workflow.load import (
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
