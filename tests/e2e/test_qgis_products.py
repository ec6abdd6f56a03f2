"""Real QGIS opens what is written, and draws it in the legend's colours."""

import shutil

import numpy as np
import pytest
from in_qgis import open_in_qgis
from PIL import Image
from products import GRIDS, LEGEND, ArrayStore, class_map, percents, polygons
from rasters import write

from geoseg.grid import full_window
from geoseg.io.cog import write_class_cog, write_confidence_cog
from geoseg.io.columns import attributes
from geoseg.io.geopackage import write_geopackage
from geoseg.io.qgis_project import ProjectLayer, write_project
from geoseg.io.qml import (
    class_style,
    confidence_style,
    image_style,
    polygon_qml,
    polygon_style,
    write_class_qml,
    write_confidence_qml,
)
from geoseg.io.rat import write_rat

pytestmark = pytest.mark.qgis

CLASSES = [[c.value, c.name, c.color] for c in LEGEND.classes]
WHITE = (255, 255, 255)


def products(folder, grid):
    """All that QGIS opens, for a made-up map; returns the map."""
    shape = full_window(grid).shape
    codes = class_map(shape)
    write_class_cog(ArrayStore(codes), grid, LEGEND, folder / "classes.tif", tags={})
    write_rat(folder / "classes.tif", LEGEND)
    write_class_qml(folder / "classes.qml", LEGEND)
    write_confidence_cog(ArrayStore(percents(shape)), grid, folder / "confidence.tif", tags={})
    write_confidence_qml(folder / "confidence.qml")
    batches = list(polygons(codes, grid))
    fields = attributes(batches[0].schema)
    write_geopackage(
        folder / "polygons.gpkg",
        {"land_use": batches},
        grid_crs=grid,
        styles={"land_use": polygon_qml(LEGEND.classes, fields)},
        tags={},
    )
    image = np.random.default_rng(0).integers(0, 4000, (4, *shape)).astype(np.uint16)
    scene = write(folder / "in" / "scene.tif", image, transform=grid.affine, crs=grid.crs.wkt)
    gpkg, style = str(folder / "polygons.gpkg"), polygon_style(LEGEND.classes, fields)
    stretch = image_style((3, 2, 1), [(0, 4000), (0, 2000), (0, 1000)])
    layers = [
        ProjectLayer("Land use", gpkg, style, table="land_use", group="Polygons"),
        ProjectLayer("Classes", str(folder / "classes.tif"), class_style(LEGEND), group="Maps"),
        ProjectLayer(
            "Confidence",
            str(folder / "confidence.tif"),
            confidence_style(),
            group="Maps",
            checked=False,
        ),
        ProjectLayer("Scene", scene, stretch, group="Scene"),
    ]
    write_project(folder / "project.qgz", layers, grid=grid, title="Öl & <tests>")
    return codes, image


def drawn(layer):
    with Image.open(layer["png"]) as image:
        return np.asarray(image.convert("RGB"))


def colored(codes):
    table = np.full((256, 3), WHITE, np.uint8)
    for entry in LEGEND.classes:
        table[entry.value] = entry.rgb
    return table[codes]


@pytest.fixture
def size():
    height, width = full_window(GRIDS["south-up"]).shape
    return width, height


def test_classes_open_with_exactly_the_legend_and_its_colours(tmp_path, size):
    codes, _ = products(tmp_path, GRIDS["south-up"])
    (layer,) = open_in_qgis(tmp_path / "seen", tmp_path / "classes.tif", size=size)["layers"]
    assert (layer["valid"], layer["crs"], layer["renderer"]) == (True, "EPSG:32629", "paletted")
    assert layer["classes"] == CLASSES
    # South up: QGIS draws the north above.
    np.testing.assert_array_equal(drawn(layer), colored(codes[::-1]))


def test_classes_have_their_colours_without_the_style_file_too(tmp_path, size):
    codes, _ = products(tmp_path, GRIDS["south-up"])
    (tmp_path / "classes.qml").unlink()
    (layer,) = open_in_qgis(tmp_path / "seen", tmp_path / "classes.tif", size=size)["layers"]
    labels = {value: (label, color) for value, label, color in layer["classes"]}
    assert layer["renderer"] == "paletted"
    for value, name, color in CLASSES:
        assert labels[value] == (name, color)
    np.testing.assert_array_equal(drawn(layer), colored(codes[::-1]))


def test_confidence_opens_as_a_ramp(tmp_path, size):
    products(tmp_path, GRIDS["south-up"])
    (layer,) = open_in_qgis(tmp_path / "seen", tmp_path / "confidence.tif", size=size)["layers"]
    assert (layer["valid"], layer["renderer"]) == (True, "singlebandpseudocolor")
    values, seen = percents((130, 210))[::-1], drawn(layer)
    assert (seen[values == 255] == WHITE).all()
    assert (seen[values == 0] == (0x44, 0x01, 0x54)).all()
    assert (seen[values == 100] == (0xFD, 0xE7, 0x25)).all()
    lightness = [seen[values == v].sum(axis=1).mean() for v in (0, 50, 100)]
    assert lightness == sorted(lightness)


@pytest.mark.parametrize("name", ["south-up", "rotated", "geographic"])
def test_polygons_open_by_class_with_names_and_colours(tmp_path, name):
    grid = GRIDS[name]
    products(tmp_path, grid)
    told = open_in_qgis(tmp_path / "seen", tmp_path / "polygons.gpkg", size=(630, 390))
    (layer,) = told["layers"]
    assert (layer["valid"], layer["renderer"]) == (True, "categorizedSymbol")
    assert layer["by"] == "class_code"
    assert layer["classes"] == CLASSES
    assert layer["features"] > 100
    assert layer["invalid"] == 0
    assert layer["aliases"]["area_ha"] == "Area (ha)"
    colors, counts = np.unique(drawn(layer).reshape(-1, 3), axis=0, return_counts=True)
    order = [tuple(colors[i]) for i in np.argsort(-counts) if tuple(colors[i]) != WHITE]
    # Outlines are shades of their classes; what is common is the legend.
    assert set(order[: len(CLASSES)]) == {c.rgb for c in LEGEND.classes}


@pytest.mark.parametrize("name", GRIDS)
def test_project_opens_with_all_layers_wherever_it_is_moved(tmp_path, name):
    grid = GRIDS[name]
    (tmp_path / "made").mkdir()
    products(tmp_path / "made", grid)
    moved = shutil.move(tmp_path / "made", tmp_path / "moved")
    told = open_in_qgis(tmp_path / "seen", moved / "project.qgz", size=(100, 80))
    assert [layer["name"] for layer in told["layers"]] == [
        "Land use", "Classes", "Confidence", "Scene",
    ]  # fmt: skip
    assert all(layer["valid"] for layer in told["layers"])
    assert [layer["renderer"] for layer in told["layers"]] == [
        "categorizedSymbol", "paletted", "singlebandpseudocolor", "multibandcolor",
    ]  # fmt: skip
    assert told["shown"] == ["Land use", "Classes", "Scene"]
    assert told["layers"][0]["classes"] == told["layers"][1]["classes"] == CLASSES
    code = "" if grid.crs.epsg is None else f"EPSG:{grid.crs.epsg}"
    assert {layer["crs"] for layer in told["layers"]} == {code}


def test_scene_is_stretched_between_its_limits(tmp_path, size):
    _, image = products(tmp_path, GRIDS["south-up"])
    told = open_in_qgis(tmp_path / "seen", tmp_path / "project.qgz", size=size)
    seen = drawn(told["layers"][3]).astype(int)
    for channel, (band, high) in enumerate(((2, 4000), (1, 2000), (0, 1000))):
        wanted = np.clip(image[band, ::-1] / high * 255, 0, 255)
        assert np.abs(seen[..., channel] - wanted).max() <= 1


def test_scene_in_another_crs_lies_where_it_should(tmp_path):
    grid, own = GRIDS["south-up"], GRIDS["geographic"]
    image = np.zeros((3, *full_window(own).shape), np.uint8)
    scene = write(tmp_path / "scene.tif", image, transform=own.affine, crs=own.crs.wkt)
    layer = ProjectLayer("Scene", scene, image_style((1, 2, 3)), grid=own)
    write_project(tmp_path / "project.qgz", [layer], grid=grid, title="")
    told = open_in_qgis(tmp_path / "seen", tmp_path / "project.qgz", size=(50, 50))
    assert told["layers"][0]["crs"] == "EPSG:4326"
