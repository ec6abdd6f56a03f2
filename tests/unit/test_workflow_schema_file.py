"""The JSON Schema that editors use: current, and of one mind with the validator."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from geoseg.errors import WorkflowError
from geoseg.workflow import from_data, json_schema, loads
from geoseg.workflow.schema_file import schema_text

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "workflows").glob("*.yaml"))
RICH = """\
geoseg: 1
name: water
input:
  kind: stac
  catalog: ${STAC_URL:-catalogs/s2.json}
  collections: [sentinel-2-l2a]
  bands: [green, red]
  time: {last: 14d}
  max_cloud: ${CLOUD:-60}
  mask: {method: scl, values: [3, "${CLASS:-8}"], dilate: 60 m}
area: {bbox: [1, 2, 3, "${EAST:-4}"]}
model: {name: water-s2, device: "${DEVICE:-auto}"}
tiling: {size: 1024, margin: 64 px, seams: "${SEAMS:-crop}"}
output:
  directory: products/{date:%Y-%m-%d}
  vector: {min_area: 0.25 ha, formats: [gpkg]}
  quicklook: ${QUICK:-true}
cluster: tcp://10.0.0.5:8786
run: {retries: "${RETRIES:-2}"}
"""


@pytest.fixture(scope="module")
def validator():
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def data(text):
    return YAML(typ="safe", pure=True).load(text)


def test_file_is_current():
    """Mend with: geoseg schema > geoseg.schema.json."""
    assert (ROOT / "geoseg.schema.json").read_text(encoding="utf-8") == schema_text()


def test_accepts_references_anywhere(validator):
    assert list(validator.iter_errors(data(RICH))) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_accepts_what_is_shipped(validator, path):
    assert list(validator.iter_errors(data(path.read_text(encoding="utf-8")))) == []


def test_files_with_a_base_need_not_be_complete(validator):
    assert validator.is_valid({"geoseg": 1, "extends": "base.yaml", "input": {"path": "a.tif"}})
    assert not validator.is_valid({"geoseg": 1, "input": {"path": "a.tif"}})


def good(**changes):
    base = {
        "geoseg": 1,
        "name": "water",
        "input": {"kind": "files", "path": "a.tif"},
        "model": "m",
        "output": {"directory": "p"},
    }
    return {**base, **changes}


AGREED_GOOD = [
    good(),
    good(input={"kind": "files", "bands": {"red": 1, "nir": "b.tif"}, "path": ["a", "b"]}),
    good(input={"kind": "files", "path": "a", "nodata": "nan", "mask": {"method": "alpha"}}),
    good(input={"kind": "sample", "size": [3, 4]}),
    good(input={"kind": "sample", "size": 3}),
    good(input={"kind": "stac", "catalog": "c", "time": "2024-01-01/2024-02-01"}),
    good(model={"path": "m.json"}),
    good(output={"directory": "p", "vector": False}),
    good(output={"directory": "p", "vector": None}),
    good(output={"directory": "p", "vector": {"min_area": 0}}),
    good(output={"directory": "p", "vector": {"min_area": "eudr", "simplify": "8 m"}}),
    good(
        output={"directory": "p", "vector": {"min_area": {"Water": "400 m2", "others": "corine"}}}
    ),
    good(output={"directory": "p", "vector": {"fill_holes": {"Water": 0}, "simplify": "9 m2"}}),
    good(output={"directory": "p", "vector": {"layers": {"all": [], "wet": ["Water"]}}}),
    good(cluster="local"),
    good(cluster={"kind": "local", "memory": "2 gb", "dashboard": 8787}),
    good(area=None),
    good(tiling={"size": "auto", "margin": "64 px", "block": 4096}),
    good(model={"name": "m", "tta": "d4", "scales": [1, 1.25]}),
    good(model={"ensemble": ["m", "./n"]}),
    good(tiling={"min_valid": 1}, output={"directory": "p", "raster": {"quality": True}}),
    good(output={"directory": "p", "raster": {"entropy": True, "probabilities": True}}),
    good(postprocess=[]),
    good(
        postprocess=[
            {"step": "smooth", "bands": ["red"]},
            {"step": "majority"},
            {"step": "open", "classes": ["Water"], "size": 5},
            {"step": "fill_holes", "classes": ["Water"], "max_area": "9 px"},
            {"step": "sieve", "min_area": "400 m2", "passes": 2},
        ]
    ),
]
AGREED_BAD = [
    good(geoseg=2),
    good(nmae="x"),
    good(name="a b"),
    good(name=3),
    good(input={"kind": "fils", "path": "a"}),
    good(input={"kind": "files", "path": 3}),
    good(input={"kind": "files", "path": "a", "size": 3}),
    good(input={"kind": "files", "path": "a", "bands": {"red": 0}}),
    good(input={"kind": "files", "path": "a", "bands": []}),
    good(input={"kind": "files", "path": "a", "bands": {}}),
    good(input={"kind": "files", "path": "a", "bands": {"9": 1}}),
    good(input={"kind": "files", "path": "a", "mask": {"dilate": 3}}),
    good(input={"kind": "files", "path": "a", "mask": {"method": "udm3"}}),
    good(tiling={"min_valid": 2}),
    good(input={"kind": "stac"}),
    good(input={"kind": "stac", "catalog": "c", "max_cloud": 101}),
    good(output={}),
    good(output={"directory": "p", "vector": {"min_area": 400}}),
    good(output={"directory": "p", "vector": {"min_area": "400 m"}}),
    good(output={"directory": "p", "vector": {"connectivity": 6}}),
    good(output={"directory": "p", "vector": {"min_area": {"Water": "corin"}}}),
    good(output={"directory": "p", "vector": {"fill_holes": "radd"}}),
    good(output={"directory": "p", "vector": {"simplify": "8 s"}}),
    good(output={"directory": "p", "vector": {"layers": {}}}),
    good(output={"directory": "p", "vector": {"layers": {"a": "Water"}}}),
    good(output={"directory": "p", "vector": {"smooth": "round"}}),
    good(output={"directory": "p", "vector": {"formats": []}}),
    good(tiling={"seams": "blnd"}),
    good(tiling={"size": -1}),
    good(run={"retries": 11}),
    good(cluster={"memory": 2}),
    good(area={"bbox": [1, 2, 3]}),
    good(model={"name": "m", "tta": "flip"}),
    good(model={"name": "m", "scales": [3]}),
    good(model={"ensemble": []}),
    good(postprocess=[{"step": "majorty"}]),
    good(postprocess=[{"step": "majority", "size": 2}]),
    good(postprocess=[{"step": "majority", "min_area": "4 px"}]),
    good(postprocess=[{"step": "sieve", "min_area": "4 m"}]),
]


@pytest.mark.parametrize("settings", AGREED_GOOD)
def test_agrees_on_what_is_good(validator, settings):
    from_data(settings)
    assert list(validator.iter_errors(settings)) == []


@pytest.mark.parametrize("settings", AGREED_BAD)
def test_agrees_on_what_is_bad(validator, settings):
    with pytest.raises(WorkflowError):
        from_data(settings)
    assert not validator.is_valid(settings)


def test_settings_of_a_run_fit_the_schema_too(validator):
    text = RICH.replace('"${CLASS:-8}"', "8").replace('"${EAST:-4}"', "4")
    text = text.replace('"${RETRIES:-2}"', "2")
    settings = loads(text, environ={}).canonical()
    assert list(validator.iter_errors(json.loads(json.dumps(settings)))) == []


def test_every_key_is_explained():
    def properties(schema):
        for name, section in {"": schema, **schema["$defs"]}.items():
            for key, value in section.get("properties", {}).items():
                yield f"{name}.{key}", value

    silent = [name for name, value in properties(json_schema()) if not value.get("description")]
    assert silent == []
