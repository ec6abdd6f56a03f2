"""The desk where polygons are reviewed: what may be said, by whom, and labels made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shapely

from geoseg.errors import InputError, ProductError
from geoseg.io.atomic import write_bytes
from geoseg.io.item_refresh import refresh_item
from geoseg.io.polygon_layers import PolygonLayer, outlines_of, reading
from geoseg.io.polygon_search import geometries
from geoseg.io.reviews import Review, add_review, history_of, latest_of, now
from geoseg.legend import LandClass

LOSS, NO_LOSS = "loss", "no loss"
"""What a reviewed alert is called in labels, where nobody has said more."""

_CAUSES = ("fire", "logging", "agriculture", "mining", "road", "windthrow", "water", NO_LOSS)


@dataclass(frozen=True, slots=True)
class Desk:
    """Takes reviews.

    Attributes:
        reviewer: Who reviews, where a page does not say.
        relabel: Classes that polygons may be given; else those of the layer, or causes of loss.
        legends: Classes of the maps that polygons were made of, by the path of the polygons.
    """

    reviewer: str
    relabel: tuple[str, ...] = ()
    legends: Mapping[Path, Sequence[LandClass]] = field(default_factory=dict)

    def labels_for(self, layer: PolygonLayer) -> list[str]:
        """What polygons of a layer may be called."""
        if self.relabel:
            return list(self.relabel)
        if layer.is_alerts:
            return list(_CAUSES)
        known = self.legends.get(layer.path) or [entry for entry, _ in layer.classes]
        return [entry.name for entry in known]

    def take(self, layer: PolygonLayer, said: Mapping[str, Any]) -> Review:
        """Save what somebody says of a polygon.

        ``said`` has ``id``, ``seen`` (the version of the last review that the page knows of),
        ``verdict``, ``label``, ``note`` and ``reviewer``.

        Raises:
            InputError: Something is missing, or of the wrong kind; nothing was written.
            ConflictError: Somebody else has said something since.
            ProductError: It cannot be written.
        """
        texts = {key: said.get(key, "") for key in ("id", "verdict", "label", "note", "reviewer")}
        seen = said.get("seen", 0)
        if not all(isinstance(text, str) for text in texts.values()) or type(seen) is not int:
            raise InputError("a review is {id, seen, verdict, label, note, reviewer}")
        if texts["verdict"] == "relabelled" and texts["label"] not in self.labels_for(layer):
            raise InputError(
                f"label {texts['label']!r}: is none of {', '.join(self.labels_for(layer))}"
            )
        if not geometries(layer, [texts["id"]]):
            raise InputError(f"{layer.path}: layer {layer.name} has no polygon {texts['id']}")
        review = Review(
            layer.name,
            texts["id"],
            seen + 1,
            texts["verdict"],
            texts["label"] if texts["verdict"] == "relabelled" else "",
            texts["note"].strip(),
            texts["reviewer"].strip() or self.reviewer,
            now(),
        )
        saved = add_review(layer.path, review)
        # Else the next run would take the file for one that was not finished.
        # The review is saved, and what is in the item is no reason to say it is not.
        with suppress(ProductError):
            refresh_item(layer.path.parent / "item.json", {layer.path.resolve()}, {})
        return saved

    def history(self, layer: PolygonLayer, feature: str) -> list[dict[str, Any]]:
        """All that was said of a polygon, the first first."""
        with reading(layer.path) as connection:
            return [review.as_json() for review in history_of(connection, layer.name, feature)]

    def labels(self, layer: PolygonLayer) -> bytes:
        """Reviewed polygons as GeoJSON, with ``label`` to train on; see :func:`label_of`."""
        with reading(layer.path) as connection:
            said = {review.feature: review for review in latest_of(connection, layer.name)}
        features = []
        for name, called, blob in geometries(layer, sorted(said)):
            review = said[name]
            label = label_of(layer, review, called)
            if label is not None:
                shape = outlines_of(layer, [blob])[0]
                told = {"label": label, "id": name, "verdict": review.verdict}
                told |= {"note": review.note, "reviewer": review.reviewer, "reviewed_at": review.at}
                outline = json.loads(shapely.to_geojson(shape))
                features.append({"type": "Feature", "properties": told, "geometry": outline})
        collection = {"type": "FeatureCollection", "name": "labels", "features": features}
        return (json.dumps(collection, ensure_ascii=False, indent=1) + "\n").encode()


def label_of(layer: PolygonLayer, review: Review, called: str) -> str | None:
    """What a reviewed polygon is, for training; None where a review does not tell.

    An accepted polygon is what it was mapped as, a relabelled one what it was called. Of a
    rejected polygon of classes it is only known what it is not; a rejected alert is no loss.
    """
    if review.verdict == "relabelled":
        return review.label
    if review.verdict == "accepted":
        return LOSS if layer.is_alerts else called
    return NO_LOSS if layer.is_alerts and review.verdict == "rejected" else None


def write_labels(desk: Desk, layers: Sequence[PolygonLayer], path: Path) -> int:
    """Write the labels of all reviewed polygons of some layers to one GeoJSON file.

    Returns:
        How many there are.

    Raises:
        InputError: Nothing was reviewed; nothing was written.
        ProductError: The file cannot be written.
    """
    if path.suffix.lower() not in (".geojson", ".json"):
        raise InputError(f"{path}: labels are written as GeoJSON; call it {path.stem}.geojson")
    features = [f for layer in layers for f in json.loads(desk.labels(layer))["features"]]
    if not features:
        files = ", ".join(sorted({str(layer.path) for layer in layers})) or "the products"
        raise InputError(f"{files}: no polygon was reviewed yet; geoseg view shows them for that")
    collection = {"type": "FeatureCollection", "name": "labels", "features": features}
    write_bytes(path, (json.dumps(collection, ensure_ascii=False, indent=1) + "\n").encode())
    return len(features)
