"""Workflow files: what an analyst writes, read, checked and frozen."""

from __future__ import annotations

from geoseg.workflow.load import from_data, load, loads
from geoseg.workflow.schema import Workflow
from geoseg.workflow.schema_file import json_schema
from geoseg.workflow.template import expand_directory

__all__ = ["Workflow", "expand_directory", "from_data", "json_schema", "load", "loads"]
