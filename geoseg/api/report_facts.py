"""What the record of a run says, as facts and tables of its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.io.report_confidence import Sureness
from geoseg.io.report_page import Facts, Table
from geoseg.io.report_place import Place
from geoseg.io.report_words import NOTHING, count, decimal, percent, size, span
from geoseg.legend import LandClass

Record = Mapping[str, Any]

_MOST_ROWS = 200
"""Rows of a table; what is beyond them is in run.json."""

_STAGES = {
    "segment": "predict classes",
    "refine": "refine the map",
    "trace": "trace outlines",
    "products": "write products",
}
_LANES = {"read": "Reading", "infer": "Model", "write": "Writing", "wait": "Waiting"}


def mapped_pixels(record: Record) -> int:
    """Pixels that have a class."""
    return sum(int(row["pixels"]) for row in record["classes"])


def trust_facts(record: Record) -> Facts:
    """Mean confidence and seams."""
    sure = record.get("confidence_mean")
    told = [("Mean confidence", NOTHING if sure is None else f"{sure:.1f} %")]
    told += [
        (f"Mean {name}", f"{value:.1f} %")
        for name, value in (record.get("layers") or {}).items()
        if value is not None and name != "confidence"
    ]
    return [*told, ("Seams between chips", _seams(record))]


def _seams(record: Record) -> str:
    index = record.get("seam_index")
    if (record.get("tiling") or {}).get("exact"):
        return (
            "none: the margin of a chip is at least the model's reach, so that the map equals that "
            "of the model run on the whole scene at once"
        )
    if index is None:
        return "not told: no class changes, or a single chip"
    judged = "no seam can be seen" if index <= 1.05 else "classes change more often at chip borders"
    return f"seam index {index:.3f} (class changes at chip borders over those elsewhere): {judged}"


def held_out_tables(record: Record) -> list[Table]:
    """How good each network was on ground that it did not learn from."""
    tables = []
    for one in record["model"].get("about") or []:
        found = (one.get("held_out") or {}).get("test")
        if not isinstance(found, Mapping):
            continue
        rows = [("overall accuracy", percent(found.get("overall_accuracy")))]
        rows += [("mean IoU", percent(found.get("mean_iou")))]
        rows += [(f"IoU of {name}", percent(v)) for name, v in (found.get("iou") or {}).items()]
        pixels = count(found.get("pixels"))
        note = (
            f"Measured where the model was made, on {pixels} labelled pixels: this scene may be "
            "harder or easier. IoU is what map and truth have in common, of all that either has."
        )
        tables.append(Table(f"{one['name']} on its test ground", ("Score", "Value"), rows, note))
    return tables


def confidence_tables(sure: Sureness, classes: Sequence[LandClass]) -> list[Table]:
    """By class, and by ten steps."""
    codes = [c.value for c in classes]
    rows = [
        (c.name, percent(sure.mean(c.value)), percent(sure.unsure(c.value)))
        for c in classes
        if sure.mean(c.value) is not None
    ]
    where = "all pixels" if sure.whole else f"{count(sure.pixels)} pixels of tiles spread over it"
    by_step = sure.counts[codes].sum(axis=0)
    total = max(1, int(by_step.sum()))
    shares = [float(by_step[at : at + 10 + (at == 90)].sum()) / total for at in range(0, 100, 10)]
    steps = [(f"{10 * n} to {10 * n + 10} %", percent(share)) for n, share in enumerate(shares)]
    note = f"Counted in {where}."
    return [
        Table("Confidence by class", ("Class", "Mean", "Below 50 %"), rows, note),
        Table(
            "How confidence is spread",
            ("Confidence", "Share of pixels"),
            steps,
            bars=[100 * share for share in shares],
        ),
    ]


def where_facts(record: Record, place: Place, when: str) -> Facts:
    """Place and time."""
    rows, columns = place.shape
    told = [
        ("Acquired", when or "nobody knows"),
        ("Where", place.degrees or "not known in degrees"),
        ("Size on the ground, height x width", place.extent),
        ("Pixels", f"{rows:,} x {columns:,}, each {place.pixel}"),
        ("Coordinate reference system", place.crs),
    ]
    combined = record.get("combined")
    if combined:
        rule, scenes = combined["rule"], len(combined["scenes"])
        told.append(("Combined of", f"{scenes} scenes by {rule}"))
        seen = combined.get("observations") or {}
        if seen.get("mean") is not None:
            told.append(
                ("Clear observations a pixel", f"{seen['mean']:.1f}, at most {seen['most']}")
            )
    return told


def seen_tables(record: Record) -> list[Table]:
    """Which pixels have a class, and what the numbers of the bands are."""
    total, mapped = int(record["pixels"]), mapped_pixels(record)
    dropped = int(record.get("dropped_pixels") or 0)
    rows = [
        ("in the raster", count(total), percent(1.0)),
        ("have a class", count(mapped), percent(mapped / max(1, total))),
        ("have none", count(total - mapped), percent((total - mapped) / max(1, total))),
    ]
    if dropped:
        rows.append(
            ("of these seen, but too few in a chip", count(dropped), percent(dropped / total))
        )
    if record.get("refined_pixels") is not None:
        changed = int(record["refined_pixels"])
        rows.append(
            ("were refined to another class", count(changed), percent(changed / max(1, total)))
        )
    note = (
        "Without a class: nodata, masked (clouds, shadows), outside the area, or in failed blocks."
    )
    tables = [Table("Pixels", ("Pixels", "Number", "Share"), rows, note)]
    numbers = record.get("numbers") or {}
    if numbers:
        spreads = [
            (band, *(f"{spread[key]:.4g}" for key in ("low", "median", "high")))
            for band, spread in numbers.items()
        ]
        head = ("Band", "Low", "Median", "High")
        tables.append(Table("Numbers of the bands, as the model is given them", head, spreads))
    combined = record.get("combined")
    if combined:
        scenes = combined["scenes"]
        dated = [(str(one["scene"]), str(one.get("acquired") or NOTHING)) for one in scenes]
        tables.append(long_table("Scenes that were combined", ("Scene", "Acquired"), dated))
    return tables


def run_tables(record: Record) -> list[Table]:
    """Seconds of each stage, and the blocks that failed."""
    machine = record.get("machine") or {}
    stages: list[tuple[str, Mapping[str, Any]]] = [
        ("before the first block", {"wall": machine["before"]})
        if "before" in machine
        else ("", {}),
        ("start the workers", {"wall": machine["start"]}) if "start" in machine else ("", {}),
        *((_STAGES.get(name, name), told) for name, told in record["seconds"].items()),
    ]
    stages = [(name, told) for name, told in stages if told]
    lanes = [lane for lane in _LANES if any(lane in told for _, told in stages)]
    rows = [
        [
            name,
            decimal(told.get("wall"), 1),
            count(told.get("blocks")),
            count(told.get("resumed_blocks")),
        ]
        + [decimal(told.get(lane), 1) for lane in lanes]
        for name, told in stages
    ]
    total = sum(told.get("wall", 0.0) for _, told in stages)
    rows.append(["all together", decimal(total, 1)] + [""] * (2 + len(lanes)))
    head = ("Stage", "Seconds", "Blocks", "Kept from before", *(_LANES[lane] for lane in lanes))
    note = (
        "Seconds on the clock, of the last run alone. Reading, model, writing and waiting are summed "
        "over all workers: they overlap."
    )
    tables = [Table("Time by stage", head, rows, note)]
    failed = record.get("failed_blocks") or []
    if failed:
        rows = [[_window(one), str(one["error"])] for one in failed]
        tables.append(
            long_table("Blocks that failed and are without classes", ("Block", "Why"), rows)
        )
    return tables


def _window(one: Mapping[str, Any]) -> str:
    (y0, y1), (x0, x1) = one["rows"], one["columns"]
    return f"rows {y0:,} to {y1:,}, columns {x0:,} to {x1:,}"


def run_seconds(record: Record) -> float:
    """Seconds of the last run on the clock."""
    machine = record.get("machine") or {}
    stages = sum(float(told.get("wall", 0.0)) for told in record["seconds"].values())
    return stages + float(machine.get("start", 0.0)) + float(machine.get("before", 0.0))


def machine_facts(record: Record) -> Facts:
    """Who worked, with how much memory, and what servers delivered."""
    told = []
    machine, engine = record.get("machine") or {}, record.get("engine") or {}
    if machine:
        told.append(
            ("Workers", f"{machine['workers']}, each with {machine['lanes']} blocks in hand")
        )
        told.append(("Cores of the machine", str(machine["cores"])))
    runtime = engine.get("runtime") or {}
    if runtime:
        why = f": {engine['why']}" if engine.get("why") else ""
        told.append(("Engine", f"{runtime.get('engine')}, {runtime.get('precision')}{why}"))
    memory = record.get("memory") or {}
    for key, word in (
        ("planned_per_worker", "Memory planned for each worker"),
        ("most_of_a_worker", "Most memory of a worker"),
        ("most_of_the_client", "Most memory of the client"),
    ):
        if memory.get(key):
            told.append((word, size(memory[key])))
    blocks, skipped = record["blocks"], record.get("skipped_blocks", 0)
    told.append(("Blocks", f"{blocks:,} done, {skipped:,} beside scene or area"))
    told.append(
        ("Chips", f"{record['chips']:,}, of which {record['skipped_chips']:,} had nothing to see")
    )
    remote = record.get("remote") or {}
    if remote.get("requests"):
        told.append(("From servers", f"{size(remote['bytes'])} in {remote['requests']:,} requests"))
    told.append(("Time", span(run_seconds(record))))
    return told


def source_tables(record: Record) -> list[Table]:
    """Inputs with checksums, networks, software, and hashes of it all."""
    titles = {one["name"]: one for one in record["model"].get("about") or []}
    models = [
        (
            f"{one['name']} {one['version']}",
            *_about(titles.get(one["name"])),
            str(one["sha256"] or NOTHING),
        )
        for one in record["model"]["members"]
    ]
    head = ("Network", "What it is", "Licence", "SHA-256 of its weights")
    inputs, *others = source_rows(record)
    return [inputs, long_table("Model", head, models), *others]


def source_rows(record: Record) -> list[Table]:
    """Inputs with checksums, software, and hashes of it all."""
    inputs = [
        (str(one["href"]), size(one.get("bytes")), str(_sha256(one) or NOTHING))
        for one in record["inputs"]
    ]
    sampled = any("sha256_of_samples" in one for one in record["inputs"])
    note = "Of large files samples were hashed, not all." if sampled else ""
    code = [(name, str(version)) for name, version in record["software"].items()]
    hashes = [(name, str(value)) for name, value in record["hashes"].items()]
    return [
        long_table("Inputs", ("File", "Size", "SHA-256"), inputs, note),
        long_table("Software", ("Name", "Version"), code),
        long_table("What changes a result, as hashes", ("Part", "SHA-256"), hashes),
    ]


def _sha256(one: Mapping[str, Any]) -> Any:
    return one.get("sha256") or one.get("sha256_of_samples")


def _about(one: Mapping[str, Any] | None) -> tuple[str, str]:
    told = one or {}
    return str(told.get("title") or NOTHING), str(told.get("license") or NOTHING)


def long_table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str = ""
) -> Table:
    """A table of words that is cut where nobody reads on."""
    more = len(rows) - _MOST_ROWS
    told = f"{more:,} more are in run.json. {note}".strip() if more > 0 else note
    return Table(caption, head, rows[:_MOST_ROWS], told, words=True)
