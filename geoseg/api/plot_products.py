"""What is written of checked plots: tables, reports, and how it came about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from geoseg.api import fingerprint
from geoseg.api.changes.maps import Mask
from geoseg.api.plot_ground import Placed
from geoseg.api.plot_maps import maps_of
from geoseg.api.plot_words import NOTE, PREFER, caveats, evidence, facts, sources
from geoseg.io.atomic import remove_abandoned, remove_file, write_bytes
from geoseg.io.loss_layers import day_text
from geoseg.io.plot_report import PlotReport, write_report_html, write_report_pdf
from geoseg.io.plot_tables import PlotRow, write_plot_csv, write_plot_geojson, write_plot_gpkg
from geoseg.io.provenance import Provenance
from geoseg.ops.alerts.rules import to_day
from geoseg.ops.plot_risk import Risk
from geoseg.workflow.deforestation import Preset

if TYPE_CHECKING:
    from geoseg.api.plots import Checked, PlotOptions

_HECTARE: Final = 1e4
_DIGITS: Final = 4  # of hectares: a square metre
_NAMES: Final = {
    "geopackage": "plots.gpkg",
    "geojson": "plots.geojson",
    "csv": "plots.csv",
    "html": "report.html",
    "pdf": "report.pdf",
    "run": "run.json",
}


@dataclass(frozen=True, slots=True, eq=False)
class PlotProducts:
    """The products of one check, in one folder."""

    folder: Path
    source: Path
    placed: Placed
    wanted: PlotOptions
    preset: Preset
    mask: Mask | None

    def paths(self) -> dict[str, Path]:
        """By role; the record is last."""
        return {role: self.folder / name for role, name in _NAMES.items()}

    def write(self, checked: Sequence[Checked], warnings: Sequence[str]) -> list[Mapping[str, Any]]:
        """Make all of them; returns the rows of the table."""
        paths = self.paths()
        # A record that stands from an earlier run must not vouch for a mixture of old and new.
        for path in paths.values():
            remove_abandoned(path.parent, path.name)
        remove_file(paths["run"])
        rows = [self._row(one) for one in checked]
        write_plot_gpkg(paths["geopackage"], rows, self._provenance().document())
        write_plot_geojson(paths["geojson"], rows)
        write_plot_csv(paths["csv"], rows)
        report = self._report(checked, rows, warnings)
        write_report_html(paths["html"], report)
        write_report_pdf(paths["pdf"], report)
        record = self._record(checked, warnings)
        text = json.dumps(record, indent=2, default=str, ensure_ascii=False)
        write_bytes(paths["run"], f"{text}\n".encode())
        return [row.values for row in rows]

    def _row(self, one: Checked) -> PlotRow:
        plot = one.plot
        values: dict[str, Any] = {
            "plot_id": plot.id,
            "risk_code": int(one.risk),
            "risk": one.risk.words,
            "given_as": "outline" if plot.point is None else "point",
            "plot_ha": round(plot.area_ha, _DIGITS) if plot.shape is not None else None,
            "notes": "; ".join(one.notes) or None,
            **plot.properties,
        }
        return PlotRow(values | self._found(one), plot.shape, plot.point)

    def _found(self, one: Checked) -> dict[str, Any]:
        tally, plot = one.tally, one.plot
        if tally is None:
            return {"observed_share": 0.0}
        observed = min(100.0, 100 * tally.seen / (plot.area_ha * _HECTARE))
        found: dict[str, Any] = {
            "observed_share": round(observed, 2),
            "forest_ha": None if self.mask is None else _ha(tally.forest),
            "loss_ha": _ha(tally.loss),
            "loss_share": round(100 * tally.loss / (plot.area_ha * _HECTARE), 2),
            "confirmed_ha": _ha(tally.confirmed),
            "undated_ha": _ha(tally.undated),
            "earlier_ha": _ha(tally.earlier),
            "outside_ha": None if self.mask is None else _ha(tally.outside),
        }
        if tally.loss > 0:
            years = (f"{year}: {area / _HECTARE:.4f}" for year, area in sorted(tally.years.items()))
            found |= {
                "loss_after": day_text(tally.after),
                "loss_first": day_text(tally.first),
                "loss_last": day_text(tally.last),
                "loss_years": ", ".join(years),
            }
            if tally.percents_of > 0:
                found["confidence_mean"] = round(tally.percents / tally.percents_of, 1)
        if tally.layers:
            assert plot.shape is not None  # noqa: S101 - it was counted
            found["evidence"] = evidence(
                plot.shape, tally.layers, self.placed.layers, self.wanted.day
            )
        return found

    def _report(
        self, checked: Sequence[Checked], rows: Sequence[PlotRow], warnings: Sequence[str]
    ) -> PlotReport:
        order = sorted(
            range(len(rows)),
            key=lambda n: (PREFER[checked[n].risk], -(rows[n].values.get("loss_ha") or 0.0), n),
        )
        counted = [n for n in order if checked[n].tally is not None][: self.wanted.maps]
        cut = None if self.wanted.day is None else to_day(self.wanted.day)
        maps = maps_of(self.placed, counted, cut)
        day = self.wanted.day
        return PlotReport(
            "Forest loss on plots" + (f" since {day}" if day else ""),
            facts(self.source, checked, self.wanted, self.preset, self.mask),
            sources(self.placed.layers, self.mask),
            warnings,
            self.preset.risk.sentences(),
            caveats(self.preset, self.mask),
            [rows[n] for n in order],
            maps,
        )

    def _provenance(self) -> Provenance:
        settings = asdict(self.wanted) | {"risk": asdict(self.preset.risk)}
        return Provenance("plots", self._inputs(), settings, fingerprint.software())

    def _inputs(self) -> list[dict[str, Any]]:
        files = [self.source, *(layer.path for layer in self.placed.layers)]
        if self.mask is not None:
            files.append(self.mask.raster.classes)
        return fingerprint.inputs(str(path) for path in files)

    def _record(self, checked: Sequence[Checked], warnings: Sequence[str]) -> dict[str, Any]:
        options = asdict(self.wanted) | {"cut_off": self.wanted.day}
        return {
            "geoseg": fingerprint.software()["geoseg"],
            "kind": "plots",
            "inputs": self._inputs(),
            "settings": options,
            "risk_rule": asdict(self.preset.risk),
            "rule": list(self.preset.risk.sentences()),
            "layers": [
                {"path": str(layer.path), "kind": layer.kind, "span": list(layer.span)}
                for layer in self.placed.layers
            ],
            "plots": len(checked),
            "risks": {r.words: sum(one.risk is r for one in checked) for r in Risk},
            "areas_note": NOTE,
            "warnings": list(warnings),
            "software": fingerprint.software(),
        }


def _ha(square_metres: float) -> float:
    return round(square_metres / _HECTARE, _DIGITS)
