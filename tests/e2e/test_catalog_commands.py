"""geoseg catalog: search, show, check and build, as they are typed."""

import json
import shutil
from types import SimpleNamespace

import jsonschema
import numpy as np
import pystac
import pytest
from affine import Affine
from conftest import ROOT
from PIL import Image
from pystac.validation import validate_dict
from rasterio.enums import ColorInterp
from rasters import NORTH_UP, write
from stac_servers import filtering

from geoseg.cli import run
from geoseg.io.archive import archive_names
from geoseg.io.files import FilesSource
from geoseg.io.names import COMMON
from geoseg.io.stac import StacSource

SCHEMAS = ROOT / "geoseg" / "models" / "stac_schemas"
LANDSAT = "LC08_L2SP_008059_20191201_20200825_02_T1"
SHAPE = (30, 40)


@pytest.fixture
def call(capsys):
    """Run a command in this process."""

    def called(*args):
        capsys.readouterr()
        code = run(["catalog", *(str(a) for a in args)])
        told = capsys.readouterr()
        return SimpleNamespace(code=code, out=told.out, err=told.err)

    return called


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes as they come: Landsat files by band, a NAIP-like one, Sentinel-2 bands, HLS."""
    root = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(1)
    for name in ("SR_B4", "SR_B5", "SR_B6", "QA_PIXEL"):
        values = rng.integers(7000, 20000, SHAPE).astype(np.uint16)
        write(root / "landsat" / f"{LANDSAT}_{name}.TIF", values, nodata=0)
    (root / "landsat" / f"{LANDSAT}_MTL.txt").write_text("    CLOUD_COVER = 12.34\n")
    four = rng.integers(0, 255, (4, *SHAPE)).astype(np.uint8)
    rgba = tuple(ColorInterp[name] for name in ("red", "green", "blue", "alpha"))
    write(root / "m_4709963_se_14_1_20170827.tif", four, colors=rgba)
    for name, factor in (("B02", 1), ("B03", 1), ("B04", 1), ("B11", 2)):
        shape = SHAPE[0] // factor, SHAPE[1] // factor
        values = rng.integers(100, 3000, shape).astype(np.uint16)
        transform = NORTH_UP @ Affine.scale(factor)
        write(root / "s2" / f"2019-01-05_{name}.tif", values, transform=transform)
    hls = "HLS.L30.T16SDD.2024155T163000.v2.0"
    for name in ("B05", "Fmask"):
        values = np.full(SHAPE, 3, np.int16 if name == "B05" else np.uint8)
        write(root / hls / f"{hls}.{name}.tif", values, scales=(1e-4,), offsets=(0.0,))
    (root / "broken.tif").write_bytes(b"II*\0")
    (root / "notes.txt").write_text("not a raster")
    return root


@pytest.fixture
def built(folder, tmp_path, call):
    told = call("build", folder, "--output", tmp_path / "catalog")
    assert told.code == 0, told.err
    return tmp_path / "catalog"


def items_of(built):
    catalog = pystac.Catalog.from_file(str(built / "catalog.json"))
    return {item.id: item for item in catalog.get_items()}


def test_a_folder_becomes_a_catalog_that_is_valid(folder, tmp_path, call):
    told = call("build", folder, "--output", tmp_path / "c", "--title", "Mine")
    assert told.code == 0
    assert told.out.splitlines()[0] == f"{tmp_path / 'c' / 'catalog.json'}: 4 scenes"
    assert "left out: broken: " in told.err
    for path in (tmp_path / "c").rglob("*.json"):
        content = json.loads(path.read_text("utf-8"))
        kind = pystac.STACObjectType(content["type"])
        validate_dict(content, stac_object_type=kind, stac_version="1.1.0", extensions=[])
        for uri in content.get("stac_extensions", ()):
            _, name, version, _ = uri.rsplit("/", 3)
            kept = SCHEMAS / name / version / "schema.json"
            if kept.exists():
                jsonschema.validate(content, json.loads(kept.read_text("utf-8")))
            else:  # of eo: names and percents are all that is used
                bands = [b for a in content["assets"].values() for b in a["bands"]]
                assert name == "eo"
                assert {b.get("eo:common_name", "red") for b in bands} <= set(COMMON)
    with Image.open(tmp_path / "c" / "quicklook.png") as sheet:
        colors = np.asarray(sheet.convert("RGB"))
    assert len(np.unique(colors.reshape(-1, 3), axis=0)) > 100
    assert call("build", folder, "-o", tmp_path / "c", "--strict", "--no-quicklook").code == 2


def test_items_say_what_files_and_products_say(built):
    items = items_of(built)
    landsat = items[LANDSAT]
    assert landsat.properties["eo:cloud_cover"] == 12.34
    assert f"{landsat.datetime:%Y-%m-%d}" == "2019-12-01"
    (scene,) = StacSource(str(built / "catalog.json"), ids=(LANDSAT,)).scenes(["red", "nir08"])
    assert scene.units == "reflectance"
    assert {(b.scale, b.offset, b.nodata) for b in scene.bands.values()} == {(2.75e-05, -0.2, 0)}
    assert f"{items['2019-01-05'].datetime:%Y-%m-%d}" == "2019-01-05"
    hls = items["HLS.L30.T16SDD.2024155T163000.v2.0"]
    assert f"{hls.datetime:%Y-%m-%dT%H:%M:%S}" == "2024-06-03T16:30:00"
    source = StacSource(str(built / "catalog.json"), ids=(hls.id,))
    assert source.scenes(["nir08"])[0].bands["nir08"].scale == 1e-4


def test_products_are_known_by_their_names(built):
    naip = items_of(built)["m_4709963_se_14_1_20170827"].assets["image"].extra_fields["bands"]
    assert [band["eo:common_name"] for band in naip] == ["red", "green", "blue", "nir"]
    source = StacSource(str(built / "catalog.json"), ids=("m_4709963_se_14_1_20170827",))
    (scene,) = source.scenes(["red", "nir"])
    assert (scene.masks, scene.bands["nir"].index) == ((), 4)


def test_scenes_of_the_catalog_are_those_of_the_files(folder, built):
    source = StacSource(str(built / "catalog.json"), ids=("2019-01-05",))
    (one,) = source.scenes(["blue", "red", "swir16"])
    paths = tuple(str(folder / "s2" / f"{{scene}}_{n}.tif") for n in ("B02", "B04", "B11"))
    (other,) = FilesSource(paths, ("blue", "red", "swir16")).scenes(["blue", "red", "swir16"])
    assert one.grid == other.grid
    assert {n: (b.index, b.grid, b.dtype) for n, b in one.bands.items()} == {
        n: (b.index, b.grid, b.dtype) for n, b in other.bands.items()
    }


def test_a_catalog_moves_with_its_scenes(folder, tmp_path, call):
    home = tmp_path / "home"
    shutil.copytree(folder / "s2", home)
    assert call("build", home).code == 0
    assert call("build", home).code == 0  # its own files are no scenes
    home.rename(tmp_path / "away")
    told = call("check", tmp_path / "away" / "catalog.json")
    assert told.out == f"{tmp_path / 'away' / 'catalog.json'}: 1 items, nothing wrong\n"


def test_search_tells_and_saves(built, tmp_path, call):
    catalog = built / "catalog.json"
    told = call("search", catalog, "--time", "2019-01-01/2019-12-31")
    assert told.code == 0
    assert [line.split()[-1] for line in told.out.splitlines()[:-1]] == ["2019-01-05", LANDSAT]
    assert told.out.splitlines()[-1] == "2 items"
    assert "  12 %  " in told.out
    told = call("search", catalog, "--max-cloud", "10", "--json")
    assert LANDSAT not in {row["id"] for row in json.loads(told.out)}
    saved = tmp_path / "found.json"
    assert call("search", catalog, "--id", LANDSAT, "--save", saved).code == 0
    assert [s.id for s in StacSource(str(saved)).scenes(["red"])] == [LANDSAT]


def test_search_by_area(built, tmp_path, call):
    catalog = built / "catalog.json"
    west, south, east, north = items_of(built)[LANDSAT].bbox
    assert call("search", catalog, "--area", f"{west},{south},{east},{north}").code == 0
    told = call("search", catalog, "--area", "10,10,11,11")
    assert (told.code, told.out) == (2, "")
    assert "none of 4 items matches; left out: 4 by area" in told.err
    area = {"type": "Polygon", "coordinates": [[[west, south], [east, south], [east, north]]]}
    area["coordinates"][0].append([west, south])
    (tmp_path / "a.geojson").write_text(json.dumps(area))
    assert call("search", catalog, "--area", tmp_path / "a.geojson").code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--time", "yesterday"], "time yesterday: not understood; write it like 2024-06-01/"),
        (["--time", "2024-13-01"], "time 2024-13-01: not understood"),
        (["--area", "1,2,x,4"], "area 1,2,x,4: expected west,south,east,north"),
        (["--area", "1,5,2,4"], "south < north"),
        (["--area", "none.gpkg"], "none.gpkg: no such file"),
        (["--collection", "c"], "4 by collections [c]"),
        (["--time", "14d"], "4 by time "),
        (["--max-items", "2"], "4 items match, input.max_items is 2"),
    ],
)
def test_bad_searches_are_one_clear_error(built, call, options, message):
    told = call("search", built / "catalog.json", *options)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith("error: ")
    assert message in told.err


def test_show_tells_what_a_model_would_read(built, call):
    told = call("show", built / "catalog.json", LANDSAT)
    assert told.code == 0
    for words in (
        "EPSG:32629",
        "reflectance",
        " 10 m, uint16",
        "* 2.75e-05 + -0.2, nodata 0",
        "qa_pixel",
        "12.34",
    ):
        assert words in told.out
    (shown,) = json.loads(call("show", built / "catalog.json", LANDSAT, "--json").out)
    assert set(shown["bands"]) == {"red", "nir08", "swir16"}
    assert shown["shape"] == list(SHAPE)


def test_show_lists_public_archives(call):
    told = call("show")
    assert [n for n in archive_names() if f"{n}: " in told.out] == list(archive_names())
    told = call("show", "copernicus")
    assert "AWS_S3_ENDPOINT=eodata.dataspace.copernicus.eu" in told.out
    assert json.loads(call("show", "hls", "--json").out)[0]["collections"]["HLSS30_2.0"]
    told = call("show", "copernikus")
    assert (told.code, told.out) == (2, "")
    assert "did you mean 'copernicus'?" in told.err


def edit(built, item, change):
    path = built / item / f"{item}.json"
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["assets"]["SR_B4"].update(href="./none.tif"), "no such file"),
        (
            lambda c: c["assets"]["SR_B4"].update({"proj:shape": [31, 40]}),
            "its grid is 30 x 40 px in EPSG:32629",
        ),
        (
            lambda c: c["assets"]["SR_B5"]["bands"][0].update(data_type="int16"),
            "asset SR_B5: band 1: it holds uint16, the item says int16",
        ),
        (
            lambda c: c["assets"]["SR_B5"]["bands"][0].update(nodata=7),
            "band 1: its nodata is 0, the item says 7",
        ),
        (lambda c: c["assets"]["SR_B6"].update({"file:size": 1}), "bytes, the item says 1"),
        (lambda c: c["assets"]["SR_B6"]["bands"].append({}), "it has 1 bands, the item says 2"),
        (lambda c: c.update(bbox=[10, 10, 11, 11]), "it lies at ["),
        (lambda c: c["properties"].update(created=5), "not valid STAC: "),
    ],
)
def test_check_tells_each_problem(built, call, change, message):
    edit(built, LANDSAT, change)
    told = call("check", built / "catalog.json")
    assert (told.code, told.out) == (2, "")
    lines = told.err.splitlines()
    assert lines[0].endswith(f"{len(lines) - 1} problems")
    assert all(line.startswith(f"{LANDSAT}: ") for line in lines[1:])
    assert message in told.err
    found = json.loads(call("check", built / "catalog.json", "--json").out)
    assert [name for name, problems in found.items() if problems] == [LANDSAT]


def test_check_finds_nothing_wrong_with_what_was_built(built, call):
    told = call("check", built / "catalog.json")
    assert (told.code, told.err) == (0, "")
    assert told.out.endswith("catalog.json: 4 items, nothing wrong\n")


def test_a_folder_without_scenes_is_refused(tmp_path, call):
    told = call("build", tmp_path)
    assert told.code == 2
    assert f"{tmp_path}: no scene below it" in told.err
    assert call("build", tmp_path / "none").code == 2
    (tmp_path / "x.tif").write_bytes(b"")
    told = call("build", tmp_path)
    assert told.code == 2
    assert "none of 1 scenes can be read" in told.err
    assert not (tmp_path / "catalog.json").exists()


def test_a_built_catalog_behind_a_server(folder, tmp_path, call):
    """What was built is served by a STAC API, searched there, and read from where it lies."""
    shutil.copytree(folder / "s2", tmp_path / "s2")
    assert call("build", tmp_path / "s2").code == 0
    with filtering(tmp_path / "s2" / "catalog.json") as address:
        told = call("search", address, "--json")
    assert told.code == 0, told.err
    assert [row["id"] for row in json.loads(told.out)] == ["2019-01-05"]


def test_the_catalog_of_a_real_product(data_dir, tmp_path, call):
    assert call("build", data_dir / "s2_l2a_T29UNU_safe", "-o", tmp_path).code == 0
    assert call("check", tmp_path / "catalog.json").code == 0
    (scene,) = StacSource(str(tmp_path / "catalog.json")).scenes(["red", "nir", "swir16"])
    folder = next((data_dir / "s2_l2a_T29UNU_safe").glob("*.SAFE"))
    (safe,) = FilesSource((str(folder),)).scenes(["red", "nir", "swir16"])
    assert scene.id == safe.id
    assert dict(scene.bands) == dict(safe.bands)
    assert (scene.units, scene.acquired) == (safe.units, safe.acquired)


def test_scenes_of_one_name_are_told_apart_by_their_folders(tmp_path, call):
    for day in ("2024-06-03", "2024-06-13"):
        write(tmp_path / "flights" / day / "ortho.tif", np.ones((4, 5), np.uint8))
    assert call("build", tmp_path / "flights", "-o", tmp_path / "c").code == 0
    found = items_of(tmp_path / "c")
    assert sorted(found) == ["2024-06-03_ortho", "2024-06-13_ortho"]
    assert f"{found['2024-06-13_ortho'].datetime:%Y-%m-%d}" == "2024-06-13"
