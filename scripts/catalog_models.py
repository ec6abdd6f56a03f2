"""Write ``catalogs/models.json``: a static STAC catalog of the models that ship with geoseg.

python scripts/catalog_models.py
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "geoseg" / "models" / "weights"


def catalog() -> dict[str, object]:
    """The catalog, with a link to the card of every shipped model."""
    cards = sorted(WEIGHTS.glob("*/card.json"))
    items = [
        {
            "rel": "item",
            "href": f"../{card.relative_to(ROOT).as_posix()}",
            "type": "application/geo+json",
            "title": card.parent.name,
        }
        for card in cards
    ]
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "geoseg-models",
        "title": "Models that ship with geoseg",
        "description": "Cards of segmentation models, as STAC items with the MLM extension.",
        "links": [{"rel": "root", "href": "./models.json", "type": "application/json"}, *items],
    }


if __name__ == "__main__":
    target = ROOT / "catalogs" / "models.json"
    target.write_text(json.dumps(catalog(), indent=2) + "\n", encoding="utf-8")
