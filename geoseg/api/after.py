"""What a workflow does once its scenes are mapped: change, alerts, water, yearly maps."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final

from geoseg.api.planning import RunPlan
from geoseg.api.results import SceneResult
from geoseg.run.reporter import Reporter

SECTIONS: Final = ("change", "alerts", "water", "land_use")
"""Sections of a workflow that need mapped scenes, in the order in which they are done."""


def after_scenes(plan: RunPlan, results: Sequence[SceneResult], reporter: Reporter) -> None:
    """Do what the workflow asks for beside maps of its scenes.

    Each section has a module of its name beside this one, whose ``follow(plan, results,
    reporter)`` does it. Those that a workflow does not have are not imported.

    Raises:
        GeosegError: A section cannot be done; what the scenes gave stays.
    """
    for section in SECTIONS:
        if getattr(plan.workflow, section, None) is not None:
            import_module(f"geoseg.api.{section}").follow(plan, results, reporter)
