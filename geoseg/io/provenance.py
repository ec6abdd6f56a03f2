"""Where a product comes from, as its own file says it: inputs, model, settings, versions.

One JSON document in every format: tag ``GEOSEG_PROVENANCE`` of a GeoTIFF, a row of a GeoPackage's
``gpkg_metadata``, the key ``geoseg`` in the metadata of Parquet, FlatGeobuf, PMTiles and Zarr.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from geoseg.redaction import masked

KEY = "geoseg"
TAG = "GEOSEG_PROVENANCE"
STANDARD = "urn:geoseg:provenance:1"
"""What a GeoPackage calls the structure of the document."""

VERSION = 1
"""Of the document."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where products of one kind come from; the same for the same inputs, model and settings.

    Attributes:
        product: Their kind: ``map``, ``change``, ``alerts``...
        inputs: What was read: ``href`` (``scene``, where it is one of a store), ``bytes``,
            ``sha256``, as far as they are known.
        settings: Those that change results, JSON-able.
        software: Versions by name; that of ``geoseg`` is among them.
        fingerprint: Hash of all that the products depend on; empty where none is taken.
        model: Its ``name``, ``version`` and ``sha256``, and what else is known of it.
        about: More that a reader should find: scene, workflow, dates. JSON-able.
    """

    product: str
    inputs: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
    software: Mapping[str, str]
    fingerprint: str = ""
    model: Mapping[str, Any] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """All of it, ready for JSON, without secrets."""
        told = {
            "provenance": VERSION,
            "geoseg": self.software["geoseg"],
            "product": self.product,
            "fingerprint": self.fingerprint or None,
            **self.about,
            "inputs": list(self.inputs),
            "model": self.model,
            "settings": self.settings,
            "software": dict(self.software),
        }
        safe: dict[str, Any] = json.loads(masked(json.dumps(told, default=str)))
        return safe

    def tags(self) -> dict[str, str]:
        """The document as a tag of a GeoTIFF, and beside it what ``gdalinfo`` should show at once.

        ``about`` gives a tag for each of its texts.
        """
        version = self.software["geoseg"]
        shown = {
            "VERSION": version,
            "PRODUCT": self.product,
            "FINGERPRINT": self.fingerprint,
            **{name.upper(): text for name, text in self.about.items() if isinstance(text, str)},
        }
        if self.model is not None:
            shown["MODEL"] = f"{self.model['name']} {self.model['version']}"
            shown["MODEL_SHA256"] = self.model.get("sha256") or ""
        return {
            **{f"GEOSEG_{name}": text for name, text in shown.items() if text},
            TAG: text_of(self.document()),
            "TIFFTAG_SOFTWARE": f"geoseg {version}",
        }


def text_of(document: Mapping[str, object]) -> str:
    """A document as it is kept; the same gives the same text."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False)


def with_document(schema: pa.Schema, document: Mapping[str, object]) -> pa.Schema:
    """A table's schema that tells where the table comes from."""
    kept = dict(schema.metadata or {})
    return schema.with_metadata(kept | {KEY.encode(): text_of(document).encode()})
