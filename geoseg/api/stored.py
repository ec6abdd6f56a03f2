"""Products that go to a store once they are made, and what a run cannot do there."""

from __future__ import annotations

from pathlib import Path

from geoseg.api.after import SECTIONS
from geoseg.api.places import check_place, place_of_blocks
from geoseg.api.planning import RunPlan
from geoseg.errors import InputError
from geoseg.io.staging import store_place, upload
from geoseg.run.store_lock import confirm_held


def bring(folder: Path) -> None:
    """Bring finished products to the store that ``folder`` stands for; the item comes last.

    Nothing where it is just a folder.

    Raises:
        LockedError: Another run has taken the output over.
        ProductError: The store does not take them; what it has is not finished.
    """
    place = store_place(folder)
    if place is not None:
        upload(folder, place, confirm=lambda: confirm_held(place))


def check_stores(plan: RunPlan) -> None:
    """Refuse what a run cannot do with products in a store, and a place for blocks that is none.

    Raises:
        InputError: Says what, and what would work.
    """
    workflow, tasks = plan.workflow, plan.tasks
    if workflow.run.work is not None and tasks:
        place = place_of_blocks(workflow.run.work, tasks[0].plan.scene.id, tasks[0].directory)
        if place is not None:
            check_place(place, what="run.work")
    if not any(store_place(task.directory) for task in tasks):
        return
    asked = [name for name in (*SECTIONS, "monitor") if getattr(workflow, name, None) is not None]
    if asked:
        raise InputError(
            f"{asked[0]}: works with products in folders, and output.directory is in a store; "
            f"write to a folder, or take {asked[0]} out and run it later on maps that you fetch"
        )
