"""What pages take for given: files that a reader has, made here of one small scene of two dates."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import rasterio
import rioxarray
import shapely
import xarray as xr
from PIL import Image

import geoseg.cli
from geoseg.io.reviews import Review, add_review, now
from geoseg.models.registry import find

SCENE = "--size 256 --seed 4 --no-clouds --quiet"
LEGEND = ("Water", "Trees", "Grass and shrub", "Crops", "Built area", "Bare ground")


def call(line: str) -> None:
    """A command in this process; it must end well."""
    code = geoseg.cli.run(line.split())
    assert code == 0, f"{code}: geoseg {line}"


def write_stock(scheduler: str) -> None:
    """Scenes, products and alerts of June and September, in the current folder."""
    on = f"--set cluster.address={scheduler} --quiet"
    call(f"sample scene {SCENE}")
    call(f"sample later {SCENE} --date 2")
    call(f"predict scene/scene.tif june --units reflectance --set output.raster.zarr=true {on}")
    call(f"predict later/scene.tif september --units reflectance {on}")
    call("alerts update forest.zarr september --forest Trees --baseline june/classes.tif --quiet")
    call("alerts export forest.zarr alerts --quiet")


class Desk:
    """A folder for one page, and what is put into it from the stock."""

    def __init__(self, stock: Path, place: Path) -> None:
        self.stock, self.place = stock, place

    def put(self, **files: str) -> None:
        """Copies by name; ``__`` stands for a slash, ``_dot_`` for a point."""
        for name, source in files.items():
            self.copy(source, name.replace("__", "/").replace("_dot_", "."))

    def copy(self, source: str, target: str) -> None:
        """A file with what lies beside it (names of classes), or a folder."""
        found, put = self.stock / source, self.place / target
        put.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, put)
            return
        shutil.copy(found, put)
        beside = found.with_name(f"{found.name}.aux.xml")
        if beside.exists():
            shutil.copy(beside, f"{put}.aux.xml")

    def write(self, name: str, text: str) -> None:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def vectors(self, name: str, shapes, /, **columns) -> None:
        """Polygons in the scene's CRS."""
        with rasterio.open(self.stock / "scene/scene.tif") as file:
            frame = geopandas.GeoDataFrame(columns, geometry=shapes, crs=file.crs.to_string())
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (frame.to_crs(4326) if path.suffix == ".geojson" else frame).to_file(path)

    def fields(self, count: int = 4, shift: float = 0.0) -> list[shapely.Polygon]:
        """Squares in the scene."""
        with rasterio.open(self.stock / "scene/scene.tif") as file:
            west, south = file.bounds.left + 300 + shift, file.bounds.bottom + 300 + shift
        return [
            shapely.box(west + 500 * k, south, west + 500 * k + 300, south + 400)
            for k in range(count)
        ]

    def legend(self, name: str, *, names=LEGEND) -> None:
        rows = [f"{k},{name},#{k * 2:02x}80{k * 3:02x}" for k, name in enumerate(names, 1)]
        self.write(name, "\n".join(["code,name,color", *rows, ""]))

    def mapped(self, name: str, **keys) -> None:
        """A workflow on the scene."""
        data = {
            "geoseg": 1,
            "name": Path(name).stem,
            "input": {"kind": "files", "path": "scene/scene.tif", "units": "reflectance"},
            "model": "landcover-s2",
            "output": {"directory": f"products/{Path(name).stem}/{{scene}}"},
        }
        if not (self.place / "scene").exists():
            self.copy("scene", "scene")
        self.write(name, json.dumps(data | keys))

    def chips(self, *parts: str) -> None:
        """Images with masks: ``images/*.tif``, ``masks/*``."""
        with rasterio.open(self.stock / "scene/truth.tif") as file:
            codes = file.read(1)
        for part in parts:
            (self.place / part).mkdir(parents=True, exist_ok=True)
            self.copy(f"scene/{'scene' if part == 'images' else 'truth'}.tif", f"{part}/one.tif")
        if "masks" in parts:
            Image.fromarray(codes).save(self.place / "masks" / "one.png")


def readme(desk: Desk) -> None:
    desk.put(scene_dot_tif="scene/scene.tif", products__quickstart="june", FOLDER="later")
    desk.put(scene="scene")
    desk.put(classes_dot_tif="june/classes.tif", polygons_dot_gpkg="june/polygons.gpkg")
    desk.put(BEFORE="june", AFTER="september", RUN_A="june", RUN_B="september", ALERTS="alerts")
    desk.write(
        "legend.json",
        json.dumps([{"code": k, "name": n, "color": "#102030"} for k, n in enumerate(LEGEND, 1)]),
    )
    desk.vectors("plots.geojson", desk.fields(), plot_id=list("abcd"))
    desk.vectors("lakes.gpkg", desk.fields(), name=list("abcd"))
    desk.vectors("units.gpkg", desk.fields(), name=list("abcd"))
    desk.vectors("mine.gpkg", desk.fields(), **{"class": list(LEGEND[:4])})
    desk.vectors("yours.gpkg", desk.fields(shift=20), **{"class": list(LEGEND[:4])})
    desk.vectors("truth.gpkg", desk.fields(), **{"class": list(LEGEND[:4])})
    desk.put(ortho_dot_tif="scene/scene.tif")
    desk.chips("images", "masks")
    (desk.place / "masks/one.png").unlink()
    desk.copy("june", "products/2024-06/one")
    desk.copy("september", "products/2024-09/one")


def dated(desk: Desk, *days: str) -> None:
    for day, source in zip(days, ("june", "september"), strict=True):
        desk.copy(source, f"products/{day}")


def alerts(desk: Desk) -> None:
    dated(desk, "2024-06-15", "2024-09-13")


def change(desk: Desk) -> None:
    dated(desk, "2020-06-21", "2021-07-16")
    desk.copy("june", "run-a")
    desk.copy("june", "run-b")


def forest(desk: Desk, name: str) -> None:
    """A map of forest, as somebody else's."""
    desk.copy("june/classes.tif", name)
    names = Path(f"{desk.place / name}.aux.xml")
    names.write_text(names.read_text().replace("Trees", "Forest"))


def deforestation(desk: Desk) -> None:
    desk.vectors("plots.geojson", desk.fields(), plot_id=list("abcd"))
    desk.copy("alerts", "alerts-out")
    forest(desk, "forest_2020.tif")


def labels(desk: Desk) -> None:
    desk.legend("legend.csv")
    desk.chips("images", "masks")
    (desk.place / "masks/one.tif").unlink()
    desk.copy("scene/truth.tif", "a/one.tif")
    desk.copy("scene/truth.tif", "b/two.tif")
    with rasterio.open(desk.place / "b/two.tif", "r+") as file:  # another place, other labels
        file.transform @= rasterio.Affine.translation(5000, 0)
        file.write(np.random.default_rng(0).integers(1, 7, file.shape, np.uint8), 1)
    desk.write("chips.csv", "chip,location\none.tif,here\ntwo.tif,there\n")
    desk.vectors("anna.gpkg", desk.fields(), **{"class": list(LEGEND[:4])})
    desk.vectors("ben.gpkg", desk.fields(shift=20), **{"class": list(LEGEND[:4])})
    desk.vectors("fields.gpkg", desk.fields(), **{"class": list(LEGEND[:4])})
    desk.put(ortho_dot_tif="scene/scene.tif")


def qgis(desk: Desk) -> None:
    desk.put(out="june", map_dot_tif="scene/truth.tif", polygons_dot_gpkg="june/polygons.gpkg")
    with rasterio.open(desk.place / "map.tif", "r+") as file:  # codes of ESA WorldCover
        file.write(file.read(1) * (file.read(1) < 7) * 10, 1)
    desk.legend("my-legend.csv")
    desk.vectors("parcels.gpkg", desk.fields(), use=list(LEGEND[:4]))


def training(desk: Desk) -> None:
    desk.put(scene_dot_tif="scene/scene.tif")


def scaling(desk: Desk) -> None:
    desk.mapped("workflow.yaml")
    desk.mapped("tiles.yaml")
    desk.copy("june", "maps/tile")
    desk.copy("june", "maps/one")


def schedules(desk: Desk) -> None:
    desk.mapped("water-weekly.yaml", monitor={"keep": "90 d", "max_age": "8 d"})


def view(desk: Desk) -> None:
    dated(desk, "2024-05-01", "2024-08-01")
    desk.copy("alerts", "monitoring/alerts")
    polygons = desk.place / "monitoring/alerts/alerts.gpkg"
    first = pyogrio.read_dataframe(polygons, layer="alerts", max_features=1).alert_id[0]
    add_review(polygons, Review("alerts", first, 1, "accepted", "", "", "anna", now()))


def water(desk: Desk) -> None:
    for day, source in (("2018-06", "june"), ("2019-06", "september"), ("2020-06", "june")):
        desk.copy(source, f"products/{day}")
    desk.vectors("lakes.gpkg", desk.fields(), name=list("abcd"))


def land_use(desk: Desk) -> None:
    for year, source in (("2019-06", "june"), ("2020-09", "september")):
        desk.copy(source, f"products/{year}")
    desk.vectors("districts.gpkg", desk.fields(), district=list("abcd"))


def only(**files: str) -> Callable[[Desk], None]:
    return lambda desk: desk.put(**files)


DESKS: dict[str, Callable[[Desk], None]] = {
    "README": readme,
    "alerts": alerts,
    "change": change,
    "deforestation": deforestation,
    "formats": only(maps_dot_zarr="june/maps.zarr", products__my="june"),
    "labels": labels,
    "land-use": land_use,
    "polygons": only(classes_dot_tif="june/classes.tif", image_dot_tif="scene/scene.tif"),
    "qgis": qgis,
    "reports": only(products__quickstart="june"),
    "scaling": scaling,
    "schedules": schedules,
    "training": training,
    "view": view,
    "water": water,
    "xarray": only(products__quickstart="june", scene="scene"),
}
"""What a page finds where it is done; others find nothing, as pages that are done as they are written."""


def write_for_workflows(desk: Desk) -> None:
    """What workflows and pieces of them name."""
    for name, source in (("june", "scene"), ("september", "later")):
        desk.copy(f"{source}/scene.tif", f"scenes/{name}.tif")
        desk.copy(f"{source}/truth.tif", f"labels/{name}.tif")
        with rasterio.open(desk.place / f"labels/{name}.tif", "r+") as file:
            codes = file.read(1)
            codes[:64] = 0  # some that are none of the classes
            file.nodata = None
            file.write(codes, 1)
        (desk.place / "masks").mkdir(exist_ok=True)
        Image.fromarray(codes).save(desk.place / f"masks/{name}.png")
    forest(desk, "forest_2020.tif")
    forest(desk, "forest-2020/classes.tif")
    desk.copy("scene", "scene")
    desk.copy("scene/scene.tif", "more/one.tif")
    desk.copy("scene/truth.tif", "worldcover.tif")
    desk.vectors("reservoir.gpkg", desk.fields(1))
    desk.vectors("catalogs/reservoir.gpkg", desk.fields(1))
    desk.write("chips.csv", "chip,location,cloud_free\njune,here,1\nseptember,there,1\n")
    for name in ("my-model", "my-other-model"):
        shutil.copytree(find("landcover-s2").folder, desk.place / name)


def filled_points(path: Path) -> None:
    """A sample that somebody has looked at: what was seen is what the map says."""
    points = pyogrio.read_dataframe(path, layer="sample")
    points["reference"] = points["class_name"]
    path.unlink()
    points.to_file(path, layer="sample")


def opened_scene(folder: Path) -> xr.Dataset:
    """The sample as odc-stac would load it: a variable a band, and the mask on the same grid."""
    bands = ("B02", "B03", "B04", "B08", "B11", "B12")
    with rioxarray.open_rasterio(folder / "scene.tif") as opened:
        pixels = opened.load()
    with rioxarray.open_rasterio(folder / "scl.tif") as opened:
        mask = opened.load()[0].interp_like(pixels, method="nearest")
    found = {name: pixels[k].drop_vars("band") for k, name in enumerate(bands)}
    return xr.Dataset(found | {"SCL": mask.drop_vars("band")})
