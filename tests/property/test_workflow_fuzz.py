"""Whatever stands in a workflow, it is read or refused in plain words."""

import re

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from geoseg.errors import WorkflowError
from geoseg.workflow import Workflow, from_data, loads

SECRET = "hunter2hunter2"  # noqa: S105 - a decoy
GOOD = """\
geoseg: 1
name: water-weekly
description: "What ${WHAT:-water} it is"
input:
  kind: files
  path: [&first a/*.tif, "b/{scene}.tif"]
  bands: {red: 1, nir: x.tif, swir16: {index: 2, scale: 1e-4}}
  mask: {method: scl, values: [3, 8], dilate: 60 m}
  date: 2024-06-01
area: {bbox: [1, 2, 3, 4]}
model:
  name: ${SECRET}
  device: auto
tiling: {size: 512, margin: 64 px, seams: blend, weights: hann}
output:
  directory: products/{scene}/{date:%Y-%m-%d}
  vector: {classes: [water], min_area: 0.25 ha, connectivity: 8}
cluster: {kind: local, workers: 2, memory: 2 GB}
run: {on_error: skip_scene, retries: 2}
"""
PIECES = [
    *("{", "}", "[", "]", ":", ": ", "- ", "\n", "\n  ", "#", "&a ", "*a", "*first", "!!", "!x "),
    *("|", ">", "'", '"', "%", "%YAML 1.1\n", "---\n", "...\n", "? ", "<<: ", "~", "null", "\t"),
    *(
        "extends: ",
        "extends: a.yaml\n",
        "${",
        "${A}",
        "${SECRET}",
        "${SECRET}x",
        "$${",
        "0x1f",
        "1e999",
        ".nan",
        "-.inf",
        "9" * 400,
    ),
    *("\ufeff", "\x00", "\x85", "\u2028", "\ud800", "\\U00110000", "é", "日", "true", "no", "-1"),
    *(
        "\0list",
        "[key]",
        "kind",
        "stac",
        "sample",
        "address",
        "auto",
        "5 px",
        "\r",
        "2024-01-01/..",
    ),
]
BAD_WORDS = re.compile(r"Input should|pydantic|validation error|something else|Traceback|\x1b")
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(read, *args, **options):
    """Call ``read``: it gives a workflow, or an error that people can read."""
    try:
        workflow = read(*args, **options)
    except WorkflowError as error:
        check_error(error)
    else:
        assert isinstance(workflow, Workflow)
        assert SECRET not in str(workflow.canonical())
        assert len(workflow.results_key()) == 64


def check_error(error):
    assert error.problems
    assert str(error) == "\n".join(map(str, error.problems))
    assert not BAD_WORDS.search(" ".join(p.message for p in error.problems)), str(error)
    assert SECRET not in str(error)
    assert all((p.line or 1) >= 1 and (p.column or 1) >= 1 for p in error.problems)


def read(text):
    check(loads, text, environ={"SECRET": SECRET, "A": "1"})


def test_the_good_one_is_good():
    assert loads(GOOD, environ={"SECRET": "m"}).model.name == "m"


@QUICK
@given(st.text(max_size=200))
def test_any_text(text):
    read(text)


@QUICK
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join))
@example("? a\n: &a\n? *a\n")
def test_pieces_of_yaml(text):
    read(text)


@settings(QUICK, max_examples=400)
@given(st.data())
def test_mutations_of_a_good_workflow(data):
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(st.sampled_from(["", *PIECES])) + text[end:]
    read(text)


@QUICK
@given(st.data())
def test_other_values_for_good_keys(data):
    lines = GOOD.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    value = data.draw(
        st.sampled_from(PIECES) | st.text("${}[]&*!|>'\"%@`,:-#? \n0123456789ex.", max_size=12)
    )
    lines[at] = re.sub(r"(\w+): [^,}]*", lambda match: f"{match[1]}: {value}", lines[at], count=1)
    read("\n".join(lines))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "files", "1 ha", "10 m", "2024-01-01", "crop", "10**400"])
    | st.just(10**400)
)
KEYS = st.text(max_size=5) | st.sampled_from(
    [
        *("geoseg", "name", "input", "model", "output", "kind", "path", "bands", "mask", "area"),
        *("directory", "vector", "min_area", "size", "method", "values", "time", "start", "end"),
    ]
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@QUICK
@given(st.dictionaries(KEYS, TREES, max_size=6))
def test_any_data(data):
    check(from_data, data)


@QUICK
@given(
    st.sampled_from(
        [
            *("input", "input.bands", "input.bands.red", "input.mask", "input.mask.dilate", "area"),
            *("input.path", "input.kind", "input.time", "area.bbox", "model", "model.name"),
            *("tiling", "tiling.size", "output", "output.directory", "output.vector", "run"),
            *("output.vector.min_area", "cluster", "cluster.memory", "cluster.dashboard", "name"),
        ]
    ),
    TREES,
)
def test_any_data_at_known_keys(key, value):
    good = loads(GOOD, environ={"SECRET": "m"}).canonical()
    *above, last = key.split(".")
    inside = good
    for step in above:
        inside = inside[step]
    inside[last] = value
    check(from_data, good)


@QUICK
@given(
    st.lists(
        st.lists(
            st.sampled_from([*PIECES, "input", "bands", ".", "=", "path", "0", "model"]), max_size=6
        ).map("".join),
        max_size=3,
    )
)
def test_any_settings(overrides):
    check(loads, GOOD, overrides=overrides, environ={"SECRET": SECRET, "A": "1"})
