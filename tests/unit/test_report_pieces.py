"""What reports are made of: pictures, places, confidence by class, charts and words."""

import io
from datetime import date, timedelta

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from products import GRIDS, LEGEND, class_map, percents
from rasters import NORTH_UP

from geoseg.io import report_words as words
from geoseg.io.report_chart import HEIGHT, WIDTH, lines_chart
from geoseg.io.report_confidence import read_sureness
from geoseg.io.report_pictures import PATTERNS, SIDE, percent_map, photo, swatch
from geoseg.io.report_pictures import class_map as drawn
from geoseg.io.report_place import place_of
from geoseg.legend import LandClass

CLASSES = LEGEND.classes


def opened(picture):
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGBA"))


def test_a_map_has_the_colours_of_its_classes_and_is_transparent_elsewhere():
    codes = class_map((60, 90))
    pixels = opened(drawn(codes, CLASSES))
    assert pixels.shape[:2] == codes.shape
    for entry in CLASSES:
        assert (pixels[codes == entry.value] == (*entry.rgb, 255)).all()
    assert (pixels[codes == LEGEND.nodata][:, 3] == 0).all()


def test_patterns_tell_classes_apart_without_colours():
    grey = [LandClass(n, f"c{n}", "#777777") for n in range(2 * len(PATTERNS))]
    seen = {opened(swatch(entry, n)).tobytes() for n, entry in enumerate(grey)}
    assert len(seen) == len(grey)
    codes = class_map((300, 400))
    plain, patterned = (opened(drawn(codes, CLASSES, patterned=p)) for p in (False, True))
    large = plain.repeat(patterned.shape[0] // 300, 0).repeat(patterned.shape[1] // 400, 1)
    assert ((large[..., 3] == 0) == (patterned[..., 3] == 0)).all()
    for entry in CLASSES:
        of_class = patterned[(large == (*entry.rgb, 255)).all(axis=2)]
        assert len(np.unique(of_class, axis=0)) == 2


def test_the_worst_pictures_leave_a_page_below_3_mb():
    noise = np.random.default_rng(1)
    codes = noise.integers(0, 255, (SIDE, SIDE)).astype(np.uint8)
    many = tuple(LandClass(n, str(n), f"#{n:02x}{255 - n:02x}80") for n in range(255))
    few = tuple(many[n] for n in range(24))
    pictures = [
        drawn(codes, many),
        drawn(codes % 24, few, patterned=True),
        percent_map(noise.integers(0, 101, (SIDE, SIDE)).astype(np.uint8)),
        photo(Image.fromarray(noise.integers(0, 255, (560, 560, 3)).astype(np.uint8))),
    ]
    assert sum(len(picture.address) for picture in pictures) < 2_800_000


@pytest.mark.parametrize("name", GRIDS)
def test_places(name):
    place = place_of(GRIDS[name])
    assert place.bar is not None
    assert 0.1 < place.bar[1] <= 0.34
    assert place.flipped == (name == "south-up")
    assert place.degrees.count("°") == 4
    assert ("EPSG" in place.crs) == (name != "no-code")


@pytest.mark.parametrize(("shape", "whole"), [((90, 130), True), ((2600, 2300), False)])
def test_confidence_by_class_is_counted_in_whole_tiles(tmp_path, shape, whole):
    codes, sure = class_map(shape), percents(shape)
    for path, values, nodata in (("c", codes, 0), ("s", sure, 255)):
        profile = {"driver": "GTiff", "width": shape[1], "height": shape[0], "count": 1,
                   "dtype": "uint8", "nodata": nodata, "crs": "EPSG:32629",
                   "transform": NORTH_UP}  # fmt: skip
        with rasterio.open(tmp_path / f"{path}.tif", "w", **profile) as file:
            file.write(values, 1)
    found = read_sureness(tmp_path / "c.tif", tmp_path / "s.tif")
    assert found.whole == whole
    for entry in CLASSES:
        of_class = sure[(codes == entry.value) & (sure != 255)]
        if whole:
            assert found.counts[entry.value].sum() == of_class.size
            assert found.mean(entry.value) == pytest.approx(of_class.mean() / 100)
            assert found.unsure(entry.value) == pytest.approx((of_class < 50).mean())
        else:
            assert found.mean(entry.value) == pytest.approx(of_class.mean() / 100, abs=0.01)
    assert found.mean(77) is None
    if not whole:
        assert 8 * 256**2 < found.pixels <= 12 * 512**2


@given(
    st.lists(st.integers(0, 4000), min_size=2, max_size=40, unique=True),
    st.floats(0, 1e12),
    st.integers(1, 9),
)
def test_lines_stay_within_the_drawing(steps, most, count):
    days = [date(2015, 1, 1) + timedelta(days=n) for n in sorted(steps)]
    rows = {f"c{k}": [most * (i % (k + 1)) / count for i in range(len(days))] for k in range(count)}
    chart = lines_chart(days, rows, dict.fromkeys(rows, "#123456"), "ha")
    assert chart is not None
    for line in chart.lines:
        for point in line.points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    assert len(chart.across) == 5
    assert len({label for _, label in chart.upright}) == len(chart.upright)


def test_one_day_is_no_line():
    assert lines_chart([date(2020, 1, 1)] * 2, {"a": [1, 2]}, {"a": "#000000"}, "ha") is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.percent(0.0), "0.0 %"),
        (words.percent(0.0001), "<0.1 %"),
        (words.percent(None), words.NOTHING),
        (words.hectares(1234.5, unit=True), "1,234 ha"),
        (words.hectares(0.25), "0.2500"),
        (words.hectares(0), "0"),
        (words.metres(0.07), "7 cm"),
        (words.metres(10.0), "10 m"),
        (words.metres(109_800), "110 km"),
        (words.size(999), "999 bytes"),
        (words.size(1.5e6), "1.5 MB"),
        (words.span(59.94), "59.9 s"),
        (words.span(3720), "1 h 2 min"),
        (words.several(1, "block"), "1 block"),
        (words.several(1200, "block"), "1,200 blocks"),
    ],
)
def test_words(said, expected):
    assert said == expected
