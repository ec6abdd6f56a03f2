"""What a workflow does once its scenes are mapped: change, alerts, water, yearly maps."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final

from geoseg.api.planning import RunPlan
from geoseg.api.results import SceneResult, Told
from geoseg.run.patience import block_timeout
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


def after_scenes(
    plan: RunPlan, results: Sequence[SceneResult], reporter: Reporter
) -> tuple[Told, ...]:
    """Do what the workflow asks for beside maps of its scenes.

    Each section has a module of its name beside this one, whose ``follow(plan, results,
    reporter)`` does it, and may say what is to be told. Those that a workflow does not have are
    not imported. Scenes that were removed to make room have no products, and are not followed.

    Raises:
        GeosegError: A section cannot be done; what the scenes gave stays.
    """
    there = [scene for scene in results if scene.products or scene.error is not None]
    with block_timeout(plan.workflow.run.block_timeout.timedelta.total_seconds()):
        told = [
            import_module(f"geoseg.api.{section}").follow(plan, there, reporter)
            for section in SECTIONS
            if getattr(plan.workflow, section, None) is not None
        ]
    return tuple(one for one in told if one is not None)
