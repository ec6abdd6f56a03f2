"""Requests that a sceptic makes: refused before anything is written, in one error with its place."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from packages import write_package
from refusals import Cases, Desk, ask, check_refused

from geoseg.api.samples import check_room
from geoseg.errors import InputError
from geoseg.io.headers import read_header


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


@pytest.fixture
def desk(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, model)


case = Cases()


# --- outputs among inputs ---------------------------------------------------------------------


@case("test.yaml:1:", "output.directory: input.path (in/*.tif) means what would be written to")
def maps_beside_their_scenes(desk):
    return desk.workflow(input={"path": "in/*.tif"}, output={"directory": "in"})


@case("output.directory: input.path (in/**/*.tif)", "in/scene, too")
def maps_below_their_scenes(desk):
    return desk.workflow(input={"path": "in/**/*.tif"}, output={"directory": "in/{scene}"})


@case("output.directory: input.path (in) means")
def maps_in_the_folder_of_scenes(desk):
    return desk.workflow(input={"path": "in"}, output={"directory": "in"})


# --- addresses, nearly ------------------------------------------------------------------------


def _addressed(name: str, address: str, *said: str) -> None:
    def make(desk):
        return desk.workflow(output={"directory": address})

    make.__name__ = name
    case("test.yaml:1:", "output.directory: ", *said)(make)


for name, address in {
    "one_slash": "s3:/bucket/maps",
    "no_slash": "s3:bucket/maps",
    "no_colon": "s3//bucket/maps",
    "large_letters": "S3://bucket/maps",
}.items():
    _addressed(name, address, f"found '{address}', did you mean 's3://bucket/maps'?")


@case("run.work: ", "found 's3:/bucket/x', did you mean 's3://bucket/x'?")
def blocks_in_a_store_with_one_slash(desk):
    return desk.workflow(run={"work": "s3:/bucket/x"})


@case("test.yaml:1:", "input.path: ", "write it without 'file:'")
def a_scene_by_a_file_address(desk):
    return desk.workflow(input={"path": f"file://{desk.folder}/in/scene.tif"})


@case("input.path: https:/host/a.tif: no such file; did you mean https://host/a.tif?")
def a_scene_at_an_address_with_one_slash(desk):
    return desk.workflow(input={"path": "https:/host/a.tif"})


@case("input.path: ~/none.tif: no such file in /")
def a_missing_scene_at_home(desk):
    return desk.workflow(input={"path": "~/none.tif"})


# --- numbers ----------------------------------------------------------------------------------


@case("test.yaml:1:", "blocks of 1048480 px with chips of 1048576 px need", "tiling.size")
def a_chip_as_large_as_a_country(desk):
    return desk.workflow(tiling={"size": 1048576, "margin": 48})


@case("test.yaml:1:", "blocks of 96000000 px with chips of 192 px need", "tiling.block")
def a_block_as_large_as_the_earth(desk):
    return desk.workflow(tiling={"size": 192, "margin": 48, "block": 96000000})


@case("input.size: 1000000 x 1000000 pixels take 7,800.0 GB", "GB left; make it smaller")
def a_sample_that_no_disk_holds(desk):
    sample = {"kind": "sample", "size": 1_000_000}
    return desk.workflow(input=dict.fromkeys(("path", "bands", "units", "scale"), ...) | sample)


@case("sample: 1000000 x 1000000 pixels take 7,800.0 GB")
def the_same_by_its_command(desk):
    return ["sample", "out", "--size", "1000000"]


@case("test.yaml:1:", "output.directory: ", "File name too long; choose another")
def a_folder_with_a_name_that_no_disk_takes(desk):
    return desk.workflow(output={"directory": "a" * 300})


@case("output.directory: ", "File name too long; choose another")
def a_folder_that_is_too_deep(desk):
    return desk.workflow(output={"directory": "/".join(["d" * 200] * 30)})


@case("output.directory: ", "out is not a folder; choose another")
def a_folder_that_is_a_link_to_itself(desk):
    (desk.folder / "out").symlink_to("out")
    return desk.workflow()


# --- places -----------------------------------------------------------------------------------


@case("in/scene.tif: reaches over [500000, 5899360, 500640, 5900000] in EPSG:4326, which counts in "
      "degrees: that is nowhere on the Earth")  # fmt: skip
def metres_that_are_said_to_be_degrees(desk):
    desk.scene(crs="EPSG:4326", transform=Affine(10, 0, 500_000, 0, -10, 5_900_000))
    return desk.workflow()


@case("reaches over [10, 193.6, 16.4, 200] in EPSG:4326")
def latitudes_beyond_the_pole(desk):
    desk.scene(crs="EPSG:4326", transform=Affine(0.1, 0, 10, 0, -0.1, 200))
    return desk.workflow()


@case("in EPSG:32629, which counts in metre: that is nowhere on the Earth")
def a_scene_on_the_moon_as_it_were(desk):
    desk.scene(transform=Affine(10, 0, 5e9, 0, -10, 5.9e9))
    return desk.workflow()


# --- sections that follow ---------------------------------------------------------------------


@case("test.yaml:1:", "change.after: is scene scene, as is change.before")
def a_change_from_a_scene_to_itself(desk):
    return desk.workflow(change={"before": "scene", "after": "scene"})


@case("test.yaml:1:", "alerts.store: kept.zarr is there and no store of alerts")
def a_store_of_alerts_that_is_a_file(desk):
    desk.write("kept.zarr", "mine")
    return desk.workflow(alerts={"store": "kept.zarr", "forest": "Trees"})


@case("test.yaml:1:", "alerts: scene scene has no date", "input.date")
def alerts_of_a_scene_without_a_date(desk):
    return desk.workflow(alerts={"store": "kept.zarr", "forest": "Trees"})


@pytest.mark.parametrize(("make", "said"), case.all)
def test_refused(desk, capfd, make, said):
    check_refused(desk, make(desk), said, capfd)


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ({"path": "in/*.tif"}, "in/maps"),
        ({"path": "in/S2*.tif"}, "in"),
        ({"path": "in/scene.tif"}, "in"),
        ({"path": "in"}, "in/maps"),
    ],
)
def test_maps_may_lie_near_their_scenes_where_they_are_told_apart(desk, capfd, source, out):
    desk.scene("in/S2.tif" if "S2" in source["path"] else "in/scene.tif")
    request = desk.workflow(input=source, output={"directory": out})
    assert ask(["plan", *request[1:]]) == 0
    assert f"-> {desk.folder / out}" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(0.1, 0, 350, 0, -0.1, 90)),  # from 0 to 360, up to the pole
        ("EPSG:4326", Affine(1, 0, -180.5, 0, -1, 90.5)),  # pixels whose centres are on the rim
        ("EPSG:3857", Affine(600_000, 0, -20_000_000, 0, -600_000, 20_000_000)),
    ],
)
def test_places_at_the_ends_of_the_earth_are_taken(tmp_path, crs, transform):
    path = tmp_path / "a.tif"
    options = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=transform, **options) as file:
        file.write(np.ones((1, 64, 64), "uint8"))
    assert read_header(str(path)).grid.shape == (64, 64)


def test_a_sample_that_the_disk_holds_is_made(tmp_path):
    check_room((100, 100), tmp_path / "not" / "there", what="sample")
    with pytest.raises(
        InputError, match=r"^sample: .* GB, and .* has .* GB left; make it smaller$"
    ):
        check_room((10**9, 10**9), tmp_path / "not", what="sample")
