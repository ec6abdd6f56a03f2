"""A workflow from its first word to its last, as it runs night after night."""

from __future__ import annotations

from datetime import datetime

from geoseg.api.diary import SCENE, diary_of
from geoseg.api.holding import held
from geoseg.api.notices import tell_now
from geoseg.api.pipeline import run_plan
from geoseg.api.planning import RunPlan, plan_workflow
from geoseg.api.results import RunResult
from geoseg.errors import GeosegError, NothingFoundError
from geoseg.run.clock import Clock
from geoseg.run.noted import Notice
from geoseg.run.reporter import Reporter
from geoseg.workflow import Workflow


def run_workflow(
    workflow: Workflow, reporter: Reporter, *, force: bool = False, now: datetime | None = None
) -> RunResult:
    """Plan a workflow and run it; failures are noted and told where somebody wants to know.

    A night without any scene is a good one where ``monitor`` is on and scenes were found before.

    Raises:
        GeosegError: As :func:`geoseg.api.run`.
    """
    clock = Clock.at(now)
    plan = _planned(workflow, clock, reporter)
    if plan is None:
        return RunResult(workflow.name, ())
    return run_plan(plan, reporter, force=force, now=clock.began)


def _planned(workflow: Workflow, clock: Clock, reporter: Reporter) -> RunPlan | None:
    """The plan; None where there is nothing to do tonight."""
    failed: GeosegError | None = None
    with diary_of(workflow, clock, reporter) as diary:
        try:
            return plan_workflow(workflow, now=clock.began)
        except NothingFoundError as error:
            if workflow.monitor is None or not diary.ledger.works(SCENE, "done", "removed"):
                failed = error
            else:
                with held(diary.root, above=True):
                    diary.held()
                    diary.finish(())
                reporter.message(f"nothing new: {error}")
                reporter.done("0 scenes made")
                return None
        except GeosegError as error:
            failed = error
        if not diary.ledger.exists:
            notice = Notice("failure", "plan", f"the run failed: {failed}")
            for why in tell_now(workflow.name, workflow.notify, [notice], clock.now()):
                reporter.warning(why)
        raise failed
