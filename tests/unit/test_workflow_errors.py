"""Every kind of mistake in a workflow: the exact words, the line, the column."""

import pickle

import pytest
from wrong_workflows import GOOD, one, problems

from geoseg.errors import InputError


def test_looks_like_a_compilers():
    assert str(problems(GOOD + "tiling:\n  overlaps: 64\n")) == (
        "w.yaml:10:3: tiling.overlaps: unknown key, did you mean 'margin'?\n"
        "    10 |   overlaps: 64\n"
        "       |   ^"
    )


def test_all_problems_in_order():
    text = GOOD.replace("water", "a b").replace("files", "fils").replace("landcover", "3")
    text += "run: {retries: 11}\nrum: 1\n"
    places = [(p.line, p.column, p.key) for p in problems(text).problems]
    assert places == [
        (2, 7, "name"),
        (4, 9, "input.kind"),
        (6, 8, "model"),
        (9, 16, "run.retries"),
        (10, 1, "rum"),
    ]


def test_error_is_an_input_error_and_travels():
    error = problems("a: 1")
    assert isinstance(error, InputError)
    assert error.exit_code == 2
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert str(again) == str(error)
    assert again.problems == error.problems


# (what is appended to or replaced in a good workflow, line, column, key, message)
KINDS = "expected local, address, cuda, slurm, pbs, kubernetes or gateway"
SIZE = (
    "expected a size like '2 GB' or '512 MiB' "
    "(units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB), found "
)
PIXELS = "expected a number of pixels like 512 or '512 px', or auto, found "
APPENDED = [
    ("tiling: {size: big}", 9, 16, "tiling.size", PIXELS + "'big'"),
    ("tiling: {size: 0}", 9, 16, "tiling.size", "expected at least 1 pixel, found 0"),
    ("tiling: {margin: -1}", 9, 18, "tiling.margin", PIXELS + "-1"),
    ("tiling: {margin: 10 m}", 9, 18, "tiling.margin", PIXELS + "'10 m'"),
    (
        "tiling: {size: 128, margin: 64}",
        *(9, 29, "tiling.margin"),
        "nothing is left of a chip: expected less than half of 'size', found 64 px",
    ),
    ("tiling: {min_valid: 1.5}", 9, 21, "tiling.min_valid", "expected at most 1, found 1.5"),
    ("tiling: {weights: hann}", 9, 19, "tiling.weights", "only used with seams: blend"),
    (
        "tiling: {seams: blnd}",
        *(9, 17, "tiling.seams"),
        "expected crop or blend, found 'blnd', did you mean 'blend'?",
    ),
    ("tiling:", 9, 1, "tiling", "expected keys and values, found nothing, fill it in or remove it"),
    ("tiling: [1]", 9, 1, "tiling", "expected keys and values, found a list"),
    ("run: {retries: 11}", 9, 16, "run.retries", "expected at most 10, found 11"),
    ("run: {retries: -1}", 9, 16, "run.retries", "expected at least 0, found -1"),
    (
        'run: {retries: "2"}',
        *(9, 16, "run.retries"),
        "expected a whole number, found '2', write it without quotes",
    ),
    ("run: {retries: 1.5}", 9, 16, "run.retries", "expected a whole number, found 1.5"),
    ("run: {retries: true}", 9, 16, "run.retries", "expected a whole number, found true"),
    (
        "cluster: cloud",
        *(9, 10, "cluster"),
        KINDS + ", found 'cloud', did you mean 'cuda'?",
    ),
    ("cluster: {memory: 2}", 9, 19, "cluster.memory", SIZE + "2 without a unit, add ' GB'"),
    ("cluster: {memory: 2 m}", 9, 19, "cluster.memory", SIZE + "'2 m'"),
    ("cluster: {kind: address}", 9, 1, "cluster.address", "required where kind is address"),
    (
        "cluster: {kind: address, address: host}",
        *(9, 35, "cluster.address"),
        "expected a scheduler's address like tcp://10.0.0.5:8786, found 'host'",
    ),
    (
        "cluster: {kind: local, address: tcp://a:1}",
        *(9, 33, "cluster.address"),
        "only used with kind: address or gateway",
    ),
    (
        "cluster: {address: tcp://a:1, workers: 2}",
        *(9, 40, "cluster.workers"),
        "a running cluster has its own; use kind: local",
    ),
    ("cluster: slurm", 9, 1, "cluster.memory", "required where kind is slurm"),
    ("cluster: {queue: gpu}", 9, 18, "cluster.queue", "only used with kind: slurm or pbs"),
    ("cluster: kubernetes", 9, 1, "cluster.image", "required where kind is kubernetes"),
    ("cluster: {kind: gateway}", 9, 1, "cluster.address", "required where kind is gateway"),
    (
        "cluster: {kind: cuda, adaptive: {maximum: 4}}",
        *(9, 23, "cluster.adaptive"),
        "only used with kind: local, slurm, pbs, kubernetes or gateway",
    ),
    (
        "cluster: {workers: 2, adaptive: {maximum: 4}}",
        *(9, 23, "cluster.adaptive"),
        "expected only one of workers and adaptive",
    ),
    (
        "cluster: {adaptive: {minimum: 5, maximum: 4}}",
        *(9, 43, "cluster.adaptive.maximum"),
        "expected 5 (minimum) at least, found 4",
    ),
    (
        "cluster: {kind: slurm, memory: 4 GB, walltime: 5 s}",
        *(9, 48, "cluster.walltime"),
        "expected a minute at least, like '4 h', found '5 s'",
    ),
    (
        "cluster: {kind: kubernetes, image: i, memory: 4 GB, volumes: {data: claim}}",
        *(9, 69, "cluster.volumes.data"),
        "expected folders of the pods like /data, found 'data'",
    ),
    (
        "cluster: {dashboard: yes}",
        *(9, 22, "cluster.dashboard"),
        "expected true, false or a port number, found 'yes'",
    ),
    ("area: {}", 9, 1, "area", "expected exactly one of file, bbox and wkt"),
    (
        "area: {file: a, wkt: POLYGON ((0 0))}",
        *(9, 1, "area"),
        "expected exactly one of file, bbox and wkt, found file and wkt",
    ),
    ("area: {wkt: POINT (1 2)}", 9, 13, "area.wkt", "expected POLYGON (...) or MULTIPOLYGON (...)"),
    (
        "area: {bbox: [1, 2, 3]}",
        *(9, 8, "area.bbox"),
        "expected [west, south, east, north], found a list of 3",
    ),
    (
        "area: {bbox: [3, 2, 1, 4]}",
        *(9, 8, "area.bbox"),
        (
            "expected [west, south, east, north] with west < east and south < north, "
            "found [3, 2, 1, 4]"
        ),
    ),
    (
        "area: {bbox: [500000, 0, 600000, 9]}",
        *(9, 8, "area.bbox"),
        "expected degrees (or say in 'crs' what they are), found [500000, 0, 600000, 9]",
    ),
    ("area: {bbox: [1, 2, x, 4]}", 9, 21, "area.bbox.2", "expected a number, found 'x'"),
    ("area: {bbox: [1, .nan, 3, 4]}", 9, 18, "area.bbox.1", "expected a number, found .nan"),
    (
        "area: {file: a, layer: 3}",
        9,
        24,
        "area.layer",
        "expected text, found 3, put it in quotes if it is meant",
    ),
    ("area: {bbox: [1, 2, 3, 4], layer: a}", 9, 35, "area.layer", "belongs to 'file'"),
    ("area: {file: a, crs: EPSG:1}", 9, 22, "area.crs", "a file has its own CRS"),
    (
        "area: {bbox: [1, 2, 3, 4], crs: 32629}",
        *(9, 33, "area.crs"),
        "expected a CRS like EPSG:32629, or WKT, found 32629, write EPSG:32629",
    ),
    ("threads: 2", 9, 1, "threads", "unknown key here, it belongs in cluster"),
    (
        "run: {qqqq: 2}",
        *(9, 7, "run.qqqq"),
        (
            "unknown key; known are on_error, retries, block_timeout, work, scenes_at_once, "
            "priority, performance_report"
        ),
    ),
    ("extends: 3", 9, 10, "extends", "expected a path, found 3"),
]


@pytest.mark.parametrize(("more", "line", "column", "key", "message"), APPENDED)
def test_in_other_sections(more, line, column, key, message):
    assert one(f"{GOOD}{more}\n") == (line, column, key, message)
