"""Products that go to a store once they are made, and maps that come back from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from geoseg.api.places import check_place, place_of_blocks
from geoseg.api.planning import RunPlan
from geoseg.errors import InputError
from geoseg.io.staging import (
    MIRRORED,
    fetch,
    local_folder,
    prune,
    store_place,
    upload,
)
from geoseg.run.store_lock import confirm_held

MAP = ("classes.tif", "classes.tif.aux.xml", "classes.qml", "confidence.tif", *MIRRORED)
"""Files of a map that others are made of."""


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


def folder_of(named: str) -> Path:
    """The folder that a section of a workflow names; what stands for it, where it is ``s3://``.

    Raises:
        InputError: It is an address of another kind.
    """
    return local_folder(named) if "://" in named else Path(named)


def map_here(folder: Path, *more: str) -> Path:
    """The folder of a map; its files are brought here where it stands for a place in a store.

    Args:
        folder: Of the products of a scene, which the run holds: what comes leaves with it.
        more: Files that are wanted beside the usual ones.

    Raises:
        ProductError: The store does not answer.
    """
    fetch(folder, (*MAP, *more))
    return folder


def is_there(file: Path) -> bool:
    """Whether there is such a product, here or in the store.

    Raises:
        ProductError: The store does not answer.
    """
    place = store_place(file)
    return file.exists() or (place is not None and place.head() is not None)


@contextmanager
def edited(files: Sequence[Path]) -> Iterator[None]:
    """Have files here that may be in a store; those that are others afterwards go back, in order.

    What was not here before leaves again. Only for who holds the folder above them.

    Raises:
        ProductError: The store does not answer.
    """
    away = [file for file in files if store_place(file) is not None]
    came = [file for file in away if not file.exists()]
    for file in came:
        fetch(file.parent, [file.name])
    before = {file: _bytes(file) for file in away}
    try:
        yield
        for file, was in before.items():
            now, place = _bytes(file), store_place(file)
            if now == was or place is None:
                continue
            if now is None:
                place.unlink()
            else:
                place.write_bytes(now)
    finally:
        for file in came:
            file.unlink(missing_ok=True)
            prune(file.parent)


def check_stores(plan: RunPlan) -> None:
    """Refuse a place for blocks that is none, and to remove old products from a store.

    Raises:
        InputError: Says what, and what would work.
    """
    workflow, tasks = plan.workflow, plan.tasks
    keeps = workflow.monitor is not None and workflow.monitor.keep is not None
    if keeps and any(store_place(task.directory) for task in tasks):
        raise InputError(
            "monitor.keep: old products go from folders, and output.directory is in a store; take "
            "keep out, and give the bucket a rule that lets objects expire"
        )
    if workflow.run.work is not None and tasks:
        place = place_of_blocks(workflow.run.work, tasks[0].plan.scene.id, tasks[0].directory)
        if place is not None:
            check_place(place, what="run.work")


def _bytes(file: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return file.read_bytes()
    return None
