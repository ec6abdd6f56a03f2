"""How scores, samples and areas are printed for people, on stdout."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

_BAR = 20
_WIDE = 240


def show_evaluation(values: dict[str, Any]) -> None:
    """A line for the whole, a row for each class, and how often which was taken for which."""
    console, what = console_for(), "points" if values["kind"] == "points" else "pixels"
    scores = (
        f"overall accuracy {_share(values['accuracy'])}, kappa {_number(values['kappa'])}, "
        f"mIoU {_share(values['mean_iou'])}, frequency-weighted IoU "
        f"{_share(values['weighted_iou'])}, mean F1 {_share(values['mean_f1'])}"
    )
    lines = [
        f"{values['prediction']} against {values['truth']} ({values['kind']})",
        f"{values['pixels']:,} {what} judged{_left_out(values, what)}",
        scores,
    ]
    if values["boundary_tolerance_m"] is not None:
        lines.append(
            f"boundary F1 {_share(values['mean_boundary_f1'])} "
            f"(within {values['boundary_tolerance_m']:g} m)"
        )
    if values["calibration"] is not None:
        error = values["expected_calibration_error"]
        lines.append(f"expected calibration error {_share(error)}")
    console.print("\n".join(lines), markup=False, soft_wrap=True)
    console.print(_classes(values["classes"], what))
    console.print(_confusion(values))
    if values["calibration"] is not None:
        console.print(_reliability(values["calibration"]["bins"], what))


def show_sample(values: dict[str, Any]) -> None:
    """How many points each class has, and how well it will then be known."""
    console = console_for()
    table = Table(
        "class",
        "code",
        *(right(n) for n in ("area, ha", "share", "points")),
        right("expected user's accuracy"),
    )
    for row in values["strata"]:
        accuracy = f"{_share(row['expected_users_accuracy'])} ± "
        table.add_row(
            Text(row["name"]),
            str(row["code"]),
            f"{row['area_ha']:,.1f}",
            _share(row["share"]),
            f"{row['points']:,}",
            accuracy + f"{_share(row['expected_standard_error'])} s.e.",
        )
    console.print(table)
    console.print(
        f"{values['path']}: {values['points']:,} points; overall accuracy will have a standard "
        f"error of {_number(values['expected_standard_error'])} if accuracies are as expected\n"
        f"fill in the column 'reference' (a class's name or code), then: geoseg evaluate areas "
        f"{values['path']} {values['raster']}",
        markup=False,
        soft_wrap=True,
    )


def show_areas(values: dict[str, Any]) -> None:
    """Areas and accuracies with their intervals."""
    console = console_for()
    level = f"{values['confidence']:.4g}"
    waiting = values["points_without_reference"]
    console.print(
        f"{values['points_used']:,} points"
        + (f" ({waiting:,} more have no reference yet)" if waiting else "")
        + f"; overall accuracy {_interval(values['overall_accuracy'], share=True)} "
        f"(± are intervals of confidence {level})",
        markup=False,
    )
    names = ("points", "mapped, ha", "adjusted area, ha", "user's accuracy", "producer's accuracy")
    table = Table("class", *(right(name) for name in names))
    for row in values["classes"]:
        table.add_row(
            Text(row["name"]),
            f"{row['points']:,}",
            f"{row['mapped_area_ha']:,.1f}",
            _interval(row["area_ha"], share=False),
            _interval(row["users_accuracy"], share=True),
            _interval(row["producers_accuracy"], share=True),
        )
    console.print(table)


def _classes(rows: list[dict[str, Any]], what: str) -> Table:
    columns = ("IoU", "F1", "precision (user's)", "recall (producer's)", "boundary F1")
    table = Table("class", *(right(name) for name in (*columns, f"true {what}")))
    for row in rows:
        keys = ("iou", "f1", "precision", "recall", "boundary_f1")
        table.add_row(
            Text(row["name"]), *(_share(row[key]) for key in keys), f"{row['true_pixels']:,}"
        )
    return table


def _confusion(values: dict[str, Any]) -> Table:
    names = [row["name"] for row in values["classes"]]
    unmapped = values["confusion"]["unmapped"]
    table = Table(str(values.get("corner", "truth \\ map")), *(right(name) for name in names))
    if any(unmapped):
        table.add_column("not mapped", justify="right")
    for name, counts, missing in zip(names, values["confusion"]["counts"], unmapped, strict=True):
        cells = [*counts, missing] if any(unmapped) else counts
        table.add_row(Text(name), *(f"{count:,}" for count in cells))
    return table


def _reliability(bins: list[dict[str, Any]], what: str) -> Table:
    """A reliability diagram in characters: the bar is accuracy, the mark is confidence."""
    table = Table("confidence", right(what), right("mean"), right("accuracy"), "0 to 100 %")
    for row in bins:
        if row["pixels"]:
            table.add_row(
                f"{row['above']:.0%} to {row['to']:.0%}",
                f"{row['pixels']:,}",
                _share(row["confidence"]),
                _share(row["accuracy"]),
                _bar(row["accuracy"], row["confidence"]),
            )
    return table


def _bar(filled: float, mark: float) -> str:
    cells = ["█" if i < round(filled * _BAR) else "·" for i in range(_BAR)]
    cells[min(int(mark * _BAR), _BAR - 1)] = "|"
    return "".join(cells)


def _left_out(values: dict[str, Any], what: str) -> str:
    parts = [
        f"{values[key]:,} {text}"
        for key, text in (
            ("unmapped", f"labelled {what} are not mapped"),
            ("points_outside", "points lie beside the map"),
            ("unlabelled_features", "features have no label"),
        )
        if values.get(key)
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _interval(values: dict[str, Any], *, share: bool) -> str:
    if values["value"] is None:
        return "-"
    if share:
        return f"{values['value']:.1%} ± {values['plus_minus']:.1%}"
    return f"{values['value']:,.1f} ± {values['plus_minus']:,.1f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def right(title: str) -> Column:
    """A column of numbers."""
    return Column(Text(title), justify="right")


def console_for() -> Console:
    """Where results go: stdout."""
    console = Console(highlight=False)
    # What goes to a file or a pipe is not cut to the width of a terminal that is not there.
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)
