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


def check_after(plan: RunPlan) -> None:
    """Refuse a workflow whose sections cannot be done, before any scene is mapped.

    A section's module may have a function ``check(plan)`` for it.

    Raises:
        InputError: Something is missing or unclear; nothing was written.
    """
    for section in SECTIONS:
        if getattr(plan.workflow, section, None) is not None:
            check = getattr(import_module(f"geoseg.api.{section}"), "check", None)
            if check is not None:
                check(plan)


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
