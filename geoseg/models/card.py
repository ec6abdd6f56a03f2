"""Model cards as files: a STAC item with the Machine Learning Model extension (MLM 1.5).

Every field of a :class:`~geoseg.models.base.ModelCard` has one place in the item, standard where
STAC has one (``mlm:input``, ``mlm:output``, ``version``, ``file:checksum``), ``geoseg:…``
otherwise; numbers survive the round trip to the last bit. Nothing here needs torch.

Source: https://github.com/stac-extensions/mlm
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ModelError
from geoseg.legend import LandClass, Legend
from geoseg.models.base import ModelCard
from geoseg.models.card_rules import OUTPUTS, check_card, is_time
from geoseg.models.fields import At, closest, read_json
from geoseg.models.formats import ONNX, SAFETENSORS, by_name
from geoseg.models.scaling import from_entries, to_entries

MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
VERSION = "https://stac-extensions.github.io/version/v1.2.0/schema.json"

_TASK = "semantic-segmentation"
_INPUT_DIMS = ["batch", "bands", "height", "width"]
_OUTPUT_DIMS = ["batch", "class", "height", "width"]
_SHA256_MULTIHASH = "1220"
# A model is for any place and any time, which STAC wants said as all of them.
_WORLD: Final = (-180.0, -90.0, 180.0, 90.0)
_ALWAYS = ("1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z")

# Entries of `about` that STAC has a place for.
_ABOUT_TEXTS = ("title", "description", "license", "created")

_PARAMETER = re.compile(r"[0-9a-zA-Z_.-]+\Z")

# Left out where there is nothing to say.
_OPTIONAL: Final = (
    "mlm:total_parameters",
    "mlm:hyperparameters",
    "geoseg:about",
    "geoseg:gsd",
    "geoseg:output",
    "geoseg:fixed_size",
)

_GEOSEG_KEYS = (
    "geoseg:about",
    "geoseg:activation_bytes",
    "geoseg:fixed_size",
    "geoseg:gsd",
    "geoseg:legend",
    "geoseg:margin",
    "geoseg:output",
    "geoseg:reach",
    "geoseg:stride",
    "geoseg:units",
)


def load_card(path: Path | str) -> ModelCard:
    """Read a model card.

    Raises:
        ModelError: The file cannot be read or is not a card; says file, key, found and wanted.
    """
    path = Path(path)
    return from_item(read_json(path), str(path))


def from_item(item: Any, where: str) -> ModelCard:
    """The card that a STAC item is, as JSON parses it; ``where`` begins the messages.

    Raises:
        ModelError: It is not a card.
    """
    at = At(where, "", item)
    _check_item(at)
    card = _parse(at)
    check_card(card, where)
    return card


def dump_card(card: ModelCard, path: Path | str) -> None:
    """Write a model card; the same card always gives the same bytes.

    Raises:
        ModelError: The card contradicts itself, or holds what JSON cannot say.
    """
    path = Path(path)
    text = json.dumps(to_item(card, str(path)), indent=2, ensure_ascii=False, allow_nan=False)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(path)


def to_item(card: ModelCard, where: str = "card") -> dict[str, Any]:
    """The card as a STAC item."""
    check_card(card, where)
    west, south, east, north = _WORLD
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, FILE, VERSION],
        "id": card.name,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": list(_WORLD),
        "properties": _properties(card, At(where, "", None)),
        "links": [],
        "assets": _assets(card),
    }


def _properties(card: ModelCard, at: At) -> dict[str, Any]:
    about = at.plain("about", card.about)
    parameters = at.plain("architecture", card.architecture)
    architecture = parameters.pop("name", None)
    at.demand(
        isinstance(architecture, str) and architecture, "architecture.name", architecture, "a name"
    )
    for key in parameters:
        at.demand(_PARAMETER.match(key), "architecture", key, "letters, digits, '_', '-', '.'")
    texts = {key: about.pop(key) for key in _ABOUT_TEXTS if key in about}
    for key, value in texts.items():
        _check_about(at, key, value)
    total = about.pop("parameters", None)
    if "parameters" in card.about:
        At(at.file, "about.parameters", total).integer(0)
    properties = {
        "datetime": None,
        "start_datetime": _ALWAYS[0],
        "end_datetime": _ALWAYS[1],
        **texts,
        "version": card.version,
        "bands": _bands(card),
        "mlm:name": card.name,
        "mlm:architecture": architecture,
        "mlm:framework": "ONNX" if by_name(card.weights or "") is ONNX else "PyTorch",
        "mlm:tasks": [_TASK],
        "mlm:total_parameters": total,
        "mlm:pretrained": card.weights is not None,
        "mlm:pretrained_source": None,
        "mlm:hyperparameters": parameters or None,
        "mlm:input": [_input(card)],
        "mlm:output": [_output(card)],
        "geoseg:units": card.units,
        "geoseg:stride": card.stride,
        "geoseg:reach": card.reach,
        "geoseg:margin": card.margin,
        "geoseg:gsd": None if card.gsd is None else [float(v) for v in card.gsd],
        "geoseg:activation_bytes": card.activation_bytes,
        "geoseg:legend": {"name": card.legend.name, "nodata": card.legend.nodata},
        "geoseg:output": None if card.output == OUTPUTS[0] else card.output,
        "geoseg:fixed_size": card.fixed or None,
        "geoseg:about": about or None,
    }
    return {k: v for k, v in properties.items() if v is not None or k not in _OPTIONAL}


def _check_about(at: At, key: str, value: object) -> None:
    text = At(at.file, f"about.{key}", value).text()
    if key == "created":
        at.demand(is_time(text), "about.created", value, "a time like 2025-01-31T00:00:00Z")


def _input(card: ModelCard) -> dict[str, Any]:
    return {
        "name": "pixels",
        "bands": list(card.bands),
        "input": {
            "shape": [-1, len(card.bands), card.size, card.size],
            "dim_order": _INPUT_DIMS,
            "data_type": "float32",
        },
        "value_scaling": to_entries(card),
    }


def _output(card: ModelCard) -> dict[str, Any]:
    classes = [
        {"value": c.value, "name": c.name, "description": c.name, "color_hint": c.color[1:]}
        for c in card.legend.classes
    ]
    return {
        "name": "scores",
        "tasks": [_TASK],
        "result": {
            "shape": [-1, len(classes), card.size, card.size],
            "dim_order": _OUTPUT_DIMS,
            "data_type": "float32",
        },
        "classification:classes": classes,
    }


def _assets(card: ModelCard) -> dict[str, Any]:
    if card.weights is None:
        return {}
    kind = by_name(card.weights) or SAFETENSORS
    asset: dict[str, Any] = {
        "href": f"./{card.weights}",
        "type": kind.media_type,
        "title": "Weights" if kind is SAFETENSORS else "Network and weights",
        "roles": ["mlm:model", "mlm:weights", "data"],
        "mlm:artifact_type": kind.artifact_type,
        # MLM wants bands in the properties, where STAC allows them only if an asset has them too.
        "bands": _bands(card),
    }
    if card.sha256 is not None:
        asset["file:checksum"] = _SHA256_MULTIHASH + card.sha256
    return {"weights": asset}


def _bands(card: ModelCard) -> list[dict[str, str]]:
    return [{"name": band} for band in card.bands]


def _check_item(item: At) -> None:
    item.get("type").one_of("Feature")
    versions = item.get("stac_extensions").items("a list of extensions")
    if not any(str(v.value).startswith(MLM.rpartition("/v")[0]) for v in versions):
        raise item.get("stac_extensions").wrong(f"{MLM} among them")
    properties = item.get("properties")
    for key in properties.mapping("the properties of a STAC item"):
        if key.startswith("geoseg:") and key not in _GEOSEG_KEYS:
            hint = closest(key, _GEOSEG_KEYS)
            raise ModelError(f"{item.file}: properties.{key}: unknown key{hint}")
    tasks = properties.get("mlm:tasks")
    if _TASK not in [task.value for task in tasks.items("a list of tasks")]:
        raise tasks.wrong(f"{_TASK!r} among them")


def _parse(item: At) -> ModelCard:
    properties = item.get("properties")
    entry = properties.get("mlm:input").only("one input")
    bands, size = _parse_input(entry)
    scaling, mean, std = _parse_scaling(entry.get("value_scaling"), len(bands))
    reach, gsd = properties.get("geoseg:reach"), properties.get("geoseg:gsd")
    weights, sha256 = _parse_weights(item.get("assets"))
    return ModelCard(
        name=properties.get("mlm:name").text(),
        version=properties.get("version").text(),
        bands=bands,
        units=properties.get("geoseg:units").one_of("reflectance", "dn"),  # type: ignore[arg-type]  # one of the two
        mean=mean,
        std=std,
        legend=_parse_legend(properties),
        stride=properties.get("geoseg:stride").integer(1),
        reach=None if reach.value is None else reach.integer(0),
        size=size,
        margin=properties.get("geoseg:margin").integer(0),
        gsd=gsd.pair() if gsd.given and gsd.value is not None else None,
        architecture=_parse_architecture(properties),
        weights=weights,
        sha256=sha256,
        activation_bytes=properties.get("geoseg:activation_bytes").integer(1),
        about=_parse_about(properties),
        scaling=scaling,
        output=_parse_output(properties),
        fixed=_parse_fixed(properties),
    )


def _parse_output(properties: At) -> str:
    output = properties.get("geoseg:output")
    return output.one_of(*OUTPUTS) if output.given else OUTPUTS[0]


def _parse_fixed(properties: At) -> bool:
    fixed = properties.get("geoseg:fixed_size")
    if fixed.given and not isinstance(fixed.value, bool):
        raise fixed.wrong("true or false")
    return fixed.given and bool(fixed.value)


def _parse_input(entry: At) -> tuple[tuple[str, ...], int]:
    bands = tuple(
        (band.get("name") if isinstance(band.value, Mapping) else band).text()
        for band in entry.get("bands").items("a list of band names")
    )
    structure = entry.get("input")
    if structure.get("dim_order").value != _INPUT_DIMS:
        raise structure.get("dim_order").wrong(str(_INPUT_DIMS))
    shape = structure.get("shape").items("four numbers")
    if len(shape) != 4 or shape[1].value != len(bands) or shape[2].value != shape[3].value:
        raise structure.get("shape").wrong(f"[-1, {len(bands)}, size, size]")
    return bands, shape[2].integer(1)


def _parse_scaling(scaling: At, count: int) -> tuple[str, tuple[float, ...], tuple[float, ...]]:
    entries = scaling.items("a z-score for every band")
    if len(entries) != count:
        raise scaling.wrong(f"{count} entries, one for every band")
    return from_entries(entries)


def _parse_legend(properties: At) -> Legend:
    output = properties.get("mlm:output").only("one output")
    entries = output.get("classification:classes")
    # color_hint is upper case in many STAC items; a legend's colours are lower case.
    parts = [
        (c.get("value").integer(0), c.get("name").text(), c.get("color_hint").text().lower())
        for c in entries.items("a list of classes")
    ]
    legend = properties.get("geoseg:legend")
    name, nodata = legend.get("name").text(), legend.get("nodata").integer(0)
    try:
        return Legend(name, tuple(LandClass(v, n, f"#{c}") for v, n, c in parts), nodata)
    except ModelError as error:
        raise ModelError(f"{entries.file}: {entries.key}: {error}") from error


def _parse_architecture(properties: At) -> dict[str, Any]:
    parameters = properties.get("mlm:hyperparameters")
    rest = dict(parameters.mapping("a mapping")) if parameters.given else {}
    if "name" in rest:
        raise parameters.get("name").wrong("no such parameter: mlm:architecture is the name")
    return {"name": properties.get("mlm:architecture").text(), **rest}


def _parse_about(properties: At) -> dict[str, Any]:
    about: dict[str, Any] = {}
    for key in _ABOUT_TEXTS:
        if properties.get(key).given:
            about[key] = properties.get(key).text()
    if "created" in about and not is_time(about["created"]):
        raise properties.get("created").wrong("a time like 2025-01-31T00:00:00Z")
    if properties.get("mlm:total_parameters").given:
        about["parameters"] = properties.get("mlm:total_parameters").integer(0)
    rest = properties.get("geoseg:about")
    return about | (dict(rest.mapping("a mapping")) if rest.given else {})


def _parse_weights(assets: At) -> tuple[str | None, str | None]:
    models = []
    for name in assets.mapping("the assets of a STAC item"):
        asset = assets.get(name)
        roles = asset.get("roles")
        if roles.given and "mlm:model" in [r.value for r in roles.items("a list of roles")]:
            models.append(asset)
    if not models:
        return None, None
    if len(models) > 1:
        raise assets.wrong("one asset with the role mlm:model")
    href, checksum = models[0].get("href").text(), models[0].get("file:checksum")
    if not checksum.given:
        return href.removeprefix("./"), None
    if not checksum.text().startswith(_SHA256_MULTIHASH):
        raise checksum.wrong(f"a sha256 multihash: {_SHA256_MULTIHASH} and 64 hexadecimal digits")
    return href.removeprefix("./"), checksum.text().removeprefix(_SHA256_MULTIHASH)
