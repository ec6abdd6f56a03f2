"""Whether a card is a valid STAC item with the MLM extension: by the published schemas, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from geoseg.models.card import FILE, MLM, VERSION

_FOLDER: Final = Path(__file__).parent / "stac_schemas"
_BASE: Final = "https://stac-extensions.github.io"
_KINDS: Final = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
_KINDS_MORE: Final = ["float16", "float32", "float64", "cint16", "cint32", "cfloat32", "cfloat64"]


def faults(item: Mapping[str, Any]) -> list[str]:
    """What the schemas of STAC 1.1, MLM, file and version find wrong; nothing, where it is valid.

    The schemas lie in the package (those of STAC itself in pystac), so that no network is asked.
    Of the two that MLM borrows in older versions, the newer one that is stored stands in for
    processing, and the list of data types for raster.
    """
    from jsonschema import Draft7Validator  # noqa: PLC0415 (cards are read without it)

    registry = _registry()
    found = []
    for uri in (MLM, FILE, VERSION):
        validator = Draft7Validator(_schema(uri), registry=registry)
        found += [f"{e.json_path}: {e.message[:200]}" for e in _deepest(validator, item)]
    return found + list(_core(item))


def _deepest(validator: Any, item: Mapping[str, Any]) -> Iterator[Any]:
    """Where a schema offers choices, what was wrong with the one that fits best."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415 (the same)

    best = best_match(validator.iter_errors(item))
    if best is not None:
        yield best


def _core(item: Mapping[str, Any]) -> Iterator[str]:
    import pystac  # noqa: PLC0415 (cards are read without it)
    from pystac.errors import STACError  # noqa: PLC0415 (pystac waits until a card is checked)
    from pystac.validation.stac_validator import JsonSchemaSTACValidator  # noqa: PLC0415 (likewise)

    try:
        JsonSchemaSTACValidator().validate_core(
            dict(item), pystac.STACObjectType.ITEM, str(item.get("stac_version"))
        )
    except STACError as error:
        yield " ".join(str(error).split())[:300]


def _registry() -> Any:
    from referencing import Registry, Resource  # noqa: PLC0415 (cards are read without it)

    resources = {
        f"{_BASE}/{path.parent.parent.name}/{path.parent.name}/schema.json": json.loads(
            path.read_text("utf-8")
        )
        for path in sorted(_FOLDER.glob("*/*/schema.json"))
    }
    resources[f"{_BASE}/processing/v1.1.0/schema.json"] = resources[
        f"{_BASE}/processing/v1.2.0/schema.json"
    ]
    types = {"items": {"properties": {"data_type": {"enum": [*_KINDS, *_KINDS_MORE, "other"]}}}}
    resources[f"{_BASE}/raster/v1.1.0/schema.json"] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"bands": types},
    }
    return Registry().with_resources(
        (uri, Resource.from_contents({**schema, "$id": uri})) for uri, schema in resources.items()
    )


def _schema(uri: str) -> Any:
    place = uri.removeprefix(f"{_BASE}/")
    return {**json.loads((_FOLDER / place).read_text("utf-8")), "$id": uri}
