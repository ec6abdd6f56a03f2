"""Run by the Python that has QGIS: opens products as the desktop would, and says what it sees.

    qgis_side.py FOLDER SCALE PATH...

Prints JSON; draws every layer alone to FOLDER, SCALE image pixels for each pixel of WIDTHxHEIGHT.
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
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


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


def seen(layer, size, folder, index, scale):
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
    told["png"] = draw(layer, size, f"{folder}/{index}.png", scale)
    return told


def draw(layer, size, path, scale):
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setBackgroundColor(QColor("white"))
    settings.setFlag(Qgis.MapSettingsFlag.Antialiasing, on=False)
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(layer.extent())
    settings.setOutputSize(QSize(size[0] * scale, size[1] * scale))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    assert not job.errors(), [e.message for e in job.errors()]
    job.renderedImage().save(path)
    return path


def main(folder, size, scale, *paths):
    app = QgsApplication([], False)  # noqa: FBT003 (it takes no keywords)
    app.initQgis()
    size = [int(n) for n in size.split("x")]
    layers = [layer for path in paths for layer in layers_of(str(Path(path).resolve()))]
    told = [seen(layer, size, folder, i, int(scale)) for i, layer in enumerate(layers)]
    shown = [layer.name() for layer in QgsProject.instance().layerTreeRoot().checkedLayers()]
    print(json.dumps({"layers": told, "shown": shown}), flush=True)  # noqa: T201 (what it is for)
    os._exit(0)  # QGIS likes to crash while it is taken down


if __name__ == "__main__":
    main(*sys.argv[1:])
