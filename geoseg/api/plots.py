"""Plots against loss of forest since a cut-off: one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from geoseg.api.changes.maps import Mask, find_mask
from geoseg.api.places import check_folder
from geoseg.api.plot_ground import Placed, place_plots
from geoseg.api.plot_products import PlotProducts
from geoseg.errors import InputError
from geoseg.io.loss_layers import LossLayer, find_loss
from geoseg.io.plot_files import Plot, PlotWishes, overlaps, read_plots
from geoseg.ops.alerts.rules import to_day
from geoseg.ops.plot_risk import MAX_GAP, Risk, Seen
from geoseg.run.lock import hold
from geoseg.run.reporter import Reporter, Silent
from geoseg.run.threads import each_block
from geoseg.steps.plots import MOST_LAYERS, Tally
from geoseg.workflow.deforestation import Preset, preset_called

AnyPath = str | os.PathLike[str]
CutOff = date | Literal["preset", "none"]


@dataclass(frozen=True, slots=True)
class PlotOptions:
    """How plots are checked.

    Attributes:
        preset: ``eudr``, ``radd`` or ``gfw``.
        cut_off: Loss after that day counts; ``preset`` is that of the preset, ``none`` counts all.
        encodings: How each layer shows loss; one for all, or ``auto``.
        layer: Of the file of plots.
        id_column: Of names.
        area_column: Of hectares of plots that are points.
        swap: The file of plots has latitudes first.
        maps: Plots that the report has maps of at most, those of most risk first.
    """

    preset: str = "eudr"
    cut_off: CutOff = "preset"
    encodings: Sequence[str] = ("auto",)
    layer: str | None = None
    id_column: str | None = None
    area_column: str | None = None
    swap: bool = False
    maps: int = 60

    @property
    def day(self) -> date | None:
        """The cut-off."""
        if isinstance(self.cut_off, date):
            return self.cut_off
        return preset_called(self.preset).cut_off if self.cut_off == "preset" else None


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """One plot and what was found.

    Attributes:
        plot: As it was read.
        tally: Sums in square metres; None where no layer reaches it.
        risk: By the rule of the preset.
        notes: What is odd about it.
    """

    plot: Plot
    tally: Tally | None
    risk: Risk
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlotsChecked:
    """What came of a check.

    Attributes:
        products: Paths by role.
        risks: Plots by risk.
        rows: The table, a mapping of columns each, as in ``plots.csv``.
        warnings: What the user should look at.
    """

    products: Mapping[str, Path]
    risks: Mapping[str, int]
    rows: Sequence[Mapping[str, Any]]
    warnings: tuple[str, ...] = field(default=())


def check_plots(
    plots: AnyPath,
    out: AnyPath,
    *,
    loss: Sequence[AnyPath],
    forest: str | None = None,
    options: PlotOptions | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> PlotsChecked:
    """Check plots of land against loss of forest since a cut-off, and write tables and reports.

    Areas are exact: each pixel counts by the share of it that lies in a plot, and by its area on
    the ellipsoid. Where layers have different pixels, the smallest ones are counted and the others
    are read by their nearest pixel. Only blocks that hold plots are read, each of them once.

    Args:
        plots: Any vector file: outlines, or points with an area.
        out: Folder of ``plots.gpkg``, ``.geojson``, ``.csv``, ``report.html``, ``report.pdf`` and
            ``run.json``.
        loss: Rasters of loss: folders of alerts or change, alerts in the GFW encoding, or years.
        forest: A map of classes at the cut-off, ``FILE`` or ``FILE:class,class``: only loss of
            what is forest there counts.
        options: How; without it as the EUDR preset says.
        workers: Threads; one a core without it.
        reporter: Told of progress.

    Raises:
        InputError: Files cannot be read, are not clear or do not fit; nothing was written.
        LockedError: Another check writes to ``out``.
        ProductError: Something cannot be written.
    """
    wanted, teller, folder = options or PlotOptions(), reporter or Silent(), Path(out)
    preset = preset_called(wanted.preset)
    check_folder(folder, what=str(out))
    layers = _layers([Path(p) for p in loss], wanted.encodings)
    mask = None if forest is None else find_mask(forest)
    warnings = _spans(layers, mask, wanted.day)
    found = read_plots(Path(plots), _wishes(wanted, preset))
    extra = overlaps(found)
    placed = place_plots(Path(plots), found, layers, mask, swap=wanted.swap)
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder):
        teller.started(scenes=1, blocks=len(placed.windows), dashboard=None)
        for text in warnings:
            teller.warning(text)
        tallies = _count(placed, wanted.day, workers, teller)
        checked = [
            _judged(plot, tallies.get(n), preset, extra.get(n, ()), reached=n in placed.reached)
            for n, plot in enumerate(found)
        ]
        products = PlotProducts(folder, Path(plots), placed, wanted, preset, mask)
        rows = products.write(checked, warnings)
    risks = {risk.words: sum(one.risk is risk for one in checked) for risk in Risk}
    told = ", ".join(f"{n} {words}" for words, n in risks.items())
    teller.done(f"{out}: {len(checked)} plots; risk: {told}")
    return PlotsChecked(products.paths(), risks, rows, tuple(warnings))


def _wishes(wanted: PlotOptions, preset: Preset) -> PlotWishes:
    return PlotWishes(
        layer=wanted.layer,
        id_column=wanted.id_column,
        area_column=wanted.area_column,
        swap=wanted.swap,
        largest_point=4.0 if preset.outline_above is None else preset.outline_above.value,
        decimals=preset.decimals,
    )


def _layers(paths: Sequence[Path], encodings: Sequence[str]) -> list[LossLayer]:
    if not paths:
        raise InputError("no layer of loss; say at least one with --loss")
    if len(paths) > MOST_LAYERS:
        raise InputError(f"{len(paths)} layers of loss; at most {MOST_LAYERS} are told apart")
    if len(encodings) not in (1, len(paths)):
        raise InputError(
            f"{len(paths)} layers of loss and {len(encodings)} encodings; say one for each, or one "
            f"for all"
        )
    each = list(encodings) if len(encodings) == len(paths) else [encodings[0]] * len(paths)
    return [find_loss(path, how) for path, how in zip(paths, each, strict=True)]


def _spans(layers: Sequence[LossLayer], mask: Mask | None, cut_off: date | None) -> list[str]:
    """Warnings about what the layers cannot show of the time since the cut-off."""
    if cut_off is None:
        return []
    found = []
    for layer in layers:
        first, last = layer.span
        if last is not None and last <= cut_off:
            found.append(f"{layer.path}: ends on {last}, before anything that counts")
        elif layer.kind in {"change", "span"} and first is not None and first < cut_off:
            found.append(
                f"{layer.path}: compares {first} with {last}: what was lost may be older than the "
                f"cut-off {cut_off}, and counts as undated"
            )
        elif first is not None and (first - cut_off).days > MAX_GAP:
            found.append(f"{layer.path}: begins on {first}, long after the cut-off {cut_off}")
    if not any(layer.covers(cut_off, MAX_GAP) for layer in layers):
        found.append("no layer covers the time since the cut-off: no plot counts as observed")
    if mask is not None and mask.raster.when is not None and mask.raster.when.date() > cut_off:
        found.append(
            f"{mask.raster.classes}: shows forest on {mask.raster.when.date()}, after the cut-off: "
            f"what was lost in between is no forest there"
        )
    return found


def _count(
    placed: Placed, cut_off: date | None, workers: int | None, teller: Reporter
) -> dict[int, Tally]:
    work = placed.counting(None if cut_off is None else to_day(cut_off))
    tallies: dict[int, Tally] = {}
    try:
        blocks = each_block(work, placed.windows, name="plots", reporter=teller, workers=workers)
        for found in blocks:
            for number, tally in found.items():
                tallies.setdefault(number, Tally()).add(tally)
    finally:
        placed.close(work)
    return tallies


def _judged(
    plot: Plot, tally: Tally | None, preset: Preset, extra: Sequence[str], *, reached: bool
) -> Checked:
    notes = [*plot.notes, *extra]
    if plot.shape is not None and (tally is None or not reached):
        notes.append("lies outside of all layers of loss")
    if plot.shape is None or tally is None:
        return Checked(plot, None, preset.risk.judge(None), tuple(notes))
    observed = min(1.0, tally.seen / (plot.area_ha * 1e4))
    seen = Seen(
        plot.area_ha, observed, tally.loss / 1e4, tally.confirmed / 1e4, tally.undated / 1e4
    )
    return Checked(plot, tally, preset.risk.judge(seen), tuple(notes))
