"""Files of plots, good and bad: what is read, what is said of it, what is refused."""

import json

import numpy as np
import pytest
import shapely
from geopandas import GeoDataFrame
from pyproj import Geod

from geoseg.errors import InputError
from geoseg.io.plot_files import PlotWishes, overlaps, read_plots
from geoseg.io.plot_shapes import hectares

SQUARE = shapely.box(-63.0012345, -9.0012345, -63.0001234, -9.0001234)
EUDR = PlotWishes(decimals=6)


def write(path, shapes, crs="EPSG:4326", **columns):
    frame = GeoDataFrame(columns or {"n": range(len(shapes))}, geometry=list(shapes), crs=crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.shp", "a.parquet", "a.fgb", "a.kml"])
def test_plots_are_the_same_from_any_format(tmp_path, name):
    path = write(tmp_path / name, [SQUARE], name=["north"])
    (plot,) = read_plots(path, EUDR)
    assert plot.notes == ()
    assert plot.id == ("north" if name != "a.kml" else plot.id)
    expected = abs(Geod(ellps="WGS84").geometry_area_perimeter(SQUARE)[0]) / 1e4
    assert plot.area_ha == pytest.approx(expected, rel=1e-6)


def test_a_projected_plot_is_as_large_as_it_is_on_the_globe(tmp_path):
    square = shapely.box(500_000, 8_990_000, 502_000, 8_991_000)
    (plot,) = read_plots(write(tmp_path / "a.gpkg", [square], "EPSG:32720"), EUDR)
    assert plot.area_ha == pytest.approx(200 / 0.9996**2, rel=2e-4)


def test_a_point_is_a_circle_of_its_area(tmp_path):
    point = shapely.Point(-63.1234567, -9.1234567)
    path = write(tmp_path / "a.geojson", [point] * 3, Area=[2.5, None, 7.0])
    plots = read_plots(path, EUDR)
    assert [plot.area_ha for plot in plots] == [2.5, 4.0, 7.0]
    for plot in plots:
        assert hectares(plot.shape) == pytest.approx(plot.area_ha, rel=1e-5)
        assert plot.point.equals(point)
        assert "circle" in plot.notes[-1]
    assert "without an area" in plots[1].notes[0]
    assert "above 4 ha an outline is needed" in plots[2].notes[0]


def test_odd_plots_are_told_of_and_the_others_are_read(tmp_path):
    bow = shapely.Polygon([(0.0000001, 0), (0.01, 0.01), (0.01, 0), (0, 0.01)])
    line = shapely.LineString([(0, 0), (1, 1)])
    flat = shapely.Polygon([(1, 1), (2, 2), (1, 1), (1, 1)])
    features = [SQUARE, bow, line, flat, shapely.MultiPoint([(0, 0), (1, 1)]), None]
    text = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {}, "geometry": f and shapely.geometry.mapping(f)}
            for f in features
        ],
    }
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(text))
    square, *odd = read_plots(path, EUDR)
    assert square.notes == ()
    assert "outline repaired (self-intersection)" in odd[0].notes
    assert odd[0].shape.is_valid
    for plot, words in zip(
        odd[1:], ("LineString", "area is 0", "several points", "no outline"), strict=True
    ):
        assert plot.shape is None
        assert words in plot.notes[0]


def test_few_decimals_are_told(tmp_path):
    coarse = shapely.box(-63.00123, -9.00123, -63.00012, -9.00012)
    path = write(tmp_path / "a.geojson", [coarse, SQUARE])
    assert ["fewer than 6" in " ".join(p.notes) for p in read_plots(path, EUDR)] == [True, False]


def test_plots_that_lie_on_others_are_told(tmp_path):
    other = shapely.transform(SQUARE, lambda xy: xy + np.array([0.0005, 0]))
    beside = shapely.box(-63.0001234, -9.0012345, -62.99, -9.0001234)
    plots = read_plots(write(tmp_path / "a.gpkg", [SQUARE, SQUARE, other, beside]), EUDR)
    notes = overlaps(plots)
    assert "is the same as plot 2" in notes[0]
    shared = hectares(shapely.intersection(SQUARE, other))
    assert f"overlaps plot 3 on {shared:.4f} ha" in notes[0]
    assert not any("plot 4" in note for note in notes[0])  # a shared edge is no overlap


def test_a_plot_across_the_antimeridian_is_cut_there(tmp_path):
    around = shapely.Polygon([(179.99, 1), (-179.99, 1), (-179.99, 1.01), (179.99, 1.01)])
    (plot,) = read_plots(write(tmp_path / "a.gpkg", [around]), EUDR)
    straight = shapely.box(10, 1, 10.02, 1.01)
    assert plot.area_ha == pytest.approx(hectares(straight), rel=1e-9)
    assert [part.bounds[::2] for part in shapely.get_parts(plot.shape)] == [
        (-180, -179.99),
        (179.99, 180),
    ]


def test_names_are_told_apart(tmp_path):
    path = write(tmp_path / "a.gpkg", [SQUARE] * 2, plot_id=["x", "x"], other=[7.0, 8.0])
    assert [p.id for p in read_plots(path, EUDR)] == ["1", "2"]
    assert [p.id for p in read_plots(path, PlotWishes(id_column="other"))] == ["7", "8"]
    with pytest.raises(InputError, match="no name of its own for each plot: 'x'"):
        read_plots(path, PlotWishes(id_column="plot_id"))
    with pytest.raises(InputError, match="no column 'nope'; it has plot_id, other"):
        read_plots(path, PlotWishes(id_column="nope"))


def swap(shape):
    return shapely.transform(shape, lambda xy: xy[:, ::-1])


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([], "empty"),
        ([swap(shapely.box(120, 1, 120.1, 1.1))], "longitude and latitude seem to be swapped"),
        ([shapely.box(500_000, 8_990_000, 502_000, 8_991_000)], "no longitude and latitude"),
        ([shapely.LineString([(0, 0), (1, 1)])], "none of 1 plots can be used"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, shapes, words):
    path = tmp_path / "a.geojson"
    found = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(s)}
        for s in shapes
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": found}))
    with pytest.raises(InputError, match=words):
        read_plots(path, EUDR)


def test_what_is_no_file_of_plots_is_refused(tmp_path):
    (tmp_path / "empty.geojson").write_bytes(b"")
    with pytest.raises(InputError, match="not a vector file"):
        read_plots(tmp_path / "empty.geojson", EUDR)
    write(tmp_path / "a.shp", [SQUARE])
    (tmp_path / "a.prj").unlink()
    with pytest.raises(InputError, match="no CRS"):
        read_plots(tmp_path / "a.shp", EUDR)
    with pytest.raises(InputError, match="no such file"):
        read_plots(tmp_path / "none.gpkg", EUDR)
