"""Plots against loss: areas, dates, risk, products, and what is refused."""

import csv
import hashlib
import json
import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from alert_maps import AFFINE as ALERTS
from alert_maps import LEGEND, write_map
from change_maps import write_pair
from chromium import browser, needs_browser
from in_qgis import open_in_qgis
from judges import check_products
from odc.geo.geobox import GeoBox
from plot_cases import (
    AFFINE,
    CRS,
    SHAPE,
    loss_years,
    on_globe,
    pixels_in,
    some_plots,
    write_plots,
    write_years,
)
from rasters import NORTH_UP, UTM, write

import geoseg
from geoseg.api.plot_ground import place_plots
from geoseg.api.plots import PlotOptions
from geoseg.cli import run
from geoseg.grid import Window, blocks
from geoseg.io.loss_layers import find_loss
from geoseg.io.plot_files import PlotWishes, read_plots
from geoseg.io.rat import write_rat
from geoseg.ops.metric import measure_grid
from geoseg.steps.plots import Tally, pixel_areas

NAMES = ("plots.gpkg", "plots.geojson", "plots.csv", "report.html", "report.pdf", "run.json")


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    years = loss_years()
    raster = write_years(folder / "lossyear.tif", years)
    properties = [{"plot_id": f"P{n}", "ProducerCountry": "BR"} for n in range(5)]
    shapes = [on_globe(shape) for shape in some_plots()]
    path = write_plots(folder / "plots.geojson", shapes, properties)
    result = geoseg.check_plots(path, folder / "out", loss=[raster])
    return folder, years, result


def hectares_of_pixel():
    """Of the middle of the raster: it is so small that all are alike to a millionth."""
    metric = measure_grid(GeoBox(SHAPE, AFFINE, CRS))
    return float(pixel_areas(metric, Window(0, 0, *SHAPE)).mean()) / 1e4


def test_areas_are_those_of_pixels_cut_by_outlines(checked):
    _, years, result = checked
    each = hectares_of_pixel()
    for shape, row in zip(some_plots(), result.rows, strict=True):
        assert row["plot_ha"] == pytest.approx(shape.area * each, rel=1e-4, abs=1e-4)
        for column, where in (("loss_ha", years > 20), ("earlier_ha", (years > 0) & (years <= 20))):
            assert row[column] == pytest.approx(pixels_in(shape, where) * each, rel=1e-4, abs=1e-4)
        assert row["observed_share"] == pytest.approx(100, abs=0.01)


def test_dates_and_years_are_those_of_the_pixels(checked):
    _, years, result = checked
    each = hectares_of_pixel()
    for shape, row in zip(some_plots(), result.rows, strict=True):
        hit = [y for y in (21, 22) if pixels_in(shape, years == y) > 0]
        if not hit:
            assert "loss_first" not in row
            continue
        assert row["loss_after"] == f"20{hit[0] - 1}-12-31"
        assert row["loss_first"] == f"20{hit[0]}-12-31"
        assert row["loss_last"] == f"20{hit[-1]}-12-31"
        told = dict(part.split(": ") for part in row["loss_years"].split(", "))
        assert list(told) == [f"20{y}" for y in hit]
        for year in hit:
            expected = pixels_in(shape, years == year) * each
            assert float(told[f"20{year}"]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_tables_say_the_same(checked):
    folder, _, result = checked
    with (folder / "out" / "plots.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    frame = pyogrio.read_dataframe(folder / "out" / "plots.gpkg", layer="plots")
    features = json.loads((folder / "out" / "plots.geojson").read_text())["features"]
    for row, line, kept, feature in zip(
        result.rows, rows, frame.to_dict("records"), features, strict=True
    ):
        for said in (line, kept, feature["properties"]):
            assert (said["plot_id"], said["risk"]) == (row["plot_id"], row["risk"])
            assert float(said["loss_ha"]) == row["loss_ha"]
    assert frame.crs.to_epsg() == 4326


def test_geojson_is_as_rfc_7946_and_traces_want_it(checked):
    folder, _, _ = checked
    text = (folder / "out" / "plots.geojson").read_text()
    coordinates = re.findall(r"\[(-?\d+\.\d+), (-?\d+\.\d+)\]", text)
    assert coordinates
    assert all(len(v.partition(".")[2]) == 6 for pair in coordinates for v in pair)
    found = json.loads(text)
    assert set(found) == {"type", "features"}  # no crs: RFC 7946 knows only one
    for feature in found["features"]:
        assert feature["properties"]["ProducerCountry"] == "BR"
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        for part in shapely.get_parts(shape):
            assert part.exterior.is_ccw
            assert not any(hole.is_ccw for hole in part.interiors)


def test_the_same_check_gives_the_same_bytes(checked):
    folder, _, _ = checked

    def hashes():
        return {n: hashlib.sha256((folder / "out" / n).read_bytes()).hexdigest() for n in NAMES}

    first = hashes()
    raster, path = folder / "lossyear.tif", folder / "plots.geojson"
    geoseg.check_plots(path, folder / "out", loss=[raster], workers=1)
    assert hashes() == first


def test_blocks_do_not_matter(checked):
    folder, _, _ = checked
    plots = read_plots(folder / "plots.geojson", PlotWishes())
    layers = [find_loss(folder / "lossyear.tif")]
    placed = place_plots(folder, plots, layers, None, swap=False)
    work, sums = placed.counting(18_627), []
    for size in (13, 64, 512):
        tallies = {}
        for window in blocks(placed.grid.shape, size):
            for n, tally in work(window).items():
                tallies.setdefault(n, Tally()).add(tally)
        sums.append([[tallies[n].loss, tallies[n].earlier, tallies[n].covered] for n in range(5)])
    placed.close(work)
    np.testing.assert_allclose(sums[0], sums[2], rtol=1e-9)
    np.testing.assert_allclose(sums[1], sums[2], rtol=1e-9)


def test_only_loss_of_what_was_forest_counts(tmp_path):
    years = np.zeros(SHAPE, np.uint8)
    years[10:30, 10:30] = 21
    forest = np.full(SHAPE, 1, np.uint8)
    forest[:, 20:] = 2
    forest[20:] = 0  # not known
    raster = write_years(tmp_path / "lossyear.tif", years)
    write(tmp_path / "forest.tif", forest, transform=AFFINE, crs=CRS, nodata=0)
    path = write_plots(tmp_path / "p.geojson", [on_globe(shapely.box(5, 5, 35, 35))])
    result = geoseg.check_plots(
        path, tmp_path / "out", loss=[raster], forest=f"{tmp_path / 'forest.tif'}:2"
    )
    (row,) = result.rows
    each = hectares_of_pixel()
    for column, pixels in (
        ("loss_ha", 100),
        ("outside_ha", 100),
        ("undated_ha", 200),
        ("forest_ha", 225),
    ):
        assert row[column] == pytest.approx(pixels * each, abs=2e-4)


def test_several_layers_on_different_pixels_are_one_loss(tmp_path):
    years = np.zeros(SHAPE, np.uint8)
    years[10:30, 10:30] = 22
    fine = write_years(tmp_path / "lossyear.tif", years)
    alerts = np.zeros((30, 40), np.uint16)
    alerts[0:10, 0:10] = 20_000 + 2193 + 30  # 2021-01-31, low confidence; pixels 0..30 of the other
    coarse = write(
        tmp_path / "alerts.tif", alerts, transform=AFFINE @ AFFINE.scale(3), crs=CRS,
        tags={"ENCODING": "GFW"},
    )  # fmt: skip
    path = write_plots(tmp_path / "p.geojson", [on_globe(shapely.box(5, 5, 35, 35))])
    (row,) = geoseg.check_plots(path, tmp_path / "out", loss=[coarse, fine]).rows
    each = hectares_of_pixel()
    assert row["loss_ha"] == pytest.approx(25 * 25 * each, abs=2e-4)
    assert row["confirmed_ha"] == pytest.approx(20 * 20 * each, abs=2e-4)
    assert (row["loss_first"], row["loss_last"]) == ("2021-01-31", "2021-01-31")
    assert all(name in row["evidence"] for name in ("alerts.tif", "lossyear.tif"))


def test_loss_that_may_be_older_than_the_cut_off_is_undated(tmp_path):
    lost = np.zeros(SHAPE, np.uint8)
    lost[10:30, 10:30] = 1
    raster = write_years(tmp_path / "lost.tif", lost)
    path = write_plots(tmp_path / "p.geojson", [on_globe(shapely.box(5, 5, 35, 35))])
    said = []
    for span in ("2020-06-01/2021-08-31", "2020-12-31/2021-08-31", "2018-01-01/2020-12-31"):
        options = PlotOptions(encodings=(span,))
        result = geoseg.check_plots(path, tmp_path / "out", loss=[raster], options=options)
        (row,) = result.rows
        said.append(
            (
                row["risk"],
                row["loss_ha"] > 3,
                row["undated_ha"] > 3,
                row["earlier_ha"] > 3,
                len(result.warnings),
            )
        )
    assert said == [
        ("cannot be told", False, True, False, 1),
        ("high", True, False, False, 0),
        ("cannot be told", False, False, True, 2),
    ]


@pytest.mark.parametrize("west", [179.9, -180.1])
def test_plots_across_the_antimeridian_are_counted_once(tmp_path, west):
    """On rasters whose longitudes run on beyond 180, to either side."""
    affine = type(AFFINE)(0.001, 0, west, 0, -0.001, 1.1)
    years = np.zeros((100, 200), np.uint8)
    years[40:60, 90:110] = 21
    raster = write_years(tmp_path / "lossyear.tif", years, transform=affine, crs="EPSG:4326")
    plot = shapely.Polygon([(179.98, 1.02), (-179.98, 1.02), (-179.98, 1.08), (179.98, 1.08)])
    (row,) = geoseg.check_plots(
        write_plots(tmp_path / "p.geojson", [plot]), tmp_path / "out", loss=[raster]
    ).rows
    assert row["loss_share"] == pytest.approx(100 * 400 / 2400, abs=0.02)
    assert row["observed_share"] == pytest.approx(100, abs=0.02)


def test_plots_beside_the_raster_cannot_be_told(tmp_path):
    raster = write_years(tmp_path / "lossyear.tif", loss_years())
    beside, half, line = (
        shapely.box(500, 5, 530, 35),
        shapely.box(110, 5, 150, 35),
        shapely.LineString([(0, 0), (9, 9)]),
    )
    point = shapely.Point(20, 60)
    path = write_plots(tmp_path / "p.geojson", [on_globe(s) for s in (beside, half, line, point)])
    result = geoseg.check_plots(path, tmp_path / "out", loss=[raster])
    outside, _, none, spot = result.rows
    assert outside["risk"] == none["risk"] == "cannot be told"
    assert "outside of all layers" in outside["notes"]
    assert "is a LineString" in none["notes"]
    assert "is a LineString" in (tmp_path / "out" / "report.html").read_text()
    assert result.rows[1]["observed_share"] == pytest.approx(50, abs=0.1)
    assert spot["given_as"] == "point"
    feature = json.loads((tmp_path / "out" / "plots.geojson").read_text())["features"][3]
    assert feature["geometry"]["type"] == "Point"
    assert feature["properties"]["Area"] == 4.0


def test_bad_input_writes_nothing(tmp_path, capsys):
    raster = write_years(tmp_path / "lossyear.tif", loss_years())
    good = write_plots(tmp_path / "p.geojson", [on_globe(s) for s in some_plots()])
    swapped = [shapely.transform(on_globe(s), lambda xy: xy[:, ::-1]) for s in some_plots()]
    bad = write_plots(tmp_path / "swapped.geojson", swapped)
    out = tmp_path / "out"
    cases = [
        ([bad, out, "--loss", raster], "seem to be swapped"),
        ([good, out, "--loss", tmp_path / "none.tif"], "no such file"),
        ([good, out, "--loss", raster, "--preset", "eu"], "unknown 'eu'"),
        ([good, out, "--loss", raster, "--cut-off", "2020"], "no day like"),
        ([good, out, "--loss", raster, "--loss-encoding", "gfw"], "no alert in the GFW encoding"),
        ([good, out, "--loss", raster, "--forest", f"{raster}:trees"], "has no class 'trees'"),
        ([good, tmp_path / "p.geojson", "--loss", raster], "is not a folder"),
    ]  # fmt: skip
    for arguments, words in cases:
        assert run(["plots", *map(str, arguments), "-q"]) == 2, words
        assert words in capsys.readouterr().err
        assert not any((out / name).exists() for name in NAMES)
    assert run(["plots", str(bad), str(out), "--loss", str(raster), "--swap", "--json", "-q"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sum(told["risks"].values()) == len(told["plots"]) == 5


def test_without_a_cut_off_all_loss_counts(tmp_path):
    years = loss_years()
    raster = write_years(tmp_path / "lossyear.tif", years)
    path = write_plots(tmp_path / "p.geojson", [on_globe(s) for s in some_plots()])
    options = PlotOptions(preset="radd", maps=0)
    (row, *_) = geoseg.check_plots(path, tmp_path / "out", loss=[raster], options=options).rows
    expected = pixels_in(some_plots()[0], years > 0) * hectares_of_pixel()
    assert row["loss_ha"] == pytest.approx(expected, abs=2e-4)


def test_the_report_is_whole_and_names_do_not_break_it(tmp_path):
    raster = write_years(tmp_path / "lossyear.tif", loss_years())
    name = "<script>alert(1)</script> $x_1$ & 'é'"
    path = write_plots(tmp_path / "p.geojson", [on_globe(some_plots()[0])], [{"plot_id": name}])
    geoseg.check_plots(path, tmp_path / "out", loss=[raster])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    for words in ("Olofsson", "due diligence", "2020-12-31", "lossyear.tif", "data:image/png"):
        assert words in page
    assert (tmp_path / "out" / "report.pdf").read_bytes().startswith(b"%PDF-")


@needs_browser
def test_the_report_fits_a_phone_and_prints(checked, tmp_path):
    folder, _, _ = checked
    with browser(tmp_path / "profile") as opened:
        page = opened.page()
        for width in (390, 1280):
            page.shape(width)
            page.open(folder / "out" / "report.html")
            look = page.look()
            assert look["width"] <= look["view"] == width  # else it scrolls sideways
            assert look["contrast"][0]["ratio"] >= 4.5, look["contrast"]
        page.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")


def test_qgis_opens_the_plots_with_their_colours(checked, tmp_path):
    folder, _, _ = checked
    (told,) = open_in_qgis(tmp_path / "q", folder / "out" / "plots.gpkg", size=(300, 200))["layers"]
    text = json.dumps(told)
    assert "high" in text
    assert "cannot be told" in text


def test_alerts_bring_their_dates_confidence_and_names(tmp_path):
    days = [date(2020, 12, 20) + timedelta(days=12 * n) for n in range(6)]
    lost = np.zeros((20, 30), np.bool_)
    maps = []
    for step, day in enumerate(days):
        lost = lost.copy()
        if step == 2:
            lost[5:15, 5:15] = True
        clear = np.ones(lost.shape, np.bool_)
        dated = write_map(tmp_path / "maps", day, lost, clear, np.full(lost.shape, 95))
        write_rat(dated.classes, LEGEND)
        maps.append(str(dated.classes.parent))
    store, out = str(tmp_path / "a.zarr"), str(tmp_path / "alerts")
    assert run(["alerts", "update", store, *maps, "--forest", "trees", "--ignore", "cloud",
                "--seen-forest", "0", "-q"]) == 0  # fmt: skip
    assert run(["alerts", "export", store, out, "-q"]) == 0
    plot = on_globe(shapely.box(0, 0, 10, 20), affine=ALERTS)
    path = write_plots(tmp_path / "p.geojson", [plot])
    result = geoseg.check_plots(path, tmp_path / "out", loss=[out])
    (row,) = result.rows
    assert result.warnings == ()
    assert row["loss_after"] == str(days[1])
    assert (row["loss_first"], row["loss_last"]) == (str(days[2]), str(days[2]))
    assert (row["risk"], row["observed_share"]) == ("high", pytest.approx(100, abs=0.01))
    assert row["confirmed_ha"] == row["loss_ha"] == pytest.approx(0.25 * row["plot_ha"], rel=1e-3)
    assert row["confidence_mean"] > 90
    (name,) = pyogrio.read_dataframe(f"{out}/alerts.gpkg", layer="alerts")["alert_id"]
    assert row["evidence"] == f"alerts/alerts.tif: {name}"


def test_change_brings_its_dates_and_names(tmp_path):
    one, two = write_pair(tmp_path)
    geoseg.change(one, two, tmp_path / "change", from_=["Trees"], edges="keep")
    shape = shapely.box(50, 10, 90, 40)
    path = write_plots(tmp_path / "p.geojson", [on_globe(shape, UTM, NORTH_UP)])
    options = PlotOptions(cut_off=date(2021, 6, 5))
    (row,) = geoseg.check_plots(
        path, tmp_path / "out", loss=[tmp_path / "change"], forest=f"{one}:Trees", options=options
    ).rows
    assert (row["loss_after"], row["loss_first"]) == ("2021-06-05", "2022-06-10")
    assert row["loss_ha"] == pytest.approx(2.4, rel=2e-3)
    frame = pyogrio.read_dataframe(tmp_path / "change" / "polygons.gpkg", layer="change")
    clearing = frame.loc[frame["pixels"] == 240, "polygon_id"].item()
    assert row["evidence"] == f"change/loss_gain.tif: {clearing}"


def test_all_of_it_is_standard_and_says_what_it_is_made_of(checked):
    folder, _, _ = checked
    told = check_products(folder / "out", "plots")
    assert {Path(one["href"]).name for one in told["inputs"]} == {"plots.geojson", "lossyear.tif"}
