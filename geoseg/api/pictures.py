"""What the pictures and the project of a scene are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from geoseg.api.polygons import Stored
from geoseg.grid import GeoBox
from geoseg.io.decimate import SmallScene, decimated_raster, decimated_scene
from geoseg.io.qgis_project import ProjectLayer
from geoseg.io.qml import polygon_style
from geoseg.io.qml_labels import label_scale
from geoseg.io.quicklook import PANEL, Picture, write_quicklook
from geoseg.io.vector import Theme
from geoseg.legend import LandClass, Legend
from geoseg.run.patience import in_time
from geoseg.scene import Scene

DRAWN_POLYGONS = 50_000
"""More polygons than that are noise in a quicklook."""


def small_scene(
    scene: Scene, bands: Sequence[str], *, patience: float, forgiving: bool
) -> SmallScene:
    """Bands of a scene as large as a panel, read within ``patience`` seconds."""
    return in_time(patience, lambda: decimated_scene(scene, bands, PANEL, forgiving=forgiving))


def draw_quicklook(
    path: Path,
    small: SmallScene,
    classes: Path,
    legend: Legend,
    polygons: Stored | None,
    *,
    grid: GeoBox,
    areas: Mapping[int, float],
    words: tuple[str, str],
) -> None:
    """The quicklook of a scene; ``words`` are its title and its note."""
    title, note = words
    drawn = polygons if polygons is not None and polygons.kept <= DRAWN_POLYGONS else ()
    map_of = decimated_raster(classes, PANEL)[0]
    picture = Picture(*small, map_of, legend, grid, polygons=drawn, areas=areas)
    write_quicklook(path, picture, title=title, note=note)


def polygon_layers(
    path: Path,
    themes: Iterable[Theme],
    classes: Sequence[LandClass],
    fields: Sequence[str],
    grid: GeoBox,
) -> list[ProjectLayer]:
    """A layer of the project for each theme of a GeoPackage."""
    layers = []
    for theme in themes:
        style = polygon_style(theme.classes(classes), fields, labels_below=label_scale(grid))
        name = theme.name.replace("_", " ").capitalize()
        layers.append(ProjectLayer(name, str(path), style, theme.name, "Polygons"))
    return layers
