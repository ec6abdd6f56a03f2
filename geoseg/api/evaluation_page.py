"""An evaluation as a page to read and to hand on: scores, pictures, and what they do not say."""

from __future__ import annotations

from typing import Any

from geoseg.api.scores import Evaluation
from geoseg.io.charts import confusion_chart, reliability_chart
from geoseg.io.html_page import heading, note, page, paragraph, picture, table

PIXELS_ARE_NOT_AREAS = (
    "Numbers of pixels are no estimate of how large a class is: they carry the map's errors along. "
    "Estimate areas with their intervals from a sample: geoseg evaluate design, then geoseg "
    "evaluate areas (Olofsson et al. 2014, doi:10.1016/j.rse.2014.02.015)."
)


def evaluation_page(found: Evaluation) -> bytes:
    """The page of an evaluation; the same evaluation gives the same bytes."""
    values = found.as_dict()
    what = "points" if values["kind"] == "points" else "pixels"
    parts = [
        paragraph(f"{values['prediction']} against {values['truth']} ({values['kind']})."),
        table("The whole", ("score", "value"), _whole(values, what)),
        heading("By class"),
        table("Agreement by class", _class_head(what), _classes(values["classes"])),
        heading(f"Numbers of {what} by class"),
        note(PIXELS_ARE_NOT_AREAS),
        table(
            f"What was judged, in {what}",
            ("class", "in the truth", "in the map", "map more than truth by"),
            [_sizes(row) for row in values["classes"]],
        ),
        heading("What was taken for what"),
        picture(
            confusion_chart(found.confusion.counts, found.classes),
            f"Confusion matrix of {len(found.classes)} classes; its numbers are in the table below.",
            "Colour: share of the true class.",
        ),
        _confusion(values),
    ]
    if found.calibration is not None:
        parts += [
            heading("Confidence"),
            picture(
                reliability_chart(found.calibration),
                "Reliability diagram: accuracy against confidence; its numbers are in the table "
                "below.",
                "On the dashed line a map that says 80 % is right in 80 % of cases.",
            ),
            _reliability(values["calibration"], what),
        ]
    return page("How good the map is", parts)


def _whole(values: dict[str, Any], what: str) -> list[tuple[str, str]]:
    rows = [
        (f"{what} judged", f"{values['pixels']:,}"),
        (f"labelled {what} that are not mapped", f"{values['unmapped']:,}"),
        ("overall accuracy", share(values["accuracy"])),
        ("Cohen's kappa", _number(values["kappa"])),
        ("mean IoU", share(values["mean_iou"])),
        ("frequency-weighted IoU", share(values["weighted_iou"])),
        ("mean F1 (Dice)", share(values["mean_f1"])),
    ]
    rows += [
        (text, f"{values[key]:,}")
        for key, text in (
            ("points_outside", "points beside the map"),
            ("unlabelled_features", "features without a label"),
        )
        if values.get(key)
    ]
    if values["boundary_tolerance_m"] is not None:
        tolerance = f"mean boundary F1 (within {values['boundary_tolerance_m']:g} m)"
        rows.append((tolerance, share(values["mean_boundary_f1"])))
    if values["calibration"] is not None:
        rows.append(("expected calibration error", share(values["expected_calibration_error"])))
        rows.append(("largest error of a bin", share(values["calibration"]["largest_error"])))
    return rows


def _class_head(what: str) -> tuple[str, ...]:
    scores = ("IoU", "F1 (Dice)", "precision (user's)", "recall (producer's)", "boundary F1")
    return ("class", *scores, f"true {what}")


def _classes(rows: list[dict[str, Any]]) -> list[list[str]]:
    keys = ("iou", "f1", "precision", "recall", "boundary_f1")
    return [
        [row["name"], *(share(row[key]) for key in keys), f"{row['true_pixels']:,}"] for row in rows
    ]


def _sizes(row: dict[str, Any]) -> tuple[str, ...]:
    true, mapped = row["true_pixels"], row["mapped_pixels"]
    more = f"{mapped / true - 1:+.1%}" if true else "-"
    return row["name"], f"{true:,}", f"{mapped:,}", more


def _confusion(values: dict[str, Any]) -> str:
    names = [row["name"] for row in values["classes"]]
    counts, missing = values["confusion"]["counts"], values["confusion"]["unmapped"]
    rows = [
        [name, *(f"{n:,}" for n in row), f"{none:,}"]
        for name, row, none in zip(names, counts, missing, strict=True)
    ]
    return table("Rows: truth; columns: map", ("truth", *names, "not mapped"), rows)


def _reliability(values: dict[str, Any], what: str) -> str:
    rows = [
        (
            f"{row['above']:.0%} to {row['to']:.0%}",
            f"{row['pixels']:,}",
            share(row["confidence"]),
            share(row["accuracy"]),
        )
        for row in values["bins"]
    ]
    return table("Bins of confidence", ("confidence", what, "mean confidence", "accuracy"), rows)


def share(value: float | None) -> str:
    """A share as percent, or a dash."""
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
