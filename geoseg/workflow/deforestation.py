"""What others take for deforestation, as data: smallest alert, rule, forest, cut-off, plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from geoseg.errors import InputError
from geoseg.ops.alerts.rules import Bayes, Count, Rule
from geoseg.ops.matching import closest_name
from geoseg.ops.plot_risk import RiskRule
from geoseg.workflow.units import Area


@dataclass(frozen=True, slots=True)
class ForestDefinition:
    """What land must be to be a forest.

    A map of classes says where there are trees, and so how large a stand is. Height and canopy
    cover it says only as far as its classes were defined by them.

    Attributes:
        min_area: It spans more than that.
        canopy_percent: Crowns cover more than that.
        height_m: Trees are higher than that, or can become so.
        source: Who says so.
    """

    min_area: Area
    canopy_percent: int
    height_m: int
    source: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A way to look at forest loss that somebody has laid down.

    Attributes:
        min_area: Of the smallest alert or patch of loss.
        rule: What makes alerts of observations; None where nobody says.
        forest: What a forest is; None where nobody says.
        cut_off: Loss after that day counts; all of it if None.
        outline_above: Plots larger than that need an outline, smaller ones may be points.
        decimals: Of coordinates in degrees.
        risk: When a plot is a risk: a rule of this program, not of those who laid down the rest.
        source: Who says so.
    """

    min_area: Area
    source: str
    rule: Rule | None = None
    forest: ForestDefinition | None = None
    cut_off: date | None = None
    outline_above: Area | None = None
    decimals: int | None = None
    risk: RiskRule = field(default_factory=RiskRule)


_EUDR = "Regulation (EU) 2023/1115, article 2"

PRESETS: Final[Mapping[str, Preset]] = {
    # GLAD's Landsat alerts: two of four clear looks; every pixel counts.
    "gfw": Preset(
        Area(0, "px"),
        "Hansen et al. 2016, doi:10.1088/1748-9326/11/3/034008",
        rule=Count(k=2, n=4, within=180),
    ),
    "radd": Preset(
        Area(0.2, "ha"),
        "Reiche et al. 2021, doi:10.1088/1748-9326/abd0a8",
        rule=Bayes(chi=0.975, within=90),
    ),
    "eudr": Preset(
        Area(0.5, "ha"),
        _EUDR,
        forest=ForestDefinition(Area(0.5, "ha"), 10, 5, f"{_EUDR}(4)"),
        cut_off=date(2020, 12, 31),  # article 2(13)
        outline_above=Area(4, "ha"),  # article 2(28)
        decimals=6,  # article 2(28)
    ),
}


def preset_called(name: str) -> Preset:
    """The preset of a name, in any case.

    Raises:
        InputError: There is none.
    """
    found = PRESETS.get(name.strip().casefold())
    if found is None:
        guess = closest_name(name, list(PRESETS))
        raise InputError(f"preset: unknown {name!r}{guess}; known are {', '.join(PRESETS)}")
    return found
