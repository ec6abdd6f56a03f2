from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from rasterio.warp import Resampling, reproject, transform_bounds
from training_scenes import AT, UTM, polygons, write

from geoseg.errors import InputError, SceneError
from geoseg.grid import full_window
from geoseg.io.files import FilesSource
from geoseg.io.label_layers import UNKNOWN, LabelReader, LayerSpec
from geoseg.legend import LEGENDS

pytestmark = pytest.mark.filterwarnings(
    # Raised by rasterio for what some of these files are meant to lack.
    "ignore::rasterio.errors.NotGeoreferencedWarning"
)
WATER = LEGENDS["water"]  # Land 0, Water 1
LAND_INDEX, WATER_INDEX = 0, 1


def scene(path, shape=(40, 50), **place):
    write(path, np.ones((1, *shape), np.uint8), **place)
    return FilesSource((str(path),), bands=("red",), placeless=True).scenes(["red"])[0]


def read(scene, *specs, legend=WATER):
    labels = LabelReader(legend).open(scene, specs)
    try:
        return labels.read(full_window(scene.grid))
    finally:
        labels.close()


def test_codes_become_classes_and_others_are_counted(tmp_path):
    one = scene(tmp_path / "a.tif")
    codes = np.full((40, 50), 7, np.uint8)
    codes[:10], codes[10:20], codes[20] = 3, 4, 9
    write(tmp_path / "a_labels.tif", codes)
    found, strange = read(
        one,
        LayerSpec("labels", str(tmp_path / "{stem}_labels.tif"),
                  classes={"3": "Water", "4": "land", "9": "ignore"}),
    )  # fmt: skip
    assert (found[:10] == WATER_INDEX).all()
    assert (found[10:20] == LAND_INDEX).all()
    assert (found[20:] == UNKNOWN).all()
    assert strange == {"7": 19 * 50}


def test_strict_layers_refuse_what_is_not_listed(tmp_path):
    one = scene(tmp_path / "a.tif")
    path = write(tmp_path / "l.tif", np.full((40, 50), 7, np.uint8))
    with pytest.raises(InputError, match=r"holds '7', which labels\.classes does not list"):
        read(one, LayerSpec("labels", str(path), classes={"3": "Water"}, strict=True))


def test_all_the_rest(tmp_path):
    one = scene(tmp_path / "a.tif")
    codes = np.arange(2000, dtype=np.uint16).reshape(40, 50) % 256
    path = write(tmp_path / "l.tif", codes.astype(np.uint8))
    found, strange = read(one, LayerSpec("labels", str(path), classes={"5": "Water", "*": "Land"}))
    assert (found == np.where(codes == 5, WATER_INDEX, LAND_INDEX)).all()
    assert not strange


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32630", UTM])
def test_rasters_on_other_grids_are_laid_as_gdal_lays_them(tmp_path, crs):
    one = scene(tmp_path / "a.tif")
    codes = np.random.default_rng(1).integers(0, 2, (300, 300)).astype(np.uint8)
    west, south, east, north = transform_bounds(UTM, crs, 559_900, 5_899_500, 560_700, 5_900_100)
    transform = Affine((east - west) / 300, 0, west, 0, (south - north) / 300, north)
    path = write(tmp_path / "l.tif", codes, crs=crs, transform=transform)
    found, _ = read(one, LayerSpec("labels", str(path), classes={"0": "Land", "1": "Water"}))
    wanted = np.full((40, 50), 255, np.uint8)
    reproject(codes, wanted, src_transform=transform, src_crs=crs, dst_transform=AT, dst_crs=UTM,
              resampling=Resampling.nearest, dst_nodata=255, tolerance=0)  # fmt: skip
    assert (found == wanted).mean() > 0.998, "but for ties and GDAL's approximations"


def test_labels_without_a_place_are_laid_pixel_by_pixel(tmp_path):
    codes = np.random.default_rng(1).integers(0, 2, (40, 50)).astype(np.uint8)
    write(tmp_path / "l.png", codes, crs=None)
    for place in ({}, {"crs": None}):
        one = scene(tmp_path / "a.tif", **place)
        found, _ = read(
            one, LayerSpec("l", str(tmp_path / "l.png"), classes={"0": "Land", "1": "Water"})
        )
        assert (found == codes).all()


def test_listed_codes_count_even_as_nodata(tmp_path):
    one = scene(tmp_path / "a.tif")
    path = write(tmp_path / "l.tif", np.zeros((40, 50), np.uint8), nodata=0)
    found, _ = read(one, LayerSpec("l", str(path), classes={"0": "Land", "1": "Water"}))
    assert (found == LAND_INDEX).all()
    found, strange = read(one, LayerSpec("l", str(path), classes={"1": "Water"}))
    assert (found == UNKNOWN).all()
    assert not strange, "nodata is no label"


def test_a_fourth_band_of_codes_is_no_alpha_band(tmp_path):
    one = scene(tmp_path / "a.tif")
    bands = np.zeros((4, 40, 50), np.uint8)
    bands[0] = 1
    path = write(tmp_path / "l.tif", bands, photometric="RGB", alpha="YES")
    found, _ = read(one, LayerSpec("l", str(path), classes={"1": "Water"}))
    assert (found == WATER_INDEX).all()
    found, _ = read(one, LayerSpec("l", str(path), band=4, classes={"0": "Land"}))
    assert (found == LAND_INDEX).all()


def test_larger_labels_only_if_trimming_is_asked_for(tmp_path):
    one = scene(tmp_path / "a.tif", crs=None)
    codes = np.random.default_rng(1).integers(0, 2, (42, 53)).astype(np.uint8)
    path = write(tmp_path / "l.png", codes, crs=None)
    both = {"0": "Land", "1": "Water"}
    with pytest.raises(SceneError, match=r"l\.png: has 42 x 53 .*a\.tif has 40 x 50.*labels\.trim"):
        read(one, LayerSpec("l", str(path), classes=both))
    found, _ = read(one, LayerSpec("l", str(path), classes=both, trim=True))
    assert (found == codes[:40, :50]).all()
    write(tmp_path / "l.png", codes[:39], crs=None)
    with pytest.raises(SceneError, match="only labels of the same size"):
        read(one, LayerSpec("l", str(path), classes=both, trim=True))


def test_placed_labels_of_an_image_without_a_place(tmp_path):
    one = scene(tmp_path / "a.tif", crs=None)
    path = write(tmp_path / "l.tif", np.zeros((40, 50), np.uint8))
    with pytest.raises(SceneError, match="does not say where it lies, but its labels"):
        read(one, LayerSpec("l", str(path), classes={"0": "Land"}))
    shapes = polygons(tmp_path / "l.geojson", [({"k": "Water"}, (0, 0, 1, 1))])
    with pytest.raises(InputError, match="does not say where it lies"):
        read(one, LayerSpec("l", str(shapes)))


def test_polygons_and_what_lies_outside(tmp_path):
    one = scene(tmp_path / "a.tif")
    path = polygons(
        tmp_path / "l.geojson",
        [
            ({"kind": "lake", "sure": 1}, (560_100, 5_899_800, 560_200, 5_899_900)),
            ({"kind": "lake", "sure": 0}, (560_300, 5_899_800, 560_400, 5_899_900)),
        ],
    )
    spec = {"column": "kind", "where": {"sure": 1}, "classes": {"lake": "Water"}}
    found, _ = read(one, LayerSpec("l", str(path), **spec))
    wanted = np.full((40, 50), UNKNOWN, np.uint8)
    wanted[10:20, 10:20] = WATER_INDEX
    assert (found == wanted).all()
    found, _ = read(one, LayerSpec("l", str(path), **spec, outside="Land"))
    assert (found == np.where(wanted == UNKNOWN, LAND_INDEX, wanted)).all()
    found, _ = read(one, LayerSpec("l", str(path), classes={"*": "Water"}, where={"sure": 0}))
    assert (found[10:20, 30:40] == WATER_INDEX).all()
    assert (found == WATER_INDEX).sum() == 100, "no column is needed for one class"


def test_the_first_layer_that_knows_a_pixel_wins(tmp_path):
    one = scene(tmp_path / "a.tif")
    first = np.full((40, 50), 9, np.uint8)
    first[:10], first[10:20] = 1, 8
    write(tmp_path / "one.tif", first)
    write(tmp_path / "two.tif", np.full((40, 50), 2, np.uint8))
    found, strange = read(
        one,
        LayerSpec("a", str(tmp_path / "one.tif"), classes={"1": "Water", "8": "ignore"}),
        LayerSpec("b", str(tmp_path / "two.tif"), classes={"2": "Land"}),
    )
    assert (found[:10] == WATER_INDEX).all()
    assert (found[10:20] == UNKNOWN).all(), "ignore is an answer"
    assert (found[20:] == LAND_INDEX).all()
    assert strange == {"9": 1000}


def test_without_classes_names_or_codes_must_be_those_of_the_legend(tmp_path):
    one = scene(tmp_path / "a.tif")
    path = write(tmp_path / "l.tif", np.ones((40, 50), np.uint8))
    found, _ = read(one, LayerSpec("l", str(path)))
    assert (found == WATER_INDEX).all()
    shapes = polygons(
        tmp_path / "l.geojson", [({"k": "lake"}, (560_100, 5_899_800, 560_200, 5_899_900))]
    )
    with pytest.raises(
        InputError, match=r"no class of .* is called like .*\(Land, Water\); it has lake"
    ):
        read(one, LayerSpec("l", str(shapes)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"classes": {"1": "Watr"}},
            r"l.classes.1: the legend has no class 'Watr', did you mean 'Water'",
        ),
        ({"classes": {"1": "Water"}, "band": 2}, "no band 2 for labels; the file has band 1"),
        ({"classes": {"lake": "Water"}}, "'lake' is no code 0 to 255"),
        ({"classes": {"1": "Water"}, "path": "gone.tif"}, r"scene a: no file .*gone\.tif"),
    ],
)
def test_faults_name_key_and_file(tmp_path, spec, message):
    one = scene(tmp_path / "a.tif")
    write(tmp_path / "l.tif", np.ones((40, 50), np.uint8))
    path = str(tmp_path / spec.pop("path", "l.tif"))
    with pytest.raises(InputError, match=message):
        read(one, LayerSpec("l", path, **spec))


def test_missing_files_may_be_skipped(tmp_path):
    one = scene(tmp_path / "a.tif")
    labels = LabelReader(WATER).open(one, [LayerSpec("l", "gone.tif", optional=True)])
    assert labels.files == ()


def test_rotated_labels(tmp_path):
    one = scene(tmp_path / "a.tif")
    turned = AT @ Affine.rotation(30)
    codes = np.ones((40, 50), np.uint8)
    path = write(tmp_path / "l.tif", codes, transform=turned)
    found, _ = read(one, LayerSpec("l", str(path), classes={"1": "Water"}))
    rows, cols = np.mgrid[:40, :50] + 0.5
    x, y = (
        (~turned @ AT).a * cols + (~turned @ AT).b * rows,
        (~turned @ AT).d * cols + (~turned @ AT).e * rows,
    )
    inside = (x >= 0) & (x < 50) & (y >= 0) & (y < 40)
    assert ((found == WATER_INDEX) == inside).mean() > 0.999


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", "a\\b", "a\0b"])
def test_ids_do_not_choose_folders(tmp_path, name):
    found = replace(scene(tmp_path / "a.tif"), id=name)
    with pytest.raises(InputError, match="its id cannot be part of the name of a file"):
        LayerSpec("labels", "labels/{scene}.tif").file(found)
