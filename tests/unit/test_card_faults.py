"""Model cards that are wrong: each fault is named, and none gets through."""

import copy
import json
import re

import pytest
from cards import CARD

from geoseg.errors import ModelError
from geoseg.models.card import FILE, dump_card, load_card, to_item


def places(value, path=()):
    """Every path in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in inner:
            yield from places(child, (*path, key))


def changed(item, path, value):
    """The item with one value replaced, or left out where it is ``...``."""
    if not path:
        return value
    item = copy.deepcopy(item)
    parent = item
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return item


ITEM = to_item(CARD)
PATHS = list(places(ITEM))[1:]
JUNK = (..., None, True, -1, 0, 1.5, 10**400, "", "x", "\x00", [], [1], {}, {"a": 1}, [[]], [None])


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:20])
def test_whatever_stands_in_a_card_it_is_read_or_refused_in_a_line(junk, tmp_path):
    path = tmp_path / "card.json"
    for place in PATHS:
        path.write_text(json.dumps(changed(ITEM, place, junk)), "utf-8")
        card, message = read_or_complain(path)
        if card is None:
            assert message.startswith(f"{path}: "), place
            assert "\n" not in message, place
        else:
            dump_card(card, path)
            assert load_card(path) == card, place


def read_or_complain(path):
    try:
        return load_card(path), ""
    except ModelError as error:
        return None, str(error)


P = "properties"
IN, OUT = (P, "mlm:input", 0), (P, "mlm:output", 0)
BROKEN = {
    "no feature": (("type",), "Collection", "type: found 'Collection'; wanted 'Feature'"),
    "no mlm": (("stac_extensions",), [FILE], "stac_extensions: found .*mlm/v1.5.2/.* among them"),
    "no properties": ((P,), ..., "properties: found nothing; wanted"),
    "unknown key": (
        (P, "geoseg:strid"), 8, "properties.geoseg:strid: unknown key, did you mean 'geoseg:stride'",
    ),
    "other task": (
        (P, "mlm:tasks"), ["classification"], "mlm:tasks: found .*; wanted 'semantic-segmentation'",
    ),
    "no name": ((P, "mlm:name"), ..., "properties.mlm:name: found nothing; wanted a text"),
    "version": ((P, "version"), 1.0, "properties.version: found 1.0; wanted a text"),
    "units": (
        (P, "geoseg:units"), "percent", "geoseg:units: found 'percent'; wanted 'reflectance' or 'dn'",
    ),
    "two inputs": (
        (P, "mlm:input"), ITEM[P]["mlm:input"] * 2, "mlm:input: found .*; wanted one input",
    ),
    "band": ((*IN, "bands", 1), 7, r"mlm:input\[0\].bands\[1\]: found 7; wanted a text"),
    "scaling": ((*IN, "value_scaling", 0, "type"), "min-max", r"value_scaling\[0\].type: found 'min"),
    "mean": ((*IN, "value_scaling", 1, "mean"), "0.1", r"value_scaling\[1\].mean: found '0.1'; wan"),
    "std": ((*IN, "value_scaling", 1, "stddev"), -1, "std: found .*; wanted numbers above 0"),
    "too few": ((*IN, "value_scaling", 1), ..., "value_scaling: found .*; wanted 2 entries"),
    "dim order": ((*IN, "input", "dim_order"), ["batch"], r"input.dim_order: found \['batch'\]"),
    "not square": ((*IN, "input", "shape", 3), 128, "input.shape: found .*; wanted .-1, 2, size"),
    "class": ((*OUT, "classification:classes", 0, "value"), 300, "classification:classes: .*300"),
    "color": ((*OUT, "classification:classes", 0, "color_hint"), "red", "classes: .*'#red'"),
    "stride": ((P, "geoseg:stride"), "8", "geoseg:stride: found '8'; wanted a whole number from 1"),
    "reach": ((P, "geoseg:reach"), 4.5, "geoseg:reach: found 4.5; wanted a whole number from 0"),
    "gsd": ((P, "geoseg:gsd"), [10], r"geoseg:gsd: found \[10\]; wanted two numbers"),
    "nodata": ((P, "geoseg:legend", "nodata"), 1, "legend 'water': nodata 1 is also a class"),
    "multihash": (
        ("assets", "weights", "file:checksum"), "1114" + "0" * 40, "checksum: .*wanted a sha256 mult",
    ),
    "elsewhere": (("assets", "weights", "href"), "https://x.org/w", "weights: .*own folder"),
    "created": ((P, "created"), "May", "properties.created: found 'May'; wanted a time like 2025"),
    "huge": ((*IN, "value_scaling", 0, "mean"), 10**400, r"\[0\].mean: found 1000.*; wanted a num"),
    "named twice": ((P, "mlm:hyperparameters"), {"name": "b"}, "hyperparameters.name: found 'b'"),
    "two models": (
        ("assets", "more"), ITEM["assets"]["weights"], "assets: found .*; wanted one asset with",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_in_a_card_is_named(what, tmp_path):
    place, value, message = BROKEN[what]
    path = tmp_path / "card.json"
    path.write_text(json.dumps(changed(ITEM, place, value)), "utf-8")
    with pytest.raises(ModelError, match=f"^{re.escape(str(path))}: .*{message}"):
        load_card(path)


TEXTS = {
    "empty": (b"", r":1:1: not JSON: Expecting value"),
    "cut": (b'{"type": "Feature",\n "x": ', r":2:7: not JSON"),
    "a list": (b"[]", r": found \[\]; wanted a mapping"),
    "NaN": (b'{"type": NaN}', r": NaN is not a number that JSON knows"),
    "twice": (b'{"type": 1, "type": 2}', r": key 'type' stands twice"),
    "latin": ('{"type": "é"}'.encode("latin-1"), r": not a text file in UTF-8 \(byte 10\)"),
    "deep": (b"[" * 100_000, r": "),
    "long number": (b'{"type": ' + b"9" * 5000 + b"}", r": "),
}


@pytest.mark.parametrize("what", TEXTS)
def test_files_that_are_no_cards(what, tmp_path):
    text, message = TEXTS[what]
    path = tmp_path / "card.json"
    path.write_bytes(text)
    with pytest.raises(ModelError, match=f"^{re.escape(str(path))}{message}"):
        load_card(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ModelError, match=r"card.json: cannot be read: No such file"):
        load_card(tmp_path / "card.json")
    with pytest.raises(ModelError, match=r"cannot be read: Is a directory"):
        load_card(tmp_path)


def test_upper_case_colours_and_plain_band_objects_are_read(tmp_path):
    classes = (*OUT, "classification:classes", 0, "color_hint")
    item = changed(ITEM, classes, CARD.legend.classes[0].color[1:].upper())
    item = changed(item, (*IN, "bands"), [{"name": "green"}, {"name": "nir"}])
    (tmp_path / "card.json").write_text(json.dumps(item), "utf-8")
    assert load_card(tmp_path / "card.json") == CARD
