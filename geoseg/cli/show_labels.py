"""How what was found in labels is printed for people, on stdout."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from geoseg.cli.show_scores import console_for, right, show_evaluation

_COLORS = {"fault": "bold red", "warning": "yellow", "note": "dim"}


def show_check(values: dict[str, Any]) -> None:
    """Classes, then what was found: of files alike, the first."""
    console = console_for()
    count = sum(values["files"].values())
    console.print(
        f"{count:,} label file{'s' if count != 1 else ''}; content hash {values['content_hash']}",
        markup=False,
        soft_wrap=True,
    )
    console.print(_classes(values["classes"]))
    together = values["alignment"]["all"]
    if together is not None and together["rows"] is not None:
        console.print(
            f"edges in the images lie {together['rows']:+.1f} rows and {together['columns']:+.1f} "
            f"columns from those of the labels (± {together['standard_error']:.1f} px)",
            markup=False,
            soft_wrap=True,
        )
    groups = defaultdict(list)
    for finding in values["findings"]:
        groups[finding["level"], finding["check"], finding["what"]].append(finding)
    for (level, check, what), some in groups.items():
        first = some[0]
        where = f"{first['file']}: " if first["file"] else ""
        line = Text(f"{level:8}", _COLORS[level])
        line.append(f"{check} ({what}): {where}{first['text']}", "default")
        if len(some) > 1:
            files = len({finding["file"] for finding in some})
            more = f"{len(some) - 1:,} more like this"
            line.append(f" … and {more}" + (f" in {files:,} files in all" if files > 1 else ""))
        console.print(line, soft_wrap=True)
    console.print(
        f"{_many(values['faults'], 'fault')}, {_many(values['warnings'], 'warning')}", markup=False
    )


def show_agreement(values: dict[str, Any], differences: Path | None) -> None:
    """As an evaluation, of which neither is the truth."""
    show_evaluation({**values["agreement"], "corner": "B \\ A"})
    if differences is not None:
        where = values["differences"]
        text = f"{differences}: {_many(where['regions'], 'region')} where they differ"
        console_for().print(text, markup=False, soft_wrap=True)


def _classes(rows: list[dict[str, Any]]) -> Table:
    parts = any(row["part"] for row in rows)
    names = ("pixels", "regions", "area, ha", "share")
    table = Table(*(("part",) if parts else ()), "class", *(right(name) for name in names))
    for row in rows:
        area = "-" if row["area_ha"] is None else f"{row['area_ha']:,.4g}"
        if row["area_ha"] is not None and row["area_ha"] >= 1000:
            area = f"{row['area_ha']:,.0f}"
        cells = (
            f"{row['pixels']:,}" if row["pixels"] else "-",
            f"{row['regions']:,}",
            area,
            f"{row['share']:.2%}",
        )
        table.add_row(*((Text(row["part"]),) if parts else ()), Text(row["name"]), *cells)
    return table


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
