"""Label sets looked over: what they hold, what is wrong with them, and what they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from geoseg.api import fingerprint
from geoseg.api.label_alignment import Alignment, align
from geoseg.api.label_items import LabelItem, open_items
from geoseg.api.label_leaks import find_leaks
from geoseg.api.label_shapes import Drawn, Shapes, Thresholds, look_at_shapes
from geoseg.api.labels import raster_digest, vector_digest
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.label_files import LabelFile, RasterLabels, VectorLabels
from geoseg.io.label_places import check_places, write_places
from geoseg.io.provenance import Provenance
from geoseg.legend import Legend
from geoseg.ops.alignment import REACH, Agreement, Shift, estimate_shift
from geoseg.ops.content_hash import RasterContent, set_hash, tidy
from geoseg.ops.findings import Finding
from geoseg.ops.label_census import Census, is_code
from geoseg.ops.taxonomy import Said, check_taxonomy
from geoseg.run.reporter import Reporter
from geoseg.run.threads import each_block

FAR = 1.0
"""Pixels that labels may lie off before it is worth a warning."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How labels are looked at.

    Attributes:
        images: Of the same places.
        legend: What codes and names should be.
        min_area: Smaller regions are specks, e.g. ``3 px``.
        min_width: Thinner ones are slivers, e.g. ``1 px``.
        min_share: Of labelled area: classes with less are rare.
        margin: Pixels around each that are seen, too, when parts of a split are compared.
        groups: What must stay together, by stem of the label file.
        places: GeoPackage to write what was found to.
    """

    images: Sequence[Path] = ()
    legend: Legend | None = None
    min_area: str = "3 px"
    min_width: str = "1 px"
    min_share: float = 0.01
    margin: int = 0
    groups: Mapping[str, str] = field(default_factory=dict)
    places: Path | None = None


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How much there is of a class in a part of a split.

    Attributes:
        part: "" where there is no split.
        name: Of the class, or its code.
        pixels: 0 for vector files.
        regions: Connected regions (8 neighbours), polygons or points.
        area: Square metres; None where nothing says how large pixels are.
        share: Of the part's labelled area, of its pixels, or of its points.
    """

    part: str
    name: str
    pixels: int
    regions: int
    area: float | None
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class LabelCheck:
    """What was found.

    Attributes:
        content_hash: Of the set.
        files: Number of label files by part.
        classes: How much there is of each.
        findings: Faults first.
        alignments: One for each image that was compared.
        pooled: The shift of all files together; None without images.
    """

    content_hash: str
    files: Mapping[str, int]
    classes: tuple[ClassCount, ...]
    findings: tuple[Finding, ...]
    alignments: tuple[Alignment, ...]
    pooled: Shift | None

    @property
    def faults(self) -> int:
        """How many findings are faults."""
        return sum(finding.level == "fault" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """How many are warnings."""
        return sum(finding.level == "warning" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON can say it."""
        return {
            "content_hash": self.content_hash,
            "files": dict(self.files),
            "faults": self.faults,
            "warnings": self.warnings,
            "classes": [
                {
                    "part": c.part,
                    "name": c.name,
                    "pixels": c.pixels,
                    "regions": c.regions,
                    "area_ha": None if c.area is None else c.area / 1e4,
                    "share": c.share,
                }
                for c in self.classes
            ],
            "findings": [finding.as_dict() for finding in self.findings],
            "alignment": {
                "all": None if self.pooled is None else _shift(self.pooled),
                "images": [
                    {"labels": a.labels, "image": a.image, **_shift(a.shift), **_metres(a)}
                    for a in self.alignments
                ],
            },
        }


def check_label_files(
    parts: dict[str, Sequence[LabelFile]],
    wishes: Wishes,
    *,
    reporter: Reporter,
    workers: int | None,
) -> LabelCheck:
    """See :func:`geoseg.api.label_sets.check_labels`."""
    limits = Thresholds.parse(wishes.min_area, wishes.min_width)
    if not 0 <= wishes.min_share < 1:
        raise InputError(f"min-share: {wishes.min_share} is no share of 0 to 1")
    if wishes.places is not None:
        check_places(wishes.places)
    items = open_items(parts, wishes.images)
    looked = [_look(item, limits, reporter, workers) for item in items]
    found = check_taxonomy([one.said for one in looked], wishes.legend)
    found += [finding for one in looked for finding in one.shapes.findings]
    alignments, about = _alignments(items, reporter, workers)
    found += about
    pooled = _pooled(alignments)
    found += _far(alignments, pooled)
    if len(parts) > 1:
        found += find_leaks(
            items,
            margin=wishes.margin,
            groups=dict(wishes.groups),
            reporter=reporter,
            workers=workers,
        )
    classes = _classes(items, looked, wishes.legend)
    found += _rare(classes, wishes.min_share)
    order = {"fault": 0, "warning": 1, "note": 2}
    if wishes.places is not None:
        drawn = [place for one in looked for place in one.shapes.drawn]
        _write_places(wishes.places, drawn, _provenance(items, wishes))
    return LabelCheck(
        set_hash(one.digest for one in looked),
        {part: len(files) for part, files in parts.items()},
        classes,
        tuple(sorted(found, key=lambda finding: order[finding.level])),
        tuple(alignments),
        pooled,
    )


def _write_places(path: Path, drawn: Sequence[Drawn], origin: Provenance) -> None:
    columns = {name: [getattr(place, name) for place in drawn] for name in ("what", "text", "file")}
    shapes, crs = [place.shape for place in drawn], [place.crs for place in drawn]
    write_places(path, shapes, crs, columns, origin.document())


def _provenance(items: Sequence[LabelItem], wishes: Wishes) -> Provenance:
    inputs = fingerprint.inputs([item.name for item in items])
    settings = asdict(wishes)
    settings.pop("places")
    return Provenance("places in labels", inputs, settings, fingerprint.software())


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """What one file holds."""

    said: Said
    shapes: Shapes
    digest: bytes


def _look(item: LabelItem, limits: Thresholds, reporter: Reporter, workers: int | None) -> _Looked:
    if isinstance(item.labels, VectorLabels):
        said, digest = _said_of_features(item, item.labels), vector_digest(item.labels)
    else:
        said, digest = _said_of_raster(item, item.labels, reporter, workers)
    return _Looked(said, look_at_shapes(item, limits, workers=workers), digest)


def _said_of_raster(
    item: LabelItem, labels: RasterLabels, reporter: Reporter, workers: int | None
) -> tuple[Said, bytes]:
    """Numbers, and the digest: both from one reading."""
    width = int(labels.grid.shape[1])
    content, census = RasterContent(), Census.empty()

    def work(window: Window) -> tuple[Census, Any]:
        values, valid = labels.read(window)
        return Census.of(values, valid, window, width), labels.codes(window)

    try:
        for some, codes in each_block(
            work, tuple(labels.strips()), name="count", reporter=reporter, workers=workers
        ):
            census += some
            content.add(codes)
    except InputError as error:
        # What it holds is known below, its name here.
        text = str(error)
        raise InputError(text if item.name in text else f"{item.name}: {text}") from error
    transform = item.grid.affine
    places: dict[float | str, tuple[float, float]] = {
        number: transform @ (at % width + 0.5, at // width + 0.5)
        for number, at in census.first.items()
    }
    counts: dict[float | str, int] = dict(census.pixels.items())
    said = Said(item.name, counts, places, labels.names, labels.colors)
    return said, raster_digest(labels, content)


def _said_of_features(item: LabelItem, labels: VectorLabels) -> Said:
    counts: dict[float | str, int] = {}
    places: dict[float | str, tuple[float, float]] = {}
    for label, shape in zip(labels.labels, labels.shapes, strict=True):
        counts[label] = counts.get(label, 0) + 1
        if label not in places:
            point = shape.representative_point()
            places[label] = (float(point.x), float(point.y))
    return Said(item.name, counts, places, unit="features")


def _alignments(
    items: Sequence[LabelItem], reporter: Reporter, workers: int | None
) -> tuple[list[Alignment], list[Finding]]:
    found, about = [], []
    for item in items:
        for image in item.images:
            if isinstance(item.labels, RasterLabels) and not (item.labels.placed and image.placed):
                mine, theirs = (
                    tuple(int(n) for n in g.shape) for g in (item.labels.grid, image.grid)
                )
                if mine != theirs:
                    text = f"{mine[0]} x {mine[1]} pixels, its image has {theirs[0]} x {theirs[1]}"
                    about.append(Finding("fault", "alignment", "size-differs", text, item.name))
                    continue
            answer = align(item, image, reporter=reporter, workers=workers)
            if isinstance(answer, str):
                text = f"not compared with {image.path}: {answer}"
                about.append(Finding("note", "alignment", "not-checked", text, item.name))
            else:
                found.append(answer)
    return found, about


def _pooled(alignments: Sequence[Alignment]) -> Shift | None:
    if not alignments:
        return None
    total = Agreement.empty()
    for one in alignments:
        total += one.counts
    return estimate_shift(total)


def _far(alignments: Sequence[Alignment], pooled: Shift | None) -> list[Finding]:
    found = [
        Finding("warning", "alignment", "shifted", _said_shift(a), a.labels)
        for a in alignments
        if a.shift.length > FAR
    ]
    unknown = [a for a in alignments if a.shift.pixels is None]
    if unknown:
        why = unknown[0].shift.why_not
        text = f"cannot tell how {unknown[0].labels} lies on its image: {why}"
        if len(unknown) > 1:
            text += f"; nor can {len(unknown) - 1} others be told on their own"
        if pooled is not None and pooled.pixels is not None and len(alignments) > 1:
            y, x = pooled.pixels
            text += f" (all together: {y:+.1f} rows, {x:+.1f} columns ± {pooled.error:.1f})"
        found.append(Finding("note", "alignment", "cannot-tell", text, count=len(unknown)))
    return found


def _said_shift(a: Alignment) -> str:
    if a.shift.pixels is None:
        raise TypeError("there is no shift to tell of")
    y, x = a.shift.pixels
    metres = "" if a.sides is None else f", {y * a.sides[0]:+.1f} m and {x * a.sides[1]:+.1f} m"
    return (
        f"edges in the image lie {y:+.1f} rows and {x:+.1f} columns from those of the labels "
        f"(± {a.shift.error:.1f} px{metres}; {a.shift.agreeing} of {a.shift.groups} parts agree)"
    )


def _classes(
    items: Sequence[LabelItem], looked: Sequence[_Looked], legend: Legend | None
) -> tuple[ClassCount, ...]:
    """Counts by part and class; a code is called as the legend or any file calls it."""
    names = {code: name for one in looked for code, name in one.said.names.items()}
    names |= {c.value: c.name for c in legend.classes} if legend else {}
    shown: dict[str, str] = {tidy(name): name for name in names.values()}
    rows: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    measured: dict[str, bool] = defaultdict(lambda: True)
    for item, one in zip(items, looked, strict=True):
        raster = one.said.unit == "px"
        for key, count in one.said.counts.items():
            if not isinstance(key, str) and not is_code(key):
                continue
            called = key if isinstance(key, str) else names.get(int(key), str(int(key)))
            called = shown.setdefault(tidy(called), called)
            own = " ".join(key.split()) if isinstance(key, str) else int(key)
            row = rows[item.part, called]
            row[0] += count if raster else 0
            row[1] += one.shapes.regions[own]
            row[2] += one.shapes.area.get(own, 0.0)
            measured[item.part] &= own in one.shapes.area
            if isinstance(key, str):
                # Spellings of one class were counted under each of them.
                one.shapes.regions[own], one.shapes.area[own] = 0, 0.0
    return _shares(rows, measured)


def _shares(
    rows: Mapping[tuple[str, str], list[float]], measured: Mapping[str, bool]
) -> tuple[ClassCount, ...]:
    """Shares of area where it is known, else of pixels, else of features."""
    out = []
    for part in dict.fromkeys(part for part, _ in rows):
        mine = {name: row for (of, name), row in rows.items() if of == part}
        by = 2 if measured[part] else (0 if any(row[0] for row in mine.values()) else 1)
        total = sum(row[by] for row in mine.values()) or 1.0
        for name, row in sorted(mine.items(), key=lambda entry: -entry[1][by]):
            area = row[2] if measured[part] else None
            share = row[by] / total
            out.append(ClassCount(part, name, int(row[0]), int(row[1]), area, share))
    return tuple(out)


def _rare(classes: Sequence[ClassCount], least: float) -> list[Finding]:
    found = []
    for part in dict.fromkeys(c.part for c in classes):
        rare = [c for c in classes if c.part == part and c.share < least]
        if rare:
            where = f" of {part}" if part else ""
            text = f"under {least:.1%}{where}: " + ", ".join(
                f"{c.name} ({c.share:.2%}, {c.regions:,} regions)" for c in rare
            )
            found.append(Finding("warning", "balance", "rare-class", text, count=len(rare)))
        if len(parts := {c.part for c in classes}) > 1:
            names = {c.name for c in classes} - {c.name for c in classes if c.part == part}
            if names:
                text = f"{part} has no {', '.join(sorted(names))}, which other parts have"
                found.append(Finding("warning", "balance", "missing-class", text, count=len(parts)))
    return found


def _shift(shift: Shift) -> dict[str, Any]:
    known = shift.pixels is not None
    return {
        "rows": shift.pixels[0] if shift.pixels is not None else None,
        "columns": shift.pixels[1] if shift.pixels is not None else None,
        "standard_error": shift.error if known else None,
        "parts_agreeing": shift.agreeing,
        "parts": shift.groups,
        "cannot_tell": shift.why_not or None,
        "searched_px": REACH,
    }


def _metres(a: Alignment) -> dict[str, Any]:
    if a.shift.pixels is None or a.sides is None:
        return {"rows_m": None, "columns_m": None}
    (y, x), (down, across) = a.shift.pixels, a.sides
    return {"rows_m": y * down, "columns_m": x * across}
