"""What lies in catalogs/ is current, and STAC tools read it."""

import json
import sys

import pystac
from conftest import ROOT

from geoseg.models.registry import available


def test_the_catalog_of_models_is_current(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import catalog_models

    written = json.loads((ROOT / "catalogs" / "models.json").read_text("utf-8"))
    assert written == catalog_models.catalog()
    sys.modules.pop("catalog_models")


def test_pystac_walks_the_catalog_of_models():
    catalog = pystac.Catalog.from_file(str(ROOT / "catalogs" / "models.json"))
    items = {item.id: item for item in catalog.get_items()}
    assert {"landcover-s2"} <= set(items)
    shipped = {card.name: card for card in available()}
    for name, item in items.items():
        assert item.properties["mlm:name"] == name == shipped[name].name
