"""Run by the Python that has QGIS: opens products as the desktop would, and says what it sees.

    qgis_side.py FOLDER WIDTHxHEIGHT SCALE WISHES PATH...

Prints JSON; draws every layer alone to FOLDER, SCALE image pixels for each pixel of WIDTHxHEIGHT,
without labels. WISHES is JSON: "frames" of the time slider that a project is drawn in, and "labels",
denominators of scales at which the middle of each vector layer is drawn with and without labels.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from osgeo import ogr
from qgis.core import (
    Qgis,
    QgsApplication,
    QgsDateTimeRange,
    QgsLayerTree,
    QgsLayerTreeModel,
    QgsLegendRenderer,
    QgsLegendSettings,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsRenderContext,
    QgsUnitTypes,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QDateTime, QSize, Qt
from qgis.PyQt.QtGui import QColor, QImage, QPainter

MM_PER_PIXEL = 25.4 / 96


def layers_of(path):
    """Layers in the order of the tree; a project says which are shown."""
    if path.endswith(".qgz"):
        project = QgsProject.instance()
        assert project.read(path), path
        return [node.layer() for node in project.layerTreeRoot().findLayers()]
    if path.endswith((".gpkg", ".parquet", ".fgb")):
        tables = [layer.GetName() for layer in ogr.Open(path)]
        return [
            QgsVectorLayer(f"{path}|layername={t}", t, "ogr") for t in tables if t != "layer_styles"
        ]
    return [QgsRasterLayer(path, Path(path).name)]


def seen(layer, size, folder, index, scale, wishes):
    renderer = layer.renderer()
    told = {
        "name": layer.name(),
        "valid": layer.isValid(),
        "crs": layer.crs().authid(),
        "renderer": renderer.type(),
        "classes": [],
    }
    if renderer.type() == "paletted":
        told["classes"] = [[int(c.value), c.label, c.color.name()] for c in renderer.classes()]
    elif renderer.type() == "categorizedSymbol":
        told["by"] = renderer.classAttribute()
        told["classes"] = [
            [int(c.value()), c.label(), c.symbol().color().name()] for c in renderer.categories()
        ]
    if isinstance(layer, QgsVectorLayer):
        told["features"] = layer.featureCount()
        told["aliases"] = {f.name(): f.alias() for f in layer.fields()}
        told["invalid"] = sum(not f.geometry().isGeosValid() for f in layer.getFeatures())
        told["labels"] = labels_of(layer)
        told["labelled"] = [
            [
                draw(
                    [layer],
                    [600, 450],
                    f"{folder}/{index}-{below}-{on}.png",
                    scale=below,
                    labels=on,
                )
                for on in (False, True)
            ]
            for below in wishes.get("labels", ())
        ]
    elif renderer.type() == "singlebandpseudocolor":
        items = renderer.shader().rasterShaderFunction().colorRampItemList()
        told["ramp"] = [[item.value, item.label, item.color.name()] for item in items]
    told["temporal"] = time_of(layer)
    told["legend"], told["rows"] = legend(layer, f"{folder}/legend-{index}.png")
    told["png"] = draw([layer], [n * scale for n in size], f"{folder}/{index}.png")
    return told


def labels_of(layer):
    """Expression, and the scale below which it is drawn; None where there are no labels."""
    if not layer.labelsEnabled():
        return None
    settings = layer.labeling().settings()
    assert settings.scaleVisibility
    return [settings.fieldName, settings.minimumScale]


def time_of(layer):
    """When it is shown: mode, and first and last moment or attributes; None where it is always."""
    properties = layer.temporalProperties()
    if not properties.isActive():
        return None
    mode = int(properties.mode())
    if mode == 0:
        span = properties.fixedTemporalRange()
        return [mode, *(m.toString(Qt.ISODate) for m in (span.begin(), span.end()))]
    if properties.startField():
        return [mode, properties.startField(), properties.endField()]
    return [mode, properties.startExpression(), properties.endExpression()]


def legend(layer, path):
    """Draw what the legend of a print layout shows; width and height in mm, and texts of its rows."""
    tree = QgsLayerTree()
    tree.addLayer(layer)
    model, settings = QgsLayerTreeModel(tree), QgsLegendSettings()
    renderer = QgsLegendRenderer(model, settings)
    size = renderer.minimumSize()
    image = QImage(
        int(size.width() / MM_PER_PIXEL) + 1, min(int(size.height() / MM_PER_PIXEL) + 1, 8000),
        QImage.Format_RGB32,
    )  # fmt: skip
    image.fill(QColor("white"))
    painter = QPainter(image)
    painter.scale(1 / MM_PER_PIXEL, 1 / MM_PER_PIXEL)
    renderer.drawLegend(QgsRenderContext.fromQPainter(painter))
    painter.end()
    image.save(path)
    nodes = model.layerLegendNodes(tree.findLayer(layer))
    return [size.width(), size.height()], [str(node.data(Qt.DisplayRole)) for node in nodes]


def draw(layers, size, path, *, scale=None, labels=False, frame=None):
    first = layers[0]
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setBackgroundColor(QColor("white"))
    settings.setFlag(Qgis.MapSettingsFlag.Antialiasing, on=False)
    settings.setFlag(Qgis.MapSettingsFlag.DrawLabeling, on=labels)
    settings.setDestinationCrs(first.crs())
    settings.setOutputDpi(96)
    settings.setOutputSize(QSize(*size))
    if scale is None:
        settings.setExtent(first.extent())
    else:
        middle, (width, height) = (
            first.extent().center(),
            (n * MM_PER_PIXEL / 2000 * scale for n in size),
        )
        settings.setExtent(
            QgsRectangle(
                middle.x() - width, middle.y() - height, middle.x() + width, middle.y() + height
            )
        )
    if frame is not None:
        settings.setIsTemporal(True)
        start, end = (QDateTime.fromString(text, Qt.ISODate) for text in frame)
        settings.setTemporalRange(QgsDateTimeRange(start, end))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    assert not job.errors(), [e.message for e in job.errors()]
    job.renderedImage().save(path)
    return path


def project_of(folder, size, wishes):
    """What the project says of itself, and its layers in the frames of its time slider."""
    project = QgsProject.instance()
    root, times = project.layerTreeRoot(), project.timeSettings()
    span = times.temporalRange()
    shown = root.checkedLayers()
    return {
        "title": project.title(),
        "layers": [node.name() for node in root.findLayers()],
        "crs": project.crs().authid(),
        "groups": [
            [group.name(), group.isVisible(), [node.name() for node in group.findLayers()]]
            for group in root.findGroups()
        ],
        "time": [
            *(moment.toString(Qt.ISODate) for moment in (span.begin(), span.end())),
            times.timeStep(),
            QgsUnitTypes.toString(times.timeStepUnit()),
        ],
        "frames": [
            draw(shown, size, f"{folder}-frame-{number}.png", frame=frame)
            for number, frame in enumerate(wishes.get("frames", ()))
        ],
    }


def main(folder, size, scale, wishes, *paths):
    app = QgsApplication([], False)  # noqa: FBT003 (it takes no keywords)
    app.initQgis()
    size, wishes = [int(n) for n in size.split("x")], json.loads(wishes)
    said = {"layers": [], "shown": [], "projects": []}
    for path in paths:  # one after the other: reading a project forgets the layers of the last one
        for layer in layers_of(str(Path(path).resolve())):
            index = len(said["layers"])
            said["layers"].append(seen(layer, size, folder, index, int(scale), wishes))
        if path.endswith(".qgz"):
            number = len(said["projects"])
            said["projects"].append(project_of(f"{folder}/{number}", size, wishes))
            checked = QgsProject.instance().layerTreeRoot().checkedLayers()
            said["shown"] = [layer.name() for layer in checked]
    print(json.dumps(said), flush=True)  # noqa: T201 (what it is for)
    os._exit(0)  # QGIS likes to crash while it is taken down


if __name__ == "__main__":
    main(*sys.argv[1:])
