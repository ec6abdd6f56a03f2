"""Scenes of a workflow made one, where it asks for a composite or a mosaic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geoseg.io.combining import Combination, Placing, combine_scenes
from geoseg.io.periods import Period, by_period
from geoseg.redaction import without_secrets
from geoseg.scene import Combined, Scene
from geoseg.workflow import Workflow
from geoseg.workflow.composite import Composite

NDVI_BANDS = ("red", "nir")


def bands_to_find(workflow: Workflow, bands: Sequence[str]) -> tuple[str, ...]:
    """The model's ``bands``, and those that scenes are compared by."""
    composite = workflow.composite
    if composite is None or composite.method != "max_ndvi":
        return tuple(bands)
    return tuple(dict.fromkeys((*bands, *NDVI_BANDS)))


def combined(workflow: Workflow, scenes: Sequence[Scene], placing: Placing) -> list[Scene]:
    """``scenes`` as they are, or what the workflow makes of them: one for each period, or one.

    Raises:
        SceneError: A scene has no date where it needs one, or they do not fit together.
    """
    if workflow.composite is not None:
        return _composites(workflow.composite, scenes, placing)
    if workflow.mosaic is None:
        return list(scenes)
    rule = workflow.mosaic.rule
    how = Combination(rule, predicted=True)
    groups = by_period(scenes, "all", dated=rule == "latest")
    return [
        combine_scenes(
            group.scenes, how, name=f"mosaic-{group.name}", acquired=group.start, placing=placing
        )
        for group in groups
    ]


def _composites(composite: Composite, scenes: Sequence[Scene], placing: Placing) -> list[Scene]:
    length = composite.period
    period: Period = length if isinstance(length, str) else length.timedelta
    how = Combination(composite.method, least=composite.min_observations)
    return [
        combine_scenes(
            group.scenes, how, name=f"composite-{group.name}", acquired=group.start, placing=placing
        )
        for group in by_period(scenes, period, dated=composite.method == "latest")
    ]


def date_text(scene: Scene) -> str:
    """When a scene was acquired; first and last date of several; empty where nobody knows."""
    if scene.combined is None:
        return "" if scene.acquired is None else f"{scene.acquired:%Y-%m-%d}"
    times = scene.combined.times
    return "" if times is None else "/".join(dict.fromkeys(f"{time:%Y-%m-%d}" for time in times))


def combined_settings(scene: Scene) -> dict[str, Any] | None:
    """What a result depends on beside the files: addresses may hold signatures, which change."""
    combined = scene.combined
    if combined is None:
        return None
    return {
        "rule": combined.rule,
        "after_the_model": combined.predicted,
        "min_observations": combined.least,
        "scenes": [[one.id, one.acquired] for one in combined.scenes],
    }


def combined_record(combined: Combined) -> dict[str, Any]:
    """What ``run.json`` says of the scenes that one was combined of."""
    return {
        "rule": combined.rule,
        "after_the_model": combined.predicted,
        "min_observations": combined.least,
        "scenes": [
            {
                "scene": one.id,
                "acquired": one.acquired,
                "sources": [without_secrets(uri) for uri in one.sources],
            }
            for one in combined.scenes
        ],
    }
