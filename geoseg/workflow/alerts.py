"""What a workflow wants of alerts: which class is forest, which rule, which store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from geoseg.errors import InputError
from geoseg.ops.alerts.rules import LONGEST_WINDOW, Bayes, Count, Rule
from geoseg.workflow.deforestation import PRESETS
from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.fields import Distinct, FilePath, MinArea, OrElse, Some, Text
from geoseg.workflow.section import Section
from geoseg.workflow.units import Area, Duration

SETTLED = 3
"""Clear observations of forest in a row before a pixel is watched, where no map says what was
forest: with 5 % of false forest two in a row would still be seen in 5 % of all fields in 20 dates."""

_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Watching:
    """What an update is told; None or empty is what the store has, or the default.

    Attributes:
        forest: Classes that are forest.
        ignore: Classes that say nothing.
        baseline: A map that says where forest was to begin with.
        rule: What makes alerts of observations.
    """

    forest: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    baseline: Path | None = None
    rule: Rule | None = None

    def rule_for(self, own: Rule | None) -> Rule:
        """What counts: what is asked for, else what the store has, else Bayesian updating."""
        if self.rule is None and own is not None:
            return own
        return self.rule or Bayes(settled=SETTLED if self.baseline is None else 0)


class AlertRule(Section):
    """What confirms an alert."""

    kind: Literal["bayes", "count"] = "bayes"
    """bayes updates the probability of change date by date; count counts detections."""
    k: Annotated[int, Field(ge=1, le=LONGEST_WINDOW)] | None = None
    """Detections that confirm an alert; with count."""
    n: Annotated[int, Field(ge=1, le=LONGEST_WINDOW)] | None = None
    """Clear observations among which they are counted, the last ones; with count."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for key in ("k", "n"):
            if self.kind == "bayes" and getattr(self, key) is not None:
                raise UnfitError("only used with kind: count", at=(key,))
            if self.kind == "count" and getattr(self, key) is None:
                raise UnfitError("required where detections are counted", at=(key,))
        if self.k is not None and self.n is not None and self.k > self.n:
            raise UnfitError(f"expected at most n, which is {self.n}", str(self.k), at=("k",))
        return self


def _expand_rule(value: object) -> object:
    """The long way to write ``bayes`` or ``{k: 2, n: 3}``."""
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "count", **value}
    return value


def _names(value: object) -> object:
    """The long way to write ``forest: trees``."""
    return (value,) if isinstance(value, str) else value


def _whole_days(value: object) -> Duration:
    span = Duration.parse(value)
    days = span.timedelta.total_seconds() / _DAY
    if not (days.is_integer() and 1 <= days <= 36_500):
        raise UnfitError("expected whole days like '90 d'", show(value))
    return span


Days = Annotated[
    Duration,
    PlainValidator(_whole_days),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(Duration.json_schema()),
]
_ONE_NAME = OrElse({"type": "string", "minLength": 1})
Names = Annotated[Some[Text], BeforeValidator(_names), _ONE_NAME]


class Alerts(Section):
    """Alerts of forest loss from the scenes of the run, kept from run to run."""

    store: FilePath
    """A folder called *.zarr; made by the first run, and added to by others."""
    forest: Names
    """Class that is forest, or several of them."""
    ignore: Annotated[Distinct[Text], BeforeValidator(_names), _ONE_NAME] = ()
    """Classes that say nothing of a pixel, like clouds."""
    baseline: FilePath | None = None
    """A map of the same classes: only what is forest there is watched."""
    preset: Literal["radd", "gfw"] | None = None
    """A rule with its smallest alert: of RADD, or of the Landsat alerts on Global Forest Watch.
    What is said here besides wins."""
    rule: (
        Annotated[AlertRule, BeforeValidator(_expand_rule), OrElse({"enum": ["bayes"]})] | None
    ) = None
    """bayes (if it is not said) updates the probability of change date by date; {k: 2, n: 3}
    counts detections."""
    chi: Annotated[float, Field(ge=0.51, le=0.999)] | None = None
    """Probability of change that confirms an alert, of the rule bayes; 0.975 without."""
    confirm_within: Days | None = None
    """An alert that is not confirmed in this time is dropped; 90 days without."""
    seen_forest: Annotated[int, Field(ge=0, le=250)] | None = None
    """Clear observations of forest in a row that a pixel needs before it is watched. With a
    baseline 0, else 3: what never was forest is not lost."""
    min_area: MinArea | None = None
    """The smallest polygon of alerts; that of the preset, else all."""
    output: FilePath | None = None
    """Folder of rasters and polygons; written anew after each run. None without."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.chi is not None and not isinstance(self.rule_of(), Bayes):
            raise UnfitError("only used with rule: bayes", at=("chi",))
        if not self.store.endswith(".zarr"):
            raise UnfitError("expected a folder called *.zarr", show(self.store), at=("store",))
        return self

    def rule_of(self) -> Rule:
        """The rule, with what was said of it."""
        rule: Rule = (PRESETS[self.preset].rule if self.preset else None) or Bayes()
        if self.rule is not None and self.rule.k is not None and self.rule.n is not None:
            rule = Count(k=self.rule.k, n=self.rule.n, within=rule.within)
        elif self.rule is not None and not isinstance(rule, Bayes):
            rule = Bayes()
        changes: dict[str, Any] = {}
        if self.chi is not None and isinstance(rule, Bayes):
            changes["chi"] = self.chi
        if self.confirm_within is not None:
            changes["within"] = self.confirm_within.timedelta.days
        settled = SETTLED if self.baseline is None else 0
        changes["settled"] = settled if self.seen_forest is None else self.seen_forest
        return replace(rule, **changes)

    def smallest(self) -> Area:
        """The smallest polygon."""
        own = PRESETS[self.preset].min_area if self.preset else Area(0, "px")
        return own if self.min_area is None else self.min_area

    def watching(self) -> Watching:
        """What an update is told."""
        baseline = None if self.baseline is None else Path(self.baseline)
        return Watching(tuple(self.forest), tuple(self.ignore), baseline, self.rule_of())


def section_of(told: Mapping[str, Any]) -> Alerts:
    """The section with what was said on the command line.

    Raises:
        InputError: Something does not fit.
    """
    try:
        return Alerts.model_validate({"store": "alerts.zarr", "forest": "forest", **told})
    except ValidationError as error:
        first = error.errors()[0]
        cause = first.get("ctx", {}).get("error")
        at = (*first["loc"], *(cause.at if isinstance(cause, UnfitError) else ()))
        said = str(cause) if isinstance(cause, UnfitError) else first["msg"]
        words = {*told, "k", "n", "kind"}
        key = ".".join(part for part in at if isinstance(part, str) and part in words)
        raise InputError(f"{key or 'alerts'}: {said}") from None
