"""Model cards as files: nothing is lost, STAC's schemas agree, and every fault is named."""

import json
import math
import re
from dataclasses import fields, replace

import pystac
import pytest
from cards import CARD
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from referencing import Registry, Resource

from geoseg.errors import ModelError
from geoseg.legend import LandClass, Legend
from geoseg.models import dynamicworld
from geoseg.models.base import ModelCard
from geoseg.models.card import FILE, MLM, VERSION, dump_card, load_card, to_item
from geoseg.models.card_rules import check_card
from geoseg.models.registry import packages

SCHEMAS = ROOT / "geoseg" / "models" / "stac_schemas"

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


def json_values(integers):
    return st.recursive(
        st.none()
        | st.booleans()
        | integers
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=6,
    )


any_json, small_json = json_values(st.integers()), json_values(st.integers(-(2**16), 2**16))
numbers = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
own_words = {"title", "description", "license", "created", "parameters"}
abouts = st.builds(
    lambda known, others: {**others, **known},
    st.fixed_dictionaries(
        {},
        optional={
            "title": words,
            "description": words,
            "license": words,
            "created": st.just("2025-02-03T04:05:06.789+02:00"),
            "parameters": st.integers(0, 10**12),
        },
    ),
    st.dictionaries(words.filter(lambda word: word not in own_words), any_json, max_size=3),
)
architectures = st.builds(
    lambda name, others: {**others, "name": name},
    words,
    st.dictionaries(st.from_regex(r"[0-9a-zA-Z_.-]+", fullmatch=True), small_json, max_size=3),
)


@st.composite
def legends(draw):
    codes = draw(st.lists(st.integers(0, 255), min_size=2, max_size=6, unique=True))
    count = len(codes) - 1
    names = draw(st.lists(words, min_size=count, max_size=count, unique=True))
    colors = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)
    classes = (LandClass(c, n, draw(colors)) for c, n in zip(codes[1:], names, strict=True))
    return Legend(draw(words), tuple(classes), codes[0])


@st.composite
def cards(draw):
    bands = tuple(draw(st.lists(words, min_size=1, max_size=4, unique=True)))
    per_band = {"min_size": len(bands), "max_size": len(bands)}
    stride, margin = draw(st.integers(1, 64)), draw(st.integers(0, 10))
    shown = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8)
    plain = shown.filter(lambda word: word not in (".", "..") and not set(word) & set("/\\"))
    weights = draw(st.none() | plain)
    sha256 = None
    if weights is not None:
        sha256 = draw(st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
    return ModelCard(
        name=draw(st.from_regex(r"[a-zA-Z][a-zA-Z0-9_.-]{1,10}[a-zA-Z0-9]", fullmatch=True)),
        version=draw(st.from_regex(r"[0-9]{1,3}\.[0-9]\.[0-9](-[a-z]+)?", fullmatch=True)),
        bands=bands,
        units=draw(st.sampled_from(["reflectance", "dn"])),
        mean=tuple(draw(st.lists(numbers, **per_band))),
        std=tuple(draw(st.lists(positive, **per_band))),
        legend=draw(legends()),
        stride=stride,
        reach=draw(st.none() | st.integers(0, 4000)),
        size=stride * (2 * margin + draw(st.integers(1, 10))),
        margin=stride * margin,
        gsd=draw(st.none() | st.tuples(positive, positive).map(lambda p: (min(p), max(p)))),
        architecture=draw(architectures),
        weights=weights,
        sha256=sha256,
        activation_bytes=draw(st.integers(1, 10**9)),
        about=draw(abouts),
    )


@given(card=cards())
def test_every_card_comes_back_to_the_last_bit(card, tmp_path_factory):
    path = tmp_path_factory.mktemp("cards") / "card.json"
    dump_card(card, path)
    again = load_card(path)
    for field in fields(ModelCard):
        assert getattr(again, field.name) == getattr(card, field.name), field.name
    text = path.read_bytes()
    dump_card(again, path)
    assert path.read_bytes() == text
    assert [file.name for file in path.parent.iterdir()] == ["card.json"]


def test_tuples_come_back_as_lists(tmp_path):
    card = replace(CARD, architecture={"name": "unet", "decoder_channels": (16, 8)})
    dump_card(card, tmp_path / "card.json")
    assert load_card(tmp_path / "card.json").architecture["decoder_channels"] == [16, 8]


@pytest.fixture(scope="module")
def validators():
    """The stored schemas; what MLM borrows from versions that are not stored is made up here."""
    stored = {p.parent: json.loads(p.read_text("utf-8")) for p in SCHEMAS.glob("*/*/schema.json")}
    by_place = {f"{folder.parent.name}/{folder.name}": s for folder, s in stored.items()}
    # The list of the raster extension's version 1.1.0.
    kinds = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    kinds += ["float16", "float32", "float64", "cint16", "cint32", "cfloat32", "cfloat64", "other"]
    raster = {"items": {"properties": {"data_type": {"enum": kinds}}}}
    base = "https://stac-extensions.github.io"
    resources = {f"{base}/{place}/schema.json": schema for place, schema in by_place.items()}
    resources[f"{base}/processing/v1.1.0/schema.json"] = by_place["processing/v1.2.0"]
    resources[f"{base}/raster/v1.1.0/schema.json"] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"bands": raster},
    }
    known = Registry().with_resources(
        (uri, Resource.from_contents({**schema, "$id": uri})) for uri, schema in resources.items()
    )
    return [Draft7Validator(resources[uri], registry=known) for uri in (MLM, FILE, VERSION)]


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        replace(CARD, name="bare", sha256=None, about={}, gsd=None, reach=None),
        replace(dynamicworld.CARD, weights="weights.safetensors"),
        *(package.card for package in packages()),
    ],
    ids=lambda card: card.name,
)
def test_a_card_is_what_the_schemas_want(card, validators):
    item = json.loads(json.dumps(to_item(card)))
    for validator in validators:
        faults = [f"{e.json_path}: {e.message}" for e in validator.iter_errors(item)]
        assert not faults
    core = JsonSchemaSTACValidator()  # brings the schemas of STAC itself along
    core.validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    assert pystac.Item.from_dict(item).id == card.name


def test_the_schemas_would_find_a_fault(validators):
    item = to_item(CARD)
    del item["properties"]["mlm:input"][0]["input"]["data_type"]
    assert list(validators[0].iter_errors(item))
    item = to_item(CARD)
    item["properties"]["mlm:input"][0]["input"]["data_type"] = "float33"
    assert list(validators[0].iter_errors(item))


def test_shipped_cards_are_as_they_would_be_written(tmp_path):
    for package in packages():
        dump_card(package.card, tmp_path / "card.json")
        stored = (package.folder / "card.json").read_bytes()
        assert (tmp_path / "card.json").read_bytes() == stored, package.card.name


WRONG = {
    "name": ({"name": "-x"}, r"name: found '-x'; wanted 3 or more letters"),
    "name with a newline": ({"name": "water\n"}, r"name: found 'water\\n'"),
    "version": ({"version": "1.2"}, r"version: found '1.2'; wanted a version like 1.0.0"),
    "no bands": ({"bands": (), "mean": (), "std": ()}, r"bands: found \(\); wanted names"),
    "band twice": ({"bands": ("nir", "nir")}, r"bands: found \('nir', 'nir'\); .*each once"),
    "empty band": ({"bands": ("nir", "")}, r"bands: found \('nir', ''\)"),
    "mean": ({"mean": (0.1,)}, r"mean: found \(0.1,\); wanted 2 numbers, one per band"),
    "std": ({"std": (0.1, 0.2, 0.3)}, r"std: found .*; wanted 2 numbers"),
    "nan": ({"mean": (0.1, math.nan)}, r"mean and std: .*nan.*; wanted finite numbers"),
    "zero": ({"std": (0.1, 0.0)}, r"std: found \(0.1, 0.0\); wanted numbers above 0"),
    "units": ({"units": "percent"}, r"units: found 'percent'; wanted reflectance or dn"),
    "stride": ({"stride": 0}, r"stride: found 0"),
    "size": ({"size": 250}, r"size: found 250; wanted a multiple of the stride 8"),
    "margin": ({"margin": 20}, r"margin: found 20; wanted a multiple of the stride 8"),
    "large margin": ({"margin": 128}, r"margin: found 128; wanted less than half the size 256"),
    "reach": ({"reach": -1}, r"reach: found -1"),
    "memory": ({"activation_bytes": 0}, r"activation_bytes: found 0"),
    "gsd": ({"gsd": (20.0, 10.0)}, r"gsd: found \(20.0, 10.0\); wanted metres \[from, to\]"),
    "weights above": ({"weights": "../w.safetensors"}, r"weights: .*in the card's own folder"),
    "weights in Windows": ({"weights": "a\\w"}, r"weights: .*in the card's own folder"),
    "sha256": ({"sha256": "ABC"}, r"sha256: found 'ABC'; wanted 64 hexadecimal digits"),
    "sha256 of nothing": ({"weights": None}, r"weights: found None; wanted a file for the sha256"),
    "no architecture": ({"architecture": {"encoder": "a"}}, r"architecture.name: found None"),
    "parameter": ({"architecture": {"name": "a", "b c": 1}}, r"architecture: found 'b c'"),
    "strange about": ({"about": {"x": {1, 2}}}, r"about.x: found \{1, 2\}; wanted texts"),
    "deep about": ({"about": {"x": [{"y": math.inf}]}}, r"about.x\[0\].y: found inf"),
    "about key": ({"about": {"x": {1: 2}}}, r"about.x: found \{1: 2\}; wanted keys that are"),
    "title": ({"about": {"title": 3}}, r"about.title: found 3; wanted a text"),
    "empty title": ({"about": {"title": ""}}, r"about.title: found ''; wanted a text"),
    "created": ({"about": {"created": "May"}}, r"about.created: found 'May'; wanted a time"),
    "no zone": ({"about": {"created": "2025-02-03"}}, r"about.created: .*wanted a time like"),
    "parameters": ({"about": {"parameters": "many"}}, r"about.parameters: found 'many'"),
    "nodata": (
        {"legend": replace(CARD.legend, nodata=256)},
        r"legend.nodata: found 256; wanted a code within 0..255",
    ),
    "class without a name": (
        {"legend": Legend("odd", (LandClass(1, "", "#000000"),))},
        r"legend: found \('',\); wanted names",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_card_that_contradicts_itself_is_not_written(what, tmp_path):
    changes, message = WRONG[what]
    path = tmp_path / "card.json"
    with pytest.raises(ModelError, match=f"^{re.escape(str(path))}: {message}") as caught:
        dump_card(replace(CARD, **changes), path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_check_card_names_what_it_is_told():
    check_card(CARD, "here")
    with pytest.raises(ModelError, match=r"^here: stride: found 0"):
        check_card(replace(CARD, stride=0), "here")
