"""Products of anyone's get the names and colours of a legend, as QGIS and others show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.api.legends import legend_called
from geoseg.api.places import check_folder
from geoseg.errors import InputError
from geoseg.io.atomic import write_bytes
from geoseg.io.class_raster import read_legend, unnamed, unnamed_class
from geoseg.io.columns import CLASS_CODE, CLASS_NAME
from geoseg.io.item_refresh import refresh_item
from geoseg.io.polygon_styling import PolygonLayer, flat_layer, polygon_layers, write_styles
from geoseg.io.project_styling import Source, restyle_project
from geoseg.io.qml import Style, class_style, polygon_document, polygon_style
from geoseg.io.qml_labels import LABELS_BELOW, scale_for
from geoseg.io.raster_styling import counts_of, percents_of, style_classes, style_percents
from geoseg.legend import LandClass, Legend
from geoseg.run.lock import hold

PACKED, FLAT = (".gpkg",), (".parquet", ".fgb")
_IN_FOLDERS: Final = ("classes.tif", "polygons.gpkg", "polygons.parquet", "polygons.fgb")
_MOST_TOLD: Final = 8
_LEFT: Final = {"theirs": "was saved with QGIS", "unreadable": "cannot be read as a project"}

Kind = Literal["classes", "percents", "polygons"]


@dataclass(frozen=True, slots=True)
class Styled:
    """What became of a product.

    Attributes:
        path: Of the product.
        kind: What it holds.
        layers: Classes by layer; a raster's is called "".
        written: Files that were written, the product among them where it was.
        notes: What was left alone, and why.
    """

    path: Path
    kind: Kind
    layers: Mapping[str, Sequence[LandClass]]
    written: Sequence[Path]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Job:
    """A product that was looked at, and how it will be shown."""

    path: Path
    kind: Kind
    layers: dict[str, Sequence[LandClass]] = field(default_factory=dict)
    counts: Sequence[int] = ()
    legend: Legend | None = None
    percent: str = ""
    styles: dict[str, Style] = field(default_factory=dict)


def style(
    products: Sequence[str | Path],
    *,
    legend: str | None = None,
    column: str = CLASS_CODE,
    layer: str | None = None,
) -> list[Styled]:
    """Give products the names and colours of a legend; pixels and polygons stay as they are.

    Class rasters get palette (GeoTIFFs of bytes), category names, attribute table and a ``.qml``;
    rasters of percents their ramp; layers of GeoPackages a row in ``layer_styles``; GeoParquet and
    FlatGeobuf a ``.qml``. A project and a STAC item of ours beside them follow. All products are
    looked at before anything is written.

    Args:
        products: Rasters, ``.gpkg``, ``.parquet``, ``.fgb``, or folders of products.
        legend: A known legend, a model, a table (.csv, .json) or a raster that names its classes;
            without it what each product says itself, with colours for what has none.
        column: Of polygons, with codes, or with texts that are names of classes.
        layer: Of GeoPackages, the only one; without it all that have the column.

    Returns:
        What became of each product, in their order.

    Raises:
        InputError: A product cannot be read, or has classes that the legend lacks; nothing was
            written.
        LockedError: A run or another program is writing there.
        ProductError: Something cannot be written.
    """
    given = None if legend is None else legend_called(legend)
    jobs = [_look(path, given, column, layer) for path in _expanded(products)]
    folders = sorted({job.path.resolve().parent for job in jobs})
    for folder in folders:
        check_folder(folder, what=str(folder))
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(hold(folder))
        return [_write(job) for job in jobs]


def _expanded(products: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for product in map(Path, products):
        if product.is_dir():
            inside = [product / name for name in _IN_FOLDERS if (product / name).is_file()]
            if not inside:
                raise InputError(f"{product}: has none of {', '.join(_IN_FOLDERS)}; name files")
            found += inside
        elif product.is_file():
            found.append(product)
        else:
            raise InputError(f"{product}: no such file or folder")
    return list(dict.fromkeys(found))


def _look(path: Path, given: Legend | None, column: str, layer: str | None) -> _Job:
    suffix = path.suffix.lower()
    if suffix in PACKED + FLAT:
        if suffix in PACKED:
            found = polygon_layers(path, column, CLASS_NAME, layer=layer)
        else:
            found = [flat_layer(path, column, CLASS_NAME)]
        job = _Job(path, "polygons")
        for one in found:
            job.layers[one.name] = classes = _polygon_classes(path, one, given)
            job.styles[one.name] = _polygon_style(one, classes)
        return job
    percent = percents_of(path)
    if percent is not None:
        return _Job(path, "percents", percent=percent)
    counts = counts_of(path)
    shown = _raster_legend(path, counts, given)
    job = _Job(path, "classes", {"": shown.classes}, counts.tolist(), shown)
    job.styles[""] = class_style(shown)
    return job


def _raster_legend(path: Path, counts: NDArray[np.int64], given: Legend | None) -> Legend:
    seen = [int(code) for code in np.flatnonzero(counts)]
    if given is None:
        own = read_legend(path)
        classes = tuple(c for c in own.classes if c.value in seen or c.name != unnamed(c.value))
        if not classes:
            raise InputError(f"{path}: has no pixel with a class, and names none; give --legend")
        return Legend(own.name, classes, own.nodata)
    missing = [code for code in seen if code not in given.values and code != given.nodata]
    if missing:
        told = [f"{code} ({counts[code]:,} px)" for code in missing]
        raise _lacks(path, given, "codes", told)
    return given


def _polygon_classes(path: Path, layer: PolygonLayer, given: Legend | None) -> list[LandClass]:
    """In the order of the legend; without one in that of codes, as the layer itself says."""
    if given is None:
        return _own_classes(layer)
    if not layer.text:
        missing = [code for code in layer.classes if code not in given.values]
        if missing:
            raise _lacks(f"{path}: layer {layer.name}", given, "codes", list(map(str, missing)))
        return list(given.classes)
    by_name = {c.name.casefold(): c for c in given.classes}
    texts = [text for text in layer.classes.values() if text is not None]
    missing_texts = [text for text in texts if text.casefold() not in by_name]
    if missing_texts:
        raise _lacks(f"{path}: layer {layer.name}", given, "classes", missing_texts)
    # Categories match texts letter by letter: as the layer spells them.
    found = [(by_name[text.casefold()], text) for text in texts]
    return [LandClass(c.value, text, c.color) for c, text in found]


def _own_classes(layer: PolygonLayer) -> list[LandClass]:
    if layer.text:
        return [
            LandClass(code, name, layer.drawn.get(name, ("", unnamed_class(code).color))[1])
            for code, name in layer.classes.items()
            if name is not None
        ]
    drawn = {int(v): d for v, d in layer.drawn.items() if v.isdecimal() and int(v) < 256}
    found = []
    for code in sorted({*layer.classes, *drawn}):
        label, color = drawn.get(code, (unnamed(code), unnamed_class(code).color))
        found.append(LandClass(code, layer.classes.get(code) or label, color))
    return found


def _lacks(what: str | Path, legend: Legend, kind: str, missing: Sequence[str]) -> InputError:
    more = f" and {len(missing) - _MOST_TOLD} more" if len(missing) > _MOST_TOLD else ""
    return InputError(
        f"{what}: holds {kind} that legend {legend.name!r} lacks: "
        f"{', '.join(missing[:_MOST_TOLD])}{more}; it has "
        f"{', '.join(f'{c.value} {c.name}' for c in legend.classes)}"
    )


def _polygon_style(layer: PolygonLayer, classes: Sequence[LandClass]) -> Style:
    named = CLASS_NAME in layer.fields and not layer.text
    by = (layer.column, CLASS_NAME if named else layer.column)
    below = LABELS_BELOW if layer.pixel is None else scale_for(layer.pixel)
    return polygon_style(classes, layer.fields, by=by, text=layer.text, labels_below=below)


def _write(job: _Job) -> Styled:
    path = job.path
    if job.legend is not None:
        written = style_classes(path, job.legend, job.counts)
    elif job.kind == "percents":
        written = style_percents(path, job.percent)
    elif path.suffix.lower() in PACKED:
        write_styles(path, {name: polygon_document(s) for name, s in job.styles.items()})
        written = [path]
    else:
        (only,) = job.styles.values()
        write_bytes(path.with_suffix(".qml"), polygon_document(only).encode())
        written = [path.with_suffix(".qml")]
    more, notes = _follow(job, {file.resolve() for file in written})
    return Styled(path, job.kind, job.layers, [*written, *more], tuple(notes))


def _follow(job: _Job, changed: set[Path]) -> tuple[list[Path], list[str]]:
    """Bring what speaks of a product up to date: projects here and above, and the item."""
    written, notes = [], []
    file, folder = job.path.resolve(), job.path.parent
    packed = job.path.suffix.lower() in PACKED
    styles: dict[Source, Style] = {
        (file, name if packed else ""): style for name, style in job.styles.items()
    }
    for project in (folder / "project.qgz", folder.absolute().parent / "project.qgz"):
        if not styles or not project.is_file():
            continue
        done = restyle_project(project, styles)
        if done in _LEFT:
            notes.append(f"{project}: {_LEFT[done]}, and stays as it is")
        elif done == "changed":
            written.append(project)
            changed.add(project.resolve())
    item = folder / "item.json"
    if refresh_item(item, changed, {} if job.legend is None else {file: job.legend}):
        written.append(item)
    return written, notes
