"""A month of nights with a given clock: whatever goes wrong, in the end all is as if it had not."""

import json
from datetime import timedelta

import numpy as np
import pystac
import pytest
import rasterio
from nights import (
    FIRST,
    Season,
    live,
    notices,
    one_scheduler,
    prepare,
    products,
    watched,
    webhook,
    works,
)
from pystac.validation import validate_dict

NIGHTS = 30

pytestmark = [pytest.mark.cluster, pytest.mark.long]  # test_nightly_runs.py is short


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    """A calm month and a troubled one; also what their webhooks were told."""
    folder = tmp_path_factory.mktemp("nights")
    calm = Season.calm(NIGHTS)
    troubled = Season(NIGHTS, late={5: 6}, off=frozenset({3, 15}),
                      killed={10: ("products", 3), 16: ("segment", 1)})  # fmt: skip
    with one_scheduler() as scheduler, pytest.MonkeyPatch.context() as patch:
        shown = prepare(folder, ("calm", "troubled"), scheduler)
        told, killed = {}, []
        for name, season in (("calm", calm), ("troubled", troubled)):
            with webhook() as server:
                patch.setenv("GEOSEG_TEST_HOOK", server.address)
                killed += live(folder / name, season, shown)
                told[name] = [body for _, body in server.told]
    return folder, told, killed


def test_products_are_those_of_a_month_without_trouble(month):
    folder, _, _ = month
    calm, troubled = products(folder / "calm"), products(folder / "troubled")
    assert set(troubled) == set(calm)
    assert [name for name in calm if calm[name] != troubled[name]] == []
    assert sum(name.endswith("classes.tif") for name in calm) == 4  # the others were removed


def test_alerts_are_those_of_a_month_without_trouble(month):
    folder, _, _ = month
    calm, troubled = watched(folder / "calm"), watched(folder / "troubled")
    assert set(troubled) == set(calm)
    assert [name for name in calm if calm[name] != troubled[name]] == []
    with rasterio.open(folder / "calm" / "watch" / "alerts" / "alerts.tif") as alerts:
        assert np.count_nonzero(alerts.read(1)) > 0  # there are some
    told = notices(folder / "calm", "alerts")
    assert told, "there is something to tell of"
    assert all(text.startswith("alerts by 202") for text in told.values())


def test_the_ledger_says_the_same(month):
    folder, _, _ = month
    calm = works(folder / "calm")
    assert [(name, state) for name, state, *_ in calm] == [
        ("T31_000", "removed"), ("T31_005", "removed"),
        *((f"T31_{day:03}", "done") for day in (10, 15, 20, 25)),
    ]  # fmt: skip
    assert works(folder / "troubled") == calm


def test_everybody_is_told_the_same_once(month):
    folder, told, _ = month
    mapped = {
        name: [one["key"] for body in bodies if body["event"] == "products"
               for one in body["notices"]]
        for name, bodies in told.items()
    }  # fmt: skip
    assert len(mapped["calm"]) == len(set(mapped["calm"])) == NIGHTS // 5
    assert sorted(mapped["troubled"]) == sorted(mapped["calm"])
    assert notices(folder / "troubled", "products") == notices(folder / "calm", "products")


def test_killed_nights_are_told_and_nothing_else_is(month):
    folder, _, killed = month
    assert notices(folder / "calm", "failure") == {}
    said = sorted(notices(folder / "troubled", "failure").values())
    assert len(said) == len(killed) == 2
    for text, when in zip(said, killed, strict=True):
        assert text.startswith(f"run of {when.isoformat()}")
        assert "ended without a word" in text


def test_collection_and_pointer_are_in_the_order_of_dates(month):
    folder, _, _ = month
    root = folder / "troubled" / "products" / "nightly"
    collection = pystac.Collection.from_file(str(root / "collection.json"))
    items = list(collection.get_items())
    assert [item.id for item in items] == [f"nightly-T31_{day:03}" for day in (10, 15, 20, 25)]
    assert [item.datetime for item in items] == sorted(item.datetime for item in items)
    assert collection.extent.temporal.intervals == [[items[0].datetime, items[-1].datetime]]
    for item in items:
        content = item.to_dict(transform_hrefs=False)
        validate_dict(content, pystac.STACObjectType.ITEM, stac_version="1.1.0", extensions=[])
        assert item.get_collection().id == "nightly"
    latest = json.loads((root / "latest.json").read_text())
    (scene,) = latest["scenes"]
    assert (latest["date"], scene["scene"]) == (f"{FIRST + timedelta(days=24):%Y-%m-%d}", "T31_025")
    assert all((root / path).exists() for path in (scene["item"], *scene["products"].values()))
