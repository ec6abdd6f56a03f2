"""The report on plots as one HTML file and as a PDF: what was looked at, what was found, doubts."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any, Final

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from geoseg.io import html_page
from geoseg.io.atomic import write_bytes
from geoseg.io.charts import settled
from geoseg.io.plot_maps import LEGEND, PlotMap, draw_map, legend_handles, map_png
from geoseg.io.plot_tables import RISKS, PlotRow, shown_columns

_TABLE: Final = (
    "plot_id", "risk", "plot_ha", "forest_ha", "loss_ha", "loss_share", "confirmed_ha",
    "undated_ha", "loss_first", "loss_last", "observed_share",
)  # fmt: skip
_CARD: Final = (
    "plot_ha", "forest_ha", "loss_ha", "confirmed_ha", "undated_ha", "outside_ha", "earlier_ha",
    "loss_after", "loss_first", "loss_last", "loss_years", "confidence_mean", "observed_share",
    "evidence", "notes",
)  # fmt: skip
_A4 = (8.27, 11.69)
_MOST_ROWS = 520
_MOST_NOTES = 200
_LINES = 52  # of a table on a page
_LINE = 0.0168  # height of one, of the page
_COLORS: Final = {entry.name: entry.color for entry in RISKS}
_STYLE = """
.risks{display:flex;flex-wrap:wrap;gap:.6rem;list-style:none;padding:0}
.risks li{border-left:.6rem solid;padding:.2rem .8rem;background:#f6f6f4}
.risks b{font-size:1.5rem;display:block}
.facts{display:grid;grid-template-columns:auto 1fr;gap:.2rem 1rem}.facts dd{margin:0;overflow-wrap:anywhere}
.facts dt{font-weight:600}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}
.plot{border:1px solid #d5d5d5;border-top:.4rem solid;padding:.7rem;break-inside:avoid;min-width:0}
.plot h3{margin:0 0 .4rem;overflow-wrap:anywhere}.plot img{width:100%;image-rendering:pixelated}
.plot figure{margin:0}.plot dl{display:grid;grid-template-columns:auto 1fr;gap:.1rem .8rem;margin:.5rem 0}
.plot dt{color:#555}.plot dd{margin:0;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1rem;list-style:none;padding:0}
.legend i{display:inline-block;width:1em;height:1em;border:1px solid #777;margin-right:.4em;
vertical-align:-.15em;print-color-adjust:exact;-webkit-print-color-adjust:exact}
li{overflow-wrap:anywhere}
@page{size:A4;margin:15mm}
@media print{body{font-size:11px;margin:0}.plots{grid-template-columns:repeat(3,1fr)}
table{display:table;font-size:9px}th,td{padding:.15rem .35rem}}
"""


@dataclass(frozen=True, slots=True, eq=False)
class PlotReport:
    """What the report tells.

    Attributes:
        title: Above all.
        facts: What was looked at, in pairs of a word and what it is.
        sources: Rows of the table of layers: file, what it shows, first and last day, grid.
        warnings: What must not be overlooked.
        rule: How risk was told, a sentence each.
        caveats: What the numbers do not say.
        rows: All plots, those of most risk first.
        maps: Of some plots, by name.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    sources: Sequence[Sequence[str]]
    warnings: Sequence[str]
    rule: Sequence[str]
    caveats: Sequence[str]
    rows: Sequence[PlotRow]
    maps: Mapping[str, PlotMap]

    @property
    def counts(self) -> dict[str, int]:
        """Plots by risk, all four of them, the worst first."""
        found = dict.fromkeys(("high", "low", "cannot be told", "none"), 0)
        for row in self.rows:
            found[row.values["risk"]] += 1
        return found

    @property
    def notes(self) -> list[str]:
        """What is odd about plots, a sentence each, as far as anybody reads."""
        noted = [row.values for row in self.rows if row.values.get("notes")]
        told = [f"{v['plot_id']}: {v['notes']}" for v in noted[:_MOST_NOTES]]
        more = len(noted) - len(told)
        return [*told, f"{more} others have notes, too: see plots.csv"] if more else told

    @property
    def codes(self) -> list[int]:
        """What the maps show, in the order of the legend."""
        return sorted({int(c) for m in self.maps.values() for c in set(m.codes.ravel().tolist())})


def write_report_html(path: Path, report: PlotReport) -> None:
    """The report as one file: no scripts, nothing from elsewhere; prints well."""
    counts = "".join(
        f'<li style="border-color:{_COLORS[name]}"><b>{n}</b> {escape(name)}</li>'
        for name, n in report.counts.items()
    )
    columns = shown_columns(report.rows, _TABLE)
    table = [[shown(n, row.values.get(n)) for n, _ in columns] for row in report.rows]
    parts = [
        f'<ul class="risks" aria-label="Plots by risk">{counts}</ul>',
        *(html_page.note(text) for text in report.warnings),
        f'<dl class="facts">{_pairs(report.facts)}</dl>',
        html_page.table("Layers", ("File", "Shows", "From", "Until", "Pixels"), report.sources),
        html_page.heading("Plots"),
        html_page.table(f"{len(table)} plots", [label for _, label in columns], table),
        *([html_page.heading("Notes on plots"), _list(report.notes)] if report.notes else []),
        html_page.heading("How risk is told"),
        _list(report.rule),
        html_page.heading("What the numbers do not say"),
        _list(report.caveats),
        *_cards(report),
    ]
    write_bytes(path, html_page.page(report.title, parts, style=_STYLE))


def _pairs(facts: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<dt>{escape(word)}</dt><dd>{escape(what)}</dd>" for word, what in facts)


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _cards(report: PlotReport) -> list[str]:
    if not report.maps:
        return []
    legend = "".join(
        f'<li><i style="background:{LEGEND[c][0]}"></i>{escape(LEGEND[c][1])}</li>'
        for c in report.codes
    )
    cards = "\n".join(
        _card(r, report.maps) for r in report.rows if r.values["plot_id"] in report.maps
    )
    return [
        html_page.heading("Maps"),
        f'<ul class="legend" aria-label="Colours of the maps">{legend}</ul>',
        f'<div class="plots">{cards}</div>',
    ]


def _card(row: PlotRow, maps: Mapping[str, PlotMap]) -> str:
    name, risk = str(row.values["plot_id"]), str(row.values["risk"])
    image = html_page.picture(map_png(maps[name]), f"Map of plot {name}; risk {risk}", form="png")
    facts = _pairs(
        [(label, shown(key, row.values.get(key))) for key, label in shown_columns([row], _CARD)]
    )
    return (
        f'<section class="plot" style="border-top-color:{_COLORS[risk]}">'
        f"<h3>{escape(name)}: {escape(risk)}</h3>{image}<dl>{facts}</dl></section>"
    )


def shown(name: str, value: Any) -> str:
    """A value as a person reads it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}" if name in _PERCENTS else f"{value:,.4f}"
    return str(value)


_PERCENTS = {"loss_share", "observed_share", "confidence_mean"}


def write_report_pdf(path: Path, report: PlotReport) -> None:
    """The report as a PDF of A4 pages; the same report gives the same bytes."""
    out = io.BytesIO()
    nothing: dict[str, Any] = {"CreationDate": None, "Creator": None, "Producer": None}
    with settled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        with PdfPages(out, metadata={"Title": report.title, **nothing}) as pages:
            for figure in chain(_text_pages(report), _table_pages(report), _map_pages(report)):
                pages.savefig(figure)
    write_bytes(path, out.getvalue())


def _text_pages(report: PlotReport) -> list[Figure]:
    """The first pages: counts, what was looked at, the rule, doubts."""
    lines: list[tuple[str, bool]] = []
    counts = ", ".join(f"{name}: {n}" for name, n in report.counts.items())
    lines += [(f"Plots by risk: {counts}", True), ("", False), ("What was looked at", True)]
    lines += [line for word, what in report.facts for line in _wrapped(f"{word}: {what}")]
    if report.warnings:
        lines += [("", False), ("Warnings", True)]
        lines += [line for text in report.warnings for line in _wrapped(text)]
    lines += [("", False), ("Layers", True)]
    for file, what, first, last, grid in report.sources:
        lines += _wrapped(f"{file}: {what}, {first} to {last}, {grid}")
    for title, items in (
        ("Notes on plots", report.notes),
        ("How risk is told", report.rule), ("What the numbers do not say", report.caveats)
    ):  # fmt: skip
        lines += [("", False), (title, True)] if items else []
        lines += [line for item in items for line in _wrapped(item)]
    figures = []
    for begin in range(0, len(lines), 52):
        figure = Figure(figsize=_A4)
        figure.text(0.08, 0.95, report.title, fontsize=15, weight="bold", va="top")
        for number, (text, strong) in enumerate(lines[begin : begin + 52]):
            weight = "bold" if strong else "normal"
            figure.text(0.08, 0.91 - number * 0.0165, text, fontsize=9, weight=weight, va="top")
        figures.append(figure)
    return figures


def _wrapped(text: str) -> list[tuple[str, bool]]:
    lines = textwrap.wrap(text, 104, initial_indent="• ", subsequent_indent="   ")
    return [(line, False) for line in lines]


def _table_pages(report: PlotReport) -> Iterator[Figure]:
    """The table, a page at a time, as far as anybody reads on paper."""
    columns = shown_columns(report.rows, _TABLE)
    told = report.rows[:_MOST_ROWS]
    more = len(report.rows) - len(told)
    for begin in range(0, len(told), _LINES):
        rows = told[begin : begin + _LINES]
        figure = Figure(figsize=_A4)
        texts = [_column(name, label, rows) for name, label in columns]
        widths = [max(map(len, (*cells, *head.split("\n")))) + 1.5 for head, cells in texts]
        scale, x = min(0.0105, 0.9 / sum(widths)), 0.05
        for (name, _), (head, cells), width in zip(columns, texts, widths, strict=True):
            x += width * scale
            figure.text(x, 0.945, head, fontsize=6.5, weight="bold", ha="right", va="bottom")
            for number, cell in enumerate(cells):
                figure.text(
                    x, 0.935 - number * _LINE, cell, fontsize=6.5, ha="right", va="top",
                    color=_DARK[cell] if name == "risk" else "black",
                )  # fmt: skip
        if more:
            text = f"The {len(told)} plots of most risk; {more} others are in plots.csv."
            figure.text(0.05, 0.03, text, fontsize=8)
        yield figure


def _column(name: str, label: str, rows: Sequence[PlotRow]) -> tuple[str, list[str]]:
    """What stands above a column, and in it."""
    return "\n".join(textwrap.wrap(label, 10)), [
        _cut(shown(name, row.values.get(name))) for row in rows
    ]


_DARK = {"none": "#0d5c43", "low": "#7a5c00", "high": "#b0104a", "cannot be told": "#55555f"}


def _cut(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:23]}…"


def _map_pages(report: PlotReport) -> Iterator[Figure]:
    """Twelve maps a page, with the numbers that matter below each."""
    rows = [row for row in report.rows if row.values["plot_id"] in report.maps]
    for begin in range(0, len(rows), 12):
        figure = Figure(figsize=_A4)
        figure.legend(
            handles=legend_handles(report.codes), loc="lower center", ncol=3, fontsize=7,
            frameon=False,
        )  # fmt: skip
        for number, row in enumerate(rows[begin : begin + 12]):
            line, column = divmod(number, 3)
            axes = figure.add_axes((0.06 + 0.31 * column, 0.78 - 0.225 * line, 0.27, 0.155))
            name, risk = str(row.values["plot_id"]), str(row.values["risk"])
            draw_map(axes, report.maps[name])
            axes.set_title(f"{_cut(name)}: {risk}", fontsize=8, color=_DARK[risk])
            loss = shown("loss_ha", row.values.get("loss_ha"))
            when = row.values.get("loss_first") or ""
            until = row.values.get("loss_last") or ""
            span = f", {when} to {until}" if when else ""
            text = f"loss {loss} of {shown('', row.values.get('plot_ha'))} ha{span}"
            axes.set_xlabel(text, fontsize=6.5)
        yield figure
