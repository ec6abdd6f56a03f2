"""Every kind of mistake in what is read, written and required: the exact words, the line, the column."""

import pytest
from wrong_workflows import GOOD, LEAST, LENGTH, SAMPLE, STAC, one

from geoseg.errors import WorkflowError
from geoseg.workflow import from_data, loads

IN_INPUT = [
    (
        "date: soon",
        9,
        "input.date",
        "expected a date like 2024-06-01 or 2024-06-01T10:30:00Z, found 'soon'",
    ),
    (
        "date: 20240601",
        9,
        "input.date",
        "expected a date like 2024-06-01 or 2024-06-01T10:30:00Z, found 20240601",
    ),
    ("scale: 0", 10, "input.scale", "expected a number other than 0, found 0"),
    ("nodata: none", 11, "input.nodata", "expected a number, found 'none'"),
    (
        "units: refl",
        10,
        "input.units",
        "expected reflectance or dn, found 'refl', did you mean 'reflectance'?",
    ),
    (
        "bands: red",
        10,
        "input.bands",
        "expected a list of band names in file order, or band names with their sources, found 'red'",
    ),
    (
        "bands: {}",
        3,
        "input.bands",
        "expected a list of band names in file order, or band names with their sources, found no bands",
    ),
    ("bands: [red, nir, red]", 21, "input.bands.2", "expected each only once, found 'red' again"),
    (
        "bands: [red, 4]",
        16,
        "input.bands.1",
        "expected a common band name like red, nir or swir16, found 4",
    ),
    ("bands: {red: 0}", 16, "input.bands.red", "expected at least 1, found 0"),
    (
        "bands: {b-1: 1}",
        11,
        "input.bands.b-1",
        "expected a common band name like red, nir or swir16, found 'b-1'",
    ),
    (
        "bands: {red: }",
        11,
        "input.bands.red",
        "expected a band number, a file, or keys like index and scale, found nothing",
    ),
    ("bands: {red: {indx: 1}}", 17, "input.bands.red.indx", "unknown key, did you mean 'index'?"),
    (
        "bands: {red: '{scn}.tif'}",
        16,
        "input.bands.red",
        "expected a path; in braces only {scene} is known, found '{scn}'",
    ),
    ("mask: {method: values}", 3, "input.mask.values", "required where method is values"),
    ("mask: {method: alpha, values: [1]}", 25, "input.mask.values", "method alpha uses no values"),
    (
        "mask: {method: bits, values: [32]}",
        24,
        "input.mask.values",
        "expected bit numbers from 0 to 31",
    ),
    ("mask: {method: udm2, shadow: false}", None, None, None),
    (
        "mask: {method: udm2, values: [7]}",
        24,
        "input.mask.values",
        (
            "expected bands of udm2: 1 (clear), 2 (snow), 3 (shadow), 4 (light haze), 5 (heavy haze), "
            "6 (cloud), 8 (unusable), found 7"
        ),
    ),
    (
        "mask: {method: classi, index: 2}",
        33,
        "input.mask.index",
        "method classi uses several bands; say which with 'values', found 2",
    ),
    (
        "mask: {method: alpha, shadow: false}",
        33,
        "input.mask.shadow",
        "only used with scl, qa_pixel, fmask or udm2, and without 'values', found false",
    ),
    ("mask: {dilate: 1}", 3, "input.mask.method", "required, but missing"),
    ("mask: {method: scl, dilate: 60}", None, None, None),
    (
        "mask: {method: scl, dilate: 0.5}",
        31,
        "input.mask.dilate",
        LENGTH + "0.5 without a unit, add ' m'",
    ),
    ("mask: {method: scl, dilate: 2 ha}", 31, "input.mask.dilate", LENGTH + "'2 ha'"),
    (
        "mask: {method: scl, dilate: '1,5 m'}",
        31,
        "input.mask.dilate",
        LENGTH + "'1,5 m', write a decimal point, not a comma",
    ),
    (
        "mask: {method: scl, asset: a}",
        23,
        "input.mask.asset",
        "unknown key; known are method, path, index, values, shadow, dilate",
    ),
]


@pytest.mark.parametrize(("line", "column", "key", "message"), IN_INPUT)
def test_in_files_input(line, column, key, message):
    text = GOOD.replace("  path", f"  {line}\n  path")
    if key is None:
        loads(text)
        return
    assert one(text) == (5, column, key, message)


@pytest.mark.parametrize(
    ("line", "key", "message"),
    [
        ("max_cloud: 101", "input.max_cloud", "expected at most 100, found 101"),
        (
            "time: {last: 14}",
            "input.time.last",
            "expected a duration like '14 d' or '36 h' (units: s, min, h, d, w), found 14 without a unit, add ' d'",
        ),
        (
            "time: {last: 14d, start: 2024-01-01}",
            "input.time",
            "expected either 'last', or 'start' and 'end'",
        ),
        ("time: {start: 2024-02-01, end: 2024-01-01}", "input.time.end", "'end' is before 'start'"),
        (
            "time: {end: x}",
            "input.time.end",
            "expected a date like 2024-06-01 or 2024-06-01T10:30:00Z, found 'x'",
        ),
        ("time: {}", "input.time", "expected 'start', 'end', or 'last'"),
        (
            "time: last week",
            "input.time",
            "expected a time like 2024-06-01/2024-06-30, {start, end} or {last: 14d}, found 'last week'",
        ),
        (
            "path: a",
            "input.path",
            "unknown key; known are scale, offset, units, nodata, resampling, kind, catalog, collections, ids, time, max_cloud, max_items, bands, mask",
        ),
        (
            "bands: {red: 3}",
            "input.bands.red",
            "expected text, found 3, put it in quotes if it is meant",
        ),
        ("ids: S2A", "input.ids", "expected a list, found 'S2A'"),
    ],
)
def test_in_stac_input(line, key, message):
    found = one(STAC.replace("  catalog", f"  {line}\n  catalog"))
    assert (found[0], *found[2:]) == (5, key, message)


@pytest.mark.parametrize(
    ("line", "key", "message"),
    [
        ("size: [1, 2, 3]", "input.size", "expected [rows, columns], found a list of 3"),
        ("size: [0, 2]", "input.size.0", "expected at least 1, found 0"),
        ("size: true", "input.size", "expected a whole number, found true"),
        ("date: 3", "input.date", "expected 1 or 2, found 3"),
        ("date: true", "input.date", "expected 1 or 2, found true"),
        ("seed: -1", "input.seed", "expected at least 0, found -1"),
    ],
)
def test_in_sample_input(line, key, message):
    assert one(SAMPLE.replace("sample\n", f"sample\n  {line}\n"))[2:] == (key, message)


@pytest.mark.parametrize(
    ("line", "key", "message"),
    [
        (
            "vector: {min_area: 400}",
            "output.vector.min_area",
            LEAST + "400 without a unit, add ' m2'",
        ),
        ("vector: {min_area: 400 m}", "output.vector.min_area", LEAST + "'400 m'"),
        ("vector: {min_area: -1 ha}", "output.vector.min_area", LEAST + "'-1 ha'"),
        ("vector: {connectivity: 6}", "output.vector.connectivity", "expected 4 or 8, found 6"),
        (
            "vector: {formats: [shp]}",
            "output.vector.formats.0",
            "expected gpkg, geoparquet, flatgeobuf or pmtiles, found 'shp'",
        ),
        (
            "vector: {formats: []}",
            "output.vector.formats",
            "expected at least one entry, found an empty list",
        ),
        ("vector: all", "output.vector", "expected keys and values, found 'all'"),
        ("quicklook: off", "output.quicklook", "expected true or false, found 'off', write false"),
        (
            "quicklook: 'true'",
            "output.quicklook",
            "expected true or false, found 'true', write it without quotes",
        ),
        ("raster: {confidence: 1}", "output.raster.confidence", "expected true or false, found 1"),
    ],
)
def test_in_output(line, key, message):
    assert one(f"{GOOD}  {line}\n")[2:] == (key, message)


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        (
            "'p/{scn}'",
            "expected {scene}, {date}, {name} or {stem}, found {scn}, did you mean {scene}?",
        ),
        (
            "'p/{scene!r}'",
            "expected {scene}, {date}, {name} or {stem}, found {scene!r}, did you mean {scene}?",
        ),
        (
            "'p/{scene'",
            "expected {scene}, {date}, {name} or {stem} in braces, found 'p/{scene', expected '}' before end of string",
        ),
        (
            "'p/{date:%B}'",
            "expected a date format like {date:%Y-%m-%d} (%Y, %m, %d, %H, %M, %S, %j, %y, %G, %V, %u, %%), found '%B'",
        ),
        ("'p/{name:>9}'", "{name} takes no format, found '>9'"),
        ("{scene}", "expected a path, found keys and values, put quotes around a path with '{'"),
        ("", "expected a path, found nothing"),
        ("' '", "expected a path, found ' '"),
    ],
)
def test_in_directory(directory, message):
    found = one(GOOD.replace("directory: products", f"directory: {directory}"))
    assert found[2:] == ("output.directory", message)


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "message"),
    [
        ("geoseg: 1\n", "", 1, "geoseg", "required, but missing; write 'geoseg: 1'"),
        ("geoseg: 1", "geoseg: 2", 1, "geoseg", "expected 1, found 2"),
        ("geoseg: 1", "geoseg: true", 1, "geoseg", "expected 1, found true"),
        (
            "name: water",
            "name: 2024",
            2,
            "name",
            "expected a name of letters, digits, '.', '_' and '-', found 2024",
        ),
        (
            "name: water",
            "name: ../up",
            2,
            "name",
            "expected a name of letters, digits, '.', '_' and '-', found '../up'",
        ),
        ("  kind: files\n", "", 3, "input.kind", "required: files, stac or sample"),
        (
            "kind: files",
            "kind: [a]",
            4,
            "input.kind",
            "expected files, stac or sample, found a list",
        ),
        (
            "  path: scenes/*.tif\n",
            "",
            3,
            "input.path",
            "required, unless every band has a path of its own",
        ),
        (
            "path: scenes/*.tif",
            "path: []",
            5,
            "input.path",
            "expected at least one entry, found an empty list",
        ),
        ("model: landcover\n", "", 1, "model", "required, but missing"),
        (
            "model: landcover",
            "model: {}",
            6,
            "model",
            "expected exactly one of name, path and ensemble",
        ),
        (
            "model: landcover",
            "model: {name: a, path: b}",
            6,
            "model",
            "expected exactly one of name, path and ensemble, found name and path",
        ),
        (
            "model: landcover",
            "model: {name: a, device: gpu}",
            6,
            "model.device",
            "expected auto, cpu or cuda, found 'gpu', did you mean 'cuda'?",
        ),
        (
            "  directory",
            "  directry",
            8,
            "output.directry",
            "unknown key, did you mean 'directory'?",
        ),
    ],
)
def test_in_what_is_required(old, new, line, key, message):
    found = one(GOOD.replace(old, new, 1))
    assert (found[0], *found[2:]) == (line, key, message)


def test_python_data_has_the_same_words():
    with pytest.raises(WorkflowError) as caught:
        from_data({"geoseg": 1, "name": "a", "input": {"kind": "fils"}, "model": "m", "output": 3})
    assert str(caught.value).splitlines() == [
        "<python>: input.kind: expected files, stac or sample, found 'fils', did you mean 'files'?",
        "<python>: output: expected keys and values, found 3",
    ]
