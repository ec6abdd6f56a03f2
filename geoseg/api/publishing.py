"""What stands above dated folders: the collection of all products, and a pointer to the latest."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from geoseg.api.stored import edited
from geoseg.errors import InputError
from geoseg.io.atomic import write_bytes
from geoseg.io.staging import ledger_folder, store_place
from geoseg.run.noted import Work
from geoseg.run.store_lock import confirm_held
from geoseg.run.work_ledger import WorkLedger
from geoseg.workflow import Workflow
from geoseg.workflow.template import expand_directory, parse_template

COLLECTION, LATEST = "collection.json", "latest.json"


def output_root(workflow: Workflow) -> Path:
    """The folder that all products of a workflow lie in: its template, up to the first field.

    ``{name}`` is no such field, as it is the same for all scenes.
    """
    whole = ""
    for text, field, _ in parse_template(workflow.output.directory):
        whole += text.replace("{", "{{").replace("}", "}}")
        if field and field != "name":
            return ledger_folder(_name_filled(os.path.dirname(whole), workflow))  # noqa: PTH120 (a template is no path yet)
        whole += "{name}" if field else ""
    return ledger_folder(_name_filled(whole, workflow))


def _name_filled(template: str, workflow: Workflow) -> str:
    return expand_directory(template, scene="", date=None, name=workflow.name, stem="")


def check_root(root: Path, workflow: str) -> None:
    """Refuse a folder whose collection is another workflow's.

    Raises:
        InputError: It is.
    """
    file = root / COLLECTION
    try:
        there = json.loads((store_place(file) or file).read_bytes())["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if there != workflow:
        raise InputError(
            f"output.directory: {root} holds the products of workflow {there}; give {workflow} a "
            f"folder of its own, like products/{{name}}/{{date:%Y-%m-%d}}"
        )


def publish(ledger: WorkLedger, root: Path, *, title: str | None = None) -> None:
    """Write collection and pointer anew in ``root`` from what the ledger says is done.

    Both say the same whatever order the scenes came in. Where nothing is left, they go.

    Raises:
        ProductError: An item is damaged, or they cannot be written.
    """
    with ledger.transaction():  # two runs that end at once do it one after the other
        noted = ledger.works("scene")
        files = [*(_item(root, work) for work in noted), root / COLLECTION, root / LATEST]
        with edited(files):
            works = [work for work in noted if _item(root, work).exists()]
            _publish(root, ledger.workflow, works, title)
            place = store_place(root)
            if place is not None:
                confirm_held(place)


def _publish(root: Path, name: str, works: Sequence[Work], title: str | None) -> None:
    from geoseg.io.product_collection import (  # noqa: PLC0415 (pystac, at the end of a run)
        join_collection,
        write_collection,
    )

    if not works:
        for file in (COLLECTION, LATEST):
            (root / file).unlink(missing_ok=True)
        return
    items = [_item(root, work) for work in works]
    for item in items:
        join_collection(item, name, root / COLLECTION)
    write_collection(
        root / COLLECTION,
        collection_id=name,
        title=name,
        description=title or f"Products of the workflow {name}",
        items=items,
    )
    content = json.dumps(_latest(name, works, root), indent=2, ensure_ascii=False) + "\n"
    _write_news(root / LATEST, content.encode())


def _item(root: Path, work: Work) -> Path:
    return root / (work.place or ".") / "item.json"


def _latest(workflow: str, works: Sequence[Work], root: Path) -> dict[str, Any]:
    """The scenes of the latest day, with paths relative to the pointer."""
    day = (works[-1].date or "")[:10]
    newest = list(takewhile(lambda work: (work.date or "")[:10] == day, reversed(works)))
    return {
        "geoseg": 1,
        "workflow": workflow,
        "date": day or None,
        "collection": COLLECTION,
        "scenes": [_scene(work, root) for work in reversed(newest)],
    }


def _scene(work: Work, root: Path) -> dict[str, Any]:
    place = work.place or "."
    item = json.loads(_item(root, work).read_bytes())
    products = {key: _joined(place, asset["href"]) for key, asset in sorted(item["assets"].items())}
    return {
        "scene": work.name,
        "acquired": work.date,
        "directory": place,
        "item": _joined(place, "item.json"),
        "products": products,
    }


def _joined(place: str, href: str) -> str:
    return os.path.normpath(f"{place}/{href}")


def _write_news(path: Path, data: bytes) -> None:
    """Write a file, unless it says just that: a mirror has nothing to copy then."""
    if not path.exists() or path.read_bytes() != data:
        write_bytes(path, data)
