"""Training workflows: what they refuse, and the schema that editors use."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from geoseg.errors import WorkflowError
from geoseg.workflow import load, load_any, load_training, training_from_data
from geoseg.workflow.schema_file import training_json_schema, training_schema_text

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "workflows" / "train").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = training_json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def good(**changes):
    base = {
        "geoseg": 1,
        "name": "water",
        "model": {"bands": ["red", "nir"], "units": "dn", "legend": "water"},
        "data": [
            {
                "name": "lakes",
                "input": {"kind": "files", "path": "a.tif"},
                "labels": {"path": "l/{stem}.tif"},
            }
        ],
    }
    return {**base, **changes}


def model(**changes):
    return good(model={**good()["model"], **changes})


def data(**changes):
    return good(data=[{**good()["data"][0], **changes}])


GOOD = [
    good(),
    model(legend=[{"value": 3, "name": "Lake"}, {"value": 4, "name": "Sea", "color": "#0000ff"}]),
    model(architecture={"name": "unet", "encoder": "resnet18", "decoder_channels": [32, 16]}),
    model(gsd=["10 m", "30 m"], mean=[1, 2.5], std=[1, 2]),
    good(model={"start": "landcover-s2"}),
    data(labels=[{"path": "a"}, {"path": "b", "classes": {"1": "Water", "*": "ignore"}}]),
    data(input={"kind": "sample"}, labels=[]),
    data(groups={"file": "t.csv", "scene": "chip", "where": {"ok": 1, "date": ["a", "b"]}}),
    data(use="test", weight=3),
    good(split={"by": "blocks", "validation": "20 %", "test": 0, "block": "256 px", "gap": "1 km"}),
    good(sampling={"size": "128 px", "batch": 4, "balance": 1, "cache": "500 MB"}),
    good(training={"losses": {"focal": 1, "boundary": 0.2}, "class_weights": "balanced"}),
    good(training={"class_weights": {"Water": 2}, "augmentation": False}),
    good(training={"augmentation": {"scale": [0.5, 2], "haze": 0}, "patience": 3}),
    good(
        unlabelled=[{"input": {"kind": "files", "path": "b.tif"}}],
        training={"self_training": True},
    ),
    good(output={"directory": "m/{name}", "report": False}),
]
BAD = [
    (good(data=[]), "data", "expected at least one set"),
    (good(dta=[]), "dta", "did you mean 'data'"),
    (model(legend="watr"), "model.legend", "did you mean 'water'"),
    (model(legend=[{"value": 1}]), "model.legend.0.name", "required"),
    (model(legend=[{"value": 256, "name": "x"}]), "model.legend.0.value", "at most 255"),
    (good(model={"bands": ["red"]}), "model.units", "required, unless 'start'"),
    (model(mean=[1]), "model", "both mean and std"),
    (model(mean=[1], std=[1]), "model.mean", "expected 2 numbers"),
    (model(gsd="10 m"), "model.gsd", "expected [from, to]"),
    (model(version="1"), "model.version", "a version like 1.0.0"),
    (data(labels=[]), "data.0.labels", "required"),
    (data(labels={"path": "l/{stm}.tif"}), "data.0.labels.path", "{scene} and {stem}"),
    (data(labels={"pth": "a"}), "data.0.labels.pth", "did you mean 'path'"),
    (data(labels=[{"path": "a", "clases": {}}]), "data.0.labels.0.clases", "'classes'"),
    (data(labels={"path": "a", "classes": {}}), "data.0.labels.classes", "at least one class"),
    (data(input={"kind": "fils"}), "data.0.input.kind", "did you mean 'files'"),
    (data(use="tset"), "data.0.use", "did you mean 'test'"),
    (data(weight=0), "data.0.weight", ""),
    (good(split={"validation": 20}), "split.validation", "a share"),
    (good(split={"validation": 0.5, "test": 0.5}), "split", "less than 10 %"),
    (good(split={"block": "2 ha"}), "split.block", "a length"),
    (good(sampling={"size": 8}), "sampling.size", "32 to 4096"),
    (good(training={"losses": {"dice": 0}}), "training.losses", "a weight above 0"),
    (good(training={"losses": {"dise": 1}}), "training.losses.dise", "did you mean 'dice'"),
    (good(training={"self_training": True}), "training.self_training", "'unlabelled'"),
    (good(training={"augmentation": {"scale": [2, 1]}}), "training.augmentation.scale", "from <="),
    (good(training={"device": "gpu"}), "training.device", "did you mean 'cuda'"),
    (good(output={"directory": "m/{scene}"}), "output.directory", "only {name}"),
    (good(data=good()["data"] * 2), "data.1.name", "only once"),
]


def test_file_is_current():
    """Mend with: geoseg schema --train > geoseg.train.schema.json."""
    assert (ROOT / "geoseg.train.schema.json").read_text("utf-8") == training_schema_text()


@pytest.mark.parametrize("settings", GOOD)
def test_accepts(validator, settings):
    training_from_data(settings)
    assert list(validator.iter_errors(settings)) == []


@pytest.mark.parametrize(("settings", "key", "message"), BAD, ids=[key for _, key, _ in BAD])
def test_refuses(settings, key, message):
    with pytest.raises(WorkflowError) as error:
        training_from_data(settings)
    found = {problem.key: problem.message for problem in error.value.problems}
    assert key in found, found
    assert message in found[key]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_is_shipped(validator, path):
    text = path.read_text("utf-8")
    assert list(validator.iter_errors(_plain(text))) == []
    assert text.startswith("# yaml-language-server: $schema=../../geoseg.train.schema.json\n")
    load_training(path)


def _plain(text):
    found = YAML(typ="safe", pure=True).load(text)
    return json.loads(json.dumps(found))  # keys of classes are texts in JSON


def test_class_codes_are_keys(tmp_path):
    path = tmp_path / "w.yaml"
    text = json.dumps(good()).replace('"l/{stem}.tif"', '"l.tif", "classes": {1: "Water"}')
    path.write_text(text)
    workflow = load_training(path)
    assert workflow.data[0].layers[0].classes == {"1": "Water"}


def test_each_kind_is_told_from_the_other(tmp_path):
    path = tmp_path / "w.yaml"
    path.write_text(json.dumps(good()))
    assert load_any(path).name == "water"
    with pytest.raises(WorkflowError, match="trains a model; run it with geoseg train"):
        load(path)
    other = ROOT / "workflows" / "quickstart.yaml"
    assert load_any(other).name == "quickstart"
    with pytest.raises(WorkflowError, match="maps scenes; run it with geoseg run"):
        load_training(other)


def test_written_settings_are_those_that_were_read(validator):
    settings = training_from_data(GOOD[9]).canonical()
    again = training_from_data(json.loads(json.dumps(settings)))
    assert again.canonical() == settings
    assert list(validator.iter_errors(json.loads(json.dumps(settings)))) == []


def test_every_key_is_explained():
    schema = training_json_schema()
    silent = [
        f"{name}.{key}"
        for name, section in {"": schema, **schema["$defs"]}.items()
        for key, value in section.get("properties", {}).items()
        if not value.get("description")
    ]
    assert silent == []
