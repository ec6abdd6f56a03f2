"""A plan with the engines that are known to compute its scenes before anything runs."""

from __future__ import annotations

from dataclasses import replace

from geoseg.api.engines import Engines
from geoseg.api.planning import RunPlan
from geoseg.run.reporter import Silent


def with_known_engines(plan: RunPlan) -> RunPlan:
    """``plan`` with what is known to compute its scenes before anything runs."""
    engines = Engines(plan, Silent(), here=not plan.workflow.cluster.here)
    known = [(task, engines.known(task)) for task in plan.tasks]
    return replace(plan, tasks=tuple(t if e is None else plan.computed_by(t, e) for t, e in known))
