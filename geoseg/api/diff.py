"""How two maps of the same place differ, and why: one call."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.changes.maps import MapPair, pair_maps
from geoseg.api.changes.run import Compared, compare
from geoseg.api.changes.tables import UNSEEN, Row, matrix_csv, matrix_rows
from geoseg.api.changes.why import Reasons, why
from geoseg.api.machine import blocks_of, room_beside
from geoseg.api.places import check_folder
from geoseg.io.atomic import write_bytes
from geoseg.io.cog import write_class_cog
from geoseg.io.dated_map import find_map
from geoseg.io.provenance import Provenance
from geoseg.io.qml import write_class_qml
from geoseg.io.rat import write_rat
from geoseg.ops.change import ChangeRule
from geoseg.run.lock import hold
from geoseg.run.reporter import Reporter, Silent
from geoseg.workflow.change import Change
from geoseg.workflow.units import Area

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Differing:
    """How two maps differ.

    Attributes:
        same: Whether every pixel that both cover is the same, and both cover the same.
        rows: Pairs of classes with pixels and hectares; those that differ have a code.
        record: All of it for JSON.
        reasons: Why.
        products: Paths by role, where a folder was asked for.
    """

    same: bool
    rows: tuple[Row, ...]
    record: dict[str, Any]
    reasons: Reasons
    products: dict[str, Path]


def diff(
    run_a: AnyPath,
    run_b: AnyPath,
    out: AnyPath | None = None,
    *,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> Differing:
    """Compare two maps of the same place pixel by pixel, and what their runs say of themselves.

    Nothing is weighed: what differs, differs. Pixels that only one of them has count as differing.

    Args:
        run_a: A folder of products, or a raster of class codes.
        run_b: Another.
        out: Folder for ``diff.tif`` (0 the same, else from A to B), ``diff.csv`` and ``diff.json``;
            nothing is written without it.
        workers: Worker processes; without it threads of this one.
        reporter: Told of progress; nobody is, without it.

    Raises:
        InputError: The maps cannot be compared; nothing was written.
    """
    teller = reporter or Silent()
    folder = None if out is None else Path(out)
    if folder is not None:
        check_folder(folder, what="diff")
    one, two = find_map(Path(run_a)), find_map(Path(run_b))
    wanted = Change(edges="keep")
    # Which one is earlier says nothing here.
    pair = pair_maps(one, two, wanted, reporter=teller, ordered=False)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(hold(folder))
        room = stack.enter_context(_room(folder))
        name = f"diff {one.classes} {two.classes}"
        machine = stack.enter_context(blocks_of(name, pair.grid, room, workers, teller))
        rule = ChangeRule("keep")
        compared = compare(pair, rule, machine, min_area=Area(0.0, "m2"), by_origin=False)
        rows = matrix_rows(compared.counts, pair.asked, compared.unit)
        reasons = why(one.classes, two.classes)
        record = _record(pair, rows, reasons)
        products = {} if folder is None else _write(folder, pair, compared, rows, record)
    return Differing(record["same"], tuple(rows), record, reasons, products)


@contextmanager
def _room(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        with room_beside(folder / "diff.tif") as room:
            yield room
        return
    with tempfile.TemporaryDirectory(prefix="geoseg-diff-") as room:
        (Path(room) / "arcs").mkdir()
        yield Path(room)


def _record(pair: MapPair, rows: list[Row], reasons: Reasons) -> dict[str, Any]:
    differing = [row for row in rows if row.before != row.after and row.pixels]
    compared = [row for row in rows if row.before != UNSEEN or row.after != UNSEEN]
    pixels = sum(row.pixels for row in compared)
    changed = sum(row.pixels for row in differing)
    whole = pair.before.grid == pair.after.grid
    return {
        "a": str(pair.before.classes),
        "b": str(pair.after.classes),
        "same": not differing and whole,
        "same_grid": whole,
        "pixels": pixels,
        "differing_pixels": changed,
        "differing_percent": round(100 * changed / pixels, 4) if pixels else 0.0,
        "differing_ha": round(sum(row.ha for row in differing), 4),
        "differences": [
            {"a": row.before, "b": row.after, "code": row.code, "pixels": row.pixels, "ha": row.ha}
            for row in sorted(differing, key=lambda row: (-row.pixels, row.before, row.after))
        ],
        "why": {**reasons.record(), "sentence": reasons.sentence()},
    }


def _write(
    folder: Path, pair: MapPair, compared: Compared, rows: list[Row], record: dict[str, Any]
) -> dict[str, Path]:
    paths = {
        "diff": folder / "diff.tif",
        "table": folder / "diff.csv",
        "record": folder / "diff.json",
    }
    asked = pair.asked
    legend, table = asked.diff_legend(), asked.diff_table()
    inputs, software = fingerprint.inputs(pair.sources), fingerprint.software()
    about = {"before": pair.before.id, "after": pair.after.id}
    tags = Provenance("diff", inputs, {}, software, about=about).tags()
    counts = write_class_cog(compared.coded(table), pair.grid, legend, paths["diff"], tags=tags)
    write_rat(paths["diff"], legend, counts=counts.tolist())
    write_class_qml(paths["diff"].with_suffix(".qml"), legend)
    write_bytes(paths["table"], matrix_csv(rows))
    text = json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n"
    write_bytes(paths["record"], text.encode())
    return paths
