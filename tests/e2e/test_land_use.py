"""Land use by year from maps of dates: maps, areas by unit, accounts, on the command line too."""

import hashlib
import json

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from judges import check_products
from map_series import COVER, put
from rasters import NORTH_UP, UTM, write

import geoseg
from geoseg.cli import run
from geoseg.grid import full_window
from geoseg.io.class_raster import ClassRaster
from geoseg.io.dated_map import find_map
from geoseg.ops.metric import measure_grid
from geoseg.ops.zonal import pixel_counts

SHAPE = (70, 84)
YEARS = (2019, 2020, 2021, 2022)
CODES = np.array(COVER.values)


def truth(year):
    """Index of the class: what is built in 2021 stays."""
    y, x = np.indices(SHAPE)
    index = np.where(x < 30, 0, 1)
    index[(y < 20) & (x > 60)] = 2
    if year >= 2021:
        index[40:60, 35:60] = 2
    return index


def year_of_maps(root, year, *, seed=0, months=("02", "05", "09", "11"), shares=True, clouds=0.25):
    random = np.random.default_rng(seed + year)
    paths = []
    for month in months:
        share = random.dirichlet(np.full(3, 0.7), SHAPE) * 0.65
        share += 0.35 * np.eye(3)[truth(year)]
        percents = np.rint(100 * share).astype(np.uint8).transpose(2, 0, 1)
        hidden = random.random(SHAPE) < clouds
        percents[:, hidden] = 255
        codes = CODES[np.where(hidden, 0, percents.argmax(axis=0))]
        top = percents.max(axis=0)
        paths.append(
            put(
                root / f"{year}-{month}-10",
                np.where(hidden, 255, codes),
                COVER,
                percent=top,
                shares=percents if shares else None,
            )
        )
    return paths


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    root = tmp_path_factory.mktemp("maps")
    return [path for year in YEARS for path in year_of_maps(root, year)]


@pytest.fixture(scope="module")
def median(maps, tmp_path_factory):
    return geoseg.land_use(maps, tmp_path_factory.mktemp("median") / "out")


@pytest.fixture(scope="module")
def hmm(maps, tmp_path_factory):
    out = tmp_path_factory.mktemp("hmm") / "out"
    return geoseg.land_use(maps, out, rule="hmm", changes={"Built > *": 0})


def band(path):
    with rasterio.open(path) as file:
        return file.read(1)


def expected_median(paths):
    """The whole stack of a year at once, by numpy."""
    stack = np.stack([rasterio.open(p / "probabilities.tif").read() for p in paths]).astype(float)
    stack[stack == 255] = np.nan
    with np.errstate(invalid="ignore"):
        shares = np.full(stack.shape[1:], np.nan)
        some = np.isfinite(stack).any(axis=(0, 1))
        shares[:, some] = np.nanmedian(stack[..., some], axis=0)
    shares = shares / shares.sum(axis=0)
    index = np.where(some, np.nan_to_num(shares).argmax(axis=0), 0)
    percent = np.floor(100 * np.nan_to_num(shares).max(axis=0).astype(np.float32) + 0.5)
    return np.where(some, CODES[index], 255), np.where(some, percent, 255)


def test_maps_of_years_are_the_medians_of_the_whole_stack(maps, median):
    assert median.periods == tuple(map(str, YEARS))
    for number, year in enumerate(YEARS):
        classes, percent = expected_median(maps[4 * number : 4 * number + 4])
        np.testing.assert_array_equal(band(median.products[f"{year}_classes"]), classes)
        found = band(median.products[f"{year}_confidence"]).astype(int)
        assert np.abs(found - percent).max() <= 1  # halves, in single precision


def wrong(made, year):
    return float((band(made.products[f"{year}_classes"]) != CODES[truth(year)]).mean())


def test_a_model_of_time_is_right_more_often_and_never_says_what_cannot_be(median, hmm):
    errors = [sum(wrong(made, year) for year in YEARS) for made in (hmm, median)]
    assert errors[0] < errors[1] / 2
    classes = np.stack([band(hmm.products[f"{year}_classes"]) for year in YEARS])
    assert not ((classes[:-1] == 5) & (classes[1:] != 5)).any()
    before, after = hmm.changed_ha
    assert before == median.changed_ha[0]
    assert after < before / 2
    assert hmm.filled_ha > 0
    assert not (classes == 255).any()


def test_what_was_not_seen_can_stay_so(maps, median, tmp_path):
    made = geoseg.land_use(maps, tmp_path / "out", rule="hmm", fill=False)
    for year in YEARS:
        one, other = (band(m.products[f"{year}_classes"]) for m in (made, median))
        np.testing.assert_array_equal(one == 255, other == 255)
    assert made.filled_ha == 0


def test_accounts_balance_and_are_those_of_the_maps(median):
    grid = ClassRaster(median.products["2019_classes"]).grid
    metric = measure_grid(grid)
    ground = pixel_counts(full_window(grid), metric) * metric.unit / 1e4
    maps = {str(y): band(median.products[f"{y}_classes"]) for y in YEARS}
    rows = median.accounts.to_pylist()
    assert {(r["from_period"], r["to_period"]) for r in rows} == {
        ("2019", "2020"), ("2020", "2021"), ("2021", "2022"), ("2019", "2022"),
    }  # fmt: skip
    for row in rows:
        code = 255 if row["class_code"] is None else row["class_code"]
        before, after = maps[row["from_period"]] == code, maps[row["to_period"]] == code
        assert row["opening_ha"] == pytest.approx(ground[before].sum(), abs=1e-5)
        assert row["closing_ha"] == pytest.approx(ground[after].sum(), abs=1e-5)
        assert row["additions_ha"] == pytest.approx(ground[after & ~before].sum(), abs=1e-5)
        assert row["reductions_ha"] == pytest.approx(ground[before & ~after].sum(), abs=1e-5)
        balance = row["opening_ha"] + row["additions_ha"] - row["reductions_ha"]
        assert row["closing_ha"] == pytest.approx(balance, abs=4e-6)
    for row in median.matrix.to_pylist():
        code = {**dict(zip(COVER.names, COVER.values, strict=True)), "Not observed": 255}
        both = maps[row["from_period"]] == code[row["from_class"]]
        both &= maps[row["to_period"]] == code[row["to_class"]]
        assert row["area_ha"] == pytest.approx(ground[both].sum(), abs=1e-5)


def units(folder):
    """Two units with a slanting border, in degrees, and one that reaches beyond the map."""
    a = NORTH_UP
    corner = [a @ point for point in ((2.5, 1.5), (40.2, 3.1), (33.7, 60.4), (4.4, 66.6))]
    other = [a @ point for point in ((40.2, 3.1), (120, 5), (120, 60), (33.7, 60.4))]
    frame = geopandas.GeoDataFrame(
        {"district": ["East", "West"], "n": [1, 2]},
        geometry=[shapely.Polygon(other), shapely.Polygon(corner)],
        crs=UTM,
    )
    path = folder / "units.gpkg"
    frame.to_file(path)
    return path, dict(zip(frame.district, frame.geometry, strict=True))


def test_areas_of_units_are_exact_at_their_borders(maps, tmp_path):
    path, shapes = units(tmp_path)
    made = geoseg.land_use(maps, tmp_path / "out", zones=str(path), zone_name="district")
    grid = ClassRaster(made.products["2019_classes"]).grid
    metric = measure_grid(grid)
    ground = pixel_counts(full_window(grid), metric) * metric.unit / 1e4
    a = grid.affine
    corners = [[a @ (x, y) for x in range(SHAPE[1])] for y in range(SHAPE[0])]
    squares = np.array([[shapely.box(x, y - 10, x + 10, y) for x, y in row] for row in corners])
    shares = {n: shapely.area(shapely.intersection(squares, s)) / 100 for n, s in shapes.items()}
    for row in made.areas.to_pylist():
        code = 255 if row["class_code"] is None else row["class_code"]
        here = band(made.products[f"{row['period']}_classes"]) == code
        assert row["area_ha"] == pytest.approx((ground * shares[row["zone"]])[here].sum(), abs=1e-4)
    totals = {}
    for row in made.areas.to_pylist():
        key = row["period"], row["zone"]
        totals[key] = totals.get(key, 0) + row["percent"]
    assert all(total == pytest.approx(100, abs=0.01) for total in totals.values())
    zones = pyogrio.read_dataframe(made.products["geopackage"], layer="zones")
    assert zones.zone.tolist() == ["East", "West"]
    assert len(pyogrio.read_dataframe(made.products["geopackage"], layer="areas")) == 4 * 2 * 4


def digests(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "item.json"  # has links relative to where it lies
    }


def test_neither_blocks_nor_budget_nor_order_change_a_byte(maps, hmm, tmp_path, monkeypatch):
    monkeypatch.setattr("geoseg.steps.land_use.BUDGET", 20_000)
    again = geoseg.land_use(
        maps[::-1], tmp_path / "out", rule="hmm", changes={"Built > *": 0}, block=48
    )
    assert digests(again.directory) == digests(hmm.directory)


def test_a_map_of_a_year_is_a_map_that_other_commands_take(hmm):
    found = find_map(hmm.directory / "2021")
    assert str(found.day()) == "2021-01-01"
    assert found.legend.names == COVER.names
    assert found.confidence is not None
    collection = json.loads((hmm.directory / "collection.json").read_text())
    assert len([link for link in collection["links"] if link["rel"] == "item"]) == len(YEARS)


def test_maps_without_probabilities_vote_by_their_confidence(tmp_path):
    maps = year_of_maps(tmp_path / "maps", 2019, shares=False, clouds=0.0)
    made = geoseg.land_use(maps, tmp_path / "out")
    assert wrong(made, 2019) < 0.2


def test_bare_codes_get_their_names_from_a_setting(tmp_path, capsys):
    paths = [
        write(tmp_path / f"map_{day}.tif", np.full((20, 20), code, np.uint8))
        for day, code in (("2020-01-01", 4), ("2021-01-01", 7))
    ]
    out = str(tmp_path / "out")
    assert run(["land-use", *paths, out, "-q"]) == 2
    assert "names no class; say what its codes are" in capsys.readouterr().err
    assert run(["land-use", *paths, out, "-q", "--legend", "4=Wood,7=Town"]) == 0
    told = capsys.readouterr().out
    assert "maps of 2 periods, 2020 to 2021" in told
    assert "Wood: 4.0 + 0.0 - 4.0 = 0.0 ha" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--change", "Built>Trees=0"], "changes: only used with rule: hmm"),
        (["--rule", "hmm", "--change", "Built"], "expected A>B=P"),
        (["--rule", "hmm", "--change", "Lava>*=0"], "speaks of a class 'Lava'; there are water"),
        (["--rule", "hmm", "--change", "Built>Trees=2"], "expected a probability from 0"),
        (["--rule", "hmm", "--change", "Built>*=0.7"], "probabilities that sum to 1"),
        (["--rule", "hmm", "--stay", "1"], "stay"),
        (["--zones", "nowhere.gpkg"], "nowhere.gpkg: no such file"),
        (["--zone-name", "district"], "zone_name: only used with zones"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    maps, tmp_path, capsys, options, message
):
    code = run(["land-use", *map(str, maps[:2]), str(tmp_path / "out"), *options])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_maps_with_other_classes_are_refused(maps, tmp_path, capsys):
    odd = tmp_path / "2023-01-01"
    more = type(COVER)("odd", (*COVER.classes[:2], type(COVER.classes[0])(9, "Lava", "#ff0000")))
    put(odd, np.ones(SHAPE), more)
    assert run(["land-use", str(maps[0]), str(odd), str(tmp_path / "out")]) == 2
    assert "has a class 'Lava', which" in capsys.readouterr().err


def test_all_of_it_is_standard_and_says_what_it_is_made_of(hmm):
    told = check_products(hmm.directory, "land use")
    assert told["settings"]["rule"] == "hmm"
