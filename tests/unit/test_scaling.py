"""How numbers enter a network: the published formula, in the card, as text and on the device."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ModelError
from geoseg.models.base import Batch
from geoseg.models.card import dump_card, load_card, to_item
from geoseg.models.dynamicworld import CARD
from geoseg.models.fields import At
from geoseg.models.scaling import curve, from_entries, linear, to_entries
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.testing import fake_card


def published(dn):
    """Brown et al. 2022, of ``(band, …)`` DN."""
    a, b = (np.reshape(v, (-1, *[1] * (dn.ndim - 1))) for v in (CARD.mean, CARD.std))
    x = np.log(0.005 * dn + 1)
    x = (x - a) / b
    x = np.exp(5 * x - 1)
    return x / (x + 1)


def scaled(card, stored, scale, offset):
    count = len(card.bands)
    gain, bias = linear(card, np.full(count, scale), np.full(count, offset))
    x = stored * gain.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
    return curve(card, torch.device("cpu"))(torch.from_numpy(x.astype(np.float32))).numpy()


def test_dynamic_worlds_formula():
    dn = np.random.default_rng(0).integers(0, 20_000, (9, 40, 50)).astype(float)
    np.testing.assert_allclose(scaled(CARD, dn, 1e-4, 0.0), published(dn), atol=1e-6)
    # From processing baseline 04.00 on the archive stores 1000 more.
    np.testing.assert_allclose(scaled(CARD, dn + 1000, 1e-4, -0.1), published(dn), atol=1e-6)


def test_negative_reflectance_is_none():
    dn = np.array([-1000.0, -200, -1, 0]).reshape(1, 2, 2).repeat(9, axis=0)
    found = scaled(CARD, dn, 1e-4, 0.0)
    np.testing.assert_allclose(found, published(np.zeros_like(dn)), atol=1e-7)
    assert 0 < found.min() < found.max() < 0.02


def test_infinite_numbers_do_not_pass_for_reflectance():
    assert np.isnan(scaled(CARD, np.full((9, 1, 1), np.inf), 1.0, 0.0)).all()
    assert np.isnan(scaled(CARD, np.full((9, 1, 1), np.nan), 1.0, 0.0)).all()


def test_the_usual_scaling_is_a_z_score():
    card = replace(fake_card("z", bands=("a", "b")), mean=(0.1, 0.2), std=(0.5, 2.0))
    stored = np.arange(8.0).reshape(2, 2, 2)
    wanted = ((stored * 0.01 + 0.3).T - np.array(card.mean)) / np.array(card.std)
    np.testing.assert_allclose(scaled(card, stored, 0.01, 0.3), wanted.T, rtol=1e-6)


def test_the_engine_scales_as_the_card_says():
    model = TorchSegmenter.untrained(CARD, threads=1)
    dn = np.random.default_rng(1).integers(0, 12_000, (1, 9, 16, 24)).astype(np.uint16)
    valid = np.ones((1, 16, 24), np.bool_)
    valid[0, 3:5, 7:9] = False
    ones = np.ones(9, np.float32)
    x = published(dn[0].astype(float))[None] * valid[:, None]
    with torch.inference_mode():
        from geoseg.models.architectures import build

        wanted = torch.softmax(build(CARD)(torch.from_numpy(x.astype(np.float32))), 1).numpy()
    found = model.scores(Batch(dn, 1e-4 * ones, 0 * ones, valid))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_expression_in_the_card_is_the_formula():
    dn = np.arange(0, 16_000, 7.0)
    for band, entry in enumerate(to_entries(CARD)):
        assert entry["type"] == "processing"
        # gdal_calc.py evaluates expressions with numpy's names, too.
        names = {"A": dn * 1e-4, "exp": np.exp, "log": np.log, "maximum": np.maximum}
        found = eval(entry["expression"], {"__builtins__": {}}, names)  # noqa: S307 (our own text)
        wanted = published(np.broadcast_to(dn, (9, len(dn))))[band]
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


finite = st.floats(-1e6, 1e6)


@given(
    mean=st.lists(finite, min_size=1, max_size=4),
    std=st.floats(1e-9, 1e9),
    scaling=st.sampled_from(["standardise", "dynamicworld"]),
)
def test_numbers_survive_the_card_to_the_last_bit(mean, std, scaling, tmp_path_factory):
    bands = tuple(f"b{i}" for i in range(len(mean)))
    card = replace(
        fake_card("trip", bands=bands),
        mean=tuple(mean),
        std=tuple(std / (i + 1) for i in range(len(mean))),
        scaling=scaling,
    )
    path = tmp_path_factory.getbasetemp() / "trip.json"
    dump_card(card, path)
    assert load_card(path) == card


@pytest.mark.parametrize(
    "expression",
    [
        "1/(1+exp(1-5*(log(50*maximum(A,0)+1)-(x))/2.0))",
        "1/(1+exp(1-5*(log(50*maximum(A,0)+1)-(1.0))/2.0)) ",
        "__import__('os')",
        "(A-1)/2",
    ],
)
def test_other_expressions_are_refused(expression):
    entry = {"type": "processing", "format": "gdal-calc", "expression": expression}
    with pytest.raises(ModelError, match=r"card.json: scaling\[0\].expression: found .*wanted"):
        from_entries([At("card.json", "scaling[0]", entry)])


def test_scalings_are_not_mixed(tmp_path):
    item = to_item(CARD)
    entries = item["properties"]["mlm:input"][0]["value_scaling"]
    entries[4] = {"type": "z-score", "mean": 0.0, "stddev": 1.0}
    path = tmp_path / "card.json"
    path.write_text(json.dumps(item))
    with pytest.raises(ModelError, match=r"value_scaling\[4\].type: found 'z-score'"):
        load_card(path)
    entries[4] = dict(entries[3], format="python")
    path.write_text(json.dumps(item))
    with pytest.raises(ModelError, match=r"value_scaling\[4\].format: found 'python'"):
        load_card(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaling": "minmax"}, "scaling: found 'minmax'; wanted standardise or dynamicworld"),
        ({"units": "dn"}, "units: found 'dn'; wanted reflectance, for the scaling dynamicworld"),
        ({"mean": (np.nan,) * 9}, "mean and std"),
    ],
)
def test_cards_that_cannot_be(change, message):
    with pytest.raises(ModelError, match=message):
        to_item(replace(CARD, **change))
