"""What the blocks of a scene said of themselves, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from geoseg.api.holes import Holes
from geoseg.io.traffic import NOTHING, Traffic
from geoseg.legend import Legend
from geoseg.models.base import ModelCard
from geoseg.models.committee import Committee
from geoseg.plan import ScenePlan
from geoseg.run.base import Done
from geoseg.run.loop import Summary
from geoseg.run.reporter import Reporter
from geoseg.steps.segment import most_memory

_ABOUT = ("title", "license", "held_out")
"""What a report says of a network, of all that its card does."""


@dataclass(frozen=True, slots=True)
class Account:
    """Totals of a scene.

    ``areas`` are square metres and ``counts`` pixels by code; ``confidence`` is the mean in
    percent; ``seam_index`` is the rate of class changes at chip borders over that elsewhere, both
    as the model left them. ``changed`` are the pixels that were refined to another class; None
    where nothing was refined. ``traffic`` is what the blocks asked servers for. ``thin_chips``
    are those of the skipped ones that had valid pixels, but too few, and ``dropped`` the valid
    pixels that have no class therefore. ``memory`` is the most bytes that a worker had so far.
    """

    blocks: int
    pixels: int
    valid: int
    chips: int
    skipped_chips: int
    counts: Mapping[int, int]
    areas: Mapping[int, float]
    confidence: float | None
    seam_index: float | None
    changed: int | None = None
    traffic: Traffic = NOTHING
    thin_chips: int = 0
    dropped: int = 0
    memory: int = 0

    @classmethod
    def of(cls, blocks: Iterable[Done], refined: Iterable[Done] | None = None) -> Account:
        """Add up the blocks of the segment stage; classes are counted in those of ``refined``."""
        total: Counter[str] = Counter()
        counts: Counter[int] = Counter()
        areas: dict[int, float] = {}
        seams, traffic, memory = [0, 0, 0, 0], NOTHING, 0
        for done in blocks:
            report = done.report
            total["blocks"] += 1
            for key in ("pixels", "valid", "chips", "skipped", "thin", "dropped", "confidence"):
                total[key] += report[key]
            traffic += Traffic(**report["remote"])
            memory = max(memory, report.get("memory", 0))
            if refined is None:
                _count(report, counts, areas)
            seams = [a + b for a, b in zip(seams, report["seams"], strict=True)]
        for done in refined or ():
            _count(done.report, counts, areas)
            traffic += Traffic(**done.report["remote"])
            total["changed"] += done.report["changed"]
        return cls(
            total["blocks"],
            total["pixels"],
            total["valid"],
            total["chips"],
            total["skipped"],
            dict(sorted(counts.items())),
            dict(sorted(areas.items())),
            total["confidence"] / total["valid"] if total["valid"] else None,
            _seam_index(seams),
            None if refined is None else total["changed"],
            traffic,
            total["thin"],
            total["dropped"],
            memory,
        )

    def classes(self, legend: Legend) -> list[dict[str, Any]]:
        """One row a class: code, name, pixels, hectares, share of what is valid."""
        return [
            {
                "code": c.value,
                "name": c.name,
                "pixels": self.counts.get(c.value, 0),
                "area_ha": round(self.areas.get(c.value, 0.0) / 1e4, 4),
                "share": round(self.counts.get(c.value, 0) / max(1, self.valid), 6),
            }
            for c in legend.classes
        ]


def _count(report: Mapping[str, Any], counts: Counter[int], areas: dict[int, float]) -> None:
    """Add pixels and areas by code; JSON has turned the codes into text."""
    counts.update({int(code): n for code, n in report["counts"].items()})
    for code, area in report["areas"].items():
        areas[int(code)] = areas.get(int(code), 0.0) + area


def _seam_index(seams: list[int]) -> float | None:
    at_borders, border_pairs, elsewhere, other_pairs = seams
    if not border_pairs or not elsewhere:
        return None
    return round((at_borders / border_pairs) / (elsewhere / other_pairs), 4)


def timing(summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """Seconds of each stage on the wall, and by lane summed over workers; this run's only."""
    return {
        name: {
            "wall": round(s.wall, 3),
            "blocks": s.done,
            "resumed_blocks": s.resumed,
            "ran": round(s.ran, 3),
            **{lane: round(seconds, 3) for lane, seconds in sorted(s.seconds.items())},
        }
        for name, s in summaries.items()
    }


def memory_record(planned: int, account: Account) -> dict[str, int]:
    """Bytes of memory: what was planned for a worker, and the most that processes had so far."""
    return {
        "planned_per_worker": planned,
        "most_of_a_worker": account.memory,
        "most_of_the_client": most_memory(),
    }


def what_lacks(scene: str, account: Account, holes: Holes) -> list[str]:
    """Warnings about what is not in the map."""
    warnings = []
    if holes:
        warnings.append(f"scene {scene}: {holes}; the same command tries them again")
    if not account.valid:
        why = "masks, nodata, the area or tiling.min_valid leave no pixel"
        warnings.append(f"scene {scene}: nothing is mapped: {why}")
    return warnings


def tell_traffic(scene: str, remote: Mapping[str, int], reporter: Reporter) -> None:
    """Say what servers were asked for, where they were."""
    if remote["requests"]:
        reporter.message(
            f"scene {scene}: {remote['requests']:,} requests to servers, "
            f"{remote['bytes'] / 1e6:,.1f} MB received"
        )


def tiling_record(plan: ScenePlan) -> dict[str, Any]:
    """What ``run.json`` says of chips and blocks."""
    return {
        "size": plan.lattice.size,
        "margin": plan.lattice.margin,
        "block": plan.block,
        "seams": plan.seams,
        "exact": plan.exact,
        "predictions_per_pixel": round(plan.predictions_per_pixel, 4),
    }


def model_record(card: ModelCard, committee: Committee) -> dict[str, Any]:
    """What ``run.json`` says of the model: the joint card of ``committee``, and its members."""
    return {
        "name": card.name,
        "version": card.version,
        "sha256": card.sha256,
        "members": [
            {"name": m.card.name, "version": m.card.version, "sha256": m.card.sha256}
            for m in committee.members
        ],
        "answers": committee.answers,
        "about": [
            {"name": m.card.name, **{key: m.card.about.get(key) for key in _ABOUT}}
            for m in committee.members
        ],
        "symmetries": committee.symmetries,
        "scales": [float(scale) for scale in committee.scales],
    }
